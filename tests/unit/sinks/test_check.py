"""A test of a sink sends one event that says it is a test, and reports in plain words."""

import contextlib
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sinks.conftest import Stage

from tenant_security.outbound.driver import OutboundLimits
from tenant_security.outbound.flow import Flow
from tenant_security.sinks.check import TEXT, check_sink
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.needs import NEEDS
from tenant_security.sinks.sink import SinkContext
from tenant_security.testing.fakes.dialling import DiallingOutbound
from tenant_security.testing.fakes.server import Mishap, answered
from tenant_security.testing.fakes.splunk import FakeSplunk
from tenant_security.wire.sink_check import SinkCheckReport
from tenant_security.wire.sink_configs import SinkConfig, SinkConfigError, decode_sink_config

T = TypeVar("T")
CONTEXT = SinkContext(now=lambda: datetime.now(UTC), tenant_id="acme")


def config(fake: FakeSplunk, **changes: object) -> SinkConfig:
    text = {"type": "SPLUNK", "version": 1, "url": "https://splunk.acme.example", "token": fake.token} | changes
    return decode_sink_config(msgspec.json.encode(text))


async def checked(fake: FakeSplunk, **changes: object) -> SinkCheckReport:
    async with DiallingOutbound([fake], OutboundLimits(connect_s=5, attempt_s=5)) as outbound:
        return await check_sink(config(fake, **changes), outbound, CONTEXT)


async def test_one_event_arrives_that_says_it_is_a_test() -> None:
    async with FakeSplunk() as fake:
        report = await checked(fake, filter={"only": ["DEK_*"]})
        [stored] = fake.shelf.stored
    assert report.ok
    assert report.event_id == stored.event_id
    assert stored.document["iclFields"]["event"] == "SINK_TEST"
    assert stored.document["customFields"] == {"test": "true", "message": TEXT}
    assert stored.document["tenantId"] == "acme"
    assert [step.outcome for step in report.steps] == ["ok", "ok", "ok"]
    assert report.assurance == "at least once"


@pytest.mark.parametrize(
    ("changes", "mishap", "words", "fixer"),
    [
        ({"token": "wrong"}, None, "the token is not known", "owner"),
        ({"index": "nope"}, None, "the index", "owner"),
        ({}, Mishap(instead=answered(503, {"text": "busy", "code": 9})), "busy", "nobody"),
        ({}, Mishap(hang_up=True), "could not be reached", "nobody"),
    ],
)
async def test_what_fails_is_said_with_who_can_mend_it(
    changes: dict[str, object], mishap: Mishap | None, words: str, fixer: str
) -> None:
    async with FakeSplunk() as fake:
        fake.always("events", mishap)
        report = await checked(fake, **changes)
    assert not report.ok
    assert report.finding is not None
    assert report.finding.step == "delivery"
    assert words in report.finding.problem
    assert report.finding.fixer == fixer
    assert "wrong" not in str(report)
    assert [step.outcome for step in report.steps] == ["ok", "ok", "failed"]
    assert report.needs


async def test_a_config_that_cannot_work_is_said_before_anybody_is_asked() -> None:
    class Nobody:
        async def run(self, flow: Flow[T], *, deadline_s: float) -> T:
            raise AssertionError(flow, deadline_s)

    stdout = decode_sink_config(b'{"type":"STDOUT","version":1}')
    report = await check_sink(stdout, Nobody(), CONTEXT)
    assert report.finding is not None
    assert report.finding.step == "configuration"
    assert [step.outcome for step in report.steps] == ["failed", "skipped", "skipped"]


async def test_best_effort_is_said() -> None:
    class Staged:
        def __init__(self) -> None:
            self.stage = Stage()

        async def run(self, flow: Flow[T], *, deadline_s: float) -> T:
            assert deadline_s > 0
            return self.stage.run(flow)

    runner = Staged()
    syslog = decode_sink_config(b'{"type":"SYSLOG","version":1,"host":"siem.acme.example"}')
    report = await check_sink(syslog, runner, CONTEXT)
    assert report.ok
    assert report.assurance == "best effort"
    assert "without a word" in report.notes[0]
    [message] = runner.stage.messages
    assert b"SINK_TEST" in message.body


def test_every_kind_says_what_it_takes_and_needs() -> None:
    kinds = {each.__struct_config__.tag for each in SinkConfig.__args__}
    assert set(LIMITS) == kinds
    assert set(NEEDS) >= kinds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = ["type", "version", "url", "token", "host", "brokers", "credentials", "filter", "format", "headers", "auth"]


@given(
    st.sampled_from(sorted(LIMITS)) | st.text(max_size=12),
    st.dictionaries(st.sampled_from(MEMBERS), JSON, max_size=8),
)
def test_no_config_breaks_the_reader(kind: str, members: dict[str, Any]) -> None:
    with contextlib.suppress(SinkConfigError):
        decode_sink_config(msgspec.json.encode(members | {"type": kind}))
