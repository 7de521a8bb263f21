"""The spool: takes events, has them on the disk, and hands them to the lanes of the sinks that want them.

Every event is appended to the *journal*, and safe once that was synced: one sync for all that arrived meanwhile. Then
it goes to its lanes. The journal stays short: what a slow sink has not taken when the journal has grown is copied to
that sink's own log, and the journal's oldest segments are deleted.

Shape of the directory: ``journal/``, ``states/``, ``lanes/<name>/``, ``dead/``, ``replay/``, ``lock``.

Source: docs/logdriver.md; docs/formats.md, "Spool"; docs/decisions/0016-logdriver-spool.md.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tenant_security.logdriver.lane import STDOUT, Lane, LaneKey
from tenant_security.logdriver.lane_states import LaneStates
from tenant_security.logdriver.room import Room, Verdict, WhenFull, verdict
from tenant_security.spool.disk import Disk, LocalDisk
from tenant_security.spool.segment_log import SEGMENT_BYTES, SegmentLog
from tenant_security.wire.stored_events import Incoming, from_record, to_record

_TIDY_S: Final = 1.0
_TRY_AGAIN_S: Final = 0.5
_JOURNAL_SEGMENTS: Final = 4
"""How long the journal may get, unless the spool's bound is so small that a quarter of it is less."""
_KEPT: Final = 2
"""Segments of the journal that stay whatever was delivered, so that a restart knows the newest events by their ids."""
_REMEMBERED: Final = 50_000
_SHED_FROM: Final = 8


class SpoolCounts(msgspec.Struct):
    """What was counted since the start."""

    stored: int = 0
    stored_bytes: int = 0
    shed: int = 0
    damaged: int = 0
    """Records that are no events."""
    write_failures: int = 0


