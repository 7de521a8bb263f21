"""What all fakes share: one HTTPS server, a count of what was asked, and a switch for every way to fail."""

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections import Counter, deque
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
import trustme
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

_CAP_BYTES: Final = 1_048_576
_GOODBYE_TURNS: Final = 4


class Asked(NamedTuple):
    """One request as it came. ``path`` and ``query`` stand as they were sent; header names ignore case."""

    method: str
    host: str
    path: str
    query: str
    headers: CIMultiDictProxy[str]
    body: bytes


class Answered(NamedTuple):
    """One answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


def answered(status: int, body: object, *headers: tuple[str, str]) -> Answered:
    """Answer JSON."""
    return Answered(status, msgspec.json.encode(body), (("Content-Type", "application/json"), *headers))


class Mishap(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong with one request instead of its proper answer.

    Units: ``wait_s`` seconds before anything else happens. Order: wait, then ``hang_up``, then ``instead``, then
    the proper answer.
    """

    wait_s: float = 0.0
    hang_up: bool = False
    """Close the connection without a word."""
    instead: Answered | None = None
    """What to answer in place of the truth."""


class FakeServer(ABC):
    """One fake. Use as ``async with FakeX() as fake``; give ``dial`` and ``trusting()`` to the driver.

    ``seen`` counts requests by the name that :meth:`name` gives them. ``happens`` queues mishaps by that name, each for
    one request.
    """

    hosts: tuple[str, ...] = ()
    """The host names that it answers for; ``*.`` in front covers one label more."""

    cap_bytes = _CAP_BYTES
    """The largest request that is read at all. Units: bytes."""

    is_public = True
    """Whether the authorities that everybody trusts vouch for the real one, or private ones."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.port = 0
        self._mishaps: dict[str, deque[Mishap]] = {}
        self._always: dict[str, Mishap] = {}
        self._runner: web.AppRunner | None = None
        self.authority = trustme.CA(organization_name="Fakes of the tenant-security test kit")

    @abstractmethod
    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word, such as ``encrypt``: for counts and mishaps."""

    @abstractmethod
    def answer(self, asked: Asked) -> Answered:
        """Return what the real one would. Synchronous: nobody sees a state between two of its own."""

    def happens(self, name: str, *mishaps: Mishap) -> None:
        """Let these befall the next requests of that name, one each."""
        self._mishaps.setdefault(name, deque()).extend(mishaps)

    def always(self, name: str, mishap: Mishap | None) -> None:
        """Let this befall every request of that name, until it is set to None."""
        if mishap is None:
            self._always.pop(name, None)
        else:
            self._always[name] = mishap

    @property
    def authority_pem(self) -> bytes:
        """The certificate authority that vouches for this fake."""
        return self.authority.cert_pem.bytes()

    def trusting(self) -> ssl.SSLContext:
        """Return a TLS context that trusts this fake and nobody else."""
        context = ssl.create_default_context()
        context.load_verify_locations(cadata=self.authority_pem.decode())
        return context

    @property
    def dial(self) -> dict[str, tuple[str, int]]:
        """Where to find each host name, for the driver."""
        return dict.fromkeys(self.hosts, ("127.0.0.1", self.port))

    def found(self, host: str) -> tuple[str, int] | None:
        """Where to find a host name; None when it is not one of this fake's."""
        dial = self.dial
        return dial.get(host) or dial.get("*." + host.partition(".")[2])

    async def __aenter__(self) -> Self:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost", "127.0.0.1", *self.hosts).configure_cert(tls)
        app = web.Application(client_max_size=self.cap_bytes)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A client that keeps its connection does not answer TLS's farewell, and the loop waits for it at its end.
        server = None if self._runner is None else self._runner.server
        for connection in [] if server is None else server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        for _ in range(_GOODBYE_TURNS):
            await asyncio.sleep(0)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        host = (request.host or "").rsplit(":", 1)[0].lower()
        asked = Asked(request.method, host, path, query, request.headers, await request.read())
        name = self.name(asked)
        self.seen[name] += 1
        mishap = self._mishap(name)
        if mishap is not None:
            await asyncio.sleep(mishap.wait_s)
            if mishap.hang_up:
                assert request.transport is not None
                request.transport.abort()
                raise web.HTTPServiceUnavailable
            if mishap.instead is not None:
                return _response(mishap.instead)
        return _response(self.answer(asked))

    def _mishap(self, name: str) -> Mishap | None:
        queued = self._mishaps.get(name)
        return queued.popleft() if queued else self._always.get(name)


def _response(answer: Answered) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=CIMultiDict(answer.headers))
