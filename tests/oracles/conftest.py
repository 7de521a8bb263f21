"""Vendors' own libraries as judges: each fake is driven by the client that knows the real service."""

import socket
from collections.abc import Callable

import pytest
import urllib3

from tenant_security.testing.fakes.server import FakeServer


@pytest.fixture
def dialled(monkeypatch, tmp_path) -> Callable[[FakeServer], None]:
    """Let libraries that stand on urllib3 find a fake under the real names, and trust it alone."""

    def to(fake: FakeServer) -> None:
        connect = urllib3.util.connection.create_connection

        def create(address: tuple[str, int], *args: object, **kwargs: object) -> socket.socket:
            found = address if address[0] == "127.0.0.1" else fake.found(address[0])
            assert found is not None, f"{address[0]} is none of the fake's names"
            return connect(found, *args, **kwargs)

        authority = tmp_path / "authority.pem"
        authority.write_bytes(fake.authority_pem)
        monkeypatch.setattr(urllib3.util.connection, "create_connection", create)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))

    return to
