"""Delivery: isolation, order, patience, dead letters, sums and what the tenant is told."""

import asyncio
import json
import threading
import time

import msgspec
import pytest
import structlog

from tenant_security.logdriver.dead_letters import DeadLetters, ReplayRequest, replayed
from tenant_security.logdriver.delivery import Deliverer, Delivery, OpenSink, Pace
from tenant_security.logdriver.delivery_rules import due_in_s, wait_s, worst
from tenant_security.logdriver.lane import STDOUT, Held, LaneKey, Shed
from tenant_security.logdriver.observed import LogdriverMetrics
from tenant_security.logdriver.room import Room, Verdict, WhenFull, verdict
from tenant_security.logdriver.spool import Spool
from tenant_security.logdriver.summaries import MINUTE_OF_USES, dropped_event, summed
from tenant_security.outbound.driver import Outbound
from tenant_security.service.metrics import Metrics
from tenant_security.service.run import Background
from tenant_security.sinks.sink import DELIVERED, Batch, Delivered, Encoded, Later, Limits, Piece, Refused
from tenant_security.spool.disk import LocalDisk
from tenant_security.wire.events import EventRecord, Operation, native_json
from tenant_security.wire.proxy_api import IclFields
from tenant_security.wire.stored_events import from_record, read_incoming, to_record, with_ray


def line(serial, tenant="acme", *, name="DEK_WRAP", at_ms=1_795_512_600_000, **operation):
    done = Operation("success", kms_config_id=7, kms_config_version=1, **operation) if operation else None
    record = EventRecord(serial, serial, at_ms, name, tenant, "00000000000000ab", "r" * 16, IclFields("me"), None, done)
    return native_json(record)


def number(text):
    return json.loads(text)["sequence"]


class ScriptedSink:
    """A sink that answers each batch as it is told: ``answers`` are for the events' sequence numbers."""

    kind = "scripted"

    def __init__(self, most=10, answers=None, collect_s=0.0):
        self.limits = Limits(
            most_events=most, most_bytes=1 << 20, most_event_bytes=1 << 20, collect_s=collect_s, repeats="", source=""
        )
        self.answers = answers or (lambda _number, _tried: DELIVERED)
        self.sent = []
        self.tried = {}

    def encode(self, events):
        batches = [
            Batch(
                tuple(range(at, min(at + self.limits.most_events, len(events)))),
                tuple(Piece("", 0, each) for each in events[at : at + self.limits.most_events]),
            )
            for at in range(0, len(events), self.limits.most_events)
        ]
        return Encoded(tuple(batches), ())

    def deliver(self, batch):
        found = []
        for piece in batch.pieces:
            which = number(piece.body)
            self.tried[which] = self.tried.get(which, 0) + 1
            answer = self.answers(which, self.tried[which])
            if isinstance(answer, Delivered):
                self.sent.append(which)
            found.append(answer)
        yield from ()
        return tuple(found)


PACE = Pace(failing_at_once=1, at_once=2)


class Stage:
    """A spool and deliveries to scripted sinks."""

    def __init__(self, path, group, outbound, *, pace=PACE, now_s=time.time, **sinks):
        self.sinks = sinks
        self.spool = Spool(path / "spool", Room(), now_ms=lambda: round(now_s() * 1000))
        self.spool.open()
        self.spool.add_lane(STDOUT, 0, first=False)
        self.lanes = {each: self.spool.add_lane(LaneKey(each, 1), 0, first=True) for each in sinks}
        self.spool.route({each: (lane,) for each, lane in self.lanes.items()})
        self.dead = DeadLetters(path / "spool", LocalDisk())
        self.background = Background(group)
        self.metrics = LogdriverMetrics(Metrics())
        self.delivery = Delivery(
            Deliverer(
                self.spool,
                self.dead,
                outbound,
                self.background,
                self.metrics,
                lambda lane: OpenSink(self.sinks[lane.key.tenant]),
                structlog.get_logger().bind(service="logdriver"),
            ),
            pace,
            now_s=now_s,
            chance=lambda: 0.0,
        )
        self.spool.on_waiting = self.delivery.wake
        self.background.start(self.spool.run())

    async def store(self, *events):
        await self.spool.store([read_incoming(each) for each in events])

    async def until(self, met):
        async with asyncio.timeout(60):
            while not met():
                await asyncio.sleep(0.005)


