"""What a log needs of a disk, as a protocol, and the disk of this machine. Every call blocks and may raise OSError."""

import os
from pathlib import Path
from typing import Final, Protocol

_DIRECTORY_MODE: Final = 0o700
_FILE_MODE: Final = 0o600


class AppendFile(Protocol):
    """A file that is only appended to."""

    @property
    def size(self) -> int:
        """Its length."""

    def append(self, content: bytes) -> None:
        """Write at the end. After OSError some of it may stand there: cut it off with :meth:`cut`."""

    def cut(self, size: int) -> None:
        """Make it so long again."""

    def sync(self) -> None:
        """Return when everything written is on the disk."""

    def close(self) -> None:
        """Let it go; this does not sync."""


class Disk(Protocol):
    """Files by path."""

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents, unless they exist."""

    def names(self, path: Path) -> list[str]:
        """What a directory holds, in any order; nothing when it does not exist."""

    def open(self, path: Path) -> AppendFile:
        """Open a file to append to, made when it does not exist; then its name is on the disk too."""

    def read(self, path: Path, at: int = 0, most: int | None = None) -> bytes:
        """Read from an offset: everything, or at most so many bytes."""

    def size(self, path: Path) -> int:
        """A file's length."""

    def remove(self, path: Path) -> None:
        """Remove a file, unless it is gone already."""

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory, unless it is gone already."""

    def move(self, old: Path, new: Path) -> None:
        """Rename a file or directory over whatever has the new name, and have both names on the disk."""


class _PosixFile:
    def __init__(self, path: Path) -> None:
        fresh = not path.exists()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _FILE_MODE)
        self.size = os.fstat(self._fd).st_size
        if fresh:
            sync_directory(path.parent)

    def append(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            written = os.write(self._fd, view)
            self.size += written
            view = view[written:]

    def cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        self.size = size

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LocalDisk:
    """This machine's file system."""

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents, unless they exist."""
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True, mode=_DIRECTORY_MODE)
            sync_directory(path.parent)

    def names(self, path: Path) -> list[str]:
        """What a directory holds."""
        try:
            return [each.name for each in path.iterdir()]
        except FileNotFoundError:
            return []

    def open(self, path: Path) -> AppendFile:
        """Open a file to append to."""
        return _PosixFile(path)

    def read(self, path: Path, at: int = 0, most: int | None = None) -> bytes:
        """Read from an offset."""
        with path.open("rb") as file:
            file.seek(at)
            return file.read() if most is None else file.read(most)

    def size(self, path: Path) -> int:
        """A file's length."""
        return path.stat().st_size

    def remove(self, path: Path) -> None:
        """Remove a file."""
        path.unlink(missing_ok=True)

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        try:
            path.rmdir()
        except FileNotFoundError:
            return

    def move(self, old: Path, new: Path) -> None:
        """Rename."""
        old.replace(new)
        sync_directory(new.parent)
        if old.parent != new.parent:
            sync_directory(old.parent)


def sync_directory(path: Path) -> None:
    """Have a directory's names on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_locked(path: Path) -> int:
    """Hold a directory against a second process. Returns a descriptor to keep. Raises: OSError when it is held."""
    import fcntl  # noqa: PLC0415 - does not exist on every platform

    fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd
