"""How a daemon lives: tasks in one group, signals, and a stop that loses nothing."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tenant_security.errors import SettingsError

EXIT_SETTINGS = 78
"""The exit code of a daemon whose settings are wrong (EX_CONFIG), so that a supervisor does not restart it blindly."""


class Signals:
    """Turns SIGTERM and SIGINT into one event, and SIGHUP into a call."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self._again: list[Callable[[], None]] = []

    def install(self, on_hangup: Callable[[], object] | None = None) -> None:
        """Take the signals over. A second SIGINT or SIGTERM stops at once, without waiting for anybody."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop)
        if on_hangup is not None:
            loop.add_signal_handler(signal.SIGHUP, on_hangup)

    def _stop(self) -> None:
        if self.stop.is_set():
            for each in self._again:
                each()
        self.stop.set()

    def when_asked_again(self, hurry: Callable[[], None]) -> None:
        """Register what to do when somebody asks a second time."""
        self._again.append(hurry)


async def until(event: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event, whichever comes first."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


class Background:
    """Where tasks are born that outlive the request that asked for them. They end with the daemon."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start one. The work handles its own faults: an exception that escapes stops the daemon."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def cancel(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()


def run_daemon(main: Callable[[], Awaitable[None]]) -> None:
    """Run a daemon on uvloop to its end; print settings problems and leave with :data:`EXIT_SETTINGS`."""
    try:
        import uvloop  # noqa: PLC0415 - does not exist on every platform

        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    except ModuleNotFoundError:
        runner = asyncio.Runner()

    async def body() -> None:
        await main()

    try:
        with runner:
            runner.run(body())
    except* SettingsError as group:
        for wrong in group.exceptions:
            for problem in wrong.problems if isinstance(wrong, SettingsError) else [str(wrong)]:
                sys.stderr.write(f"error: {problem}\n")
        sys.exit(EXIT_SETTINGS)
