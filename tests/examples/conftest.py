"""One real proxy for all examples."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tenant_security.testing.proxies import TENANTS, RunningProxy, Use, running_proxy


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    """A real proxy, in an event loop and a thread of its own."""
    started, stop = threading.Event(), threading.Event()
    held: list[RunningProxy] = []

    async def serve() -> None:
        tenants = {**TENANTS, "tenant-aws": (Use(512),)}
        async with running_proxy(tmp_path_factory.mktemp("proxy"), tenants) as running:
            held.append(running)
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(60)
        yield held[0]
    finally:
        stop.set()
        thread.join(60)
