"""What waits for one sink of one tenant: in memory while it is little, on disk when it is much.

Every event lies in the journal first (see ``spool``), under a position. A lane holds what its sink has not settled yet,
in the order of positions: the *head* in memory, then what was spilled into the lane's own log and is read again when
its turn comes, then the *tail*, which is newer than the log. What the log has, the journal need not keep.

Source: docs/logdriver.md, "On disk".
"""

import errno
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tenant_security.spool.disk import Disk
from tenant_security.spool.segment_log import Place, SegmentLog

LANE_SEGMENT_BYTES: Final = 4 * 1_048_576
HEAD_BYTES: Final = 2 * 1_048_576
"""How much of a lane is in memory before the rest goes to its log."""
_TAIL_BYTES: Final = 65_536
_PORTION_BYTES: Final = 262_144
_ID: Final = b'"eventId":"'
_COST: Final = 120
"""What a waiting event takes in memory beside its own bytes."""


class LaneKey(NamedTuple):
    """Whose lane it is: a tenant's id and the id of one of its sink configs."""

    tenant: str
    sink: int


STDOUT: Final = LaneKey("", 0)
"""The lane of all tenants without a sink."""


class Held(NamedTuple):
    """An event that waits. Shape: ``line`` is one line of the native form."""

    position: int
    line: bytes


def line_ms(line: bytes) -> int | None:
    """When an event happened by its id, Unix milliseconds; None when the line does not say."""
    at = line.find(_ID)
    if at < 0:
        return None
    at += len(_ID)
    try:
        return int(line[at : at + 8] + line[at + 9 : at + 13], 16)
    except ValueError:
        return None


class Shed(msgspec.Struct, frozen=True):
    """Events that were given up because there was no room, and that the tenant has not been told of.

    Units: ``since_ms`` and ``until_ms`` are Unix milliseconds: between which it happened.
    """

    count: int = 0
    since_ms: int = 0
    until_ms: int = 0

    def more(self, count: int, now_ms: int) -> "Shed":
        """The same and some more."""
        return Shed(self.count + count, self.since_ms or now_ms, now_ms)


