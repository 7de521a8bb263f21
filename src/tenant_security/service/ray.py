"""Ray ids: one per request, in its log lines and events, so that an operator finds all that belongs together."""

import itertools
from collections.abc import Iterator
from typing import Final

from tenant_security.crypto.aead import random_bytes

_LAST: Final = tuple(f"{each:02x}" for each in range(256))
_BLOCKS: Final = 1 << 24


class RayIds:
    """Makes ids of 16 URL-safe characters: 8 random ones of this process, then a counter. They are no secret.

    ``next()`` makes the next one. A generator that formats once for 256 ids: this is on the hot path.
    """

    def __init__(self) -> None:
        self.next = self._ids(random_bytes(4).hex()).__next__

    @staticmethod
    def _ids(process: str) -> Iterator[str]:
        for block in itertools.count():
            front = f"{process}{block % _BLOCKS:06x}"
            for last in _LAST:
                yield front + last
