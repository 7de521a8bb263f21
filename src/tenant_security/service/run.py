"""How a daemon lives: tasks in one group, signals, and a stop that loses nothing."""

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from tenant_security.errors import SettingsError

EXIT_SETTINGS = 78
"""The exit code of a daemon whose settings are wrong (EX_CONFIG), so that a supervisor does not restart it blindly."""


_COLLECT_SELDOM = (2_000, 100, 100)
"""The garbage collector's thresholds for a daemon. Nearly everything dies by its reference count; with the defaults the
collector walks all that is in flight again and again, and thousands of waiting requests make every other one late. The
youngest generation stays small, because its collection is a pause in everybody's request."""


class Signals:
    """Turns SIGTERM and SIGINT into events, and SIGHUP into a call.

    ``stop`` is set by the first SIGTERM or SIGINT, ``hurry`` by the second: stop at once, without waiting for anybody.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.replaced = False
        """Whether another process serves on the same listening socket, so that a stop need not accept any longer."""
        self.hurry = asyncio.Event()

    def install(self, on_hangup: Callable[[], object] | None = None) -> None:
        """Take the signals over."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stop)
        if on_hangup is not None:
            loop.add_signal_handler(signal.SIGHUP, on_hangup)

    def _stop(self) -> None:
        (self.hurry if self.stop.is_set() else self.stop).set()


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


def allow_open_files() -> None:
    """Raise the soft limit of open files to the hard one: a thousand, the usual soft limit, is few connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # some systems have a lower limit that cannot be asked for
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def run_daemon(main: Callable[[], Awaitable[None]]) -> None:
    """Run a daemon on uvloop to its end; print settings problems and leave with :data:`EXIT_SETTINGS`."""
    allow_open_files()
    gc.set_threshold(*_COLLECT_SELDOM)
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
