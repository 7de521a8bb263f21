"""The events port: logdrivers lease batches here and acknowledge them; what is not acknowledged is handed out again."""

import asyncio
import contextlib
from typing import Final, NamedTuple

import msgspec

from tenant_security.proxy.event_port import DONE, EventPort, not_lent
from tenant_security.proxy.outbox import EventQueue
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http import Receive, Reply
from tenant_security.wire.event_feed import Acknowledgement, LeasedEvents, LeaseRequest

ACKNOWLEDGE_WITHIN_S: Final = 30.0
"""How long a logdriver may take to make a batch safe before somebody else gets it."""

_MOST_COLLECTORS: Final = 64


class _Collector(NamedTuple):
    """Who leases, since which start of it, and what it was lent."""

    session: str
    batches: set[int]


class EventFeed(EventPort):
    """The events port of one process: what is in its outbox."""

    def __init__(
        self,
        outbox: EventQueue,
        api_keys: ApiKeys,
        instance: str,
        *,
        acknowledge_within_s: float = ACKNOWLEDGE_WITHIN_S,
    ) -> None:
        super().__init__(api_keys)
        self._outbox = outbox
        self._instance = instance
        self._within_s = acknowledge_within_s
        self._collectors: dict[str, _Collector] = {}

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

    async def lease(self, request: LeaseRequest, _authorization: str, receive: Receive, /) -> Reply:
        """Hand a batch out, waiting for one as long as asked and as the client stays."""
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

    async def wait(self, request: LeaseRequest, _authorization: str, /) -> None:
        """Wait until there are events, at most as long as asked."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(request.wait_millis / 1000):
                await self._outbox.filled()

    async def acknowledge(self, request: Acknowledgement, _authorization: str, /) -> Reply:
        """Forget a batch."""
        if request.instance != self._instance or not self._outbox.acknowledge(request.batch):
            raise not_lent()
        return DONE


async def _left(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass
