"""The real proxy in a thread of its own, for tests that are not asynchronous."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tenant_security.testing.proxies import TENANTS, RunningProxy, Use, running_proxy

_WITHIN_S: Final = 60.0


@contextmanager
def proxy_in_thread(state_dir: Path, tenants: Mapping[str, tuple[Use, ...]] = TENANTS) -> Iterator[RunningProxy]:
    """Run a proxy beside the test while the block lasts. Only its addresses are for the test's own thread."""
    started, stop = threading.Event(), threading.Event()
    held: list[RunningProxy] = []

    async def serve() -> None:
        try:
            async with running_proxy(state_dir, tenants) as proxy:
                held.append(proxy)
                started.set()
                await asyncio.to_thread(stop.wait)
        finally:
            started.set()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="proxy")
    thread.start()
    try:
        if not started.wait(_WITHIN_S) or not held:
            raise RuntimeError("the proxy did not start; its own output says why")
        yield held[0]
    finally:
        stop.set()
        thread.join(_WITHIN_S)
