"""Every sink against a fake that holds to the real one's limits: success, partial, throttled, refused, unreachable."""

import time
from collections.abc import AsyncIterator

import pytest
from tests.faults.sink_worlds import WORLDS, Sending, World, happened, ids_of

from tenant_security.outbound.driver import OutboundLimits
from tenant_security.sinks.sink import DELIVERED, Delivered, Later, Refused
from tenant_security.testing.fakes.server import Answered, Mishap, answered

BY_EVENT = {"splunk", "elastic", "google"}


@pytest.fixture(params=sorted(WORLDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def world(kind: str) -> AsyncIterator[World]:
    made = WORLDS[kind]()
    async with made.fake:
        yield made


async def test_what_is_delivered_is_stored_once_and_in_order(world: World) -> None:
    lines = happened(2_500)
    assert await Sending(world).send(lines) == [DELIVERED] * 2_500
    assert world.fake.shelf.ids == ids_of(lines)
    assert len(world.fake.shelf.batches) >= 3


async def test_batches_stay_within_what_the_real_one_takes(world: World) -> None:
    """Events of thirty kilobytes: bytes, and not events, are what fills a batch."""
    lines = happened(300, label="x" * 30_000)
    assert await Sending(world).send(lines) == [DELIVERED] * 300
    assert world.fake.shelf.ids == ids_of(lines)


async def test_an_event_that_is_too_long_is_shortened_and_says_so(world: World) -> None:
    [line] = happened(1, label="x" * 1_100_000)
    assert await Sending(world).send([line]) == [DELIVERED]
    [stored] = world.fake.shelf.stored
    document = stored.document.get("tenant_security", stored.document)
    assert document["truncated"] is True


async def test_one_bad_event_does_not_hold_up_the_others(world: World, kind: str) -> None:
    lines = happened(40)
    bad = ids_of(lines)[17]
    world.fake.shelf.poisoned.add(bad)
    sending = Sending(world)
    outcomes = await sending.send(lines)
    if kind == "otlp":
        # It does not say which, and must not be asked again: all of the batch is put aside, so that none is lost.
        assert all(isinstance(outcome, Refused) for outcome in outcomes)
    else:
        assert [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Refused)] == [17]
    again = [line for line, outcome in zip(lines, outcomes, strict=True) if isinstance(outcome, Later)]
    assert all(isinstance(outcome, Delivered) for outcome in await sending.send(again))
    assert set(world.fake.shelf.ids) == set(ids_of(lines)) - {bad}
    assert world.fake.shelf.repeated == {}


@pytest.mark.parametrize("status", [429, 503])
async def test_a_throttled_sink_gets_its_events_later(world: World, status: int) -> None:
    busy = Answered(status, b"{}", (("Retry-After", "7"),))
    world.fake.happens("events", Mishap(instead=busy))
    sending = Sending(world)
    lines = happened(10)
    outcomes = await sending.send(lines)
    assert all(isinstance(outcome, Later) and not outcome.blocked for outcome in outcomes)
    assert {outcome.after_s for outcome in outcomes if isinstance(outcome, Later)} == {7.0}
    assert await sending.send(lines) == [DELIVERED] * 10
    assert world.fake.shelf.ids == ids_of(lines)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_refuses_us_costs_no_event_and_is_said_in_plain_words(world: World, status: int) -> None:
    world.fake.always("events", Mishap(instead=answered(status, {"secret": "do not repeat me"})))
    outcomes = await Sending(world).send(happened(10))
    assert all(isinstance(outcome, Later) and outcome.blocked for outcome in outcomes)
    assert len({outcome.why for outcome in outcomes if isinstance(outcome, Later)}) == 1
    assert "do not repeat me" not in str(outcomes)
    assert world.fake.seen["events"] <= 2


async def test_a_batch_that_is_too_large_after_all_is_halved(world: World) -> None:
    world.fake.happens("events", Mishap(instead=answered(413, {})))
    lines = happened(100)
    assert await Sending(world).send(lines) == [DELIVERED] * 100
    assert world.fake.shelf.ids == ids_of(lines)
    assert world.fake.shelf.batches == [50, 50]


async def test_a_connection_that_breaks_costs_no_event(world: World) -> None:
    world.fake.always("events", Mishap(hang_up=True))
    sending = Sending(world)
    lines = happened(10)
    outcomes = await sending.send(lines)
    assert all(isinstance(outcome, Later) and not outcome.blocked for outcome in outcomes)
    world.fake.always("events", None)
    assert await sending.send(lines) == [DELIVERED] * 10


async def test_a_sink_that_does_not_answer_is_given_up_in_time(world: World) -> None:
    world.fake.always("events", Mishap(wait_s=3_600))
    began = time.monotonic()
    outcomes = await Sending(world, limits=OutboundLimits(connect_s=5, attempt_s=0.5)).send(happened(10))
    assert all(isinstance(outcome, Later) and "no answer in time" in outcome.why for outcome in outcomes)
    assert time.monotonic() - began < 60


async def test_a_sink_that_is_not_there_keeps_its_events(kind: str) -> None:
    made = WORLDS[kind]()
    async with made.fake:
        pass
    outcomes = await Sending(made).send(happened(3))
    assert all(isinstance(outcome, Later) and "could not be reached" in outcome.why for outcome in outcomes)


async def test_a_web_page_in_place_of_an_answer_is_no_success(world: World) -> None:
    """As a proxy in between gives it, that wants somebody to sign in."""
    page = Answered(200, b"<html>welcome</html>", (("Content-Type", "text/html; charset=utf-8"),))
    world.fake.happens("events", Mishap(instead=page))
    outcomes = await Sending(world).send(happened(3))
    assert all(isinstance(outcome, Later) and outcome.blocked for outcome in outcomes)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("splunk", {"token": "wrong"}),
        ("splunk", {"index": "nonexistent"}),
        ("datadog", {"apiKey": "wrong"}),
        ("sumo", {"url": "https://endpoint4.collection.sumologic.com/receiver/v1/http/wrong"}),
        ("webhook", {"signingSecret": "d3JvbmcgYnV0IGxvbmcgZW5vdWdoIHRvIGJlIG9uZQ=="}),
        ("elastic", {"auth": {"type": "password", "username": "logdriver", "password": "wrong"}}),
        ("elastic", {"index": "other"}),
        ("otlp", {"headers": {"X-Api-Key": "wrong"}}),
        ("google", {"projectId": "other-logs"}),
        ("azure", {"ruleId": "dcr-ffffffffffffffffffffffffffffffff"}),
    ],
)
async def test_a_wrong_config_blocks_and_names_what_to_look_at(kind: str, changes: dict[str, object]) -> None:
    made = WORLDS[kind]()
    async with made.fake:
        [outcome] = await Sending(World(made.fake, made.config | changes)).send(happened(1))
    assert isinstance(outcome, Later)
    assert outcome.blocked
    assert "wrong" not in outcome.why
