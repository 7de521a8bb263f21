"""The API port's protocol: hot requests are answered in the parser's callbacks, all others go to the ASGI application.

A request is hot when it is a plain ``POST`` to one of the hot endpoints, with the API key, and nothing before it is
still being answered. Its body is collected here; when the last byte is in, the answer is made and written at once.

Where there is no answer at once, because a KMS must be asked or something is wrong, and nothing came behind the
request, a task asks the application for it without going through ASGI. Everything else is handed to uvicorn's own way
as if it had never been looked at, so everything unusual has exactly one implementation.
"""

import asyncio
import time
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tenant_security.proxy.hot_routes import Client, FastEdge, HotRoute
from tenant_security.proxy.known_heads import KnownHeads, head_of
from tenant_security.proxy.tracing import is_sampled
from tenant_security.service.http_protocol import ANSWERING, IDLE, EdgeProtocol, EdgeState, written

_AUTHORIZATION: Final = b"authorization"
_LENGTH: Final = b"content-length"
_LANGUAGE: Final = b"x-icl-tsc-language"
_VERSION: Final = b"x-icl-tsc-version"
_TRACEPARENT: Final = b"traceparent"
_UNUSUAL: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
"""Bodies of unknown length, interim answers, other protocols: not for the hot path."""

_LOOKED_AT: Final = frozenset(
    len(name) for name in (_AUTHORIZATION, _LENGTH, _LANGUAGE, _VERSION, _TRACEPARENT, *_UNUSUAL)
)
"""The lengths of the header names that matter; a name of another length is not even made lower case."""


class FastProtocol(EdgeProtocol):
    """One connection of the API port."""

    def __init__(
        self,
        edge: FastEdge,
        config: Config,
        server_state: EdgeState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._edge = edge
        self._hot: HotRoute | None = None
        self._body: list[bytes] = []
        self._client: Client = (None, None)
        self._key = b""
        self._heads = KnownHeads()
        self._piece = b""
        self._busy = False  # a task answers the newest request
        self._early = b""  # what came meanwhile

    def data_received(self, data: bytes) -> None:
        """Answer at once what looks exactly like a request before; let the parser see everything else."""
        if self._phase == IDLE:
            known = self._heads.find(data)
            if known is not None and self._is_free():
                key = data[len(known.before) : known.key_end]
                if self._edge.api_keys.accepts(key):
                    body = data[known.body_at :]
                    if not self._serve(known.route, body, known.client):
                        self._ask(known.route, body, known.client)
                    return
        elif self._busy:
            self._early += data
            self.transport.pause_reading()
            return
        self._piece = data
        super().data_received(data)
        self._piece = b""

    def on_message_begin(self) -> None:
        """Note that a request begins; what uvicorn prepares for it waits until it is needed."""
        self._note_begin()
        self.url = b""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header as it came."""
        if self._in_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Decide which way the request takes."""
        route = self._edge.routes.get(self.url)
        if route is not None and not self._refused and self._is_hot():
            self._in_head = False
            self._hot = route
            self._body = []
        else:
            self._hand_over()

    def _is_hot(self) -> bool:
        return self._is_free() and self._is_plain()

    def _is_free(self) -> bool:
        """Nothing is being answered, the client reads, and the connection goes on afterwards."""
        cycle: RequestResponseCycle | None = self.cycle
        return (
            self.server_state.success_head is not None
            and not self._busy
            and self._write_paused_at is None
            and (cycle is None or cycle.response_complete)
            and not self.pipeline
        )

    def _is_plain(self) -> bool:  # noqa: C901 - one pass over the headers
        """A POST of bounded size with the API key and without anything unusual."""
        parser = self.parser
        if parser.get_method() != b"POST" or not parser.should_keep_alive() or parser.get_http_version() != "1.1":
            return False
        authorization = language = version = None
        head_bytes = len(self.url)
        for name, value in self.headers:
            size = len(name)
            head_bytes += size + len(value) + 4
            if size in _LOOKED_AT:
                lower = name.lower()
                if lower == _AUTHORIZATION:
                    if authorization is not None:
                        return False
                    authorization = value
                elif lower == _LENGTH:
                    if len(value) > 9 or int(value) > self._edge.body_bytes:  # noqa: PLR2004 - nine digits
                        return False
                elif lower == _LANGUAGE:
                    language = value
                elif lower == _VERSION:
                    version = value
                elif lower in _UNUSUAL or (lower == _TRACEPARENT and self._edge.traces and is_sampled(value)):
                    return False
        if head_bytes > self._limits.head_bytes or authorization is None:
            return False
        self._client, self._key = (language, version), authorization
        return self._edge.api_keys.accepts(authorization)

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        if self._hot is not None:
            self._body.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a hot request at once, or hand it over whole."""
        route = self._hot
        if route is None:
            super().on_message_complete()
            return
        self._hot = None
        body, last = b"".join(self._body), self._body[-1] if self._body else b""
        self._body = []
        head = head_of(self._piece, len(body))
        if head:
            self._heads.remember(head, len(body), self._key, route, self._client)
        if self._serve(route, body, self._client):
            return
        if self._is_free() and (head or len(last) == len(self._piece)):
            self._ask(route, body, self._client)
            return
        self._hand_over()
        if body:
            super().on_body(body)
        super().on_message_complete()

    def _serve(self, route: HotRoute, body: bytes, client: Client) -> bool:
        """Answer a hot request at once, if that can be."""
        head = self.server_state.success_head
        if head is None:  # the drain began while the body came
            return False
        began = time.perf_counter()
        answer = self._edge.answer(route, body)
        if answer is None:
            return False
        self.transport.write(b"%b%d\r\n\r\n%b" % (head, len(answer), answer))
        self._become_idle()
        route.count.value += 1
        if client[0] is not None:
            self._edge.count_client(client)
        route.observe(time.perf_counter() - began)
        return True

    def _ask(self, route: HotRoute, body: bytes, client: Client) -> None:
        """Have the newest request answered by a task. Nothing may have come behind it, and what does then waits."""
        self._busy = True
        self._phase, self._since = ANSWERING, self.loop.time()
        task = self.loop.create_task(self._answer_later(route, body, client))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _answer_later(self, route: HotRoute, body: bytes, client: Client) -> None:
        try:
            reply = await self._edge.later(route.name, body, client)
        except BaseException:  # the server stops
            self.transport.abort()
            raise
        self._busy = False
        if self.transport.is_closing():
            return
        self.transport.write(written(reply, self.server_state.default_headers))
        if self.server_state.success_head is None:
            self.transport.close()
            return
        self._become_idle()
        if self._early:
            early, self._early = self._early, b""
            self.transport.resume_reading()
            self.data_received(early)

    def shutdown(self) -> None:
        """End the connection as soon as nobody can be waiting on it; a task that answers closes it itself."""
        if not self._busy:
            super().shutdown()

    def _hand_over(self) -> None:
        """Give what came so far to uvicorn, as if it came now."""
        since, url, headers = self._since, self.url, self.headers
        super().on_message_begin()
        self._since, self.url = since, url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
