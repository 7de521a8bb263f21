"""Fixtures for the tests of applications; pytest finds them where this distribution is installed.

def test_a_customer_is_stored_encrypted(tenant_security_client):
store = CustomerStore(tenant_security_client)
...
"""

from collections.abc import Iterator

import pytest

from tenant_security.client import AsyncTenantSecurityClient, TenantSecurityClient
from tenant_security.testing.memory_proxy import MemoryProxy


@pytest.fixture
def tenant_security_proxy() -> MemoryProxy:
    """A Tenant Security Proxy in memory, new for each test. Every tenant exists."""
    return MemoryProxy()


@pytest.fixture
def tenant_security_client(tenant_security_proxy: MemoryProxy) -> Iterator[TenantSecurityClient]:
    """A client of that proxy."""
    with tenant_security_proxy.client() as client:
        yield client


@pytest.fixture
def async_tenant_security_client(tenant_security_proxy: MemoryProxy) -> AsyncTenantSecurityClient:
    """An asynchronous client of that proxy."""
    return tenant_security_proxy.async_client()
