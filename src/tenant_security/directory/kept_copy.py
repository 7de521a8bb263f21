"""What a broker sent, kept on disk as it came, for a start without the broker.

The copy is ciphertext and signatures, and is verified again when it is read. Whoever can write to its directory can do
what a broker can: withhold, and nothing else.

Shape of the directory: ``snapshot`` and ``changes-<n>``, to be read one after the other; whoever holds a lock on
``keeper`` writes them, so several processes of one machine can share a directory.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_WHOLE: Final = "snapshot"
_CHANGES: Final = "changes-"
_KEEPER: Final = "keeper"
_MOST_CHANGES: Final = 100
"""After so many pieces the whole is fetched again, so that a start reads few."""


class KeptCopy:
    """One process's view of the directory. Owner: the source; its methods block, so run them in a thread."""

    def __init__(self, directory: Path) -> None:
        """Open or make the directory. Raises: OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory: Final = directory
        self._keeper: Final = os.open(directory / _KEEPER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._keeping = False
        self._complete = False

    def close(self) -> None:
        """Let another process keep the copy."""
        os.close(self._keeper)

    def incoming(self) -> Path:
        """Return where this process writes what comes. The name is its own: another may be writing too."""
        return self.directory / f"incoming-{os.getpid()}"

    def wants_whole(self) -> bool:
        """Whether the next fetch should be of everything: to begin the copy, or because it has too many pieces."""
        self._become_keeper()
        return self._keeping and (not self._complete or len(self.pieces()) > _MOST_CHANGES)

    def recall(self) -> Iterator[Path]:
        """Yield what is kept, in the order to read it. Whoever reads it to its end can add to it."""
        self._become_keeper()
        pieces = self.pieces()
        yield from pieces
        self._complete = self._keeping and bool(pieces)

    def _become_keeper(self) -> None:
        if not self._keeping:
            with suppress(OSError):
                fcntl.flock(self._keeper, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._keeping = True
                self._sweep()

    def pieces(self) -> list[Path]:
        """Return what is kept, in the order to read it; nothing without the whole."""
        whole = self.directory / _WHOLE
        if not whole.exists():
            return []
        numbered = [path for path in self.directory.glob(f"{_CHANGES}*") if _number(path).isdigit()]
        return [whole, *sorted(numbered, key=lambda path: int(_number(path)))]

    def keep(self, piece: Path, *, is_whole: bool) -> None:
        """Keep an accepted piece, if we are who keeps.

        The order of the steps leaves a readable sequence behind whenever it stops.
        Raises: OSError.
        """
        if not self._keeping or not (is_whole or self._complete):
            return
        with piece.open("rb") as file:
            os.fsync(file.fileno())
        pieces = self.pieces()
        if is_whole:
            for old in pieces[1:][::-1]:
                old.unlink()
            piece.replace(self.directory / _WHOLE)
            self._complete = True
        else:
            last = _number(pieces[-1]) if len(pieces) > 1 else "0"
            piece.replace(self.directory / f"{_CHANGES}{int(last) + 1}")
        descriptor = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what processes that were killed left half written."""
        for path in self.directory.glob("incoming-*"):
            if not Path(f"/proc/{path.name.removeprefix('incoming-')}").exists():
                path.unlink(missing_ok=True)


def _number(path: Path) -> str:
    return path.name.removeprefix(_CHANGES)
