"""The driver under a policy: what a tenant writes reaches no further than the operator allows."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme

from tenant_security.outbound.connections import _open_guarded_socket
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import EgressPolicy, NotAllowedError, read_allowed
from tenant_security.outbound.flow import Reason, Request, Response, UnreachableError, send
from tenant_security.outbound.names import NameLimits, NameNotFoundError, Names
from tenant_security.outbound.vetted import VettedNames, never_connected_to

AMPLE_S = 20.0
LIMITS = OutboundLimits(attempt_s=AMPLE_S)


async def get(outbound: Outbound, url: str, **how: object) -> Response:
    return await outbound.run(send(Request("GET", url, **how)), deadline_s=AMPLE_S)


async def refused(outbound: Outbound, url: str) -> None:
    with pytest.raises(UnreachableError) as caught:
        await get(outbound, url)
    assert caught.value.reason is Reason.REFUSED


def zone(**names: tuple[str, ...]):
    return lambda name: names[name.replace(".", "_")]


async def test_a_tenant_reaches_this_machine_only_when_the_operator_allows_it(peer):
    async with Outbound(LIMITS, egress=EgressPolicy()) as outbound:
        await refused(outbound, peer.url)
        await refused(outbound, peer.url.replace("127.0.0.1", "localhost"))
        assert (await get(outbound, peer.url, of_operator=True)).status == 200
        await refused(outbound, peer.url)  # the operator's open connection is not a tenant's
        assert outbound.traffic.failures[Reason.REFUSED] == 3
    async with Outbound(LIMITS, egress=read_allowed("127.0.0.1")) as outbound:
        assert (await get(outbound, peer.url)).status == 200
    assert len(peer.received) == 2


@pytest.mark.parametrize(
    "answer", [("127.0.0.1",), ("8.8.8.8", "127.0.0.1"), ("::ffff:127.0.0.1",), ("169.254.169.254",)]
)
async def test_one_bad_address_fails_the_name(peer, answer):
    async with Outbound(LIMITS, egress=EgressPolicy(), look_up=zone(kms_example=answer)) as outbound:
        await refused(outbound, f"https://kms.example:{peer.port}/")
    assert peer.connections == 0


async def test_a_name_is_not_looked_up_again_between_check_and_connection(peer):
    """DNS rebinding: the first answer is allowed, the second would not be."""
    answers: Iterator[tuple[str, ...]] = itertools.chain([("127.0.0.2",)], itertools.repeat(("127.0.0.1",)))
    asked = []

    def look_up(name: str) -> tuple[str, ...]:
        asked.append(name)
        return next(answers)

    policy = read_allowed("127.0.0.2")
    async with Outbound(OutboundLimits(attempt_s=AMPLE_S, names_s=0), egress=policy, look_up=look_up) as outbound:
        with pytest.raises(UnreachableError) as caught:
            await get(outbound, f"https://kms.example:{peer.port}/")
        assert caught.value.reason is Reason.CONNECT  # nobody listens at the first answer, and that is all it tried
        assert asked == ["kms.example"]
        await refused(outbound, f"https://kms.example:{peer.port}/")
    assert peer.connections == 0


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1", "0177.0.0.1", "127.0.0.1.", "[::ffff:127.0.0.1]"])
async def test_no_spelling_of_this_machine_gets_through(peer, host):
    async with Outbound(LIMITS, egress=EgressPolicy()) as outbound:
        for scheme in ("http", "https"):
            await refused(outbound, f"{scheme}://{host}:{peer.port}/")
    assert peer.connections == 0


async def test_a_redirect_is_not_followed(peer):
    peer.answer = peer.say(b"", "307 Temporary Redirect", f"Location: {peer.url}inside\r\n")
    async with Outbound(LIMITS, egress=read_allowed("127.0.0.1")) as outbound:
        assert (await get(outbound, peer.url)).status == 307
    assert len(peer.received) == 1


async def test_no_proxy_is_taken_from_the_environment(peer, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, peer.url)
        monkeypatch.setenv(name.upper(), peer.url)
    async with Outbound(LIMITS, egress=EgressPolicy(), look_up=zone(kms_example=("127.0.0.1",))) as outbound:
        await refused(outbound, "https://kms.example/")
    assert peer.connections == 0


async def test_the_name_and_not_the_address_is_what_tls_verifies():
    authority = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("hsm.acme.example").configure_cert(served)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=served)
    port = server.sockets[0].getsockname()[1]
    pem = authority.cert_pem.bytes()
    look_up = zone(hsm_acme_example=("127.0.0.1",), other_example=("127.0.0.1",))
    policy = read_allowed("hsm.acme.example other.example")
    try:
        async with Outbound(LIMITS, egress=policy, look_up=look_up) as outbound:
            good = f"https://hsm.acme.example:{port}/"
            assert (await get(outbound, good, authorities=pem)).status == 200
            for url, authorities in (
                (f"https://other.example:{port}/", pem),  # another's name
                (good, b""),  # the public authorities know nothing of it
                (good, trustme.CA().cert_pem.bytes()),  # somebody else's authority
                (good, b"no certificate"),
            ):
                with pytest.raises(UnreachableError) as caught:
                    await get(outbound, url, authorities=authorities)
                assert caught.value.reason is Reason.TLS
    finally:
        server.close()


async def test_idle_connections_are_capped(peer):
    """A host for each tenant must not mean a connection for each tenant."""
    limits = OutboundLimits(attempt_s=AMPLE_S, keepalive_s=60, idle=20)
    names = {f"t{number}.example": ("127.0.0.1",) for number in range(150)}
    async with Outbound(limits, look_up=names.__getitem__) as outbound:
        for name in names:
            await get(outbound, f"http://{name}:{peer.port}/")
        assert 20 <= outbound.idle_connections < 20 + 32
        last = peer.connections
        await get(outbound, f"http://t149.example:{peer.port}/")
        assert peer.connections == last  # what was used last is still open
    assert last == 150


async def test_sinks_of_other_protocols_get_vetted_addresses():
    look_up = zone(siem_acme_example=("8.8.8.8", "2606:4700::1111"), inside_example=("10.0.0.1",), odd_example=("x",))
    vetted = VettedNames(EgressPolicy(ports=frozenset({514})), Names(NameLimits(), look_up=look_up))

    assert await vetted.addresses("siem.acme.example", 6514) == ("8.8.8.8", "2606:4700::1111")
    assert await vetted.addresses("8.8.4.4", 514) == ("8.8.4.4",)
    for host, port in (("inside.example", 6514), ("127.0.0.1", 6514), ("siem.acme.example", 25), ("127.1", 6514)):
        with pytest.raises(NotAllowedError):
            await vetted.addresses(host, port)
    with pytest.raises(NameNotFoundError):
        await vetted.addresses("odd.example", 6514)


def test_the_last_look_before_a_connection_refuses_what_no_policy_allows():
    for address in ("169.254.169.254", "fe80::1%eth0", "168.63.129.16"):
        with pytest.raises(NotAllowedError):
            never_connected_to(address)
    never_connected_to("10.0.0.1")


@pytest.mark.skipif(
    not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can be told how long to wait for a peer"
)
def test_a_peer_that_vanished_is_noticed_after_some_seconds():
    where = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 443))
    with _open_guarded_socket(where) as opened:
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 5_000
    with pytest.raises(NotAllowedError):
        _open_guarded_socket((*where[:4], ("169.254.169.254", 80)))
