"""The driver without an event loop: what fails is told apart as the other driver tells it."""

import asyncio
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trustme

from tenant_security.outbound.flow import (
    Flow,
    Reason,
    Request,
    Response,
    UnreachableError,
    compute,
    forget,
    pause,
    send,
    together,
)
from tenant_security.outbound.sync_driver import SyncLimits, SyncOutbound

AMPLE_S = 20.0


@pytest.fixture
def outbound() -> Iterator[SyncOutbound]:
    with SyncOutbound(SyncLimits(attempt_s=AMPLE_S)) as outbound:
        yield outbound


async def in_thread(work: Callable[..., Any], *args: Any) -> Any:
    return await asyncio.to_thread(work, *args)


def get(outbound: SyncOutbound, url: str, cap_bytes: int = 1000, deadline_s: float = AMPLE_S) -> Response:
    return outbound.run(send(Request("GET", url, cap_bytes=cap_bytes)), deadline_s=deadline_s)


def failure(outbound: SyncOutbound, url: str, cap_bytes: int = 1000, deadline_s: float = AMPLE_S) -> Reason:
    with pytest.raises(UnreachableError) as caught:
        get(outbound, url, cap_bytes, deadline_s)
    return caught.value.reason


async def test_a_request_goes_out_as_it_was_written(peer, outbound):
    request = Request("POST", peer.url + "a%2fb?c=d", (("X-Mine", "1"), ("Content-Type", "text/x")), b"body")
    peer.answer = peer.say(b"reply", "418 Teapot", "X-Theirs: 2\r\n")

    response = await in_thread(lambda: outbound.run(send(request), deadline_s=AMPLE_S))

    assert (response.status, response.headers["x-theirs"], response.body) == (418, "2", b"reply")
    received = peer.received[0]
    assert received.line.lower() == "post /a%2fb?c=d http/1.1"
    assert received.body == b"body"
    assert {"x-mine": "1", "content-length": "4", "user-agent": "tenant-security"}.items() <= received.headers.items()


async def test_redirects_are_answers_and_cookies_are_not_kept(peer, outbound):
    peer.answer = peer.say(b"", "302 Found", f"Location: {peer.url}elsewhere\r\nSet-Cookie: a=b\r\n")
    for _ in range(2):
        assert (await in_thread(get, outbound, peer.url)).status == 302
    assert len(peer.received) == 2
    assert "cookie" not in peer.received[1].headers


async def test_the_environment_names_a_proxy_only_when_that_was_asked_for(peer, outbound, monkeypatch):
    monkeypatch.setenv("all_proxy", peer.url.replace("//", "//user:pass@"))
    monkeypatch.setenv("no_proxy", "spared.invalid")
    assert await in_thread(failure, outbound, "http://somewhere.invalid/") is Reason.NAME
    with SyncOutbound(environment_proxies=True) as asked:
        assert (await in_thread(get, asked, "http://somewhere.invalid/x")).body == b"ok"
        assert await in_thread(failure, asked, "http://spared.invalid/") is Reason.NAME
    assert [each.line for each in peer.received] == ["GET http://somewhere.invalid/x HTTP/1.1"]
    assert peer.received[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"


async def test_connections_are_used_again(peer, outbound):
    for _ in range(3):
        await in_thread(get, outbound, peer.url)
    assert peer.connections == 1


async def test_many_threads_share_one_driver(peer, outbound):
    def many() -> list[int]:
        with ThreadPoolExecutor(8) as pool:
            return [each.status for each in pool.map(lambda _: get(outbound, peer.url), range(64))]

    assert await in_thread(many) == [200] * 64
    assert peer.connections <= 8


async def test_a_forked_child_opens_its_own_connections(peer, outbound):
    await in_thread(get, outbound, peer.url)

    def in_child() -> int:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                status = 0 if get(outbound, peer.url).status == 200 else 2
            finally:
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert await in_thread(in_child) == 0
    assert peer.connections == 2
    await in_thread(get, outbound, peer.url)
    assert peer.connections == 2


async def test_a_body_as_long_as_the_cap_is_read_and_a_longer_one_is_not(peer, outbound):
    peer.answer = peer.say(b"x" * 1000)
    assert (await in_thread(get, outbound, peer.url, 1000)).body == b"x" * 1000
    assert await in_thread(failure, outbound, peer.url, 999) is Reason.TOO_LARGE


async def test_a_closed_port_is_no_connection(outbound):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert await in_thread(failure, outbound, f"http://127.0.0.1:{closed.getsockname()[1]}/") is Reason.CONNECT


async def test_an_unknown_name_is_told_apart(outbound):
    assert await in_thread(failure, outbound, "http://nowhere.invalid/") is Reason.NAME


@pytest.mark.parametrize("url", ["", "nowhere", "http://", "ftp://127.0.0.1/", "http://127.0.0.1:99999/"])
async def test_what_is_no_address_is_refused(outbound, url):
    assert await in_thread(failure, outbound, url) is Reason.REFUSED


async def test_no_answer_in_time(peer, outbound):
    peer.answer = peer.hang
    assert await in_thread(failure, outbound, peer.url, 1000, 0.1) is Reason.TIMEOUT
    with SyncOutbound(SyncLimits(attempt_s=0.1)) as hasty:
        assert await in_thread(failure, hasty, peer.url) is Reason.TIMEOUT


async def test_a_body_that_drips_does_not_extend_the_attempt(peer, outbound):
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    peer.answer = drip
    assert await in_thread(failure, outbound, peer.url, 2_000_000, 0.2) is Reason.TIMEOUT


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
    ids=["nothing", "half a body", "bad chunk", "ssh"],
)
async def test_half_an_answer_and_nonsense_are_a_broken_connection(peer, outbound, reply):
    peer.answer = peer.raw(reply)
    assert await in_thread(failure, outbound, peer.url) is Reason.RESET


