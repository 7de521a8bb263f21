"""The two proxies that every promise of the client is held against: the real one, and the one in memory."""

from collections.abc import Iterator

import pytest

from tenant_security.client import Metadata, TenantSecurityClient
from tenant_security.testing.memory_proxy import MemoryProxy
from tenant_security.testing.proxies import TENANTS, RunningProxy, Use
from tenant_security.testing.proxy_threads import proxy_in_thread

REAL = {**TENANTS, "tenant-aws": (Use(512),)}


@pytest.fixture(scope="session")
def real_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    """The real proxy."""
    with proxy_in_thread(tmp_path_factory.mktemp("proxy"), REAL) as proxy:
        yield proxy


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