@pytest.fixture
async def on_stage(tmp_path):
    stages = []
    async with Outbound() as outbound, asyncio.TaskGroup() as group:

        def make(**sinks):
            stages.append(Stage(tmp_path, group, outbound, **sinks))
            return stages[-1]

        yield make
        for stage in stages:
            stage.background.cancel()
    for stage in stages:
        stage.spool.close()


class Encoding(ScriptedSink):
    """Notes in which threads it encodes, and how many do at a time."""

    busy = most_busy = 0

    def __init__(self):
        super().__init__(most=1_000, collect_s=0.5)
        self.threads = []

    def encode(self, events):
        Encoding.busy += 1
        Encoding.most_busy = max(Encoding.most_busy, Encoding.busy)
        self.threads.append((len(events), threading.current_thread() is threading.main_thread()))
        made = super().encode(events)
        Encoding.busy -= 1
        return made


async def test_many_events_are_encoded_beside_the_loop_and_few_at_once(on_stage):
    stage = on_stage(acme=Encoding(), other=Encoding())
    for begin in (0, 500):
        await stage.store(*(line(begin + each, who) for each in range(500) for who in ("acme", "other")))
        sinks = stage.sinks.values()
        await stage.until(lambda begin=begin, sinks=sinks: all(len(each.sent) == begin + 500 for each in sinks))
    await stage.store(line(1000), line(1000, "other"))
    await stage.until(lambda: all(len(each.sent) == 1001 for each in stage.sinks.values()))
    for sink in stage.sinks.values():
        assert sink.sent == list(range(1001))
        assert all(on_loop == (count <= 100) for count, on_loop in sink.threads), sink.threads
        assert {on_loop for _, on_loop in sink.threads} == {True, False}
    assert Encoding.most_busy == 1


async def test_events_arrive_in_order_and_the_cursor_follows(on_stage):
    stage = on_stage(acme=ScriptedSink(most=3))
    await stage.store(*(line(each) for each in range(1, 11)))
    await stage.until(lambda: len(stage.sinks["acme"].sent) == 10)

    assert stage.sinks["acme"].sent == list(range(1, 11))
    await stage.until(lambda: stage.lanes["acme"].cursor == 10)
    assert stage.spool.states.known[LaneKey("acme", 1)].cursor == 10


async def test_a_sink_that_is_away_delays_nobody_else(on_stage):
    away = ScriptedSink(answers=lambda _number, _tried: Later("It is away.", after_s=3600))
    stage = on_stage(acme=away, other=ScriptedSink())
    await stage.store(line(1, "acme"))
    await stage.until(lambda: stage.lanes["acme"] in stage.delivery.troubles)
    await stage.store(*(line(each, "other") for each in range(2, 30)))
    await stage.until(lambda: len(stage.sinks["other"].sent) == 28)

    assert stage.delivery.troubles[stage.lanes["acme"]].why == "It is away."
    assert away.sent == []


async def test_a_sink_that_took_a_part_gets_the_rest_again_and_nothing_twice(on_stage):
    def answers(which, tried):
        return Later("Busy.") if which in (2, 4) and tried == 1 else DELIVERED

    stage = on_stage(acme=ScriptedSink(answers=answers))
    await stage.store(*(line(each) for each in range(1, 6)))
    await stage.until(lambda: len(stage.sinks["acme"].sent) == 5)

    assert stage.sinks["acme"].sent == [1, 3, 5, 2, 4]
    assert stage.sinks["acme"].tried == {1: 1, 2: 2, 3: 1, 4: 2, 5: 1}