class Spool:
    """All that waits. Build it, :meth:`open` it with the lanes that there are, then keep :meth:`run` running.

    ``lanes_of`` is which lanes an event of a tenant goes to. ``on_waiting`` is told of a lane that something waits in.
    ``full`` says why no event is taken just now, empty when they are.
    """

    def __init__(
        self,
        directory: Path,
        room: Room,
        *,
        disk: Disk | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        on_waiting: Callable[[Lane], None] = lambda _: None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.directory = directory
        self.disk = disk or LocalDisk()
        self.room = room
        self.counts = SpoolCounts()
        self.full = ""
        self.lanes: dict[LaneKey, Lane] = {}
        self.states = LaneStates(directory / "states", self.disk)
        self.journal = SegmentLog(directory / "journal", self.disk, segment_bytes=segment_bytes)
        self.on_waiting = on_waiting
        self._now_ms = now_ms
        self._by_tenant: dict[str, tuple[Lane, ...]] = {}
        self._most_journal = max(segment_bytes, min(_JOURNAL_SEGMENTS * segment_bytes, room.disk_bytes // 4))
        self._arrived: list[tuple[Sequence[Incoming], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._lanes_bytes = 0
        self._over_tenant = False
        self._unchecked = 0
        self._stuck: set[Lane] = set()

    # -- lanes

    def open(self) -> list[str]:
        """Read states and journal, but route nothing yet. Returns ids of the newest events. Raises: OSError."""
        self.disk.make_directory(self.directory)
        self.states.open()
        self.journal.open(at_least=self.states.highest + 1)
        recent: list[str] = []
        for segment in self.journal.segments[-_KEPT:]:
            for frame in self.journal.read_segment(segment, self.journal.damage):
                event = from_record(frame.payload)
                if event is not None:
                    recent.append(event.event_id)
        return recent[-_REMEMBERED:]

    @property
    def end(self) -> int:
        """The newest position."""
        return self.journal.next_position - 1

    def add_lane(self, key: LaneKey, start: int, *, first: bool) -> Lane:
        """Add the lane of a sink, from a position on unless it is known. Raises: OSError."""
        state = self.states.known.get(key) or self.states.add(key, start, first=first)
        lane = Lane(key, self.directory / "lanes" / lane_name(key), self.disk, state.cursor, state.shed)
        lane.recover(self.journal.segments[0].first if self.journal.segments else self.journal.next_position)
        self.lanes[key] = lane
        return lane

    def drop_lane(self, key: LaneKey) -> None:
        """Forget a lane and what waits in it. Raises: OSError."""
        lane = self.lanes.pop(key)
        lane.remove()
        self.states.forget(key)

    def route(self, by_tenant: dict[str, tuple[Lane, ...]]) -> None:
        """Say which lanes the events of each tenant go to; those of all others go to standard output."""
        self._by_tenant = by_tenant

    def replay(self) -> None:
        """Hand what the journal holds to the lanes that miss it, as after a restart. Raises: OSError."""
        touched: dict[Lane, None] = {}
        for frame in self.journal.read_all():
            event = from_record(frame.payload)
            if event is None:
                self.counts.damaged += 1
                continue
            for lane in self._lanes_then(event, frame.position):
                if lane.wants(frame.position):
                    self._put(lane, frame.position, event.line, self._now_ms())
                    touched[lane] = None
            self._keep_memory(len(event.line))
        for lane in touched:
            self.on_waiting(lane)

    def _lanes_for(self, event: Incoming) -> tuple[Lane, ...]:
        lanes = self._by_tenant.get(event.tenant_id)
        if lanes is None:
            return (self.lanes[STDOUT],)
        if event.sink is not None:
            return tuple(each for each in lanes if each.key.sink == event.sink) or lanes
        return lanes

    def _lanes_then(self, event: Incoming, position: int) -> Iterable[Lane]:
        """The lanes that an event of the journal was for when it arrived."""
        lanes = self._lanes_for(event)
        states = [self.states.known[each.key] for each in lanes]
        then = [lane for lane, state in zip(lanes, states, strict=True) if position > state.start]
        if not then and any(state.first for state in states):
            return (self.lanes[STDOUT],)
        return then

    # -- taking events

    async def store(self, events: Sequence[Incoming]) -> None:
        """Return when the events are on the disk, however long that takes."""
        if not events:
            return
        future = asyncio.get_running_loop().create_future()
        self._arrived.append((events, future))
        self._wake.set()
        await future

    async def run(self) -> None:
        """Write what arrives, until cancelled. For a TaskGroup."""
        loop = asyncio.get_running_loop()
        tidied = loop.time()
        while True:
            if not self._arrived:
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_TIDY_S):
                        await self._wake.wait()
            if self._arrived:
                if self._has_room():
                    await self._write()
                else:
                    await asyncio.sleep(_TRY_AGAIN_S)
            if loop.time() - tidied >= _TIDY_S or self.full:
                tidied = loop.time()
                await self.tidy()

    def _has_room(self) -> bool:
        """Whether events may be taken now."""
        if not self._unstick():
            return False
        over = self._over_tenant or self.used_bytes > self.room.disk_bytes
        if over and self.room.when_full is WhenFull.BLOCK:
            self.full = "the spool has reached its bound, and nothing may be given up"
            return False
        return True

    def _unstick(self) -> bool:
        """Try again what could not be written to lanes' logs. Returns whether all is well now."""
        for lane in list(self._stuck):
            try:
                if lane.doubtful:
                    self._put_again(lane)
                else:
                    lane.spill()
                self._stuck.discard(lane)
            except OSError as failure:
                if self.room.when_full is WhenFull.BLOCK or not self._shed(lane):
                    self.full = f"the disk cannot be written: {failure.strerror or failure}"
                    return False
        return True

    def _put_again(self, lane: Lane) -> None:
        """Bring from the journal what a lane's log may have lost: the journal keeps it until the log was synced."""
        lane.forget_unsynced()
        for frame in self.journal.read_all():
            if not lane.wants(frame.position):
                continue
            event = from_record(frame.payload)
            if event is not None and lane in self._lanes_then(event, frame.position):
                with suppress(OSError):  # it is in the lane nevertheless
                    lane.put(frame.position, event.line, self._now_ms())
        lane.spill()

    @property
    def used_bytes(self) -> int:
        """How much of the disk the events take."""
        return self.journal.used_bytes + self._lanes_bytes

    async def _write(self) -> None:
        group, self._arrived = self._arrived, []
        records = [event.line if event.sink is None else to_record(event) for events, _ in group for event in events]
        try:
            position = self.journal.append(records)
            await asyncio.to_thread(self.journal.sync)
        except OSError as failure:
            self.counts.write_failures += 1
            self._arrived = group + self._arrived
            self.full = f"the journal cannot be written: {failure.strerror or failure}"
            if not self._make_room():
                await asyncio.sleep(_TRY_AGAIN_S)
            return
        self.full = ""
        touched: dict[Lane, None] = {}
        now_ms, by_tenant, nobody = self._now_ms(), self._by_tenant, (self.lanes[STDOUT],)
        for events, future in group:
            for event in events:
                lanes = by_tenant.get(event.tenant_id, nobody) if event.sink is None else self._lanes_for(event)
                for lane in lanes:
                    self._put(lane, position, event.line, now_ms)
                    touched[lane] = None
                position += 1
            if not future.done():
                future.set_result(None)
        size = sum(map(len, records))
        self.counts.stored += len(records)
        self.counts.stored_bytes += size
        self._keep_memory(size)
        for lane in touched:
            self.on_waiting(lane)

    def _put(self, lane: Lane, position: int, line: bytes, now_ms: int) -> None:
        """Hand an event to a lane, or give some up."""
        if lane.take(position, line, now_ms):
            return
        before = lane.disk_bytes
        if before:  # a lane without a log takes no room of its own
            full = self.used_bytes > self.room.disk_bytes
            judged = verdict(self.room, lane_bytes=before, full=full)
            if judged is Verdict.GIVE_UP or (judged is Verdict.MAKE_ROOM and not self._shed(lane)):
                lane.refuse(position, now_ms)
                self.counts.shed += 1
                return
            before = lane.disk_bytes
        try:
            lane.put(position, line, now_ms)
        except OSError:
            self.counts.write_failures += 1
            self._stuck.add(lane)
        self._lanes_bytes += lane.disk_bytes - before

    def _shed(self, lane: Lane) -> int:
        """Give up the oldest segment of a lane. Returns how many bytes that freed."""
        before = lane.disk_bytes
        try:
            self.counts.shed += lane.shed_oldest(self._now_ms())
        except OSError:
            self.counts.write_failures += 1
        freed = before - lane.disk_bytes
        self._lanes_bytes -= freed
        return freed

    def _make_room(self) -> bool:
        """The disk is full: give up the oldest of what waits longest. Returns whether that freed anything.

        So too where the newest are to be given up: what is on the disk already is what can be removed.
        """
        if self.room.when_full is WhenFull.BLOCK:
            return False
        largest = sorted(self.lanes.values(), key=lambda each: each.disk_bytes, reverse=True)
        return any(self._shed(lane) > 0 for lane in largest[:_SHED_FROM])

    # -- keeping it small

    def _keep_memory(self, added: int) -> None:
        """Where too much waits in memory, give back that of the lanes that take most and send nothing just now."""
        self._unchecked += added
        if self._unchecked < self.room.memory_bytes // 16:
            return
        self._unchecked = 0
        memory = sum(each.memory_bytes for each in self.lanes.values())
        if memory <= self.room.memory_bytes:
            return
        for lane in sorted(self.lanes.values(), key=lambda each: each.memory_bytes, reverse=True):
            if lane.in_flight or lane.busy:
                continue
            before_disk, before = lane.disk_bytes, lane.memory_bytes
            try:
                lane.release()
            except OSError:
                self.counts.write_failures += 1
                self._stuck.add(lane)
                return
            self._lanes_bytes += lane.disk_bytes - before_disk
            memory -= before - lane.memory_bytes
            if memory <= self.room.memory_bytes // 2:
                return

    async def tidy(self) -> None:
        """Delete what the journal need not keep; copy from it what slow sinks have not taken when it is long."""
        self._unstick()
        try:
            self._delete_settled()
            if self.journal.used_bytes > self._most_journal:
                await self._spill_slow()
                self._delete_settled()
            self.states.tidy()
        except OSError as failure:
            self.counts.write_failures += 1
            self.full = self.full or f"the spool cannot be tidied: {failure.strerror or failure}"
        self._lanes_bytes = sum(each.disk_bytes for each in self.lanes.values())
        self._over_tenant = any(each.disk_bytes > self.room.tenant_bytes for each in self.lanes.values())

    def _delete_settled(self) -> None:
        pins = [pin for each in self.lanes.values() if (pin := each.pin()) is not None]
        self.journal.delete_below(min(pins, default=self.journal.next_position), keep=_KEPT)

    async def _spill_slow(self) -> None:
        """Have everything that the journal's older half holds in the lanes' own logs."""
        segments = self.journal.segments
        bound = segments[len(segments) // 2].first
        slow: list[Lane] = []
        for lane in self.lanes.values():
            pin = lane.pin()
            if pin is None or pin >= bound:
                continue
            try:
                if lane.doubtful:
                    self._put_again(lane)
                lane.spill()
            except OSError:
                self.counts.write_failures += 1
                self._stuck.add(lane)
                continue
            lane.busy = True
            slow.append(lane)
        try:
            for lane, position in zip(slow, await asyncio.to_thread(_sync_all, slow), strict=True):
                if position is None:
                    self.counts.write_failures += 1
                    self._stuck.add(lane)
                else:
                    lane.synced(position)
        finally:
            for lane in slow:
                lane.busy = False
                lane.settle(())

    def note(self, lane: Lane) -> None:
        """Remember how far a lane has come. A disk that fails costs repeats after a crash, and nothing else."""
        try:
            self.states.note(lane)
        except OSError:
            self.counts.write_failures += 1

    def close(self) -> None:
        """Leave everything on the disk. Raises: OSError."""
        for lane in self.lanes.values():
            lane.close()
            self.note(lane)
        self.states.close()
        self.journal.close()


def lane_name(key: LaneKey) -> str:
    """The name of a lane's directory: tenants' ids may hold anything, names of directories may not."""
    return f"{tenant_name(key.tenant)}-{key.sink}"


def tenant_name(tenant: str) -> str:
    """The name of what is kept of a tenant: 32 hexadecimal digits of the SHA-256 of its id."""
    return hashlib.sha256(tenant.encode()).hexdigest()[:32]


def _sync_all(lanes: Sequence[Lane]) -> list[int | None]:
    """Sync each; None for those that failed."""
    found: list[int | None] = []
    for lane in lanes:
        try:
            found.append(lane.sync())
        except OSError:
            found.append(None)
    return found
