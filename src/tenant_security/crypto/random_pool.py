"""Random bytes in small pieces, read from the operating system in large ones.

A system call for 44 bytes costs more than the AES-GCM it is for. Every byte is handed out once; a forked child starts
with an empty pool, so parent and child never share bytes.
"""

import os
from collections.abc import Callable
from typing import Final

_POOL_BYTES: Final = 11_264


class RandomPool:
    """Hands out fresh random bytes. Owner: one thread."""

    def __init__(self, read: Callable[[int], bytes] = os.urandom, pool_bytes: int = _POOL_BYTES) -> None:
        self._read = read
        self._pool_bytes = pool_bytes
        self._pool = b""
        self._at = 0
        os.register_at_fork(after_in_child=self._empty)

    def _empty(self) -> None:
        self._pool, self._at = b"", 0

    def take(self, count: int) -> bytes:
        """Return so many bytes that nobody has seen."""
        at = self._at
        end = at + count
        if end > len(self._pool):
            if count > self._pool_bytes:
                return self._read(count)
            self._pool = self._read(self._pool_bytes)
            at, end = 0, count
        self._at = end
        return self._pool[at:end]


POOL: Final = RandomPool()
"""The pool of the event loop's thread, for DEKs and IVs."""