async def test_what_is_refused_for_good_is_kept_with_the_reason_and_can_be_sent_again(on_stage):
    refusing = ScriptedSink(answers=lambda which, _tried: Refused("Too odd.") if which == 2 else DELIVERED)
    stage = on_stage(acme=refusing)
    await stage.store(line(1), line(2), line(3))
    await stage.until(lambda: stage.lanes["acme"].cursor == 3)

    (letter,) = stage.dead.read_of("acme")
    assert (letter.why, letter.sink_config_id, number(bytes(letter.event))) == ("Too odd.", 1, 2)

    refusing.answers = lambda _which, _tried: DELIVERED
    chosen, rest = replayed(stage.dead, ReplayRequest("acme"), stage.spool.lanes)
    assert (len(chosen), rest) == (1, [])
    await stage.spool.store(chosen)
    await stage.until(lambda: refusing.sent == [1, 3, 2])
    stage.dead.keep_only("acme", rest)
    assert list(stage.dead.read_of("acme")) == []


async def test_a_tenant_is_told_of_what_was_given_up_before_what_follows(on_stage):
    seen = []

    class Watching(ScriptedSink):
        def encode(self, events):
            seen.extend(json.loads(each) for each in events)
            return super().encode(events)

    stage = on_stage(acme=Watching())
    stage.lanes["acme"].shed = Shed(7, 1_000, 2_000)
    await stage.store(line(1))
    await stage.until(lambda: stage.lanes["acme"].cursor == 1)

    assert seen[0]["iclFields"]["event"] == "EVENTS_DROPPED"
    assert seen[0]["customFields"]["count"] == "7"
    assert stage.lanes["acme"].shed.count == 0
    assert seen[1]["sequence"] == 1


async def test_a_fault_of_ours_in_one_sink_ends_no_other_and_loses_nothing(on_stage):
    class Broken(ScriptedSink):
        def deliver(self, batch):
            if not self.tried:
                self.tried[0] = 1
                raise RuntimeError("a fault of ours")
            return (yield from super().deliver(batch))

    stage = on_stage(acme=Broken(), other=ScriptedSink())
    await stage.store(line(1, "acme"), line(2, "other"))
    await stage.until(lambda: stage.sinks["other"].sent == [2] and stage.sinks["acme"].sent == [1])


async def test_an_event_that_a_sink_cannot_write_down_holds_up_its_own_lane_only(on_stage):
    class Choking(ScriptedSink):
        def encode(self, events):
            raise KeyError(len(events))

    stage = on_stage(acme=Choking(), other=ScriptedSink())
    await stage.store(line(1, "acme"), line(2, "other"))
    await stage.until(lambda: stage.sinks["other"].sent == [2])
    await stage.until(lambda: stage.lanes["acme"] in stage.delivery.troubles)
    assert stage.lanes["acme"].waiting


