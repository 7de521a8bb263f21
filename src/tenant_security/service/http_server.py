"""One HTTP listener: uvicorn's protocol and configuration, our loop around it, so that stopping loses no request.

To stop: :meth:`HttpServer.drain` tells every client ``Connection: close`` while requests are still served, so that
keep-alive clients go elsewhere by themselves; :meth:`HttpServer.stop` then closes the listener and waits for what is
in flight.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from tenant_security.errors import SettingsError
from tenant_security.service.fair_accept import FairAcceptor, Share
from tenant_security.service.http_protocol import EdgeLimits, EdgeProtocol, EdgeState
from tenant_security.service.settings import Address

_GIVE_BACK_S: Final = 2.0
"""How long requests that were cut may take to end. Units: seconds."""
_BACKLOG: Final = 2048
_HANDSHAKE_S: Final = 10.0
_TICK_S: Final = 1.0
_SWEPT_AT_ONCE: Final = 250
"""Connections that the sweep looks at before others get a turn."""
_CLOSE: Final = (b"connection", b"close")


def bind(address: Address, setting: str) -> socket.socket:
    """Open a listening socket.

    Raises: SettingsError that names the setting when the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as refused:
        listener.close()
        raise SettingsError(
            [f"cannot listen on {address}: {refused.strerror}; choose another address with {setting}"]
        ) from None
    listener.setblocking(False)
    return listener


def inherited(descriptor: int, setting: str) -> socket.socket:
    """Take over a listening socket from the parent process, as systemd's socket activation hands it on.

    The parent keeps the socket open, so restarts behind it refuse no connection.
    """
    try:
        listener = socket.socket(fileno=descriptor)
        listening = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as refused:
        raise SettingsError([f"{setting}={descriptor} is not a socket: {refused.strerror}"]) from None
    if not listening:
        raise SettingsError([f"{setting}={descriptor} is not a listening socket"])
    listener.setblocking(False)
    return listener


class Watched(set[Any]):
    """A set that tells when it has changed."""

    def __init__(self, added: Callable[[], None], removed: Callable[[], None]) -> None:
        super().__init__()
        self._added, self._removed = added, removed

    def add(self, element: Any, /) -> None:
        """Add an element."""
        super().add(element)
        self._added()

    def discard(self, element: Any, /) -> None:
        """Remove an element, if it is there."""
        super().discard(element)
        self._removed()


class HttpServer:
    """Serves one ASGI application on one listening socket. Owner of the socket from construction on.

    With ``share`` other processes accept from the same socket, and the connections are divided evenly. With ``tls`` it
    speaks HTTPS only, and with ``client_names`` only to clients whose certificates have one of these names. A Unix
    socket stays plain: whoever can open it is on this machine.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        listener: socket.socket,
        limits: EdgeLimits,
        *,
        protocol: Callable[[Config, EdgeState, dict[str, Any], asyncio.AbstractEventLoop], EdgeProtocol] = EdgeProtocol,
        share: Share | None = None,
        tls: ssl.SSLContext | None = None,
        client_names: frozenset[str] = frozenset(),
    ) -> None:
        # Keep-alive ends in our sweep; uvicorn's timer, one for every answer, is set out of the way.
        self._config = Config(
            app,
            http=EdgeProtocol,
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            timeout_keep_alive=86_400,
            ws="none",
            proxy_headers=False,  # who believes such a header reads it itself
        )
        self._config.load()
        self._protocol = protocol
        self._listener = listener
        self._port: int = 0 if self._on_unix else listener.getsockname()[1]
        self._server: asyncio.Server | FairAcceptor | None = None
        self._share = share
        self._tls = None if self._on_unix else tls
        self._closed = False
        self._draining = False
        self.state = EdgeState(limits, client_names if self._tls is not None else frozenset())

    @property
    def port(self) -> int:
        """Where it listens; 0 on a Unix socket."""
        return self._port

    @property
    def _on_unix(self) -> bool:
        return self._listener.family == socket.AF_UNIX

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self.state.connections)

    async def start(self) -> None:
        """Begin to accept."""
        self._tick()
        loop = asyncio.get_running_loop()
        if self._share is not None:
            acceptor = FairAcceptor(self._listener, self._connect, self._share, lambda: self.connections, self._tls)
            self._server, self.state.connections = acceptor, Watched(acceptor.opened, acceptor.counted)
            return
        create = loop.create_unix_server if self._on_unix else loop.create_server
        # A copy is accepted from, so that another context can take over on the same port.
        self._server = await create(
            self._connect,
            sock=self._listener.dup(),
            backlog=_BACKLOG,
            ssl=self._tls,
            ssl_handshake_timeout=_HANDSHAKE_S if self._tls is not None else None,
        )

    async def use_tls(self, context: ssl.SSLContext) -> None:
        """Take another certificate for connections that begin from now on."""
        if self._on_unix:
            return
        self._tls = context
        if isinstance(self._server, FairAcceptor):
            self._server.tls = context
        elif self._server is not None and not self._closed:
            old = self._server
            await self.start()
            old.close()

    def _connect(self) -> EdgeProtocol:
        return self._protocol(self._config, self.state, {}, asyncio.get_running_loop())

    async def run(self) -> None:
        """Keep the date and sweep connections that wait too long, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK_S)
            self._tick()
            now = loop.time()
            for count, connection in enumerate(list(self.state.connections), start=1):
                assert isinstance(connection, EdgeProtocol)
                connection.expire(now)
                if count % _SWEPT_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _tick(self) -> None:
        headers = [(b"date", formatdate(time.time(), usegmt=True).encode("ascii"))]
        if self._draining:
            headers.append(_CLOSE)
        self.state.default_headers = headers
        lines = b"".join(b"%b: %b\r\n" % each for each in headers)
        self.state.success_head = (
            None if self._draining else STATUS_LINE[200] + lines + b"content-type: application/json\r\ncontent-length: "
        )

    def drain(self, *, accept: bool = True) -> None:
        """Serve on, but end every connection with its next answer.

        Without ``accept`` new connections stay with the kernel, for the processes that share the listening socket.
        """
        self._draining = True
        self._tick()
        if not accept:
            self._close()

    def _close(self) -> None:
        """Accept no longer."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        self._listener.close()

    async def emptied(self, wait_s: float, hurry: asyncio.Event) -> None:
        """Wait until no connection is open, at most this long or until told to hurry."""
        deadline = asyncio.get_running_loop().time() + wait_s
        while self.connections and not hurry.is_set() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)

    async def stop(self, wait_s: float, hurry: asyncio.Event | None = None) -> int:
        """Stop accepting, finish what is in flight for at most this long, then cut. Returns how many were cut.

        Once ``hurry`` is set, nobody is waited for any longer.
        """
        self.drain()
        self._close()
        deadline = asyncio.get_running_loop().time() + wait_s
        while (self.state.connections or self.state.tasks) and asyncio.get_running_loop().time() < deadline:
            if hurry is not None and hurry.is_set():
                break
            for connection in list(self.state.connections):
                connection.shutdown()
            await asyncio.sleep(0.02)
        cut = len(self.state.connections)
        unfinished = list(self.state.tasks)
        for task in unfinished:
            task.cancel()
        for connection in list(self.state.connections):
            connection.transport.abort()
        if unfinished:
            # They give back what they hold, such as a database's connection, before whoever owns that closes it.
            await asyncio.wait(unfinished, timeout=_GIVE_BACK_S)
        return cut
