"""The two proxies that every promise of the client is held against: the real one, and the one in memory."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tenant_security.client import Metadata, TenantSecurityClient
from tenant_security.testing.memory_proxy import MemoryProxy
from tenant_security.testing.proxies import TENANTS, RunningProxy, Use, running_proxy

REAL = {**TENANTS, "tenant-aws": (Use(512),)}


@pytest.fixture(scope="session")
def real_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    """The real proxy, in an event loop and a thread of its own."""
    started, stop = threading.Event(), threading.Event()
    held: list[RunningProxy] = []

    async def serve() -> None:
        async with running_proxy(tmp_path_factory.mktemp("proxy"), REAL) as proxy:
            held.append(proxy)
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
    assert not thread.is_alive()


@pytest.fixture
def memory() -> MemoryProxy:
    return MemoryProxy()


@pytest.fixture
def real(real_proxy: RunningProxy) -> Iterator[TenantSecurityClient]:
    with TenantSecurityClient(real_proxy.api_url, real_proxy.api_key, allow_insecure_http=True) as client:
        yield client


@pytest.fixture(params=["real", "memory"])
def client(request: pytest.FixtureRequest) -> Iterator[TenantSecurityClient]:
    if request.param == "real":
        yield request.getfixturevalue("real")
        return
    with request.getfixturevalue("memory").client() as client:
        yield client


@pytest.fixture
def mine() -> Metadata:
    return Metadata("tenant-gcp-l", requesting_id="user-1")


@pytest.fixture
def theirs() -> Metadata:
    return Metadata("tenant-gcp", requesting_id="user-2")
