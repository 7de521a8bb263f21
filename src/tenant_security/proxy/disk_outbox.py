"""The outbox on disk: events survive the proxy, and wait for a logdriver in more room than memory has.

An event is rendered and appended by one writer, which syncs all that arrived meanwhile at once; only then is it handed
out, and only then do those go on who wait for it. Several workers share one directory: each takes a place of its own in
it and brings along what was left in places that nobody holds.

Shape of a place: ``events/`` and ``taken/`` are logs; the newest record of ``taken`` is the position up to which
logdrivers have everything, 8 bytes, big-endian.

Source: docs/formats.md, "Spool"; docs/logdriver.md.
"""

import asyncio
import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from tenant_security.proxy.outbox import wait_until_empty
from tenant_security.proxy.refusal import not_recorded
from tenant_security.spool.disk import Disk, LocalDisk, open_locked
from tenant_security.spool.frames import Frame
from tenant_security.spool.segment_log import Place, SegmentLog
from tenant_security.wire.events import EventRecord, native_json

_SEGMENT_BYTES: Final = 8 * 1_048_576
_TAKEN_BYTES: Final = 65_536
_PORTION_BYTES: Final = 1_048_576
_TRY_AGAIN_S: Final = 0.5
_AT_ONCE: Final = 2_000
_MOST_PLACES: Final = 1_024


class DiskBatch(NamedTuple):
    """Events handed out together, to be acknowledged by the number."""

    number: int
    events: tuple[Frame, ...]

    def lines(self) -> list[bytes]:
        """The events in the native form."""
        return [each.payload for each in self.events]


