"""A disk in memory that fails when it is told to, and that forgets what was not synced when the power goes."""

import errno
from collections.abc import Callable
from pathlib import Path

from tenant_security.spool.disk import AppendFile


class _Content:
    """A file's bytes, and how many of them are safe."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.safe = 0


class FaultyDisk:
    """Files in memory.

    ``fail_appends`` counts appends that fail after writing ``torn`` bytes; ``fail_cuts`` and ``fail_syncs`` likewise.
    ``capacity_bytes`` is when it is full.
    """

    def __init__(self) -> None:
        self.files: dict[Path, _Content] = {}
        self.fail_appends = 0
        self.fail_cuts = 0
        self.fail_syncs = 0
        self.torn = 0
        self.capacity_bytes: int | None = None

    @property
    def used_bytes(self) -> int:
        """What all files take."""
        return sum(len(each.written) for each in self.files.values())

    def crash(self, survives: Callable[[int], int] = lambda unsynced: unsynced) -> None:
        """Lose the power: of every file, so many of its unsynced bytes survive as the function says."""
        for content in self.files.values():
            unsynced = len(content.written) - content.safe
            del content.written[content.safe + survives(unsynced) :]
            content.safe = len(content.written)
        self.fail_appends = self.fail_cuts = self.fail_syncs = 0

    def make_directory(self, path: Path) -> None:
        """Directories are names only."""

    def names(self, path: Path) -> list[str]:
        """What a directory holds."""
        depth = len(path.parts)
        return list({each.parts[depth] for each in self.files if each.is_relative_to(path) and each != path})

    def open(self, path: Path) -> AppendFile:
        """Open a file to append to."""
        if path not in self.files and self._room() == 0:
            raise OSError(errno.ENOSPC, "no space left on this disk")
        return _FaultyFile(self, self.files.setdefault(path, _Content()))

    def read(self, path: Path, at: int = 0, most: int | None = None) -> bytes:
        """Read from an offset."""
        if path not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file")
        return bytes(self.files[path].written[at : None if most is None else at + most])

    def size(self, path: Path) -> int:
        """A file's length."""
        return len(self.files[path].written)

    def remove(self, path: Path) -> None:
        """Remove a file."""
        self.files.pop(path, None)

    def remove_directory(self, path: Path) -> None:
        """Directories are names only."""

    def move(self, old: Path, new: Path) -> None:
        """Rename a file or a directory."""
        for each in [each for each in self.files if each.is_relative_to(old)]:
            self.files[new / each.relative_to(old)] = self.files.pop(each)

    def _room(self) -> int:
        return 1 << 62 if self.capacity_bytes is None else max(0, self.capacity_bytes - self.used_bytes)


class _FaultyFile:
    def __init__(self, disk: FaultyDisk, content: _Content) -> None:
        self._disk = disk
        self._content = content

    @property
    def size(self) -> int:
        return len(self._content.written)

    def append(self, content: bytes) -> None:
        disk = self._disk
        if disk.fail_appends > 0:
            disk.fail_appends -= 1
            self._content.written += content[: disk.torn]
            raise OSError(errno.EIO, "the disk failed")
        room = disk._room()  # noqa: SLF001 - the disk's own file
        self._content.written += content[:room]
        if len(content) > room:
            raise OSError(errno.ENOSPC, "no space left on this disk")

    def cut(self, size: int) -> None:
        if self._disk.fail_cuts > 0:
            self._disk.fail_cuts -= 1
            raise OSError(errno.EIO, "the disk failed")
        del self._content.written[size:]
        self._content.safe = min(self._content.safe, size)

    def sync(self) -> None:
        if self._disk.fail_syncs > 0:
            self._disk.fail_syncs -= 1
            # As on Linux: what could not be written is dropped, and the next sync knows nothing of it.
            del self._content.written[self._content.safe :]
            raise OSError(errno.EIO, "the disk failed")
        self._content.safe = len(self._content.written)

    def close(self) -> None:
        return
