"""The events port: logdrivers lease batches here and acknowledge them; what is not acknowledged is handed out again."""

import asyncio
import contextlib
from typing import Final, NamedTuple

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.outbox import EventQueue
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http import (
    ClientGoneError,
    Receive,
    Reply,
    Scope,
    Send,
    error_reply,
    header,
    path_of,
    read_body,
    send_reply,
    unknown_route,
    wrong_method,
)
from tenant_security.wire.event_feed import (
    ACKNOWLEDGE_PATH,
    LEASE_PATH,
    REQUEST_BYTES,
    WAIT_PATH,
    Acknowledgement,
    LeasedEvents,
    LeaseRequest,
    decode_request,
)
from tenant_security.wire.proxy_api import NULL

ACKNOWLEDGE_WITHIN_S: Final = 30.0
"""How long a logdriver may take to make a batch safe before somebody else gets it."""


_MOST_COLLECTORS: Final = 64


class _Collector(NamedTuple):
    """Who leases, since which start of it, and what it was lent."""

    session: str
    batches: set[int]


class EventFeed:
    """The ASGI application on the events port. Logdrivers present the API key: they share the proxy's env file."""

    def __init__(
        self,
        outbox: EventQueue,
        api_keys: ApiKeys,
        instance: str,
        *,
        acknowledge_within_s: float = ACKNOWLEDGE_WITHIN_S,
    ) -> None:
        self._outbox = outbox
        self._api_keys = api_keys
        self._instance = instance
        self._within_s = acknowledge_within_s
        self._collectors: dict[str, _Collector] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            reply = await self._answer(scope, receive)
        except TenantSecurityError as fault:
            reply = error_reply(fault)
        except ClientGoneError:
            return
        await send_reply(send, reply)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        self._api_keys.check(header(scope, b"authorization"))
        path = path_of(scope)
        if path not in (LEASE_PATH, ACKNOWLEDGE_PATH, WAIT_PATH):
            raise unknown_route()
        if scope["method"] != "POST":
            return wrong_method("POST")
        body = await read_body(scope, receive, REQUEST_BYTES)
        if path == LEASE_PATH:
            return await self._lease(decode_request(LeaseRequest, body), receive)
        if path == WAIT_PATH:
            return await self._wait(decode_request(LeaseRequest, body))
        return self._acknowledge(decode_request(Acknowledgement, body))

    def _resume(self, request: LeaseRequest) -> None:
        """Take back at once what a collector was lent before it was started again."""
        known = self._collectors.get(request.collector)
        if known is not None and known.session != request.session:
            for number in known.batches:
                self._outbox.take_back(number)
            known = None
        if known is None:
            if len(self._collectors) >= _MOST_COLLECTORS:
                del self._collectors[next(iter(self._collectors))]
            self._collectors[request.collector] = _Collector(request.session, set())

    async def _lease(self, request: LeaseRequest, receive: Receive) -> Reply:
        if request.collector:
            self._resume(request)
        lending = asyncio.ensure_future(self._outbox.lend(request.most))
        # Who goes away while there is nothing must not be lent what comes next: nobody else would get it for a while.
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait(
                {lending, leaving}, timeout=request.wait_millis / 1000, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            leaving.cancel()
            if not lending.done():
                lending.cancel()
        if not lending.done() or not lending.result().events:
            return Reply(200, msgspec.json.encode(LeasedEvents(self._instance, None, [])))
        batch = lending.result()
        asyncio.get_running_loop().call_later(self._within_s, self._expire, batch.number)
        collector = self._collectors.get(request.collector)
        if collector is not None and collector.session == request.session:
            collector.batches.add(batch.number)
        rendered = [msgspec.Raw(line) for line in batch.lines()]
        return Reply(200, msgspec.json.encode(LeasedEvents(self._instance, batch.number, rendered)))

    def _expire(self, number: int) -> None:
        self._outbox.take_back(number)
        for collector in self._collectors.values():
            collector.batches.discard(number)

    async def _wait(self, request: LeaseRequest) -> Reply:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.wait_millis / 1000):
                await self._outbox.filled()
        return Reply(200, NULL)

    def _acknowledge(self, request: Acknowledgement) -> Reply:
        if request.instance != self._instance or not self._outbox.acknowledge(request.batch):
            raise TenantSecurityError(
                Code.INVALID_REQUEST_BODY,
                "This batch is not lent: it was acknowledged already, or too late, or by another proxy's number",
                http_status=409,
            )
        return Reply(200, NULL)


async def _left(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
