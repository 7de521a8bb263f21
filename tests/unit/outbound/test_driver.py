import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator

import pytest
import trustme

from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow, Reason, Request, Response, UnreachableError, send

# A deadline that no passing test comes near.
AMPLE_S = 20.0


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(OutboundLimits(attempt_s=AMPLE_S)) as outbound:
        yield outbound


async def get(outbound: Outbound, url: str, *, cap_bytes: int = 1000, deadline_s: float = AMPLE_S) -> Response:
    return await outbound.run(send(Request("GET", url, cap_bytes=cap_bytes)), deadline_s=deadline_s)


async def failure(outbound: Outbound, url: str, **limits: float) -> Reason:
    with pytest.raises(UnreachableError) as caught:
        await get(outbound, url, **limits)
    assert outbound.traffic.failures[caught.value.reason] == 1
    assert outbound.traffic.in_flight == 0
    return caught.value.reason


async def test_a_request_goes_out_as_it_was_written(peer, outbound):
    request = Request("POST", peer.url + "a%2fb%7E?c=%20d", (("X-Mine", "1"), ("Content-Type", "text/x")), b"body")
    peer.answer = peer.say(b"reply", "418 Teapot", "X-Theirs: 2\r\n")

    response = await outbound.run(send(request), deadline_s=AMPLE_S)

    assert (response.status, response.headers["x-theirs"], response.body) == (418, "2", b"reply")
    received = peer.received[0]
    assert received.line == "POST /a%2fb%7E?c=%20d HTTP/1.1"
    assert received.body == b"body"
    assert received.headers == {
        "host": f"127.0.0.1:{peer.port}",
        "x-mine": "1",
        "content-type": "text/x",
        "content-length": "4",
        "user-agent": "tenant-security",
    }


async def test_a_redirect_is_an_answer_and_not_followed(peer, outbound):
    peer.answer = peer.say(b"", "302 Found", f"Location: {peer.url}elsewhere\r\n")

    assert (await get(outbound, peer.url)).status == 302
    assert len(peer.received) == 1


async def test_cookies_are_not_kept(peer, outbound):
    peer.answer = peer.say(b"", headers="Set-Cookie: a=b\r\n")

    for _ in range(2):  # by name: a cookie jar would not keep those of a bare address anyway
        await get(outbound, f"http://localhost:{peer.port}/")

    assert "cookie" not in peer.received[1].headers


async def test_the_environment_names_no_proxy(peer, outbound, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")

    assert (await get(outbound, peer.url)).status == 200


async def test_connections_are_used_again(peer, outbound):
    for _ in range(3):
        await get(outbound, peer.url)

    assert peer.connections == 1
    assert outbound.traffic.requests == 3


async def test_an_unused_connection_is_not_kept_past_its_time(peer):
    async with Outbound(OutboundLimits(keepalive_s=0)) as outbound:
        for _ in range(3):
            await get(outbound, peer.url)

    assert peer.connections == 3


async def test_a_body_as_long_as_the_cap_is_read(peer, outbound):
    peer.answer = peer.say(b"x" * 1000)

    assert (await get(outbound, peer.url, cap_bytes=1000)).body == b"x" * 1000


async def test_a_body_longer_than_the_cap_is_a_failure(peer, outbound):
    peer.answer = peer.say(b"x" * 1001)

    assert await failure(outbound, peer.url, cap_bytes=1000) is Reason.TOO_LARGE


async def test_an_endless_body_ends_at_the_cap(peer, outbound):
    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    peer.answer = pour

    assert await failure(outbound, peer.url, cap_bytes=100_000) is Reason.TOO_LARGE


async def test_the_cap_counts_what_a_body_unfolds_to(peer, outbound):
    peer.answer = peer.say(gzip.compress(bytes(10_000_000)), headers="Content-Encoding: gzip\r\n")

    assert await failure(outbound, peer.url, cap_bytes=100_000) is Reason.TOO_LARGE


async def test_a_closed_port_is_no_connection(outbound):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

        assert await failure(outbound, f"http://127.0.0.1:{port}/") is Reason.CONNECT


async def test_a_handshake_that_does_not_end_is_no_connection(silent_port):
    async with Outbound(OutboundLimits(connect_s=0.1, attempt_s=AMPLE_S)) as outbound:
        assert await failure(outbound, f"https://127.0.0.1:{silent_port}/") is Reason.CONNECT


async def test_an_unknown_name_is_told_apart():
    def unknown(_name: str) -> tuple[str, ...]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async with Outbound(OutboundLimits(attempt_s=AMPLE_S), look_up=unknown) as outbound:
        assert await failure(outbound, "http://nowhere.example/") is Reason.NAME


async def test_an_impossible_name_is_a_name_failure(outbound):
    assert await failure(outbound, f"http://{'a' * 64}.example/") is Reason.NAME


@pytest.mark.parametrize("url", ["", "nowhere", "http://", "ftp://127.0.0.1/", "http://127.0.0.1:99999/"])
async def test_what_is_no_address_is_refused(outbound, url):
    assert await failure(outbound, url) is Reason.REFUSED


async def test_no_answer_within_the_attempt(peer):
    peer.answer = peer.hang
    async with Outbound(OutboundLimits(attempt_s=0.1)) as outbound:
        assert await failure(outbound, peer.url) is Reason.TIMEOUT


async def test_the_deadline_bounds_the_attempt(peer, outbound):
    peer.answer = peer.hang

    assert await failure(outbound, peer.url, deadline_s=0.1) is Reason.TIMEOUT


async def test_a_body_that_drips_does_not_extend_the_attempt(peer):
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    peer.answer = drip
    async with Outbound(OutboundLimits(attempt_s=0.2)) as outbound:
        assert await failure(outbound, peer.url, cap_bytes=2_000_000) is Reason.TIMEOUT


async def test_a_used_up_deadline_ends_the_next_request(peer, outbound):
    """The second request of a flow gets what the first left over."""

    def two(url: str) -> Flow[Response]:
        yield from send(Request("GET", url))
        return (yield from send(Request("GET", url)))

    first = peer.say(b"")

    async def once(writer: asyncio.StreamWriter) -> None:
        await (first if len(peer.received) == 1 else peer.hang)(writer)

    peer.answer = once

    with pytest.raises(UnreachableError) as caught:
        await outbound.run(two(peer.url), deadline_s=0.2)
    assert caught.value.reason is Reason.TIMEOUT
    assert len(peer.received) == 2


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x00\xff" * 50,
    ],
    ids=["nothing", "half a body", "bad chunk", "bad gzip", "ssh", "noise"],
)
async def test_half_an_answer_and_nonsense_are_a_broken_connection(peer, outbound, reply):
    peer.answer = peer.raw(reply)

    assert await failure(outbound, peer.url) is Reason.RESET


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"], ids=["before", "amid"])
async def test_a_reset_is_a_broken_connection(peer, outbound, reply):
    peer.answer = peer.abort_after(reply)

    assert await failure(outbound, peer.url) is Reason.RESET


