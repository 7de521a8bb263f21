"""An event loop whose clock steps: whenever nothing is left to do, it is the time at which something is due.

An hour passes at once and exactly. For code that waits by timers and threads; time stands still while a thread works.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class SteppingLoop(asyncio.SelectorEventLoop):
    """The loop. ``time`` starts at 0."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.threads = 0
        super().__init__(_Stepping(self))

    def time(self) -> float:
        return self.now_s

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = super().run_in_executor(executor, func, *args)
        self.threads += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _future: object) -> None:
        self.threads -= 1


class _Stepping(selectors.DefaultSelector):
    """Waits for what happens outside; where nothing can, it moves the clock instead."""

    def __init__(self, loop: SteppingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._loop.threads or timeout is None:
            return super().select(timeout if timeout == 0 else None)
        found = super().select(0)
        if not found:
            self._loop.now_s += timeout
        return found


def run_stepping(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end on such a loop."""
    with asyncio.Runner(loop_factory=SteppingLoop) as runner:
        runner.run(main)