class Lane:
    """One lane. Owner: the event loop; only :meth:`sync` runs elsewhere, while ``busy`` is set.

    ``cursor``: everything up to this position is settled. ``in_flight``: everything up to it may be at the sink just
    now. ``since_ms``: since when the oldest waiting event waits, Unix milliseconds, 0 when none does.
    """

    def __init__(self, key: LaneKey, directory: Path, disk: Disk, cursor: int = 0, shed: Shed | None = None) -> None:
        self.key = key
        self.cursor = cursor
        self.in_flight = 0
        self.since_ms = 0
        self.shed = shed or Shed()
        self.busy = False
        self.head_bytes = 0
        self._directory = directory
        self._disk = disk
        self._head: deque[Held] = deque()
        self._tail: list[Held] = []
        self._tail_bytes = 0
        self._done: set[int] = set()
        self._log: SegmentLog | None = None
        self._place = Place()
        self._unread = False
        self._flushed = 0
        self._synced = 0
        self._newest = cursor

    def recover(self, journal_from: int) -> None:
        """Find what was spilled before. Raises: OSError.

        What the journal has, from ``journal_from`` on, is taken from there: a crash may have left holes in what the
        log had not synced.
        """
        if not self._disk.names(self._directory):
            return
        log = self._log = self._new_log()
        log.open()
        if log.next_position > journal_from:
            log.rewind(journal_from - 1)
        self._flushed = self._synced = log.next_position - 1
        self._newest = max(self._newest, self._flushed)
        self._unread = self._flushed > self.cursor
        if not self._unread:
            self._drop_log()

    @property
    def waiting(self) -> bool:
        """Whether anything waits."""
        return bool(self._head or self._unread or self._tail)

    @property
    def newest(self) -> int:
        """The newest position that this lane has ever taken."""
        return self._newest

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes."""
        return self.head_bytes + self._tail_bytes

    @property
    def disk_bytes(self) -> int:
        """How much its log takes."""
        return self._log.used_bytes if self._log is not None else 0

    @property
    def damaged_places(self) -> int:
        """Places of its log that could not be read."""
        return self._log.damage.places if self._log is not None else 0

    def wants(self, position: int) -> bool:
        """Whether an event of the journal is missing here, as after a restart."""
        return position > self._newest

    def take(self, position: int, line: bytes, now_ms: int) -> bool:
        """Take an event where nothing is on the disk and there is room in memory; the usual case, and a fast one."""
        if self._log is not None or self._tail:
            return False
        size = len(line) + _COST
        if self.head_bytes + size > HEAD_BYTES:
            return False
        if not self._head:
            self.since_ms = now_ms
        self._newest = position
        self._head.append(Held(position, line))
        self.head_bytes += size
        return True

    def put(self, position: int, line: bytes, now_ms: int) -> None:
        """Take an event. Raises: OSError when the log cannot be written; the event is in the lane nevertheless."""
        held = Held(position, line)
        size = len(line) + _COST
        if not self.waiting:
            self.since_ms = now_ms
        self._newest = position
        if not self._unread and not self._tail and self.head_bytes + size <= HEAD_BYTES:
            self._head.append(held)
            self.head_bytes += size
            return
        self._tail.append(held)
        self._tail_bytes += size
        if self._tail_bytes > _TAIL_BYTES and not self.busy:
            self.spill()

    def peek(self, most_events: int, most_bytes: int) -> list[Held]:
        """The oldest events that wait, in order. Raises: OSError when the log cannot be read."""
        found: list[Held] = []
        size = 0
        index = 0
        while len(found) < most_events:
            if index >= len(self._head) and not self._refill():
                break
            for held in list(self._head)[index:]:
                index += 1
                if held.position in self._done:
                    continue
                if found and (size + len(held.line) > most_bytes or len(found) >= most_events):
                    return found
                found.append(held)
                size += len(held.line)
        return found

    def date(self, now_ms: int) -> None:
        """Find out since when the oldest event waits, after others have left. Raises: OSError."""
        oldest = self.peek(1, 0)
        if not oldest:
            self.since_ms = 0
            return
        said = line_ms(oldest[0].line)
        self.since_ms = now_ms if said is None else max(1, min(said, now_ms))

    def ready_bytes(self) -> tuple[int, int]:
        """How much waits in memory: events and bytes, or enough to say that a batch is full when more is on disk."""
        if self._unread or self._tail:
            return 1 << 30, 1 << 40
        return len(self._head), self.head_bytes

    def _refill(self) -> bool:
        """Bring more of what waits into the head; False when there is no more."""
        while self._unread:
            assert self._log is not None
            frames, self._place = self._log.read_some(self._place, _PORTION_BYTES)
            if not frames:
                self._unread = False
                break
            last = self._head[-1].position if self._head else self.cursor
            fresh = [Held(each.position, each.payload) for each in frames if each.position > last]
            if fresh:
                self._extend_head(fresh)
                return True
        if self._tail:
            self._extend_head(self._tail)
            self._tail, self._tail_bytes = [], 0
            return True
        return False

    def _extend_head(self, held: Iterable[Held]) -> None:
        for each in held:
            self._head.append(each)
            self.head_bytes += len(each.line) + _COST

    def settle(self, positions: Iterable[int]) -> bool:
        """The sink has these, or will never take them. Returns whether the cursor has moved."""
        done, head = self._done, self._head
        done.update(positions)
        before = self.cursor
        while head and head[0].position in done:
            held = head.popleft()
            done.discard(held.position)
            self.head_bytes -= len(held.line) + _COST
            self.cursor = held.position
        if not head and not self._unread and not self._tail:
            done.clear()
            self.cursor = max(self.cursor, self._newest)
        if self._log is not None and not self.busy:
            with suppress(OSError):  # what cannot be deleted now is deleted with the next batch
                if self.cursor >= self._flushed:
                    self._drop_log()
                else:
                    self._log.delete_below(self.cursor + 1)
        return self.cursor > before

    def spill(self) -> None:
        """Write what only memory and the journal have to the log. Raises: OSError."""
        if self.doubtful:
            raise OSError(errno.EIO, "an earlier sync has failed")
        if self._log is None:
            log = self._new_log()
            log.open(at_least=max(1, self._flushed + 1))
            self._log = log
        log = self._log
        if not self._unread:
            only_here = [each for each in self._head if each.position > self._flushed]
            if only_here:
                log.append_at(only_here)
                self._flushed = only_here[-1].position
            self._place = log.end
        if self._tail:
            log.append_at(self._tail)
            self._flushed = self._tail[-1].position
            self._tail, self._tail_bytes = [], 0
            self._unread = True

    def sync(self) -> int:
        """Have the log on the disk. Blocks; returns the position up to which it is. Raises: OSError."""
        if self._log is None:
            return 0
        if self._log.doubtful:
            raise OSError(errno.EIO, "an earlier sync has failed")
        self._log.sync()
        return self._flushed

    def synced(self, position: int) -> None:
        """Note what :meth:`sync` said: the journal need not keep what is older."""
        self._synced = max(self._synced, position)

    @property
    def doubtful(self) -> bool:
        """Whether the log may have lost what it was given since it was last synced; see :meth:`forget_unsynced`."""
        return self._log is not None and self._log.doubtful

    def forget_unsynced(self) -> None:
        """Believe the log only as far as it was synced; put the rest again, from the journal. Raises: OSError."""
        assert self._log is not None
        self._log.rewind(self._synced)
        self._head.clear()
        self._tail.clear()
        self.head_bytes = self._tail_bytes = 0
        self._flushed = self._synced
        self._newest = max(self._synced, self.cursor)
        self._place = Place()
        self._unread = self._flushed > self.cursor
        if not self._unread:
            self._drop_log()

    def release(self) -> None:
        """Give the memory back: what waits is read from the log again. Raises: OSError."""
        self.spill()
        if self._head:
            self._head.clear()
            self.head_bytes = 0
            self._place = Place()
            self._unread = True

    def pin(self) -> int | None:
        """The first position that the journal must keep for this lane; None when it need not keep any."""
        if not self.waiting or self._newest <= self._synced:
            return None
        return max(self._synced, self.cursor) + 1

    def shed_oldest(self, now_ms: int) -> int:
        """Give up the oldest segment of the log that is not at the sink just now. Returns how many events it held.

        Raises: OSError.
        """
        log = self._log
        if log is None or self.busy:
            return 0
        for segment, following in zip(log.segments, log.segments[1:], strict=False):
            if segment.first <= self.in_flight:
                continue
            lost = sum(
                each.position > self.cursor and each.position not in self._done
                for each in log.read_segment(segment, log.damage)
            )
            log.delete(segment)
            end = following.first
            kept = [each for each in self._head if not segment.first <= each.position < end]
            self._head, self.head_bytes = deque(), 0
            self._extend_head(kept)
            self.shed = self.shed.more(lost, now_ms)
            return lost
        return 0

    def refuse(self, position: int, now_ms: int) -> None:
        """Give up a new event."""
        self._newest = position
        self.shed = self.shed.more(1, now_ms)

    def _new_log(self) -> SegmentLog:
        return SegmentLog(self._directory, self._disk, segment_bytes=LANE_SEGMENT_BYTES)

    def _drop_log(self) -> None:
        assert self._log is not None
        self._log.clear()
        self._disk.remove_directory(self._directory)
        self._log = None
        self._place = Place()
        self._unread = False

    def close(self) -> None:
        """Leave everything on the disk. Raises: OSError."""
        if self._log is not None:
            self._log.close()

    def remove(self) -> None:
        """Delete everything that waits. Raises: OSError."""
        self._head.clear()
        self._tail.clear()
        self.head_bytes = self._tail_bytes = 0
        self._unread = False
        if self._log is not None:
            self._drop_log()
