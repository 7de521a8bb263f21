"""Fixtures for the tests of applications; pytest finds them where this distribution is installed.

    def test_a_customer_is_stored_encrypted(tenant_security_client):
        store = CustomerStore(tenant_security_client)
        ...

pytest loads this in every run, so what it needs is imported when a fixture is asked for.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tenant_security.client import AsyncTenantSecurityClient, TenantSecurityClient
    from tenant_security.testing.memory_proxy import MemoryProxy


@pytest.fixture
def tenant_security_proxy() -> "MemoryProxy":
    """A Tenant Security Proxy in memory, new for each test. Every tenant exists."""
    from tenant_security.testing.memory_proxy import MemoryProxy  # noqa: PLC0415 - see above

    return MemoryProxy()


@pytest.fixture
def tenant_security_client(tenant_security_proxy: "MemoryProxy") -> "Iterator[TenantSecurityClient]":
    """A client of that proxy."""
    with tenant_security_proxy.client() as client:
        yield client


@pytest.fixture
def async_tenant_security_client(tenant_security_proxy: "MemoryProxy") -> "AsyncTenantSecurityClient":
    """An asynchronous client of that proxy."""
    return tenant_security_proxy.async_client()