class DiskOutbox:
    """An outbox in a directory. Build it, then keep :meth:`run` running.

    Units: ``capacity`` events may wait to be written, ``most_bytes`` may wait on the disk. ``dropped`` counts events
    that found no room. Owner: the event loop's thread.
    """

    def __init__(self, directory: Path, *, capacity: int, most_bytes: int, disk: Disk | None = None) -> None:
        """Take a place in the directory and find what is there. Blocks. Raises: OSError."""
        self.capacity = capacity
        self.dropped = 0
        self.failing = ""
        """Why events cannot be written now; empty when they can."""
        self._most_bytes = most_bytes
        self._disk = disk or LocalDisk()
        self._fresh: list[EventRecord] = []
        self._added = self._safe = self._given_up = 0
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._ready: deque[Frame] = deque()
        self._returned: dict[int, tuple[Frame, ...]] = {}
        self._lent: dict[int, tuple[Frame, ...]] = {}
        self._numbers = 0
        self._writing = False
        self._closed = False
        self._place = Place()
        self._lock, here = _take_place(directory, self._disk)
        segment_bytes = min(_SEGMENT_BYTES, max(_TAKEN_BYTES, most_bytes // 8))
        self._events = SegmentLog(here / "events", self._disk, segment_bytes=segment_bytes)
        self._taken = SegmentLog(here / "taken", self._disk, segment_bytes=_TAKEN_BYTES)
        self._taken.open()
        self._cursor = _newest_taken(self._taken)
        self._events.open(at_least=self._cursor + 1)
        self._read = self._cursor
        self._durable = self._events.next_position - 1
        self._adopt(directory, here)

    def _adopt(self, directory: Path, here: Path) -> None:
        """Bring along what was left in places that nobody holds."""
        for name in sorted(self._disk.names(directory)):
            other = directory / name
            if other == here or not (other / "events").is_dir():
                continue
            try:
                lock = open_locked(other)
            except OSError:
                continue
            try:
                taken, events = SegmentLog(other / "taken", self._disk), SegmentLog(other / "events", self._disk)
                taken.open()
                events.open()
                cursor = _newest_taken(taken)
                left = [frame.payload for frame in events.read_all() if frame.position > cursor]
                for start in range(0, len(left), _AT_ONCE):
                    self._events.append(left[start : start + _AT_ONCE])
                self._events.sync()
                events.clear()
                taken.clear()
            finally:
                os.close(lock)
        self._durable = self._events.next_position - 1

    def __len__(self) -> int:
        return len(self._fresh) + self._events.next_position - 1 - self._cursor

    def add(self, event: EventRecord) -> bool:
        """Take an event, unless there is no room or the disk fails."""
        if (
            len(self._fresh) >= self.capacity
            or self.failing
            or self._closed
            or self._events.used_bytes > self._most_bytes
        ):
            self.dropped += 1
            return False
        if not self._fresh:
            self._wake.set()
        self._fresh.append(event)
        self._added += 1
        return True

    async def safe(self) -> None:
        """Return when every event added so far is on the disk. Raises: TenantSecurityError when one cannot be."""
        added, given_up = self._added, self._given_up
        while self._given_up == given_up and self._safe < added:
            self._moved.clear()
            await self._moved.wait()
        if self._given_up > given_up:
            raise not_recorded()

    async def run(self) -> None:
        """Write what is added, until cancelled. For a TaskGroup."""
        while True:
            if not self._fresh:
                self._wake.clear()
                await self._wake.wait()
            await self._write()

    async def _write(self) -> None:
        events, self._fresh = self._fresh, []
        self._writing = True
        try:
            self._events.append([native_json(each) for each in events])
            await asyncio.to_thread(self._events.sync)
        except OSError as failure:
            # Whoever waits for these is told; nobody else was promised anything.
            self.failing = f"the outbox cannot be written: {failure.strerror or failure}"
            self.dropped += len(events)
            self._given_up += len(events)
            while self._ready and self._ready[-1].position > self._durable:
                self._ready.pop()
            self._read, self._place = min(self._read, self._durable), Place()
            self._safe += len(events)
            self._moved.set()
            self._writing = False
            await asyncio.sleep(_TRY_AGAIN_S)
            self.failing = ""
            return
        self._writing = False
        self._safe += len(events)
        self._durable = self._events.next_position - 1
        self._moved.set()

    async def lend(self, most: int) -> DiskBatch:
        """Wait until there is an event and hand out up to this many, oldest first; none once it is closed and empty."""
        await self.filled()
        self._numbers += 1
        events = self._returned.pop(min(self._returned)) if self._returned else self._next(most)
        if events:
            self._lent[self._numbers] = events
        return DiskBatch(self._numbers, events)

    def _next(self, most: int) -> tuple[Frame, ...]:
        """Take the oldest events that are safe, and read more of them where there are too few in memory."""
        ready = self._ready
        while len(ready) < most and self._read < self._durable:
            try:
                frames, self._place = self._events.read_some(self._place, _PORTION_BYTES)
            except OSError as failure:
                self.failing = f"the outbox cannot be read: {failure.strerror or failure}"
                break
            if not frames:
                self._read = self._durable  # what is missing was damaged
                break
            ready.extend(each for each in frames if each.position > self._read)
            self._read = max(self._read, frames[-1].position)
        found: list[Frame] = []
        while ready and len(found) < most and ready[0].position <= self._durable:
            found.append(ready.popleft())
        return tuple(found)

    @property
    def _is_filled(self) -> bool:
        if self._returned or self._read < self._durable:
            return True
        return bool(self._ready) and self._ready[0].position <= self._durable

    async def filled(self) -> None:
        """Wait until there is an event to hand out, or until it is closed."""
        while not (self._is_filled or self._closed):
            self._moved.clear()
            await self._moved.wait()

    @property
    def served(self) -> bool:
        """Whether anybody has ever fetched events, so that waiting for them to leave makes sense."""
        return self._numbers > 0

    async def emptied(self, wait_s: float, hurry: asyncio.Event | None = None) -> int:
        """Wait until every event is acknowledged, at most this long or until told to hurry. Returns how many stay."""
        return await wait_until_empty(self, wait_s, hurry)

    def acknowledge(self, number: int) -> bool:
        """Forget a batch: somebody else has it safe. False when it is not lent (any more)."""
        if self._lent.pop(number, None) is None:
            return False
        waiting = [each[0].position for each in (*self._lent.values(), *self._returned.values())]
        waiting.append(self._ready[0].position if self._ready else self._read + 1)
        self._cursor = min(waiting) - 1
        with suppress(OSError):  # a cursor that is not written costs repeats after a crash
            self._taken.append([self._cursor.to_bytes(8, "big")])
            self._taken.delete_below(self._taken.next_position - 1)
            self._events.delete_below(self._cursor + 1)
            if self._cursor + 1 == self._events.next_position and not self._writing:
                self._events.clear()  # nothing waits, so the newest segment need not either
        return True

    def take_back(self, number: int) -> None:
        """Put a batch that was not acknowledged back; it is handed out again before what is newer."""
        events = self._lent.pop(number, None)
        if events is not None:
            self._returned[events[0].position] = events
            self._moved.set()

    def close(self) -> None:
        """Let everybody who waits for events go, write what is left, and leave the place."""
        if self._closed:
            return
        self._closed = True
        self._moved.set()
        with suppress(OSError):
            if self._fresh:
                self._events.append([native_json(each) for each in self._fresh])
                self._fresh = []
            self._events.close()
            self._taken.close()
        os.close(self._lock)


def _take_place(directory: Path, disk: Disk) -> tuple[int, Path]:
    for number in range(1, _MOST_PLACES):
        place = directory / f"{number:04d}"
        disk.make_directory(place)
        try:
            return open_locked(place), place
        except BlockingIOError:
            continue
    raise OSError(f"every place in {directory} is taken")


def _newest_taken(log: SegmentLog) -> int:
    return max((int.from_bytes(frame.payload, "big") for frame in log.read_all()), default=0)
