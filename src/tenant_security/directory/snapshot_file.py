"""A sealed snapshot as a file: read in portions, bounded in size, never held in memory whole.

A writer replaces the file by renaming a new one over it, so whoever has opened it reads one snapshot to its end.

Source: docs/formats-trust.md, "Snapshot file".
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tenant_security.directory.source import Offered, Pace
from tenant_security.directory.tenants import TenantDirectory
from tenant_security.trust.refusal import Part, SnapshotRefusedError

FILE_CAP_BYTES: Final = 4 * 1024**3
"""Units: bytes. About a million tenants."""
LINE_CAP_BYTES: Final = 64 * 1024**2
"""Units: bytes. The first line holds every author, about 190 bytes each, and every identity's wraps, about 3.4 KB
each; other lines are a few KB."""
PERIOD_S: Final = 600.0
"""Units: seconds. How often a file is read."""
PORTION_BYTES: Final = 512 * 1024
"""Units: bytes. How much is read and judged at once, in a thread: some 150 tenants."""


class SnapshotFile:
    """A snapshot in a file. As a source, it offers the file anew whenever it is asked, every ``period_s`` seconds."""

    def __init__(
        self,
        path: Path,
        *,
        file_cap_bytes: int = FILE_CAP_BYTES,
        line_cap_bytes: int = LINE_CAP_BYTES,
        portion_bytes: int = PORTION_BYTES,
        period_s: float = PERIOD_S,
    ) -> None:
        self._path: Final = path
        self._period_s: Final = period_s
        self._file_cap_bytes: Final = file_cap_bytes
        self._line_cap_bytes: Final = line_cap_bytes
        self._portion_bytes: Final = portion_bytes

    @property
    def name(self) -> str:
        """The file's path."""
        return f"file {self._path}"

    @property
    def pace(self) -> Pace:
        """It is read every so often."""
        return Pace(self._period_s, self._period_s, self._period_s)

    async def fetch(self, current: TenantDirectory, *, whole: bool) -> Offered:  # noqa: ARG002 - it is always whole
        """See :class:`SnapshotSource`."""
        return self

    def remembered(self) -> Iterator[Offered]:
        """Nothing: the file is its own memory."""
        return iter(())

    def accepted(self) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """Nothing is held open between two reads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def portions(self) -> Iterator[list[bytes]]:
        """Yield the lines in portions.

        Raises: SnapshotRefusedError when the file is missing, unreadable, too large, or ends within a line.
        """
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > self._file_cap_bytes:
                    raise SnapshotRefusedError(
                        Part.FILE, f"{self._path} has {size} bytes, more than a snapshot may have"
                    )
                portion: list[bytes] = []
                portion_bytes = 0
                while line := file.readline(self._line_cap_bytes + 1):
                    if not line.endswith(b"\n"):
                        raise SnapshotRefusedError(Part.FILE, f"{self._path} was cut short, or has an endless line")
                    portion.append(line[:-1])
                    portion_bytes += len(line)
                    if portion_bytes >= self._portion_bytes:
                        yield portion
                        portion, portion_bytes = [], 0
                yield portion
        except OSError as failure:
            reason = failure.strerror or type(failure).__name__
            raise SnapshotRefusedError(Part.FILE, f"{self._path} cannot be read: {reason}") from failure
