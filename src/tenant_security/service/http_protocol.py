"""uvicorn's httptools protocol with the bounds that it lacks: header size, slow senders, slow readers, a way to drain.

No server of the field bounds a request that trickles in, so a handful of clients could hold every connection. Here a
sweep once a second ends what has been waiting too long; a request costs no timer of its own.
"""

import asyncio
from typing import Any, Final

import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tenant_security.errors import Code
from tenant_security.service.http import error_body


class EdgeLimits(msgspec.Struct, frozen=True):
    """Bounds of one listener.

    Units: bytes and seconds. ``receive_s`` bounds a request from its first byte to its last, and a connection that
    never sends one; ``idle_s`` a keep-alive connection between requests; ``read_s`` a client that does not read.
    """

    head_bytes: int = 16_384
    body_bytes: int = 8_388_608
    receive_s: float = 10.0
    idle_s: float = 75.0
    read_s: float = 30.0
    connections: int = 20_000


class EdgeState(ServerState):
    """uvicorn's shared state of a listener, and our bounds."""

    def __init__(self, limits: EdgeLimits) -> None:
        super().__init__()
        self.limits = limits
        self.refused: dict[str, int] = {}


_RECEIVING: Final = "receiving"
_ANSWERING: Final = "answering"
_IDLE: Final = "idle"

_NEW_S: Final = 1.0
"""How long a connection that has not sent anything counts as about to."""


class EdgeProtocol(HttpToolsProtocol):
    """One connection."""

    server_state: EdgeState

    def __init__(
        self,
        config: Config,
        server_state: EdgeState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = server_state.limits
        self._phase = _RECEIVING
        self._since = self.loop.time()
        self._head_bytes = 0
        self._in_head = True
        self._begun = False
        self._refused = False
        self._write_paused_at: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(503, Code.UNKNOWN_ERROR, "Too many connections; try again")

    def data_received(self, data: bytes) -> None:
        """Feed the parser; bound the head even while it is incomplete."""
        if self._refused:
            return
        if self._in_head and self._begun:
            self._head_bytes += len(data)
        self.feed(data)
        if self._in_head and self._head_bytes > self._limits.head_bytes:
            self._refuse_head()

    def feed(self, data: bytes) -> None:
        """Let the parser see a piece of the stream."""
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Start the clock of a request."""
        super().on_message_begin()
        self._phase, self._since = _RECEIVING, self.loop.time()
        self._in_head = self._begun = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Start the application, unless the head was too large."""
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > self._limits.head_bytes:
            self._refuse_head()
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is in; from here on it is our turn."""
        if self._refused:
            return
        self._phase, self._since = _ANSWERING, self.loop.time()
        super().on_message_complete()
        if self.cycle.response_complete:  # answered before its body was in
            self._become_idle()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self._phase == _ANSWERING and not self.pipeline:
            self._become_idle()

    def _become_idle(self) -> None:
        self._phase, self._since = _IDLE, self.loop.time()
        self._in_head, self._begun = True, False
        self._head_bytes = 0

    def pause_writing(self) -> None:
        """The client does not read as fast as we write."""
        self._write_paused_at = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        self._write_paused_at = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours to choose
        """Answer what is not HTTP."""
        self._refuse(400, Code.INVALID_REQUEST_BODY, "The request is not valid HTTP")

    def expire(self, now: float) -> None:
        """End the connection if it has waited too long for the other side. Called once a second."""
        waited = now - self._since
        if self._write_paused_at is not None and now - self._write_paused_at > self._limits.read_s:
            self._count("slow_reader")
            self.transport.abort()
        elif self._phase == _RECEIVING and waited > self._limits.receive_s:
            self._refuse(408, Code.INVALID_REQUEST_BODY, "The request did not arrive in time")
        elif self._phase == _IDLE and waited > self._limits.idle_s:
            self.transport.close()

    def shutdown(self) -> None:
        """End the connection as soon as nobody can be waiting on it. Called again and again while the server stops.

        A request that has begun to arrive is served, and a new connection has a moment to send one.
        """
        if self._phase == _RECEIVING and (self._begun or self.loop.time() - self._since < _NEW_S):
            return
        super().shutdown()

    def _refuse_head(self) -> None:
        message = f"The request's line and headers are larger than {self._limits.head_bytes} bytes"
        self._refuse(431, Code.INVALID_REQUEST_BODY, message)

    def _count(self, reason: str) -> None:
        refused = self.server_state.refused
        refused[reason] = refused.get(reason, 0) + 1

    def _refuse(self, status: int, code: Code, message: str) -> None:
        """Answer without the application and close. A reply that is already owed goes out first and ends it instead."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._count(str(status))
        own_cycle = self._phase == _RECEIVING and not self._in_head
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not own_cycle:
                self.cycle.keep_alive = False
                return
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        body = error_body(code, message)
        head = [STATUS_LINE[status]]
        head += [b"%b: %b\r\n" % each for each in self.server_state.default_headers if each[0] != b"connection"]
        head.append(b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self.transport.write(b"".join(head) + body)
        self.transport.close()