def test_waits_grow_are_jittered_bounded_and_keep_what_the_sink_asks():
    busy = Later("Busy.")
    assert [wait_s(busy, each, 1.0) for each in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert wait_s(busy, 1, 0.0) == 0.5
    assert wait_s(busy, 10_000, 1.0) == 60
    assert wait_s(Later("Busy.", after_s=120), 1, 1.0) == 120
    assert wait_s(Later("Busy.", after_s=1e9), 1, 1.0) == 3600
    assert wait_s(Later("Refused.", blocked=True), 1, 1.0) == 60
    assert wait_s(Later("Refused.", blocked=True), 5, 1.0) == 300


def test_a_batch_is_sent_when_it_is_full_or_old_enough():
    assert due_in_s(waited_s=0.5, collect_s=2.0, full=False, failed=False) == 1.5
    assert due_in_s(waited_s=5.0, collect_s=2.0, full=False, failed=False) == 0
    assert due_in_s(waited_s=0.0, collect_s=2.0, full=True, failed=False) == 0
    assert worst([DELIVERED, Later("a"), Later("b", blocked=True), Refused("c")]) == Later("b", blocked=True)
    assert worst([DELIVERED, Refused("c")]) is None


@pytest.mark.parametrize(
    ("when_full", "lane_bytes", "full", "expected"),
    [
        (WhenFull.BLOCK, 1 << 40, True, Verdict.TAKE),
        (WhenFull.SHED_OLDEST, 1 << 40, False, Verdict.MAKE_ROOM),
        (WhenFull.SHED_NEWEST, 1 << 40, False, Verdict.GIVE_UP),
        (WhenFull.SHED_OLDEST, 1, True, Verdict.MAKE_ROOM),
        (WhenFull.SHED_NEWEST, 0, True, Verdict.TAKE),
        (WhenFull.SHED_OLDEST, 1, False, Verdict.TAKE),
    ],
)
def test_who_takes_the_room_gives_up_and_nobody_else(when_full, lane_bytes, full, expected):
    room = Room(when_full=when_full)
    assert verdict(room, lane_bytes=lane_bytes, full=full) is expected


async def test_a_full_lane_gives_up_its_oldest_and_counts_every_one(tmp_path, monkeypatch):
    from tenant_security.logdriver import lane as lanes

    for name, value in {"HEAD_BYTES": 0, "_TAIL_BYTES": 400, "LANE_SEGMENT_BYTES": 1_000}.items():
        monkeypatch.setattr(lanes, name, value)
    spool = Spool(tmp_path, Room(tenant_bytes=5_000, when_full=WhenFull.SHED_OLDEST))
    spool.open()
    spool.add_lane(STDOUT, 0, first=False)
    lane = spool.add_lane(LaneKey("acme", 1), 0, first=True)
    spool.route({"acme": (lane,)})
    writing = asyncio.create_task(spool.run())
    for each in range(1, 101):
        await spool.store([read_incoming(line(each))])
    writing.cancel()

    left = [number(each.line) for each in lane.peek(1_000, 1 << 30)]
    assert left == list(range(101 - len(left), 101))
    assert lane.shed.count == spool.counts.shed == 100 - len(left) > 0
    spool.close()


def held(*lines):
    return [Held(position, each) for position, each in enumerate(lines, 1)]


def test_uses_of_a_leased_key_become_one_event_for_each_minute_and_everything_else_stays():
    minute = 1_795_512_600_000
    events = held(
        line(1, at_ms=minute, leased=True),
        line(2, name="DEK_UNWRAP", at_ms=minute + 1_000, leased=True, count=5),
        line(3, name="USER_LOGIN", at_ms=minute + 2_000),
        line(4, at_ms=minute + 3_000, leased=False),
        line(5, at_ms=minute + 61_000, leased=True),
    )
    found = summed(events)

    assert [each.positions for each in found] == [(1, 2), (3,), (4,), (5,)]
    said = json.loads(found[0].line)
    assert said["iclFields"]["event"] == MINUTE_OF_USES
    assert (said["operation"]["wraps"], said["operation"]["unwraps"], said["operation"]["count"]) == (1, 5, 6)
    assert [each.line for each in found[1:]] == [events[2].line, events[3].line, events[4].line]
    assert summed(events)[0].line == found[0].line  # and so has the same id


def test_summaries_are_events_that_every_sink_can_read():
    from tenant_security.sinks.stored import read_event

    (total,) = summed(held(line(1, leased=True), line(2, leased=True)))
    for each in (total.line, dropped_event("acme", 3, Shed(9, 1, 2))):
        assert read_event(each) is not None


def test_records_of_the_journal_are_read_as_they_were_written():
    event = read_incoming(line(1))
    assert from_record(to_record(event)) == event
    for_one = event._replace(sink=70_000)
    assert from_record(to_record(for_one)) == for_one
    assert from_record(b"\x01\x00") is from_record(b"junk") is None


def test_an_event_says_under_which_id_it_was_taken_in_once():
    stamped = with_ray(read_incoming(line(1)), "0123456789abcdef")
    fields = msgspec.json.decode(stamped.line)["iclFields"]
    assert (fields["tspRayId"], fields["logdriverRayId"]) == ("r" * 16, "0123456789abcdef")
    assert with_ray(stamped, "f" * 16) == stamped
