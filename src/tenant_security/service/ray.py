"""Ray ids: one per request, in its log lines and events, so that an operator finds all that belongs together."""

import itertools
from typing import Final

from tenant_security.crypto.aead import random_bytes

_COUNTER_BITS: Final = 32


class RayIds:
    """Makes ids of 16 URL-safe characters: 8 random ones of this process, then a counter. They are no secret."""

    def __init__(self) -> None:
        self._prefix = random_bytes(4).hex()
        self._counter = itertools.count()

    def next(self) -> str:
        """A new id."""
        return f"{self._prefix}{next(self._counter) & (1 << _COUNTER_BITS) - 1:08x}"
