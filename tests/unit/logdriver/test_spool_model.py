"""The spool against a list: whatever the disk does, whenever the power goes, nothing that was promised is missing."""

import asyncio
import contextlib
import json
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tenant_security.logdriver import lane as lanes
from tenant_security.logdriver.lane import STDOUT, LaneKey
from tenant_security.logdriver.room import Room, WhenFull
from tenant_security.logdriver.spool import Spool
from tenant_security.testing.faulty_disk import FaultyDisk
from tenant_security.wire.stored_events import Incoming

SMALL = {"HEAD_BYTES": 900, "_TAIL_BYTES": 400, "LANE_SEGMENT_BYTES": 500, "_PORTION_BYTES": 120}
TENANTS = {"a": (1, 2), "b": (3,)}


def event(tenant, number):
    line = json.dumps({"tenantId": tenant, "eventId": str(number), "pad": "." * (number % 60)}).encode()
    return Incoming(line, tenant, str(number))


class SpoolAgainstList(RuleBasedStateMachine):
    """Two tenants with three sinks, and standard output. Nothing may be given up here."""

    def __init__(self):
        super().__init__()
        self.before = {name: getattr(lanes, name) for name in SMALL}
        for name, value in SMALL.items():
            setattr(lanes, name, value)
        self.loop = asyncio.new_event_loop()
        self.disk = FaultyDisk()
        self.count = 0
        self.promised: dict[LaneKey, list[str]] = {}
        self.perhaps: set[str] = set()
        self.settled: dict[LaneKey, set[str]] = {}
        self.start()

    def teardown(self):
        try:
            self.restart()
            self.everything_is_there()
        finally:
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            for name, value in self.before.items():
                setattr(lanes, name, value)

    def start(self):
        self.spool = Spool(
            Path("/spool"),
            Room(1 << 30, 1 << 30, 3_000, WhenFull.BLOCK),
            disk=self.disk,
            segment_bytes=400,
            now_ms=lambda: 1,
        )
        self.spool.open()
        self.spool.add_lane(STDOUT, 0, first=False)
        by_tenant = {
            tenant: tuple(self.spool.add_lane(LaneKey(tenant, sink), 0, first=True) for sink in sinks)
            for tenant, sinks in TENANTS.items()
        }
        self.spool.route(by_tenant)
        self.spool.replay()

    def restart(self):
        self.disk.fail_appends = self.disk.fail_cuts = self.disk.fail_syncs = 0
        self.disk.capacity_bytes = None
        self.start()

    def run(self, work):
        return self.loop.run_until_complete(work)

    def keys(self, tenant):
        return [LaneKey(tenant, sink) for sink in TENANTS[tenant]] if tenant in TENANTS else [STDOUT]

    @rule(tenants=st.lists(st.sampled_from(["a", "b", "unknown"]), min_size=1, max_size=30))
    def store(self, tenants):
        self.store_all(tenants)

    def store_all(self, tenants):
        events = []
        for tenant in tenants:
            self.count += 1
            events.append(event(tenant, self.count))

        async def once():
            future = asyncio.get_running_loop().create_future()
            self.spool._arrived.append((events, future))
            if self.spool._has_room():
                self.spool_sleeps_not()
                await self.spool._write()
            self.spool._arrived.clear()
            return future.done()

        if self.run(once()):
            for each in events:
                for key in self.keys(each.tenant_id):
                    self.promised.setdefault(key, []).append(each.event_id)
        else:
            self.perhaps |= {each.event_id for each in events}

    def spool_sleeps_not(self):
        from tenant_security.logdriver import spool

        spool._TRY_AGAIN_S = 0.0

    @rule(data=st.data(), most=st.integers(1, 9))
    def deliver(self, data, most):
        key = data.draw(st.sampled_from(sorted(self.spool.lanes)))
        lane = self.spool.lanes[key]
        with contextlib.suppress(OSError):
            held = lane.peek(most, 10_000)
            taken = data.draw(st.lists(st.sampled_from(held), unique=True)) if held else []
            self.settled.setdefault(key, set()).update(json.loads(each.line)["eventId"] for each in taken)
            lane.settle(each.position for each in taken)
            self.spool.note(lane)

    @rule(tenant=st.sampled_from(["a", "b"]))
    def store_a_lot(self, tenant):
        self.store_all([tenant] * 20)
        self.tidy()

    @rule()
    def tidy(self):
        self.run(self.spool.tidy())

    @rule(data=st.data())
    def give_memory_back(self, data):
        lane = self.spool.lanes[data.draw(st.sampled_from(sorted(self.spool.lanes)))]
        with contextlib.suppress(OSError):
            lane.release()

    @rule(failures=st.integers(1, 2), torn=st.integers(0, 100))
    def appends_will_fail(self, failures, torn):
        self.disk.fail_appends, self.disk.torn = failures, torn

    @rule()
    def syncs_will_fail(self):
        self.disk.fail_syncs = 1

    @rule(room=st.integers(0, 600))
    def disk_fills_up(self, room):
        self.disk.capacity_bytes = self.disk.used_bytes + room

    @rule()
    def disk_has_room(self):
        self.disk.capacity_bytes = None

    @rule()
    def killed(self):
        self.restart()
        self.everything_is_there()

    @rule(share=st.floats(0, 1))
    def power_goes(self, share):
        self.disk.crash(lambda unsynced: int(unsynced * share))
        self.restart()
        self.everything_is_there()

    def everything_is_there(self):
        for key, lane in self.spool.lanes.items():
            waiting = [json.loads(each.line)["eventId"] for each in lane.peek(1 << 30, 1 << 30)]
            promised, settled = self.promised.get(key, []), self.settled.get(key, set())
            missing = [each for each in promised if each not in settled and each not in set(waiting)]
            assert not missing, (key, missing)
            known = {*promised, *self.perhaps}
            assert set(waiting) <= known
            in_order = [each for each in waiting if each in set(promised)]
            assert in_order == [each for each in promised if each in set(in_order)]


TestSpoolAgainstList = SpoolAgainstList.TestCase
TestSpoolAgainstList.settings = settings(max_examples=200, stateful_step_count=50, deadline=None, derandomize=True)
