"""Where events wait for a logdriver: bounded, in memory, every event that did not fit counted.

Operations never wait for it. When it is full the newest event is dropped: the sequence number it was given stays
unused, so the tenant sees a gap, and the count tells the operator.
"""

import asyncio
from collections import deque
from collections.abc import Sized
from operator import attrgetter
from typing import Final, NamedTuple, Protocol

from tenant_security.wire.events import EventRecord, native_json

_SERIAL: Final = attrgetter("serial")


class Batch(NamedTuple):
    """Events handed out together, to be acknowledged by the number."""

    number: int
    events: tuple[EventRecord, ...]

    def lines(self) -> list[bytes]:
        """The events in the native form."""
        return [native_json(each) for each in self.events]


class LentBatch(Protocol):
    """A batch of whatever outbox."""

    @property
    def number(self) -> int:
        """What to acknowledge."""

    @property
    def events(self) -> Sized:
        """What is in it."""

    def lines(self) -> list[bytes]:
        """The events in the native form."""


class EventQueue(Protocol):
    """What holds events until a logdriver has them: in memory here, on disk in ``disk_outbox``."""

    capacity: int
    dropped: int

    def __len__(self) -> int:
        """How many wait, those that are lent included."""

    def add(self, event: EventRecord) -> bool:
        """Take an event, unless there is no room."""

    async def lend(self, most: int) -> LentBatch:
        """Wait for an event and hand out up to so many."""

    async def filled(self) -> None:
        """Wait until there is an event to hand out, or until it is closed."""

    @property
    def served(self) -> bool:
        """Whether anybody has ever fetched events."""

    async def emptied(self, wait_s: float, hurry: asyncio.Event | None = None) -> int:
        """Wait until every event is acknowledged, at most this long. Returns how many stay."""

    def close(self) -> None:
        """Let everybody who waits for events go."""

    def acknowledge(self, number: int) -> bool:
        """Forget a batch. False when it is not lent."""

    def take_back(self, number: int) -> None:
        """Put a batch that was not acknowledged back."""


class Outbox:
    """A queue that hands out batches and takes them back unless they are acknowledged.

    Owner: the event loop's thread. ``dropped`` counts events that found it full.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.dropped = 0
        self._waiting: deque[EventRecord] = deque()
        self._lent: dict[int, tuple[EventRecord, ...]] = {}
        self._lent_events = 0
        self._numbers = 0
        self._closed = False
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting) + self._lent_events

    def add(self, event: EventRecord) -> bool:
        """Take an event, unless the outbox is full."""
        waiting = self._waiting
        if len(waiting) + self._lent_events >= self.capacity:
            self.dropped += 1
            return False
        if not waiting:
            self._filled.set()
        waiting.append(event)
        return True

    async def lend(self, most: int) -> Batch:
        """Wait until there is an event and hand out up to this many, oldest first; none once it is closed and empty."""
        await self.filled()
        events = tuple(self._waiting.popleft() for _ in range(min(most, len(self._waiting))))
        self._numbers += 1
        if not events:
            return Batch(self._numbers, events)
        self._lent[self._numbers] = events
        self._lent_events += len(events)
        return Batch(self._numbers, events)

    async def filled(self) -> None:
        """Wait until there is an event to hand out, or until it is closed."""
        while not self._waiting and not self._closed:
            self._filled.clear()
            await self._filled.wait()

    @property
    def served(self) -> bool:
        """Whether anybody has ever fetched events, so that waiting for them to leave makes sense."""
        return self._numbers > 0

    async def emptied(self, wait_s: float, hurry: asyncio.Event | None = None) -> int:
        """Wait until every event is acknowledged, at most this long or until told to hurry. Returns how many stay."""
        return await wait_until_empty(self, wait_s, hurry)

    def close(self) -> None:
        """Let everybody who waits for events go."""
        self._closed = True
        self._filled.set()

    def acknowledge(self, number: int) -> bool:
        """Forget a batch: somebody else has it safe. False when it is not lent (any more)."""
        events = self._lent.pop(number, None)
        if events is None:
            return False
        self._lent_events -= len(events)
        return True

    def take_back(self, number: int) -> None:
        """Put a batch that was not acknowledged back where it stood."""
        events = self._lent.pop(number, None)
        if events is not None:
            self._lent_events -= len(events)
            # Two runs, each in order: sorting is a merge. Two batches may come back in either order.
            self._waiting = deque(sorted((*events, *self._waiting), key=_SERIAL))
            self._filled.set()


async def wait_until_empty(queue: Sized, wait_s: float, hurry: asyncio.Event | None) -> int:
    """Wait until nothing is in a queue, at most this long or until told to hurry. Returns how many stay."""
    deadline = asyncio.get_running_loop().time() + wait_s
    while len(queue) and not (hurry and hurry.is_set()) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    return len(queue)
