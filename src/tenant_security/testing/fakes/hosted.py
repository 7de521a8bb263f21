"""A fake in a thread of its own: for synchronous tests, for vendors' synchronous SDKs, and for the demo."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from tenant_security.testing.fakes.server import FakeServer

Fake = TypeVar("Fake", bound=FakeServer)

_WITHIN_S: Final = 30.0


@contextmanager
def hosted(
    make: Callable[[], Fake], new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> Iterator[Fake]:
    """Run a fake on an event loop in another thread until the block ends.

    What a test reads and changes of it are single attributes; the fake answers between two of its own steps.

    Raises: whatever starting it raises.
    """
    fake = make()
    ready = threading.Event()
    failures: list[BaseException] = []
    loop = new_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with fake:
            ready.set()
            await stop.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except BaseException as failure:  # noqa: BLE001 - it is raised where the block begins
            failures.append(failure)
        finally:
            ready.set()

    thread = threading.Thread(target=run, name=f"fake-{make.__name__}", daemon=True)
    thread.start()
    try:
        if not ready.wait(_WITHIN_S):
            raise TimeoutError("the fake did not start")
        if failures:
            raise failures[0]
        yield fake
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(stop.set)
        thread.join(_WITHIN_S)
