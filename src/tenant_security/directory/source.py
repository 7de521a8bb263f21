"""Where snapshots come from: the protocol that the refresher reads by."""

from collections.abc import Iterator
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from tenant_security.directory.tenants import TenantDirectory


class Pace(NamedTuple):
    """How often to read. Units: seconds.

    A source that tells of news by itself has a short ``period_s``, because reading it waits; after a failure the pause
    doubles from ``retry_s`` up to ``longest_s``.
    """

    period_s: float
    retry_s: float
    longest_s: float


class Offered(Protocol):
    """One snapshot, or what has changed since the one in use."""

    def portions(self) -> Iterator[list[bytes]]:
        """Yield the lines, without line breaks, in portions. Blocks: run it in a thread.

        Raises: SnapshotRefusedError when it cannot be read.
        """

    def accepted(self) -> None:
        """It was found good and is in use now. Blocks: run it in a thread."""

    def __enter__(self) -> Self:
        """Hold it."""

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let it go."""


class SnapshotSource(Protocol):
    """Where snapshots come from."""

    @property
    def name(self) -> str:
        """What to call it on a health page."""

    @property
    def pace(self) -> Pace:
        """How often to read it."""

    async def fetch(self, current: TenantDirectory, *, whole: bool) -> Offered | None:
        """Return what there is, or None when it is what is in use. With ``whole`` never changes alone.

        Raises: SnapshotRefusedError when there is nothing to read.
        """

    def remembered(self) -> Iterator[Offered]:
        """Yield what was accepted before and kept for a start without the source, in the order to read it."""

    def close(self) -> None:
        """Let go of what is held open."""
