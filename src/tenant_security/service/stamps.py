"""Whether a file has changed since it was looked at."""

from pathlib import Path

Stamp = tuple[int, int, int] | None


def stamp(path: Path | None) -> Stamp:
    """Return what changes when a file is written or replaced: time, inode, size. None where there is no file."""
    try:
        status = None if path is None else path.stat()
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_ino, status.st_size)
