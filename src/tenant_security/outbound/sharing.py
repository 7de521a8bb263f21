"""Values that many flows share, such as access tokens: made once for all who wait, kept while they are fresh."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import NamedTuple

from tenant_security.outbound.flow import Flow, Lasting, Reason, UnreachableError

Make = Callable[[], Flow[Lasting[object]]]


class Holding(NamedTuple):
    """A value as it was handed out. Compared by identity: a value made anew is another holding."""

    value: object
    fresh_until: float


class SharedValues:
    """Makes each value once, however many wait for it, and keeps at most ``keep`` of them.

    A value is made in a task of its own, so whoever asked first may leave without failing the others. A fault goes to
    all who wait for it and is not kept: the next to ask tries again.

    Owner: the driver.
    """

    def __init__(
        self,
        run: Callable[[Make], Awaitable[Lasting[object]]],
        *,
        keep: int,
        clock: Callable[[], float],
    ) -> None:
        self._run = run
        self._keep = keep
        self._clock = clock
        self._kept: OrderedDict[Hashable, Holding] = OrderedDict()
        self._making: dict[Hashable, asyncio.Task[Holding]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: Hashable, make: Make, wait_s: float) -> Holding | BaseException:
        """Return the value, or the fault that making it ended in."""
        kept = self._kept.get(key)
        if kept is not None:
            if self._clock() < kept.fresh_until:
                self._kept.move_to_end(key)
                return kept
            del self._kept[key]
        making = self._making.get(key)
        if making is None:
            making = asyncio.get_running_loop().create_task(self._make(key, make))
            making.add_done_callback(_seen)
            self._making[key] = making
        await asyncio.wait((making,), timeout=max(0.0, wait_s))
        if not making.done():
            return UnreachableError(Reason.TIMEOUT)
        if making.cancelled():
            return UnreachableError(Reason.CONNECT)
        fault = making.exception()
        # One fault is raised in many places; without this every one of them would add to its traceback.
        return making.result() if fault is None else fault.with_traceback(None)

    def forget(self, key: Hashable, holding: Holding | None) -> None:
        """Drop a refused value; one that was made anew in the meantime stays."""
        if holding is None or self._kept.get(key) is holding:
            self._kept.pop(key, None)

    async def close(self) -> None:
        """Cancel what is being made and drop what is kept."""
        making = list(self._making.values())
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)
        self._kept.clear()

    async def _make(self, key: Hashable, make: Make) -> Holding:
        try:
            lasting = await self._run(make)
            holding = Holding(lasting.value, self._clock() + lasting.fresh_s)
            if lasting.fresh_s > 0:
                self._kept[key] = holding
                while len(self._kept) > self._keep:
                    self._kept.popitem(last=False)
            return holding
        finally:
            # A task that is cancelled before its first step never gets here; only close() does that.
            self._making.pop(key, None)


def _seen(task: "asyncio.Task[Holding]") -> None:
    """Look at the fault of a value that nobody waits for any more, so that the loop does not complain of it."""
    if not task.cancelled():
        task.exception()
