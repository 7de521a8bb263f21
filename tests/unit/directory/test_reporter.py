"""A report that gets no answer is sent again as it was: what was counted counts once."""

import msgspec
import pytest

from tenant_security.crypto.signing import SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.directory.reporter import News, Reporter
from tenant_security.directory.snapshot_file import SnapshotFile
from tenant_security.outbound.broker import BrokerAccount
from tenant_security.outbound.flow import Reason, Response, UnreachableError
from tenant_security.wire.service_api import Delivery, Status, TenantActivity

from .conftest import World


class Peer:
    """A broker that answers as it is told, and keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[Response | UnreachableError] = []
        self.sent: list[Status] = []

    async def run(self, flow):
        request = flow.send(None)
        self.sent.append(msgspec.json.decode(request.body, type=Status))
        answer = self.answers.pop(0) if self.answers else Response(204, {}, b"")
        try:
            flow.throw(answer) if isinstance(answer, UnreachableError) else flow.send(answer)
        except StopIteration as end:
            return end.value
        raise AssertionError("it asks once")


@pytest.fixture
def reporting(world: World):
    peer, complaints, counted = Peer(), [], iter(range(1, 100))

    def news(_):
        return News((TenantActivity("a", next(counted)),), (Delivery("a", 1, 2.5),))

    reporter = Reporter(
        BrokerAccount("http://broker", SigningKey(new_seed()), lambda: 1, lambda: "t"),
        peer.run,
        instance="i",
        refresher=DirectoryRefresher(SnapshotFile(world.path), credentials=world.credentials),
        health=lambda: "WARN",
        news=news,
        on_failure=complaints.append,
    )
    return reporter, peer, complaints


async def test_it_says_how_the_service_is(reporting):
    reporter, peer, complaints = reporting
    assert await reporter.report()
    (status,) = peer.sent
    assert (status.instance, status.sequence, status.health, status.snapshot_age_s) == ("i", 1, "WARN", -1.0)
    assert status.activity[0].operations == 1
    assert status.deliveries[0].lag_s == 2.5
    assert complaints == []


@pytest.mark.parametrize("answer", [UnreachableError(Reason.TIMEOUT), Response(503, {}, b"{}"), Response(401, {}, b"")])
async def test_what_did_not_arrive_is_sent_again_as_it_was(reporting, answer):
    reporter, peer, complaints = reporting
    peer.answers = [answer, answer]
    assert [await reporter.report() for _ in range(4)] == [False, False, True, True]
    assert [(each.sequence, each.activity[0].operations) for each in peer.sent] == [(1, 1), (1, 1), (1, 1), (2, 2)]
    assert len(complaints) == 1
