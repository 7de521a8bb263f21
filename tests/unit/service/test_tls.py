"""TLS on a daemon's ports, with real certificates and real connections."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from tenant_security.errors import SettingsError
from tenant_security.service.fair_accept import Share, make_board
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer, bind
from tenant_security.service.logs import configure_logs
from tenant_security.service.settings import Address
from tenant_security.service.tls import OwnTls, TlsFiles, names, names_of, tls_files


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


class Place:
    """Certificates on disk, and a server that uses them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.clients = trustme.CA()
        self.files = TlsFiles(directory / "cert.pem", directory / "key.pem")
        self.issue()
        self.log = io.BytesIO()

    def issue(self, authority: trustme.CA | None = None) -> None:
        made = (authority or self.authority).issue_cert("localhost", "127.0.0.1")
        self.files.certificate.write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
        self.files.key.write_bytes(made.private_key_pem.bytes())

    def mutual(self) -> None:
        path = self.directory / "clients.pem"
        self.clients.cert_pem.write_to_path(str(path))
        self.files = self.files._replace(client_authorities=path)

    def trusting(
        self, *client_names: str, authority: trustme.CA | None = None, clients: trustme.CA | None = None
    ) -> ssl.SSLContext:
        context = ssl.create_default_context()
        (authority or self.authority).configure_trust(context)
        if client_names:
            (clients or self.clients).issue_cert(*client_names).configure_cert(context)
        return context

    def serve(self, share: Share | None = None, allowed: frozenset[str] = frozenset()) -> HttpServer:
        listener = bind(Address("127.0.0.1", 0), "TEST")
        self.own = OwnTls(self.files, configure_logs("test", 20, self.log))
        made = HttpServer(hello, listener, EdgeLimits(), share=share, tls=self.own.context, client_names=allowed)
        self.own.renews(made.use_tls)
        return made


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
async def server(place: Place, request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Any]]:
    started: list[HttpServer] = []

    async def start(allowed: frozenset[str] = frozenset()) -> HttpServer:
        share = Share(make_board(), 0) if request.param else None
        made = place.serve(share, allowed)
        await made.start()
        started.append(made)
        return made

    yield start
    for each in started:
        await each.stop(1.0)


async def get(server: HttpServer, context: ssl.SSLContext, scheme: str = "https") -> tuple[int, str]:
    url = f"{scheme}://127.0.0.1:{server.port}/"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as response:
        return response.status, await response.text()


async def test_it_speaks_https_and_nothing_else(place: Place, server: Any) -> None:
    running = await server()
    assert await get(running, place.trusting()) == (200, "hello")
    with pytest.raises(aiohttp.ClientError):
        await get(running, place.trusting(), "http")
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await get(running, ssl.create_default_context())
    assert await get(running, place.trusting()) == (200, "hello")


def test_old_versions_are_not_spoken(place: Place) -> None:
    # Asked of the context: a client that offers nothing newer fails in itself, before it says a word.
    assert place.files.context().minimum_version is ssl.TLSVersion.TLSv1_2


async def test_clients_show_a_certificate_of_the_right_authority(place: Place, server: Any) -> None:
    place.mutual()
    running = await server()
    assert (await get(running, place.trusting("app.example")))[0] == 200
    for stranger in (place.trusting(), place.trusting("app.example", clients=trustme.CA())):
        with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
            await get(running, stranger)


async def test_only_clients_of_allowed_names_are_served(place: Place, server: Any) -> None:
    place.mutual()
    running = await server(names("app.example, other.example"))
    assert (await get(running, place.trusting("app.example")))[0] == 200
    status, text = await get(running, place.trusting("stranger.example"))
    assert (status, "may ask here" in text) == (403, True)


async def test_a_new_certificate_is_used_without_ending_what_is_open(place: Place, server: Any) -> None:
    running = await server()
    async with aiohttp.ClientSession() as session:
        url, before = f"https://127.0.0.1:{running.port}/", place.trusting()
        async with session.get(url, ssl=before) as response:
            assert response.status == 200
        other = trustme.CA()
        place.issue(other)
        assert await place.own.renew()
        assert (await get(running, place.trusting(authority=other)))[0] == 200
        with pytest.raises(aiohttp.ClientError):
            await get(running, place.trusting())
        async with session.get(url, ssl=before) as response:
            assert response.status == 200, "the connection that was open is still the same one"


async def test_files_that_cannot_be_used_change_nothing_and_are_named(place: Place, server: Any) -> None:
    running = await server()
    place.files.key.write_bytes(b"garbage")
    assert not await place.own.renew()
    assert (await get(running, place.trusting()))[0] == 200
    assert b"the old one stays" in place.log.getvalue()
    assert str(place.files.key).encode() in place.log.getvalue()


async def test_a_change_on_disk_is_noticed(place: Place, server: Any) -> None:
    running = await server()
    following = asyncio.create_task(place.own.follow(look_s=0.02))
    await asyncio.sleep(0.05)
    other = trustme.CA()
    place.issue(other)
    async with asyncio.timeout(20):
        while b"was read again" not in place.log.getvalue():
            await asyncio.sleep(0.01)
    following.cancel()
    assert (await get(running, place.trusting(authority=other)))[0] == 200


@pytest.mark.parametrize("broken", ["missing", "garbage", "other key", "encrypted"])
def test_what_is_wrong_with_the_files_is_said(place: Place, broken: str) -> None:
    if broken == "missing":
        place.files.certificate.unlink()
    elif broken == "garbage":
        place.files.certificate.write_bytes(b"x")
    elif broken == "other key":
        place.files.key.write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())
    else:
        from cryptography.hazmat.primitives import serialization as form

        key = form.load_pem_private_key(place.files.key.read_bytes(), None)
        sealed = form.BestAvailableEncryption(b"canary")
        pem = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, sealed)
        place.files.key.write_bytes(pem)
    with pytest.raises(SettingsError) as wrong:
        place.files.context()
    assert str(place.files.certificate) in wrong.value.problems[0]
    assert "canary" not in wrong.value.problems[0]


def test_settings_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert tls_files(None, None, None, "TSP") is None
    assert tls_files(path, path, None, "TSP") == TlsFiles(path, path)
    for wrong in ((path, None, None), (None, path, None), (None, None, path)):
        with pytest.raises(SettingsError):
            tls_files(*wrong, "TSP")


def test_names_are_read_from_where_they_count() -> None:
    assert names_of({"subjectAltName": (("DNS", "a"), ("URI", "spiffe://b"), ("IP Address", "1.2.3.4"))}) == {
        "a",
        "spiffe://b",
    }
    assert names_of({"subject": ((("commonName", "a"),),)}) == frozenset()
    assert names_of(None) == frozenset()
    with pytest.raises(ValueError, match="commas"):
        names(" , ")
