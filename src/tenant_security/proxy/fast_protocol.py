"""The API port's protocol: hot requests are answered in the parser's callbacks, all others go to the ASGI application.

A request is hot when it is a plain ``POST`` to one of the hot endpoints, with the API key, and nothing before it is
still being answered. Its body is collected here; when the last byte is in, the answer is made and written at once.
Where there is no answer, the request is handed to uvicorn's own way as if it had never been looked at, so everything
unusual has exactly one implementation.
"""

import asyncio
import time
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tenant_security.proxy.fastpath import Answer
from tenant_security.proxy.observed import FAST, ProxyMetrics
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http_protocol import EdgeProtocol, EdgeState
from tenant_security.service.metrics import Cell
from tenant_security.service.ray import RayIds

_AUTHORIZATION: Final = b"authorization"
_LENGTH: Final = b"content-length"
_LANGUAGE: Final = b"x-icl-tsc-language"
_VERSION: Final = b"x-icl-tsc-version"
_UNUSUAL: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})
"""Bodies of unknown length, interim answers, other protocols: not for the hot path."""

_LOOKED_AT: Final = frozenset(len(name) for name in (_AUTHORIZATION, _LENGTH, _LANGUAGE, _VERSION, *_UNUSUAL))
"""The lengths of the header names that matter; a name of another length is not even made lower case."""


_MOST_CLIENTS: Final = 256


class HotRoute:
    """One hot endpoint and where it is counted."""

    __slots__ = ("answer", "count", "observe")

    def __init__(self, name: str, answer: Answer, metrics: ProxyMetrics) -> None:
        self.answer = answer
        self.count = metrics.requests.cell(name, "ok", FAST)
        self.observe = metrics.latency.timing(name).observe


class FastEdge:
    """What all connections of the API port share."""

    __slots__ = ("_clients", "_metrics", "api_keys", "body_bytes", "rays", "routes")

    def __init__(
        self,
        answers: dict[bytes, tuple[str, Answer]],
        api_keys: ApiKeys,
        rays: RayIds,
        metrics: ProxyMetrics,
        *,
        body_bytes: int,
    ) -> None:
        self.routes = {target: HotRoute(name, answer, metrics) for target, (name, answer) in answers.items()}
        self.api_keys = api_keys
        self.rays = rays
        self.body_bytes = body_bytes
        self._metrics = metrics
        self._clients: dict[tuple[bytes | None, bytes | None], Cell | None] = {}

    def count_client(self, said: tuple[bytes | None, bytes | None]) -> None:
        """Count a client by what it says of its language and version."""
        if said not in self._clients:
            if len(self._clients) >= _MOST_CLIENTS:
                self._clients.clear()
            self._clients[said] = self._metrics.client(*said)
        cell = self._clients[said]
        if cell is not None:
            cell.value += 1

    def answer(self, route: HotRoute, body: bytes) -> bytes | None:
        """Answer a hot request. A fault of this code costs speed and is counted; it never costs an answer."""
        try:
            return route.answer(body, self.rays.next())
        except Exception:  # noqa: BLE001 - the other way answers, and says what is wrong
            self._metrics.fast_faults.add()
            return None


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
        self._body = b""
        self._client: tuple[bytes | None, bytes | None] = (None, None)

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
            self._body = b""
        else:
            self._hand_over()

    def _is_hot(self) -> bool:
        return self._is_free() and self._is_plain()

    def _is_free(self) -> bool:
        """Nothing is being answered, the client reads, and the connection goes on afterwards."""
        cycle: RequestResponseCycle | None = self.cycle
        return (
            self.server_state.success_head is not None
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
                elif lower in _UNUSUAL:
                    return False
        self._client = (language, version)
        return head_bytes <= self._limits.head_bytes and self._edge.api_keys.accepts(authorization)

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        if self._hot is not None:
            self._body = self._body + body if self._body else body
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Answer a hot request at once, or hand it over whole."""
        route = self._hot
        if route is None:
            super().on_message_complete()
            return
        self._hot = None
        began = time.perf_counter()
        answer = self._edge.answer(route, self._body)
        head = self.server_state.success_head
        if answer is None or head is None:
            self._hand_over()
            if self._body:
                super().on_body(self._body)
            super().on_message_complete()
            return
        self.transport.write(b"%b%d\r\n\r\n%b" % (head, len(answer), answer))
        self._become_idle()
        route.count.value += 1
        self._edge.count_client(self._client)
        route.observe(time.perf_counter() - began)

    def _hand_over(self) -> None:
        """Give what came so far to uvicorn, as if it came now."""
        since, url, headers = self._since, self.url, self.headers
        super().on_message_begin()
        self._since, self.url = since, url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
