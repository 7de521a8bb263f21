"""A proxy with a certificate of its own, as its own process."""

import contextlib
import http.client
import json
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from .proxy_process import API_KEY, LEASED, World, a_world, ask, fields, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def test_a_proxy_with_a_certificate_speaks_https_and_takes_a_new_one_on_sighup(world: World, tmp_path: Path) -> None:
    authority = trustme.CA()
    paths = certificate(tmp_path, authority)
    proxy = world.start(TSP_TLS_CERTIFICATE_FILE=str(paths[0]), TSP_TLS_KEY_FILE=str(paths[1]))
    until(proxy.is_ready, "the proxy is ready")

    def status(trusted: trustme.CA, port: int) -> int:
        context = ssl.create_default_context()
        trusted.configure_trust(context)
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
        headers = {"Authorization": f"cmk {API_KEY}", "Content-Type": "application/json"}
        with contextlib.closing(connection):
            connection.request("POST", "/api/1/document/wrap", json.dumps(fields(LEASED)), headers)
            return connection.getresponse().status

    assert status(authority, proxy.api) == 200
    assert ask(proxy.ops, "/live").status == 200
    other = trustme.CA()
    certificate(tmp_path, other)
    proxy.signal(signal.SIGHUP)
    until(lambda: bool(proxy.lines("the certificate was read again")), "the certificate is read again")
    assert status(other, proxy.api) == 200
    with pytest.raises(ssl.SSLError):
        status(authority, proxy.api)
    proxy.stop()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_health_and_metrics_have_a_certificate_and_clients_of_their_own(
    world: World, tmp_path: Path, workers: str
) -> None:
    authority = trustme.CA()
    paths = certificate(tmp_path, authority)
    (tmp_path / "clients.pem").write_bytes(authority.cert_pem.bytes())
    ops = {
        "TSP_OPS_TLS_CERTIFICATE_FILE": str(paths[0]),
        "TSP_OPS_TLS_KEY_FILE": str(paths[1]),
        "TSP_OPS_TLS_CLIENT_CA_FILE": str(tmp_path / "clients.pem"),
        "TSP_OPS_TLS_CLIENT_NAMES": "prometheus.example",
    }
    proxy = world.start(TSP_WORKERS=workers, **ops)
    until(lambda: bool(proxy.lines("proxy ready")), "ready")

    def status(name: str) -> int:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        authority.issue_cert(name).configure_cert(context)
        connection = http.client.HTTPSConnection("127.0.0.1", proxy.ops, context=context, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            return connection.getresponse().status

    assert status("prometheus.example") == 200
    assert status("somebody.example") == 403
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(proxy.ops, "/live")
    assert proxy.call("document/wrap", fields(LEASED)).status == 200, "the API stays as it was set up"
    certificate(tmp_path, authority)
    proxy.signal(signal.SIGHUP)
    until(lambda: bool(proxy.lines("the certificate was read again")), "the certificate is read again")
    assert status("prometheus.example") == 200
    proxy.stop()


@pytest.mark.parametrize("setting", ["TSP_TLS_CERTIFICATE_FILE", "TSP_TLS_KEY_FILE", "TSP_TLS_CLIENT_CA_FILE"])
def test_half_of_what_tls_needs_is_a_problem_of_the_settings(world: World, setting: str) -> None:
    for name in (setting, setting.replace("TSP_", "TSP_OPS_")):
        proxy = world.start("proxy", "--check", **{name: "/nowhere"})
        assert proxy.wait() == 78
        assert f"{name.partition('_TLS_')[0]}_TLS_CERTIFICATE_FILE" in proxy.output


def certificate(directory: Path, authority: trustme.CA) -> tuple[Path, Path]:
    made = authority.issue_cert("127.0.0.1")
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(b"".join(each.bytes() for each in made.cert_chain_pems))
    paths[1].write_bytes(made.private_key_pem.bytes())
    return paths
