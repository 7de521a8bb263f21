"""Knows events that come twice: those of batches whose acknowledgement may not have arrived.

Only these are remembered, so the usual case costs nothing: a batch that was acknowledged is never lent again.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from tenant_security.wire.stored_events import Incoming

MOST: Final = 200_000


class Repeats:
    """Ids of events that are stored and may come again. The oldest go when there are too many."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most // 2
        self._newer: set[str] = set()
        self._older: set[str] = set()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)

    def remember(self, ids: Iterable[str]) -> None:
        """These may come again."""
        for each in ids:
            if len(self._newer) >= self._most:
                self._older, self._newer = self._newer, set()
            self._newer.add(each)

    def fresh(self, events: Sequence[Incoming]) -> Sequence[Incoming]:
        """Leave out what is stored already."""
        if not self._newer and not self._older:
            return events
        kept = [each for each in events if each.event_id not in self._newer and each.event_id not in self._older]
        self.dropped += len(events) - len(kept)
        return kept