async def test_certificates_are_checked_and_ours_is_shown_when_asked_for(peer):
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    other = type(peer)()
    await other.start(server)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    try:
        url = f"https://localhost:{other.port}/"
        with SyncOutbound() as stranger:
            assert await in_thread(failure, stranger, url) is Reason.TLS
        with SyncOutbound(ssl_context=trust) as nobody:
            assert await in_thread(failure, nobody, url) in {Reason.TLS, Reason.RESET}
        authority.issue_cert("client").configure_cert(trust)
        with SyncOutbound(ssl_context=trust) as known:
            assert (await in_thread(get, known, url)).body == b"ok"
            assert await in_thread(failure, known, f"https://127.0.0.1:{other.port}/") is Reason.TLS
    finally:
        await other.stop()


def test_pauses_are_slept_and_end_at_the_deadline():
    slept: list[float] = []
    with SyncOutbound(sleep=slept.append, clock=lambda: 0.0) as outbound:
        outbound.run(pause(2.0), deadline_s=5.0)
        outbound.run(pause(9.0), deadline_s=5.0)
    assert slept == [2.0, 5.0]


def test_long_work_does_not_count_towards_the_deadline():
    now = 0.0

    def work() -> str:
        nonlocal now
        now += 100.0
        return "done"

    def flow() -> Flow[str]:
        done = yield from compute(work)
        yield from pause(1.0)
        return done

    slept: list[float] = []
    with SyncOutbound(sleep=slept.append, clock=lambda: now) as outbound:
        assert outbound.run(flow(), deadline_s=5.0) == "done"
    assert slept == [1.0]


def test_what_work_raises_reaches_the_flow(outbound):
    def flow() -> Flow[str]:
        try:
            yield from compute(lambda: 1 // 0)
        except ZeroDivisionError:
            return "caught"
        return "missed"

    assert outbound.run(flow(), deadline_s=1.0) == "caught"


def test_flows_run_side_by_side_and_each_has_an_outcome(outbound):
    meeting = threading.Barrier(3, timeout=AMPLE_S)

    def meet(number: int) -> Flow[int]:
        yield from compute(meeting.wait)
        if number == 1:
            raise ValueError("one")
        return number

    outcomes = outbound.run(together([meet(each) for each in range(3)], 3), deadline_s=AMPLE_S)
    assert [outcomes[0], outcomes[2]] == [0, 2]
    assert isinstance(outcomes[1], ValueError)


def test_no_more_than_asked_for_run_at_once(outbound):
    running, most, lock = 0, 0, threading.Lock()

    def step() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1

    outbound.run(together([compute(step) for _ in range(50)], 2), deadline_s=AMPLE_S)
    assert most <= 2


def test_what_it_does_not_serve_is_said(outbound):
    with pytest.raises(ValueError, match="Forget"):
        outbound.run(forget("key"), deadline_s=1.0)


def test_a_closed_driver_says_so(outbound):
    outbound.close()
    with pytest.raises(RuntimeError, match="closed"):
        get(outbound, "http://127.0.0.1/")


@pytest.mark.parametrize("limits", [{"attempt_s": 0}, {"connect_s": -1}, {"connections": 0}, {"threads": 0}])
def test_limits_that_make_no_sense_are_refused(limits):
    with pytest.raises(ValueError, match="positive"):
        SyncLimits(**limits)
