"""The web app: files that were built before, read once, and sent as they are."""

import gzip
import hashlib
import mimetypes
from pathlib import Path
from typing import Final, NamedTuple

BUILT: Final = Path(__file__).parent / "static"
_CAP_BYTES: Final = 64 * 1_048_576
_WORTH_PACKING_BYTES: Final = 1_024
_INDEX: Final = "index.html"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"


class Page(NamedTuple):
    """One file. ``packed`` is the same as gzip, or empty where that is not worth it."""

    body: bytes
    packed: bytes
    media_type: str
    tag: str
    keep: str


class Pages:
    """What the web app consists of, by path. Only what was there at the start is ever sent."""

    def __init__(self, directory: Path = BUILT) -> None:
        """Read all files. Raises: ValueError when they are too large to be a web app."""
        self._pages: Final[dict[str, Page]] = {}
        size = 0
        for path in sorted(directory.rglob("*")) if directory.is_dir() else ():
            if path.is_symlink() or not path.is_file():
                continue
            body = path.read_bytes()
            size += len(body)
            if size > _CAP_BYTES:
                raise ValueError(f"the web app in {directory} is larger than {_CAP_BYTES} bytes")
            name = path.relative_to(directory).as_posix()
            self._pages[name] = _page(name, body)

    def find(self, path: str) -> Page | None:
        """Return the file of a path; the app itself for its own addresses; None for a file that is not there."""
        name = path.strip("/")
        found = self._pages.get(name)
        if found is None and "." not in name.rpartition("/")[2]:
            return self._pages.get(_INDEX)
        return found

    @property
    def built(self) -> bool:
        """Whether there is a web app at all."""
        return _INDEX in self._pages


def _page(name: str, body: bytes) -> Page:
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    readable = media_type.startswith("text/") or media_type.endswith(("javascript", "json", "xml"))
    if readable:
        media_type += "; charset=utf-8"
    packed = gzip.compress(body, mtime=0) if readable and len(body) >= _WORTH_PACKING_BYTES else b""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    # The build puts a hash into the names below assets/, so what is there under a name never changes.
    keep = _FOR_EVER if name.startswith("assets/") else _ASK_AGAIN
    return Page(body, packed, media_type, tag, keep)
