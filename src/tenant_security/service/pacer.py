"""Lets so many through in one turn of the event loop and the rest in the next ones, in order.

Thousands of requests that become ready together would otherwise all take their first step in one turn, seconds long,
in which nobody else is served: no probe, no other tenant, no hot request.
"""

import asyncio
from collections import deque
from typing import Final

PER_TURN: Final = 4
"""Units: requests. At about 0.3 ms each, a turn takes little more than 1 ms."""


class Pacer:
    """Owner: the event loop. Costs nothing to speak of while fewer than ``per_turn`` ask in one turn."""

    def __init__(self, per_turn: int = PER_TURN) -> None:
        self._per_turn = per_turn
        self._left = per_turn
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._armed = False

    def __len__(self) -> int:
        return len(self._waiting)

    async def turn(self) -> None:
        """Go on at once while there is room in this turn, else in the first one that has room."""
        loop = asyncio.get_running_loop()
        if not self._armed:
            self._armed = True
            loop.call_soon(self._next)
        if self._left > 0 and not self._waiting:
            self._left -= 1
            return
        future = loop.create_future()
        self._waiting.append(future)
        await future

    def _next(self) -> None:
        self._left = self._per_turn
        while self._waiting and self._left > 0:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                self._left -= 1
        self._armed = bool(self._waiting)
        if self._armed:
            asyncio.get_running_loop().call_soon(self._next)
