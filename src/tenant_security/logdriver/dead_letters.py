"""Events that a sink will never take, kept with the reason until somebody looks at them or has them sent again.

Shape: for each tenant a log of :class:`DeadLetter` as JSON under ``dead/``. A request to send them again is a file
under ``replay/``; whoever runs the command need not reach the daemon.
"""

import asyncio
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tenant_security.logdriver.lane import LANE_SEGMENT_BYTES, LaneKey
from tenant_security.logdriver.spool import tenant_name
from tenant_security.spool.disk import Disk
from tenant_security.spool.segment_log import SegmentLog
from tenant_security.wire.events import rfc3339
from tenant_security.wire.stored_events import Incoming, read_incoming

_SUFFIX: Final = ".request"


class DeadLetter(msgspec.Struct, frozen=True, rename="camel"):
    """One event and why it was not taken. ``at``: when, RFC 3339."""

    at: str
    tenant_id: str
    sink_config_id: int
    sink: str
    why: str
    event: msgspec.Raw


class ReplayRequest(msgspec.Struct, frozen=True, rename="camel"):
    """Which dead letters to send again: those of a tenant, and of one of its sinks or of all."""

    tenant_id: str
    sink_config_id: int | None = None


class DeadLetters:
    """All of them. Every call blocks; the daemon calls from a thread, holding ``one_at_a_time``. Raises: OSError.

    Units: ``most_bytes`` of one tenant; beyond it the oldest go, which ``dropped_segments`` counts.
    """

    def __init__(self, directory: Path, disk: Disk, *, most_bytes: int = 64 * 1_048_576) -> None:
        self._dead = directory / "dead"
        self._replay = directory / "replay"
        self._disk = disk
        self._most_bytes = most_bytes
        self.dropped_segments = 0
        self.one_at_a_time = asyncio.Lock()

    def add(self, key: LaneKey, kind: str, refused: Sequence[tuple[bytes, str]], now_ms: int) -> None:
        """Keep events, each with the reason; they are on the disk when this returns."""
        log = self._log(tenant_name(key.tenant))
        log.open()
        try:
            log.append(
                [
                    msgspec.json.encode(DeadLetter(rfc3339(now_ms), key.tenant, key.sink, kind, why, msgspec.Raw(line)))
                    for line, why in refused
                ]
            )
            log.sync()
            while log.used_bytes > self._most_bytes and len(log.segments) > 1:
                log.delete(log.segments[0])
                self.dropped_segments += 1
        finally:
            log.close()

    def tenants(self) -> list[str]:
        """The names of what is kept of each tenant."""
        return sorted(self._disk.names(self._dead))

    def read(self, name: str, *, repair: bool = True) -> Iterator[DeadLetter]:
        """Yield the dead letters under a name, oldest first; who is not the daemon must not repair."""
        if not self._disk.names(self._dead / name):
            return
        log = self._log(name)
        if repair:
            log.open()
        else:
            log.look()
        try:
            for frame in log.read_all():
                try:
                    yield msgspec.json.decode(frame.payload, type=DeadLetter)
                except msgspec.DecodeError:
                    continue
        finally:
            log.close()

    def read_of(self, tenant: str) -> Iterator[DeadLetter]:
        """Yield a tenant's dead letters, oldest first."""
        return self.read(tenant_name(tenant))

    def keep_only(self, tenant: str, kept: Sequence[DeadLetter]) -> None:
        """Forget a tenant's dead letters but these."""
        name = tenant_name(tenant)
        log = self._log(name)
        log.open()
        log.roll()
        if kept:
            first = log.append([msgspec.json.encode(each) for each in kept])
            log.sync()
            log.delete_below(first)
            log.close()
        else:
            log.clear()
            self._disk.remove_directory(self._dead / name)

    def ask(self, request: ReplayRequest) -> None:
        """Ask the daemon to send some again; it does so soon, or when it is started."""
        self._disk.make_directory(self._replay)
        name = f"{tenant_name(request.tenant_id)}-{request.sink_config_id or 'all'}"
        part = self._replay / f"{name}.part"
        self._disk.remove(part)
        file = self._disk.open(part)
        try:
            file.append(msgspec.json.encode(request))
            file.sync()
        finally:
            file.close()
        self._disk.move(part, self._replay / (name + _SUFFIX))

    def asked(self) -> list[tuple[Path, ReplayRequest]]:
        """What was asked for."""
        found: list[tuple[Path, ReplayRequest]] = []
        for name in sorted(self._disk.names(self._replay)):
            path = self._replay / name
            if not name.endswith(_SUFFIX):
                continue
            try:
                found.append((path, msgspec.json.decode(self._disk.read(path), type=ReplayRequest)))
            except msgspec.DecodeError:
                self._disk.remove(path)
        return found

    def answered(self, path: Path) -> None:
        """Forget a request."""
        self._disk.remove(path)

    def _log(self, name: str) -> SegmentLog:
        return SegmentLog(self._dead / name, self._disk, segment_bytes=LANE_SEGMENT_BYTES)


def replayed(
    dead: DeadLetters, request: ReplayRequest, lanes: Container[LaneKey]
) -> tuple[list[Incoming], list[DeadLetter]]:
    """Divide a tenant's dead letters into what is to be sent again and what is kept. Blocks. Raises: OSError.

    Each goes to the sink that refused it; where that is no more, to all that the tenant has now.
    """
    chosen: list[Incoming] = []
    rest: list[DeadLetter] = []
    for letter in dead.read_of(request.tenant_id):
        event = read_incoming(bytes(letter.event))
        if event is None or request.sink_config_id not in (None, letter.sink_config_id):
            rest.append(letter)
            continue
        sink = letter.sink_config_id
        chosen.append(event._replace(sink=sink if LaneKey(request.tenant_id, sink) in lanes else None))
    return chosen, rest
