"""How many sends are under way: the quick ones, those that take long, and those of sinks in trouble each have room.

A send begins among the quick ones. One that takes long gives its slot back and goes on among the slow ones, where there
is room, so that sinks which hang for the first time, many at one moment, hold up those that answer for no longer than
that. No clock, no I/O but a timer of the event loop.

Shape: at any time at most ``at_once`` quick, ``slow`` slow and ``failing`` failing sends are under way.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

SLOW_AFTER_S: Final = 2.0
"""When a send counts as slow. Collecting takes two seconds; with two more, a sink that answers is less than five
behind, and hardly a receiver that is well takes as long. Units: seconds."""


class _Send:
    """A send among the quick ones, until it is ``slow``."""

    __slots__ = ("slow",)

    def __init__(self) -> None:
        self.slow = False


class SendSlots:
    """The room that there is. Owner: the event loop. A slot is taken with ``async with slots.taken(...)``."""

    def __init__(self, *, at_once: int, slow: int, failing: int, slow_after_s: float = SLOW_AFTER_S) -> None:
        self._quick: Final = asyncio.Semaphore(at_once)
        self._failing: Final = asyncio.Semaphore(failing)
        self._slow_room: Final = slow
        self._slow_after_s: Final = slow_after_s
        self._late: Final[OrderedDict[_Send, None]] = OrderedDict()
        self.quick = 0
        self.slow = 0
        self.failing = 0

    @asynccontextmanager
    async def taken(self, *, failing: bool) -> AsyncIterator[None]:
        """Wait for a slot, and hold one while the block lasts. ``failing``: the last send to this sink failed."""
        if failing:
            async with self._failing:
                self.failing += 1
                try:
                    yield
                finally:
                    self.failing -= 1
            return
        await self._quick.acquire()
        self.quick += 1
        send = _Send()
        timer = asyncio.get_running_loop().call_later(self._slow_after_s, self._is_late, send)
        try:
            yield
        finally:
            timer.cancel()
            self._end(send)

    def _is_late(self, send: _Send) -> None:
        self._late[send] = None
        self._move()

    def _move(self) -> None:
        """Let those that are late longest go on among the slow ones, as far as there is room."""
        while self._late and self.slow < self._slow_room:
            send, _ = self._late.popitem(last=False)
            send.slow = True
            self.slow += 1
            self._leave_quick()

    def _end(self, send: _Send) -> None:
        if send.slow:
            self.slow -= 1
            self._move()
        else:
            self._late.pop(send, None)
            self._leave_quick()

    def _leave_quick(self) -> None:
        self.quick -= 1
        self._quick.release()
