"""One maker for many who wait: the first caller starts the work, everybody gets its result or its fault."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Runs at most one piece of work per key at a time.

    The work runs in a task of its own, so a caller that goes away takes nobody else with it.
    """

    def __init__(self, start: Callable[[Coroutine[Any, Any, None]], object]) -> None:
        self._start = start
        self._flying: dict[K, asyncio.Future[T]] = {}

    def __len__(self) -> int:
        return len(self._flying)

    def flying(self, key: K) -> bool:
        """Whether work for this key is under way."""
        return key in self._flying

    async def get(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Join the work under way for this key, or start it."""
        return await asyncio.shield(self.launch(key, work))

    def launch(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Start the work for this key unless it is under way, without waiting for it."""
        future = self._flying.get(key)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            # A fault that nobody is left to hear of is not an error of the program.
            future.add_done_callback(lambda done: None if done.cancelled() else done.exception() and None)
            self._flying[key] = future
            self._start(self._run(key, work, future))
        return future

    async def _run(self, key: K, work: Callable[[], Coroutine[Any, Any, T]], future: asyncio.Future[T]) -> None:
        try:
            result = await work()
        except asyncio.CancelledError:
            future.cancel()
            raise
        except Exception as fault:  # noqa: BLE001 - every fault belongs to those who wait
            future.set_exception(fault)
        else:
            future.set_result(result)
        finally:
            self._flying.pop(key, None)
