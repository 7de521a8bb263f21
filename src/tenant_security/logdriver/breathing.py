"""A list that lets other threads have a turn while a thread walks through it.

Python lets one thread run at a time, and one that computes gives way after five milliseconds only. The event loop asks
for its turn at every step, so that beside such a thread each of its steps takes five milliseconds. Here the thread
gives way by itself about every millisecond: measured, a step then takes one, and the work a tenth longer.
"""

import time
from collections.abc import Iterator
from typing import Final, TypeVar

T = TypeVar("T")

_EVERY: Final = 20
"""Events: a millisecond's work, where they are rendered."""
_PAUSE_S: Final = 0.00005
"""Long enough for a thread that waits to wake up."""


class Breathing(list[T]):
    """For work in a thread. Iterating pauses now and then; all else is a list's."""

    def __iter__(self) -> Iterator[T]:
        for number, each in enumerate(super().__iter__(), start=1):
            yield each
            if number % _EVERY == 0:
                time.sleep(_PAUSE_S)
