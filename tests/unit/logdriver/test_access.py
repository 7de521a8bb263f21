"""Between proxy and logdriver: a token in place of the API key, and certificates on both sides."""

import contextlib
import ssl

import pytest
import trustme

from tenant_security.errors import SettingsError, TenantSecurityError
from tenant_security.logdriver.producers import Endpoint, Producer, read_producers, resolve
from tenant_security.logdriver.settings import client_tls
from tenant_security.proxy.event_feed import EventFeed
from tenant_security.proxy.outbox import Outbox
from tenant_security.secret import Secret
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer, bind
from tenant_security.service.settings import Address
from tenant_security.service.tls import TlsFiles
from tenant_security.testing.logdrivers import running_logdriver, webhook_receiver
from tenant_security.testing.proxies import TENANTS, publish, running_proxy
from tenant_security.wire.events import EventRecord
from tenant_security.wire.proxy_api import IclFields

LEASED = "tenant-gcp-l"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def files(authority, directory, name):
    issued = authority.issue_cert(name)
    issued.private_key_pem.write_to_path(directory / f"{name}.key")
    for number, pem in enumerate(issued.cert_chain_pems):
        pem.write_to_path(directory / f"{name}.pem", append=number > 0)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return directory / f"{name}.pem", directory / f"{name}.key", directory / "ca.pem"


@contextlib.asynccontextmanager
async def events_port(directory, authority, *, token):
    """A proxy's events port with certificates on both sides, and one event that waits."""
    certificate, key, ca = files(authority, directory, "localhost")
    outbox = Outbox(10)
    outbox.add(EventRecord(1, 1, 0, "USER_LOGIN", LEASED, "0" * 16, "ray", IclFields("me"), None))
    server = HttpServer(
        EventFeed(outbox, ApiKeys([Secret(token)]), "0" * 16),
        bind(Address("127.0.0.1", 0), "SETTING"),
        EdgeLimits(),
        tls=TlsFiles(certificate, key, ca).context(),
    )
    await server.start()
    try:
        yield f"https://localhost:{server.port}"
    finally:
        await server.stop(0)


@pytest.fixture
async def siem(tmp_path):
    async with running_proxy(tmp_path), webhook_receiver() as receiver:  # for its vendor and its tenants only
        publish(tmp_path, TENANTS, sinks={LEASED: {600: receiver.config()}})
        yield receiver


async def test_both_sides_show_certificates_and_a_token(tmp_path, authority, siem):
    mine, my_key, ca = files(authority, tmp_path, "logdriver.example")
    settings = {
        "API_KEY": "",
        "LOGDRIVER_EVENT_TOKEN": "a token of their own",
        "LOGDRIVER_EVENT_TLS_CA_FILE": str(ca),
        "LOGDRIVER_EVENT_TLS_CERTIFICATE_FILE": str(mine),
        "LOGDRIVER_EVENT_TLS_KEY_FILE": str(my_key),
    }
    async with (
        events_port(tmp_path, authority, token="a token of their own") as url,
        running_logdriver(tmp_path, url, settings),
    ):
        await siem.until(lambda it: len(it.events) == 1)


async def test_without_the_token_or_the_certificate_nothing_is_given(tmp_path, authority, siem):
    mine, my_key, ca = files(authority, tmp_path, "logdriver.example")
    trusted = {"LOGDRIVER_EVENT_TLS_CA_FILE": str(ca)}
    shown = {
        "LOGDRIVER_EVENT_TLS_CERTIFICATE_FILE": str(mine),
        "LOGDRIVER_EVENT_TLS_KEY_FILE": str(my_key),
    }
    async with events_port(tmp_path, authority, token="a token of their own") as url:
        for settings in (trusted, trusted | shown):  # no certificate; the API key in place of the token
            async with running_logdriver(tmp_path, url, settings) as logdriver:
                await logdriver.until_metric('tsl_leases_total{outcome="failed"}', 1)
                assert await logdriver.metric("tsl_stored_events_total") == 0
                assert (await logdriver.check("proxies"))["status"] == "WARN"
    assert siem.events == []


async def test_a_proxy_with_a_token_takes_its_api_key_no_longer(tmp_path):
    settings = {"TSP_EVENTS_TOKEN": "a token of their own"}
    async with running_proxy(tmp_path, settings=settings) as proxy:
        await proxy.call("document/wrap", LEASED)
        with pytest.raises(TenantSecurityError, match="401"):
            await proxy.lease_events()
        proxy.api_key = "a token of their own"
        assert len((await proxy.lease_events()).events) == 1


def test_files_that_cannot_be_used_are_named_at_start(tmp_path):
    with pytest.raises(SettingsError, match="LOGDRIVER_EVENT_TLS"):
        client_tls(tmp_path / "none.pem", None, None)
    assert client_tls(None, None, None).verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("tcp://localhost:5555", ["http://localhost:5555"]),
        ("tcp://proxy", ["http://proxy:5555"]),
        ("http://a:1, https://b:2 tcp://[::1]:3", ["http://a:1", "https://b:2", "http://[::1]:3"]),
        ("tcp://a:1,tcp://a:1", ["http://a:1"]),
    ],
)
def test_addresses_are_read_as_existing_deployments_write_them(text, urls):
    assert [each.url for each in read_producers(text)] == urls


@pytest.mark.parametrize(
    "text", ["", "localhost:5555", "udp://a:1", "tcp://a:x", "tcp://u@a:1", "http://a:1/path", ","]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="addresses"):
        read_producers(text)


async def test_a_name_stands_for_every_address_that_it_has():
    assert await resolve(Producer("127.0.0.1", 5555, secure=False)) == [
        Endpoint(Producer("127.0.0.1", 5555, secure=False), "127.0.0.1")
    ]
    assert await resolve(Producer("localhost", 5555, secure=False))
    with pytest.raises(OSError, match=r"known|name|resolution"):
        await resolve(Producer("no.such.host.invalid", 5555, secure=False))
