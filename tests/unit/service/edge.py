"""A real listener with a small application behind it, and a client that sends bytes as they are."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tenant_security.errors import TenantSecurityError
from tenant_security.service.http import (
    ClientGoneError,
    Receive,
    Reply,
    Scope,
    Send,
    error_reply,
    read_body,
    send_reply,
)
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer, bind
from tenant_security.service.settings import Address

WITHIN_S = 10.0


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class EchoApp:
    """Says what it understood of a request; ``/held`` first waits for :attr:`gate`, ``/big`` answers much."""

    def __init__(self, body_bytes: int) -> None:
        self.body_bytes = body_bytes
        self.gate = asyncio.Event()
        self.waiting = 0
        self.seen: list[str] = []
        self.gone = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.seen.append(scope["path"])
        try:
            reply = await self._answer(scope, receive)
        except TenantSecurityError as fault:
            reply = error_reply(fault)
        except ClientGoneError:
            self.gone += 1
            return
        await send_reply(send, reply)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        if scope["path"] == "/big":
            return Reply(200, b"x" * 4_000_000)
        body = await read_body(scope, receive, self.body_bytes)
        if scope["path"] == "/held":
            self.waiting += 1
            await self.gate.wait()
        told = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "headers": sorted(
                f"{name.decode('latin-1')}={value.decode('latin-1')}" for name, value in scope["headers"]
            ),
            "body": body.decode("latin-1"),
        }
        return Reply(200, json.dumps(told).encode())


class Client:
    """One connection. Reads answers one by one and knows when the server closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def answer(self, *, head: bool = False) -> Answer:
        """The next answer, interim ones included; ``head`` for one that has no body."""
        async with asyncio.timeout(WITHIN_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
            line, *fields = raw[:-4].split(b"\r\n")
            headers = {}
            for each in fields:
                name, _, value = each.partition(b":")
                assert name.decode().lower() not in headers, f"{name!r} stands twice"
                headers[name.decode().lower()] = value.decode().strip()
            status = int(line.split(b" ")[1])
            length = 0 if head or status == 100 else int(headers["content-length"])
            return Answer(status, headers, await self.reader.readexactly(length))

    async def ended(self) -> bytes:
        """What comes until the server closes: nothing, unless it says something more."""
        async with asyncio.timeout(WITHIN_S):
            try:
                return await self.reader.read(1_000_000)
            except ConnectionError:
                return b""

    async def refusal(self, status: int) -> Answer:
        """The answer that ends the connection: JSON with code and message, then nothing more."""
        answer = await self.answer()
        assert answer.status == status, answer
        assert answer.headers["connection"] == "close"
        assert answer.headers["content-type"] == "application/json"
        told = answer.json()
        assert set(told) == {"code", "message"}
        assert isinstance(told["code"], int)
        assert told["message"]
        assert await self.ended() == b""
        return answer

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return


class Edge:
    """A running listener."""

    def __init__(self, server: HttpServer, app: EchoApp, sweeping: "asyncio.Task[None]") -> None:
        self.server, self.app, self.sweeping = server, app, sweeping
        self._clients: list[Client] = []

    async def connect(self, *, receive_buffer: int | None = None) -> Client:
        """Open one connection."""
        plain = socket.socket()
        plain.setblocking(False)
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", self.server.port))
        limit = 1024 if receive_buffer is not None else 2**22
        client = Client(*await asyncio.open_connection(sock=plain, limit=limit))
        self._clients.append(client)
        return client

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait, bounded, for something that owes nobody an event."""
        async with asyncio.timeout(WITHIN_S):
            while not true():
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        self.app.gate.set()
        for each in self._clients:
            await each.close()
        await self.server.stop(1.0)
        self.sweeping.cancel()


Serve = Callable[..., Awaitable[Edge]]


@asynccontextmanager
async def serving(limits: EdgeLimits | None = None) -> AsyncIterator[Edge]:
    """Run a listener while the block lasts."""
    limits = limits or EdgeLimits()
    app = EchoApp(limits.body_bytes)
    server = HttpServer(app, bind(Address("127.0.0.1", 0), "TEST_BIND"), limits)
    await server.start()
    edge = Edge(server, app, asyncio.get_running_loop().create_task(server.run()))
    try:
        yield edge
    finally:
        await edge.close()


def get(path: str = "/x", *headers: str) -> bytes:
    """A plain request."""
    return f"GET {path} HTTP/1.1\r\nHost: t\r\n{''.join(f'{each}{chr(13)}{chr(10)}' for each in headers)}\r\n".encode()


def post(body: bytes, *headers: str, path: str = "/x") -> bytes:
    """A request with a body of declared length."""
    lines = "".join(f"{each}\r\n" for each in headers)
    return f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body
