"""How far every lane has come, kept on disk: written after each batch, so that a crash repeats at most that batch.

Shape: a log of JSON objects; the newest of a lane counts. When old ones are most of it, all are written anew.

Source: docs/formats.md, "Spool".
"""

from pathlib import Path
from typing import Final

import msgspec

from tenant_security.logdriver.lane import Lane, LaneKey, Shed
from tenant_security.spool.disk import Disk
from tenant_security.spool.segment_log import SegmentLog

_REWRITE_BYTES: Final = 4 * 1_048_576
_REWRITE_RATIO: Final = 4


class LaneState(msgspec.Struct, frozen=True, omit_defaults=True):
    """One lane. ``gone``: the sink is no more, and nothing of it waits.

    Events up to ``start`` are not for it: it did not exist. They were for standard output where it was the tenant's
    ``first``, else for the tenant's sinks of then.
    """

    tenant: str
    sink: int
    cursor: int
    start: int = 0
    first: bool = False
    shed: Shed = Shed()
    gone: bool = False

    @property
    def key(self) -> LaneKey:
        """Whose it is."""
        return LaneKey(self.tenant, self.sink)


class LaneStates:
    """The states of all lanes. Owner: the event loop. Use :meth:`open` first.

    A state that could not be written is written with the next one.
    """

    def __init__(self, directory: Path, disk: Disk) -> None:
        self.known: dict[LaneKey, LaneState] = {}
        self._log = SegmentLog(directory, disk, segment_bytes=1 << 40)
        self._unwritten: dict[LaneKey, LaneState] = {}
        self._written_whole = 0

    def open(self) -> None:
        """Read what is there. Raises: OSError."""
        self._log.open()
        for frame in self._log.read_all():
            try:
                state = msgspec.json.decode(frame.payload, type=LaneState)
            except msgspec.DecodeError:
                continue
            if state.gone:
                self.known.pop(state.key, None)
            else:
                self.known[state.key] = state

    @property
    def highest(self) -> int:
        """The highest position that any lane has settled."""
        return max((each.cursor for each in self.known.values()), default=0)

    def note(self, lane: Lane) -> None:
        """Remember how far a lane has come. Raises: OSError."""
        known = self.known[lane.key]
        self._put(msgspec.structs.replace(known, cursor=lane.cursor, shed=lane.shed))

    def add(self, key: LaneKey, start: int, *, first: bool) -> LaneState:
        """Remember a lane that is new. Raises: OSError."""
        state = LaneState(key.tenant, key.sink, start, start, first)
        self._put(state)
        return state

    def forget(self, key: LaneKey) -> None:
        """Remember that a lane is no more. Raises: OSError."""
        if key in self.known:
            self._put(LaneState(*key, self.known[key].cursor, gone=True))

    def _put(self, state: LaneState) -> None:
        if state.gone:
            self.known.pop(state.key, None)
        else:
            self.known[state.key] = state
        self._unwritten[state.key] = state
        self._log.append([msgspec.json.encode(each) for each in self._unwritten.values()])
        self._unwritten.clear()

    def sync(self) -> None:
        """Have them on the disk. Blocks. Raises: OSError."""
        self._log.sync()

    def tidy(self) -> None:
        """Write all anew where old ones are most of the log. Blocks. Raises: OSError, and then the old log stays."""
        if self._log.used_bytes < max(_REWRITE_BYTES, _REWRITE_RATIO * self._written_whole):
            return
        self._log.sync()
        self._log.roll()
        if self.known:
            first = self._log.append([msgspec.json.encode(each) for each in self.known.values()])
            self._log.sync()
            self._log.delete_below(first)
        self._written_whole = self._log.used_bytes

    def close(self) -> None:
        """Leave everything on the disk. Raises: OSError."""
        self._log.close()
