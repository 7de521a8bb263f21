"""TLS towards the proxy: certificates are believed or not, and ours is shown where the proxy asks for one."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from tenant_security.client import (
    AsyncTenantSecurityClient,
    Metadata,
    RetryPolicy,
    TenantSecurityClient,
    UnreachableProxyError,
    tls_context,
)
from tenant_security.outbound.flow import Request, Response
from tenant_security.testing.memory_proxy import API_KEY, URL, MemoryProxy

MINE = Metadata("acme", requesting_id="r")
ONCE = RetryPolicy(repetitions=0)


class Place(NamedTuple):
    url: str
    authorities: Path
    certificate: Path


class Handler(BaseHTTPRequestHandler):
    proxy = MemoryProxy()
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = (("Authorization", self.headers["Authorization"]),)
        answer = self.proxy.answer(Request("POST", URL + self.path, headers, body))
        assert isinstance(answer, Response)
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """Handshakes that are refused are what is tested."""


@pytest.fixture(params=[False, True], ids=["tls", "mutual tls"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, bool]]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    if request.param:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    authorities, certificate = tmp_path / "ca.pem", tmp_path / "client.pem"
    authority.cert_pem.write_to_path(authorities)
    authority.issue_cert("application").private_key_and_cert_chain_pem.write_to_path(certificate)
    server = Quiet(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Place(f"https://localhost:{server.server_port}", authorities, certificate), request.param
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def round_trip(url: str, tls: ssl.SSLContext | None) -> None:
    with TenantSecurityClient(url, API_KEY, tls=tls, retry=ONCE) as client:
        assert client.decrypt(client.encrypt({"a": b"1"}, MINE), MINE) == {"a": b"1"}


async def asynchronous_round_trip(url: str, tls: ssl.SSLContext | None) -> None:
    async with AsyncTenantSecurityClient(url, API_KEY, tls=tls, retry=ONCE) as client:
        assert await client.decrypt(await client.encrypt({"a": b"1"}, MINE), MINE) == {"a": b"1"}


def test_the_synchronous_client_believes_whom_it_is_told_to(place):
    (where, mutual) = place
    with pytest.raises(UnreachableProxyError, match="certificate"):
        round_trip(where.url, None)
    plain = tls_context(authorities=where.authorities)
    if mutual:
        with pytest.raises(UnreachableProxyError):
            round_trip(where.url, plain)
    else:
        round_trip(where.url, plain)
    round_trip(where.url, tls_context(authorities=where.authorities, certificate=where.certificate))
    with pytest.raises(UnreachableProxyError):
        round_trip(where.url.replace("localhost", "127.0.0.1"), plain)


async def test_the_asynchronous_client_believes_whom_it_is_told_to(place):
    (where, mutual) = place
    with pytest.raises(UnreachableProxyError, match="certificate"):
        await asynchronous_round_trip(where.url, None)
    plain = tls_context(authorities=where.authorities)
    if mutual:
        with pytest.raises(UnreachableProxyError):
            await asynchronous_round_trip(where.url, plain)
    else:
        await asynchronous_round_trip(where.url, plain)
    known = tls_context(authorities=where.authorities, certificate=where.certificate)
    await asynchronous_round_trip(where.url, known)
