"""A clock that moves only when a test says so."""

import asyncio
import heapq
import itertools

_TURNS = 20
"""How often the event loop gets a turn after somebody was woken: enough for what follows without waiting for I/O."""


class SteppingClock:
    """Monotonic seconds, Unix milliseconds and a sleep, all moved by hand.

    The clock itself is the monotonic one: pass it wherever a ``clock: Callable[[], float]`` is wanted, and
    :meth:`unix_s`, :meth:`unix_ms` and :meth:`sleep` where those are.
    """

    def __init__(self, *, at_s: float = 1_000.0, unix_ms: int = 1_795_512_600_000) -> None:
        self._now_s = at_s
        self._unix_ms = unix_ms - round(at_s * 1000)
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        """Monotonic seconds."""
        return self._now_s

    def unix_s(self) -> float:
        """Unix seconds."""
        return self.unix_ms() / 1000

    def unix_ms(self) -> int:
        """Unix milliseconds."""
        return self._unix_ms + round(self._now_s * 1000)

    @property
    def sleepers(self) -> int:
        """How many tasks sleep on this clock."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        """Sleep until the clock was stepped past the end."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_s + seconds, next(self._order), future))
        if seconds <= 0:
            self._wake()
        await future

    def advance(self, seconds: float) -> None:
        """Move on at once. Tasks whose sleep ended run when the event loop gets its next turn."""
        if seconds < 0:
            raise ValueError("a monotonic clock does not go back")
        self._now_s += seconds
        self._wake()

    async def step(self, seconds: float) -> None:
        """Move on from sleeper to sleeper, so that each wakes at its own moment and may sleep again."""
        end = self._now_s + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self.advance(max(0.0, self._sleepers[0][0] - self._now_s))
            await settle()
        self.advance(end - self._now_s)
        await settle()

    def _wake(self) -> None:
        while self._sleepers and self._sleepers[0][0] <= self._now_s:
            _, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)


async def settle() -> None:
    """Let every task that can run without I/O do so."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
