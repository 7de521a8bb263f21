"""Snapshots from a broker: whole at first, then what has changed, as soon as it has; and a sealed copy on disk."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tenant_security.directory.kept_copy import KeptCopy
from tenant_security.directory.snapshot_file import SnapshotFile
from tenant_security.directory.source import Offered, Pace
from tenant_security.directory.tenants import TenantDirectory
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, Downloaded, Unchanged, fetch_snapshot
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.trust.chain import read_header
from tenant_security.trust.refusal import Part, SnapshotRefusedError
from tenant_security.wire.service_api import WorkKind

_WAIT_S: Final = 25
_ANSWER_S: Final = 300.0
"""How long a whole snapshot may take to arrive. Units: seconds."""
CAP_BYTES: Final = 1024**3
"""The largest snapshot. Units: bytes. Some 300,000 tenants."""
_RETRY_S: Final = 2.0
_LONGEST_S: Final = 60.0

Run = Callable[[Flow[Downloaded | Unchanged], float], Awaitable[Downloaded | Unchanged]]


def _ignore() -> None:
    return


class BrokerSource:
    """A broker as a source. ``run`` runs a flow within so many seconds.

    With ``wait_s`` of 0 it asks every ``period_s`` seconds; otherwise each question waits that long for news.
    ``on_work`` is called when the broker says that it has something of the kind ``work`` for us. Owner: the refresher;
    one fetch at a time.
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
        cap_bytes: int = CAP_BYTES,
        work: WorkKind = "kms",
        on_work: Callable[[], object] = _ignore,
    ) -> None:
        """Open the kept copy. Raises: OSError."""
        self._account: Final = account
        self._segment: Final = segment
        self._run: Final = run
        self._wait_s: Final = wait_s
        self._period_s: Final = period_s
        self._cap_bytes: Final = cap_bytes
        self._work: Final[WorkKind] = work
        self._on_work: Final = on_work
        self._tag = ""
        self._began = False
        self._has_work = False
        self._copy: Final = None if cache is None else KeptCopy(cache)
        self._temporary: Final = tempfile.TemporaryDirectory(prefix="tenant-security-") if cache is None else None

    @property
    def name(self) -> str:
        """The broker's address."""
        return f"broker {self._account.base}"

    @property
    def pace(self) -> Pace:
        """It tells of news by itself, unless it is only asked now and then."""
        return Pace(self._period_s, _RETRY_S, _LONGEST_S)

    def close(self) -> None:
        """Remove what was only kept for this process, and let another keep the copy."""
        if self._temporary is not None:
            self._temporary.cleanup()
        if self._copy is not None:
            self._copy.close()

    async def fetch(self, current: TenantDirectory, *, whole: bool) -> Offered | None:
        """See :class:`SnapshotSource`.

        Work is begun when what came with it is in use, which is when the next piece is asked for: a test of a config
        needs that config.
        """
        if self._has_work:
            self._has_work = False
            self._on_work()
        if self._copy is not None:
            whole = await asyncio.to_thread(self._copy.wants_whole) or whole
        whole = whole or current.version == 0
        flow = fetch_snapshot(
            self._account,
            self._segment,
            self._incoming(),
            since=None if whole else current.version,
            tag="" if whole else self._tag,
            wait_s=self._wait_s if self._began else 0,
            within_s=_ANSWER_S,
            cap_bytes=self._cap_bytes,
            work=self._work,
        )
        try:
            answer = await self._run(flow, _ANSWER_S)
        except UnreachableError as failure:
            raise SnapshotRefusedError(Part.FILE, f"{self.name} cannot be reached: {failure.reason.value}") from None
        except BrokerRefusedError as failure:
            raise SnapshotRefusedError(Part.FILE, f"{self.name}: {failure}") from None
        except OSError as failure:
            reason = f"it cannot be written to {self._incoming()}: {failure.strerror or failure}"
            raise SnapshotRefusedError(Part.FILE, reason) from failure
        if isinstance(answer, Unchanged):
            if answer.work:
                self._on_work()
            return None
        self._has_work = answer.work
        return _Piece(self, self._incoming(), answer.tag)

    def _incoming(self) -> Path:
        if self._copy is not None:
            return self._copy.incoming()
        assert self._temporary is not None
        return Path(self._temporary.name) / "incoming"

    def remembered(self) -> Iterator[Offered]:
        """See :class:`SnapshotSource`."""
        for piece in self._copy.recall() if self._copy is not None else ():
            yield _Piece(self, piece, None)

    def took(self, piece: Path, tag: str, *, is_whole: bool) -> None:
        """A piece is in use now. A disk that is full costs the copy, never the refresh."""
        self._tag, self._began = tag, True
        if self._copy is not None:
            with suppress(OSError):
                self._copy.keep(piece, is_whole=is_whole)


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
        if self._tag is not None:
            self._source.took(self._path, self._tag, is_whole=self._is_whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tag is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
