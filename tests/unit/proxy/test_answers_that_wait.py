"""A hot request that a task answers: what comes meanwhile waits, nothing is cut, nobody is answered out of turn."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.contracts.test_both_ways_agree import KEY, Wire, World
from uvicorn.config import Config

from tenant_security.proxy.fast_protocol import FastProtocol
from tenant_security.service.http import Receive, Reply, Scope, Send, read_body, send_reply
from tenant_security.service.http_protocol import EdgeState

CLOSE = (b"connection", b"close")


def request(text: str) -> bytes:
    """A wrap for a tenant without leasing, told apart by its label."""
    body = b'{"tenantId":"plain","iclFields":{"requestingId":"%b"}}' % text.encode()
    head = f"POST /api/1/document/wrap HTTP/1.1\r\nHost: t\r\nAuthorization: cmk {KEY}\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def label(body: bytes) -> bytes:
    return body.split(b'requestingId":"')[1].split(b'"')[0]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """What uvicorn's own way leads to: answers with the label, too."""
    await send_reply(send, Reply(200, label(await read_body(scope, receive, 10_000))))


class Slow:
    """Answers each request with its own label, when told to."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.may_answer = asyncio.Event()

    async def later(self, _name: str, body: bytes, _client: Any) -> Reply:
        self.asked.append(body)
        await self.may_answer.wait()
        return Reply(200, label(body))


class Open(Wire):
    """A connection that shows whether it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = True
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def abort(self) -> None:
        self.aborted = self.closed = True


class Scene:
    """One connection to a proxy whose KMSs are slow."""

    def __init__(self) -> None:
        self.world, self.slow, self.wire = World(), Slow(), Open()
        later: Callable[..., Awaitable[Reply]] = self.slow.later
        self.world.edge.later = later
        self.state: EdgeState = self.world.state()
        config = Config(application, lifespan="off", log_config=None, access_log=False, interface="asgi3", ws="none")
        config.load()
        self.protocol = FastProtocol(self.world.edge, config, self.state, {}, asyncio.get_running_loop())
        self.protocol.connection_made(self.wire)

    async def receives(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.protocol.data_received(piece)
            await self.world.settled()

    async def answers(self) -> None:
        self.slow.may_answer.set()
        await self.world.settled()

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all answers in order."""
        return [each.split(b"\r\n\r\n")[1] for each in self.wire.sent.split(b"HTTP/1.1 200 OK")[1:]]

    def drains(self) -> None:
        self.state.success_head = None
        self.state.default_headers = [*self.state.default_headers, CLOSE]


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_what_comes_while_an_answer_waits_is_answered_behind_it(scene: Scene) -> None:
    await scene.receives(request("one"), request("two"), request("three"))
    assert len(scene.slow.asked) == 1
    assert not scene.wire.reads
    await scene.answers()
    assert scene.bodies == [b"one", b"two", b"three"]
    assert scene.wire.reads


async def test_a_request_that_comes_in_pieces_meanwhile_is_put_together(scene: Scene) -> None:
    second = request("two")
    await scene.receives(request("one"), second[:30], second[30:90])
    await scene.answers()
    assert scene.bodies == [b"one"]
    await scene.receives(second[90:])
    assert scene.bodies == [b"one", b"two"]


async def test_requests_in_one_piece_take_the_way_that_knows_pipelines(scene: Scene) -> None:
    await scene.receives(request("one") + request("two"))
    assert scene.slow.asked == []
    assert scene.bodies == [b"one", b"two"]


async def test_a_server_that_stops_lets_the_answer_out_and_closes_behind_it(scene: Scene) -> None:
    await scene.receives(request("one"))
    scene.drains()
    scene.protocol.shutdown()
    assert not scene.wire.closed
    await scene.answers()
    assert scene.bodies == [b"one"]
    assert b"connection: close" in scene.wire.sent
    assert scene.wire.closed


async def test_a_client_that_left_gets_nothing_and_breaks_nothing(scene: Scene) -> None:
    await scene.receives(request("one"))
    scene.wire.close()
    scene.protocol.connection_lost(None)
    await scene.answers()
    assert scene.wire.sent == b""


async def test_an_answer_that_is_given_up_ends_the_connection(scene: Scene) -> None:
    await scene.receives(request("one"))
    for task in list(scene.state.tasks):
        task.cancel()
    await scene.world.settled()
    assert scene.wire.aborted
    assert scene.wire.sent == b""


async def test_the_connection_waits_as_an_idle_one_afterwards(scene: Scene) -> None:
    scene.slow.may_answer.set()
    await scene.receives(request("one"))
    scene.protocol.expire(asyncio.get_running_loop().time() + 1_000)
    assert scene.wire.closed
