"""A sealed snapshot as a file: read in portions, bounded in size, never held in memory whole.

A writer replaces the file by renaming a new one over it, so whoever has opened it reads one snapshot to its end.

Source: docs/formats-trust.md, "Snapshot file".
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from tenant_security.trust.refusal import Part, SnapshotRefusedError

FILE_CAP_BYTES: Final = 4 * 1024**3
"""Units: bytes. About a million tenants."""
LINE_CAP_BYTES: Final = 64 * 1024**2
"""Units: bytes. The first line holds every author, about 190 bytes each, and every identity's wraps, about 3.4 KB
each; other lines are a few KB."""
PORTION_BYTES: Final = 512 * 1024
"""Units: bytes. How much is read and judged at once, in a thread: some 150 tenants."""


class SnapshotSource(Protocol):
    """Where snapshots come from."""

    @property
    def name(self) -> str:
        """What to call it on a health page."""

    def portions(self) -> Iterator[list[bytes]]:
        """Yield the lines of the snapshot as it is now, without line breaks, in portions. Blocks: run it in a thread.

        Raises: SnapshotRefusedError when it cannot be read.
        """


class SnapshotFile:
    """A snapshot in a file."""

    def __init__(
        self,
        path: Path,
        *,
        file_cap_bytes: int = FILE_CAP_BYTES,
        line_cap_bytes: int = LINE_CAP_BYTES,
        portion_bytes: int = PORTION_BYTES,
    ) -> None:
        self._path: Final = path
        self._file_cap_bytes: Final = file_cap_bytes
        self._line_cap_bytes: Final = line_cap_bytes
        self._portion_bytes: Final = portion_bytes

    @property
    def name(self) -> str:
        """The file's path."""
        return f"file {self._path}"

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
