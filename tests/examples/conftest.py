"""One real proxy for all examples."""

from collections.abc import Iterator

import pytest

from tenant_security.testing.proxies import TENANTS, RunningProxy, Use
from tenant_security.testing.proxy_threads import proxy_in_thread


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    """A real proxy."""
    tenants = {**TENANTS, "tenant-aws": (Use(512),)}
    with proxy_in_thread(tmp_path_factory.mktemp("proxy"), tenants) as proxy:
        yield proxy
