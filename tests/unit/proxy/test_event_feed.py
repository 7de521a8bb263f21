"""The events port, as a logdriver meets it."""

import asyncio

import msgspec
import pytest

from tenant_security.proxy.event_feed import EventFeed
from tenant_security.proxy.outbox import Outbox
from tenant_security.secret import Secret
from tenant_security.service.api_key import ApiKeys
from tenant_security.testing.clock import settle
from tenant_security.wire.events import EventRecord, native_json
from tenant_security.wire.proxy_api import IclFields

KEY = "0WUaXesNgbTAuLwn"
INSTANCE = "0123456789abcdef"
LEASE, ACKNOWLEDGE = "/1/events/lease", "/1/events/acknowledge"


def event(serial):
    return EventRecord(serial, serial, 0, "X", "tenant", INSTANCE, "ray", IclFields("me"), None)


class Port:
    """The application behind the port, called without one."""

    def __init__(self, within_s=60.0):
        self.outbox = Outbox(100)
        self.feed = EventFeed(self.outbox, ApiKeys([Secret(KEY)]), INSTANCE, acknowledge_within_s=within_s)

    async def post(self, path, body, *, key=KEY, method="POST", gone=None):
        sent = []
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        scope = {"type": "http", "method": method, "path": path, "headers": [(b"authorization", f"cmk {key}".encode())]}

        said = [{"type": "http.request", "body": raw}]

        async def receive():
            if not said:
                await (gone or asyncio.Event()).wait()
                return {"type": "http.disconnect"}
            return said.pop()

        async def send(message):
            sent.append(message)

        await self.feed(scope, receive, send)
        return sent[0]["status"], msgspec.json.decode(sent[1]["body"])

    async def lease(self, most=1_000, wait_millis=0):
        status, leased = await self.post(LEASE, {"most": most, "waitMillis": wait_millis})
        assert status == 200
        return leased["batch"], [each["sequence"] for each in leased["events"]]


@pytest.fixture
async def port():
    return Port()


async def test_a_batch_is_leased_in_the_native_form_and_acknowledged(port):
    port.outbox.add(event(1))
    status, leased = await port.post(LEASE, {})

    assert status == 200
    assert leased == {"instance": INSTANCE, "batch": 1, "events": [msgspec.json.decode(native_json(event(1)))]}
    assert await port.post(ACKNOWLEDGE, {"instance": INSTANCE, "batch": 1}) == (200, None)
    assert len(port.outbox) == 0


async def test_most_bounds_a_batch(port):
    for serial in range(5):
        port.outbox.add(event(serial))

    assert await port.lease(most=2) == (1, [0, 1])
    assert await port.lease(most=2) == (2, [2, 3])


async def test_without_events_the_answer_is_empty_and_there_is_nothing_to_acknowledge(port):
    assert await port.lease() == (None, [])


async def test_a_lease_waits_for_the_first_event(port):
    waiting = asyncio.create_task(port.lease(wait_millis=60_000))
    await settle()
    assert not waiting.done()
    port.outbox.add(event(1))

    assert await waiting == (1, [1])


async def test_what_is_not_acknowledged_in_time_is_handed_out_again_in_order_and_the_late_answer_is_409():
    port = Port(within_s=0.0)
    for serial in range(4):
        port.outbox.add(event(serial))
    batch, first = await port.lease(most=3)
    await settle()

    status, answer = await port.post(ACKNOWLEDGE, {"instance": INSTANCE, "batch": batch})
    assert (status, answer["code"]) == (409, 102)
    again, events = await port.lease()
    assert events == [*first, 3]
    assert again != batch


async def test_an_event_keeps_its_id_when_it_comes_again():
    port = Port(within_s=0.0)
    port.outbox.add(event(1))
    _, first = await port.post(LEASE, {"waitMillis": 0})
    await settle()
    _, second = await port.post(LEASE, {"waitMillis": 0})

    assert first["events"] == second["events"]


@pytest.mark.parametrize("body", [{"instance": "f" * 16, "batch": 1}, {"instance": INSTANCE, "batch": 7}])
async def test_another_proxys_number_acknowledges_nothing(port, body):
    port.outbox.add(event(1))
    await port.lease()

    assert (await port.post(ACKNOWLEDGE, body))[0] == 409
    assert len(port.outbox) == 1


@pytest.mark.parametrize("path", [LEASE, ACKNOWLEDGE, "/nowhere"])
async def test_nobody_gets_anything_without_the_key(port, path):
    port.outbox.add(event(1))
    status, answer = await port.post(path, {}, key="wrong")

    assert (status, answer["code"]) == (401, 101)
    assert len(port.outbox._waiting) == 1


@pytest.mark.parametrize(
    ("path", "method", "body", "status"),
    [
        ("/nowhere", "POST", {}, 404),
        (LEASE, "GET", {}, 405),
        (LEASE, "POST", b"junk", 400),
        (LEASE, "POST", b"\xff", 400),
        (LEASE, "POST", {"most": 0}, 400),
        (LEASE, "POST", {"most": 10_001}, 400),
        (LEASE, "POST", {"waitMillis": 60_001}, 400),
        (ACKNOWLEDGE, "POST", {}, 400),
        (ACKNOWLEDGE, "POST", {"instance": 1, "batch": 1}, 400),
        (LEASE, "POST", b" " * 70_000, 413),
    ],
)
async def test_what_is_no_request_is_refused_and_takes_nothing(port, path, method, body, status):
    port.outbox.add(event(1))

    assert (await port.post(path, body, method=method))[0] == status
    assert len(port.outbox._waiting) == 1


async def test_a_closed_outbox_answers_empty(port):
    port.outbox.close()

    assert await port.lease(wait_millis=60_000) == (None, [])


async def test_who_has_left_is_not_lent_what_comes_next():
    port, gone = Port(), asyncio.Event()
    asking = asyncio.ensure_future(port.post(LEASE, {"waitMillis": 60_000}, gone=gone))
    await settle()
    gone.set()
    await asking
    port.outbox.add(event(1))

    assert await port.lease() == (1, [1])


async def test_a_collector_that_was_started_again_gets_what_it_had_at_once_and_in_order(port):
    for serial in range(1, 5):
        port.outbox.add(event(serial))
    before = {"most": 2, "waitMillis": 0, "collector": "one", "session": "a"}
    assert len((await port.post(LEASE, before))[1]["events"]) == 2

    again = await port.post(LEASE, before | {"most": 10, "session": "b"})
    assert [each["sequence"] for each in again[1]["events"]] == [1, 2, 3, 4]


async def test_another_collector_does_not_get_what_the_first_has(port):
    port.outbox.add(event(1))
    await port.post(LEASE, {"waitMillis": 0, "collector": "one", "session": "a"})

    _, other = await port.post(LEASE, {"waitMillis": 0, "collector": "two", "session": "b"})
    assert other["events"] == []