@pytest.fixture
async def tls_peer(peer) -> AsyncIterator[tuple[int, trustme.CA]]:
    """A second peer that speaks TLS as ``localhost``."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    other = type(peer)()
    await other.start(context)
    try:
        yield other.port, authority
    finally:
        await other.stop()


async def test_a_certificate_of_a_trusted_authority_is_accepted(tls_peer):
    port, authority = tls_peer
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with Outbound(ssl_context=trust) as outbound:
        assert (await get(outbound, f"https://localhost:{port}/")).body == b"ok"


async def test_a_certificate_of_an_unknown_authority_is_refused(tls_peer, outbound):
    port, _ = tls_peer

    assert await failure(outbound, f"https://localhost:{port}/") is Reason.TLS


async def test_a_certificate_for_another_host_is_refused(tls_peer):
    port, authority = tls_peer
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with Outbound(ssl_context=trust) as outbound:
        assert await failure(outbound, f"https://127.0.0.1:{port}/") is Reason.TLS


async def test_a_failure_arrives_at_the_request_and_the_flow_may_go_on(peer, outbound):
    def with_a_second_choice(url: str) -> Flow[str]:
        try:
            yield from send(Request("GET", "ftp://nowhere/"))
        except UnreachableError as failed:
            response = yield from send(Request("GET", url))
            return f"{failed.reason.name} then {response.status}"
        return "no failure"

    assert await outbound.run(with_a_second_choice(peer.url), deadline_s=AMPLE_S) == "REFUSED then 200"


async def test_a_flow_that_was_started_already_is_run_on(peer, outbound):
    flow = send(Request("GET", peer.url))
    asked = flow.send(None)

    response = await outbound.run(flow, deadline_s=AMPLE_S, asked=asked)

    assert response.status == 200
    assert len(peer.received) == 1


async def test_cancelling_a_run_ends_its_flow(peer, outbound):
    ended = False

    def watched(url: str) -> Flow[Response]:
        nonlocal ended
        try:
            return (yield from send(Request("GET", url)))
        finally:
            ended = True

    peer.answer = peer.hang
    running = asyncio.ensure_future(outbound.run(watched(peer.url), deadline_s=AMPLE_S))
    await peer.arrived.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert ended
    assert outbound.traffic.in_flight == 0


async def test_a_slow_name_server_does_not_hold_up_the_loop(outbound, monkeypatch):
    if "uvloop" in type(asyncio.get_running_loop()).__module__:
        return  # libuv resolves names in threads of its own, which cannot be slowed down from here
    answered, resolve = threading.Event(), socket.getaddrinfo

    def slow(host: str, *args: object, **kwargs: object) -> object:
        if host == "slow.example":
            answered.wait(AMPLE_S)
        return resolve("127.0.0.1", *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        assert await failure(outbound, "http://slow.example:1/", deadline_s=0.1) is Reason.TIMEOUT
    finally:
        answered.set()


async def test_a_driver_that_is_not_open_says_so():
    with pytest.raises(RuntimeError, match="async with"):
        await get(Outbound(), "http://127.0.0.1/")


@pytest.mark.parametrize("limits", [{"attempt_s": 0}, {"connect_s": -1}, {"keepalive_s": -1}, {"connections": 0}])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match="positive"):
        OutboundLimits(**limits)


def test_requests_and_responses_print_nothing_of_what_they_hold():
    request = Request("GET", "http://h/?k=secret", (("Authorization", "secret"),), b"secret")
    response = Response(200, {"set-cookie": "secret"}, b"secret")

    assert "secret" not in f"{request!r} {request} {response!r} {response}"
