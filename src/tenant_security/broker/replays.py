"""Remembers for a while what was seen, so that nothing is taken twice. When it is full it forgets the oldest."""

from collections import OrderedDict
from typing import Final

_MOST: Final = 1_000_000


class Replays:
    """What was seen within the last ``keep_s`` seconds."""

    def __init__(self, keep_s: int, *, most: int = _MOST) -> None:
        self._keep_s: Final = keep_s
        self._most: Final = most
        self._seen: Final[OrderedDict[str, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, what: str, now_s: int) -> bool:
        """Whether this was not seen lately; from now on it was."""
        while self._seen and (len(self._seen) >= self._most or next(iter(self._seen.values())) + self._keep_s <= now_s):
            self._seen.popitem(last=False)
        if what in self._seen:
            return False
        self._seen[what] = now_s
        return True
