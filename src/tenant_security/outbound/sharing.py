"""Values that many flows share, such as access tokens: made once for all who wait, kept while they are fresh.

A value that is usable for longer than it is fresh is made anew in the background, ahead of its end, while the old one
is still handed out: so nobody waits for the new one, and a short outage of who makes it is not noticed.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

from tenant_security.errors import TenantSecurityError
from tenant_security.outbound.flow import Flow, Lasting, Reason, UnreachableError

Make = Callable[[], Flow[Lasting[object]]]

_ASK_AGAIN_S: Final = 10.0
"""How long after a failed renewal the next one begins, at the earliest."""


class Holding:
    """A value as it was handed out. Compared by identity: a value made anew is another holding."""

    __slots__ = ("renew_at", "usable_until", "value")

    def __init__(self, value: object, renew_at: float, usable_until: float) -> None:
        self.value = value
        self.renew_at = renew_at
        self.usable_until = usable_until


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
            now = self._clock()
            if now < kept.usable_until:
                self._kept.move_to_end(key)
                if now >= kept.renew_at:
                    self._made(key, make)
                return kept
            del self._kept[key]
        making = self._made(key, make)
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

    def _made(self, key: Hashable, make: Make) -> "asyncio.Task[Holding]":
        """Return the task that makes a value, begun now unless it is under way."""
        making = self._making.get(key)
        if making is None:
            making = asyncio.get_running_loop().create_task(self._make(key, make))
            making.add_done_callback(_seen)
            self._making[key] = making
        return making

    async def _make(self, key: Hashable, make: Make) -> Holding:
        replaced = self._kept.get(key)
        try:
            lasting = await self._run(make)
        except Exception as fault:
            if replaced is not None:
                self._not_renewed(key, replaced, fault)
            raise
        else:
            now = self._clock()
            usable_s = max(lasting.fresh_s, lasting.usable_s)
            holding = Holding(lasting.value, now + lasting.fresh_s, now + usable_s)
            if lasting.fresh_s > 0:
                self._kept[key] = holding
                while len(self._kept) > self._keep:
                    self._kept.popitem(last=False)
            return holding
        finally:
            # A task that is cancelled before its first step never gets here; only close() does that.
            self._making.pop(key, None)

    def _not_renewed(self, key: Hashable, holding: Holding, fault: Exception) -> None:
        """Keep what there is for some more, unless whoever makes it says that it is over."""
        holding.renew_at = self._clock() + _ASK_AGAIN_S
        if isinstance(fault, TenantSecurityError) and not fault.retryable and self._kept.get(key) is holding:
            del self._kept[key]


def _seen(task: "asyncio.Task[Holding]") -> None:
    """Look at the fault of a value that nobody waits for any more, so that the loop does not complain of it."""
    if not task.cancelled():
        task.exception()
