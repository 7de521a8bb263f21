"""The fixtures of an application's tests: found by pytest, fast, and without a network."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

TESTS = """
import socket

import pytest

from tenant_security.client import KmsError, Metadata
from tenant_security.outbound.flow import Reason

MINE = Metadata("acme", requesting_id="test")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_documents(tenant_security_client, tenant_security_proxy):
    encrypted = tenant_security_client.encrypt({"a": b"1"}, MINE)
    assert tenant_security_client.decrypt(encrypted, MINE) == {"a": b"1"}
    assert [call.operation for call in tenant_security_proxy.calls] == ["document/wrap", "document/unwrap"]
    tenant_security_proxy.refuse("acme")
    with pytest.raises(KmsError):
        tenant_security_client.decrypt(encrypted, MINE)
    tenant_security_proxy.restore("acme")
    tenant_security_proxy.fail_next(Reason.RESET)
    assert tenant_security_client.decrypt(encrypted, MINE) == {"a": b"1"}
    assert len(tenant_security_proxy.pauses) == 1


def test_each_test_has_a_proxy_of_its_own(tenant_security_proxy):
    assert tenant_security_proxy.calls == []


def test_asynchronous(async_tenant_security_client):
    import asyncio

    async def main():
        encrypted = await async_tenant_security_client.encrypt({"a": b"1"}, MINE)
        return await async_tenant_security_client.decrypt(encrypted, MINE)

    assert asyncio.run(main()) == {"a": b"1"}
"""


def test_pytest_finds_the_plugin_where_the_distribution_is_installed():
    found = {each.name: each.value for each in entry_points(group="pytest11")}
    assert found["tenant_security"] == "tenant_security.testing.pytest_plugin"


def test_an_applications_tests_run_with_the_fixtures(tmp_path: Path):
    (tmp_path / "test_application.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tenant_security.testing.pytest_plugin", tmp_path],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
