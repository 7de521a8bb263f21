"""uvicorn's httptools protocol with the bounds that it lacks: header size, slow senders, slow readers, a way to drain.

No server of the field bounds a request that trickles in, so a handful of clients could hold every connection. Here a
sweep once a second ends what has been waiting too long; a request costs no timer of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from tenant_security.errors import Code
from tenant_security.service.http import Receive, Reply, Scope, Send, error_body, send_reply
from tenant_security.service.tls import names_of
from tenant_security.service.whole_replies import WholeReplies


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

    def __init__(self, limits: EdgeLimits, client_names: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.limits = limits
        self.client_names = client_names
        """Whom to serve, by the names in their certificates; empty: everybody whose certificate is good."""
        self.refused: dict[str, int] = {}
        self.success_head: bytes | None = None
        """An HTTP 200 of JSON up to its length, with the headers that ``default_headers`` holds now; None while
        connections are to be closed, so that nobody answers past uvicorn then."""


RECEIVING: Final = "receiving"
ANSWERING: Final = "answering"
IDLE: Final = "idle"
_REFUSED: Final = "refused"
_VERSIONS: Final = frozenset({"1.0", "1.1"})

_NEW_S: Final = 1.0
"""How long a connection that has not sent anything counts as about to."""
_LINGER_S: Final = 2.0
"""How long a refused client may take to read why."""
_TOLD: Final = 1000
"""So many connections above the bound are told that there are too many; any more are cut."""


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
        self._phase = RECEIVING
        self._since = self.loop.time()
        self._head_bytes = 0
        self._in_head = True
        self._begun = False
        self._refused = False
        self._offered = False  # the newest request offers to speak another protocol
        self._own: RequestResponseCycle | None = None  # of the newest request, once its head is in
        self._write_paused_at: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or refuse it when there are too many."""
        super().connection_made(transport)
        self._replies = WholeReplies(transport)
        allowed = self.server_state.client_names
        if allowed and not allowed & names_of(transport.get_extra_info("peercert")):
            self._refuse(403, Code.UNAUTHORIZED_REQUEST, "No name of your certificate may ask here")
            return
        excess = len(self.connections) - self._limits.connections
        if excess > _TOLD:
            self._count("cut")
            transport.abort()
        elif excess > 0:
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
        """Let the parser see a piece of the stream.

        Nobody upgrades here. The parser takes the body of a request that offers to for the other protocol's bytes, so
        such a request is read again without the offer: Java's own HTTP client makes one with every first request.
        """
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_offer() + data[upgrade.args[0] :]
            except httptools.HttpParserError:
                self._refuse_bytes()
                return
            else:
                return

    def _head_without_offer(self) -> bytes:
        if self._refused or not self._offered:
            return b""
        self._offered = False
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name.lower() != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_message_begin(self) -> None:
        """Start the clock of a request."""
        super().on_message_begin()
        self._note_begin()

    def _note_begin(self) -> None:
        if self._refused:
            return
        self._phase, self._since = RECEIVING, self.loop.time()
        self._in_head = self._begun = True
        self._head_bytes = 0
        self._own = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; what stands behind a body is ignored."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the application, unless the head was too large."""
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > self._limits.head_bytes:
            self._refuse_head()
        elif self.parser.get_http_version() not in _VERSIONS:
            self._refuse_bytes()
        elif self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._offered = True
        if not self._refused and not self._offered:
            super().on_headers_complete()
            self._own = self.cycle
            self._own.transport = self._replies  # type: ignore[assignment] # the part of a transport that it uses

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is in; from here on it is our turn."""
        if self._refused or self._offered:
            return
        self._phase, self._since = ANSWERING, self.loop.time()
        super().on_message_complete()
        if self.cycle.response_complete:  # answered before its body was in
            self._become_idle()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._replies.finish()
        super().on_response_complete()
        if self._phase == ANSWERING and self.cycle.response_complete:
            self._become_idle()

    def _become_idle(self) -> None:
        self._phase, self._since = IDLE, self.loop.time()
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

    def expire(self, now: float) -> None:
        """End the connection if it has waited too long for the other side. Called once a second."""
        waited = now - self._since
        if self._write_paused_at is not None and now - self._write_paused_at > self._limits.read_s:
            self._count("slow_reader")
            self.transport.abort()
        elif self._phase == RECEIVING and self.flow.read_paused:
            self._since = now  # it waits for us
        elif self._phase == RECEIVING and waited > self._limits.receive_s:
            if self._begun:
                self._refuse(408, Code.INVALID_REQUEST_BODY, "The request did not arrive in time")
            else:
                self.transport.close()
        elif self._phase == IDLE and waited > self._limits.idle_s:
            if self.transport.get_write_buffer_size():  # it never read its last answer
                self.transport.abort()
            else:
                self.transport.close()
        elif self._phase == _REFUSED and waited > _LINGER_S:
            self.transport.abort()

    def shutdown(self) -> None:
        """End the connection as soon as nobody can be waiting on it. Called again and again while the server stops.

        A request that has begun to arrive is served, and a new connection has a moment to send one.
        """
        if self._phase == _REFUSED:
            self.transport.close()
        elif self._phase == RECEIVING and (self._begun or self.loop.time() - self._since < _NEW_S):
            return
        else:
            super().shutdown()

    def _refuse_bytes(self) -> None:
        self._refuse(400, Code.INVALID_REQUEST_BODY, "The request is not valid HTTP/1.1")

    def _refuse_head(self) -> None:
        message = f"The request's line and headers are larger than {self._limits.head_bytes} bytes"
        self._refuse(431, Code.INVALID_REQUEST_BODY, message)

    def _count(self, reason: str) -> None:
        refused = self.server_state.refused
        refused[reason] = refused.get(reason, 0) + 1

    def _refuse(self, status: int, code: Code, message: str) -> None:
        """Answer without the application and close. No request gets two answers, and none another's.

        Earlier requests of the connection that still wait get theirs first. Where the refused request itself did not
        get as far as the application, the end of the connection after those is its answer.
        """
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._replies.finish()
        self._count(str(status))
        body = error_body(code, message)
        own = self._own
        newest: RequestResponseCycle | None = self.cycle
        if own is None and newest is not None and not newest.response_complete:
            newest.keep_alive = False
            return
        if own is not None and self.pipeline and self.pipeline[0][0] is own:
            own.keep_alive = False
            self.pipeline[0] = (own, _answering(Reply(status, body)))
            return
        if own is not None:
            own.disconnected = True
            own.message_event.set()
        if own is None or not own.response_started:
            headers = [each for each in self.server_state.default_headers if each[0] != b"connection"]
            reply = Reply(status, body, headers=((b"connection", b"close"),))
            self.transport.write(written(reply, headers))
        # Closing now would reset a connection whose client still sends, and take the answer away from it.
        self._phase, self._since = _REFUSED, self.loop.time()
        if self.transport.can_write_eof():  # TLS has no end for one direction alone: the client ends it, or the sweep
            self.transport.write_eof()


def written(reply: Reply, default_headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a reply as it is sent."""
    lines = [STATUS_LINE[reply.status], *(b"%b: %b\r\n" % each for each in default_headers)]
    lines.append(b"content-type: %b\r\ncontent-length: %d\r\n" % (reply.content_type, len(reply.body)))
    lines += [b"%b: %b\r\n" % each for each in reply.headers]
    return b"".join((*lines, b"\r\n", reply.body))


def _answering(reply: Reply) -> Callable[..., Awaitable[None]]:
    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_reply(send, reply)

    return answer
