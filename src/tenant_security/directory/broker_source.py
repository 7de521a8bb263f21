"""Snapshots from a broker: whole at first, then what has changed, as soon as it has; and a sealed copy on disk.

The copy holds what the broker sent, ciphertext and signatures, and is verified again when it is read: it lets a proxy
start while the broker is down, and remember versions over a restart. Whoever can write to its directory can do what a
broker can: withhold, and nothing else.

Shape of the directory: ``snapshot`` and ``changes-<n>``, to be read one after the other; ``incoming`` is being written.
"""

import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tenant_security.directory.snapshot_file import SnapshotFile
from tenant_security.directory.source import Offered, Pace
from tenant_security.directory.tenants import TenantDirectory
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, Downloaded, Unchanged, fetch_snapshot
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.trust.chain import read_header
from tenant_security.trust.refusal import Part, SnapshotRefusedError

_WHOLE: Final = "snapshot"
_CHANGES: Final = "changes-"
_INCOMING: Final = "incoming"
_MOST_CHANGES: Final = 100
"""After so many pieces on disk the whole is fetched again, so that a start reads few."""
_WAIT_S: Final = 25
_ANSWER_S: Final = 300.0
"""How long a whole snapshot may take to arrive. Units: seconds."""

Run = Callable[[Flow[Downloaded | Unchanged], float], Awaitable[Downloaded | Unchanged]]


class BrokerSource:
    """A broker as a source. ``run`` runs a flow within so many seconds.

    With ``wait_s`` of 0 it asks now and then (``period_s``) instead of waiting for news.
    Owner: the refresher; one fetch at a time.
    """

    def __init__(
        self,
        account: BrokerAccount,
        segment: int,
        run: Run,
        *,
        cache: Path | None = None,
        wait_s: int = _WAIT_S,
        period_s: float = 1.0,
    ) -> None:
        self._account: Final = account
        self._segment: Final = segment
        self._run: Final = run
        self._wait_s: Final = wait_s
        self._period_s: Final = period_s
        self._tag = ""
        self._began = False
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if cache is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="tenant-security-")
            cache = Path(self._temporary.name)
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._cache: Final = cache

    @property
    def name(self) -> str:
        """The broker's address."""
        return f"broker {self._account.base}"

    @property
    def pace(self) -> Pace:
        """It tells of news by itself."""
        return Pace(self._period_s, 2.0, 300.0)

    def close(self) -> None:
        """Remove what was only kept for this process."""
        if self._temporary is not None:
            self._temporary.cleanup()

    async def fetch(self, current: TenantDirectory, *, whole: bool) -> Offered | None:
        """See :class:`SnapshotSource`."""
        whole = whole or current.version == 0 or len(self._pieces()) > _MOST_CHANGES
        since = None if whole else current.version
        incoming = self._cache / _INCOMING
        flow = fetch_snapshot(
            self._account,
            self._segment,
            incoming,
            since=since,
            tag="" if whole else self._tag,
            wait_s=self._wait_s if self._began else 0,
            within_s=_ANSWER_S,
        )
        try:
            answer = await self._run(flow, _ANSWER_S)
        except UnreachableError as failure:
            raise SnapshotRefusedError(Part.FILE, f"{self.name} cannot be reached: {failure.reason.value}") from None
        except BrokerRefusedError as failure:
            raise SnapshotRefusedError(Part.FILE, f"{self.name}: {failure}") from None
        except OSError as failure:
            reason = f"it cannot be written to {incoming}: {failure.strerror or failure}"
            raise SnapshotRefusedError(Part.FILE, reason) from failure
        if isinstance(answer, Unchanged):
            return None
        return _Piece(self, incoming, answer.tag)

    def remembered(self) -> Iterator[Offered]:
        """See :class:`SnapshotSource`."""
        for piece in self._pieces():
            yield _Piece(self, piece, None)

    def _pieces(self) -> list[Path]:
        """What is kept, in the order to read it; nothing without the whole."""
        whole = self._cache / _WHOLE
        if not whole.exists():
            return []
        changes = [path for path in self._cache.glob(f"{_CHANGES}*") if path.name.removeprefix(_CHANGES).isdigit()]
        return [whole, *sorted(changes, key=lambda path: int(path.name.removeprefix(_CHANGES)))]

    def keep(self, piece: Path, tag: str, *, is_whole: bool) -> None:
        """Keep an accepted piece. The order of the steps leaves a readable sequence behind whenever it stops."""
        self._tag, self._began = tag, True
        pieces = self._pieces()
        if is_whole:
            for old in pieces[1:][::-1]:
                old.unlink()
            piece.replace(self._cache / _WHOLE)
        else:
            last = pieces[-1].name.removeprefix(_CHANGES) if len(pieces) > 1 else "0"
            piece.replace(self._cache / f"{_CHANGES}{int(last) + 1}")
        descriptor = os.open(self._cache, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _Piece:
    """One file of what the broker sent. ``tag`` is None for what is read from the copy again."""

    def __init__(self, source: BrokerSource, path: Path, tag: str | None) -> None:
        self._source: Final = source
        self._path: Final = path
        self._tag: Final = tag
        self._is_whole = True

    def portions(self) -> Iterator[list[bytes]]:
        """See :class:`Offered`."""
        for number, portion in enumerate(SnapshotFile(self._path).portions()):
            if number == 0 and portion:
                self._is_whole = read_header(portion[0]).since is None
            yield portion

    def accepted(self) -> None:
        """See :class:`Offered`."""
        if self._tag is None:
            return
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        self._source.keep(self._path, self._tag, is_whole=self._is_whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tag is not None:
            self._path.unlink(missing_ok=True)
