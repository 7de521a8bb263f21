"""A peer that answers what a test tells it to, byte by byte, and keeps what it was sent."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest
import uvloop

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Received(NamedTuple):
    line: str
    headers: dict[str, str]
    body: bytes


class Peer:
    """An HTTP/1.1 server without opinions: ``answer`` writes the reply to every request."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.answer: Answer = self.say(b"ok")
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()
        self.port = 0

    @staticmethod
    def say(body: bytes, status: str = "200 OK", headers: str = "") -> Answer:
        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body)

        return answer

    @staticmethod
    def raw(reply: bytes) -> Answer:
        """Write these bytes and close."""

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(reply)
            await writer.drain()
            writer.close()

        return answer

    @staticmethod
    def abort_after(reply: bytes) -> Answer:
        """Write these bytes and reset the connection."""

        async def answer(writer: asyncio.StreamWriter) -> None:
            writer.write(reply)
            await writer.drain()
            writer.transport.abort()

        return answer

    @staticmethod
    async def hang(_writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talk = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
                while not writer.is_closing():
                    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                    headers = {
                        name.lower(): value
                        for name, value in (field.split(": ", 1) for field in fields if ": " in field)
                    }
                    body = await reader.readexactly(int(headers.get("content-length", "0")))
                    self.received.append(Received(line, headers, body))
                    self.arrived.set()
                    await self.answer(writer)
        finally:
            writer.close()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Failures look different on the two loops; what we make of them must not."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    try:
        yield peer
    finally:
        await peer.stop()


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A port that accepts connections and never says a word."""

    async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        writer.close()

    talks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.get_running_loop().create_task(say_nothing(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks, return_exceptions=True)
