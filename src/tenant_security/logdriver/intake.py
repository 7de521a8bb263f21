"""Fetches events from every proxy: leases a batch, has it on the disk, and only then acknowledges it.

Each address that a producer's name stands for is a proxy of its own and has one task; names are resolved again from
time to time, so proxies come and go without a restart. The next batch is leased while the last one is being written,
and written after it: the order of a proxy's events is kept.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
import structlog

from tenant_security.errors import TenantSecurityError
from tenant_security.logdriver.observed import LogdriverMetrics
from tenant_security.logdriver.producers import Endpoint, Producer, resolve
from tenant_security.logdriver.repeats import Repeats
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.event_feed import acknowledge_events, lease_events
from tenant_security.outbound.flow import UnreachableError
from tenant_security.secret import Secret
from tenant_security.service.ray import RayIds
from tenant_security.service.run import until
from tenant_security.wire.event_feed import LeasedEvents, LeaseRequest
from tenant_security.wire.stored_events import Incoming, read_incoming, with_ray

_WAIT_MILLIS: Final = 10_000
_DEADLINE_S: Final = 30.0
_RESOLVE_S: Final = 30.0
_RETRY_S: Final = (0.5, 10.0)

Store = Callable[[Sequence[Incoming]], Awaitable[None]]


class Access(NamedTuple):
    """How to be let in: the token or API key, and the TLS context where there is one."""

    key: Secret[str]
    tls: ssl.SSLContext | None = None


class Means(NamedTuple):
    """What fetching from any proxy needs. ``store`` returns when events are safe.

    ``collector`` is this logdriver's name, ``session`` that of this start of it.
    """

    access: Access
    store: Store
    repeats: Repeats
    metrics: LogdriverMetrics
    log: structlog.typing.FilteringBoundLogger
    rays: RayIds
    most: int = 1_000
    collector: str = ""
    session: str = ""


class Intake:
    """All proxies that events are fetched from. ``reached`` says of each whether the last try worked."""

    def __init__(self, producers: Sequence[Producer], means: Means, *, resolve_s: float = _RESOLVE_S) -> None:
        self.reached: dict[str, bool] = {}
        self.stopping = asyncio.Event()
        self._producers = producers
        self._means = means
        self._resolve_s = resolve_s

    async def run(self) -> None:
        """Fetch from whatever proxies there are, until ``stopping`` is set; then finish what was leased."""
        tasks: dict[Endpoint, asyncio.Task[None]] = {}
        last: dict[Producer, list[Endpoint]] = {}
        async with asyncio.TaskGroup() as group:
            while not self.stopping.is_set():
                for producer in self._producers:
                    with suppress(OSError):  # a name that cannot be resolved now stands for what it stood for
                        last[producer] = await resolve(producer)
                    if producer not in last:
                        self.reached[producer.url] = False
                wanted = {each for found in last.values() for each in found}
                for endpoint in wanted - tasks.keys():
                    self.reached.pop(endpoint.producer.url, None)
                    tasks[endpoint] = group.create_task(self._fetch(endpoint))
                for endpoint in tasks.keys() - wanted:
                    # What it has leased is stored or lent again by the proxy.
                    tasks.pop(endpoint).cancel()
                    self.reached.pop(str(endpoint), None)
                await until(self.stopping, self._resolve_s)

    async def _fetch(self, endpoint: Endpoint) -> None:
        limits = OutboundLimits(attempt_s=_DEADLINE_S, connections=4)
        tls = self._means.access.tls
        async with Outbound(limits, ssl_context=tls, look_up=lambda _host: (endpoint.address,)) as outbound:
            await Fetcher(endpoint, outbound, self._means, self.reached, self.stopping).run()


class Fetcher:
    """Fetches from one proxy."""

    def __init__(
        self, endpoint: Endpoint, outbound: Outbound, means: Means, reached: dict[str, bool], stopping: asyncio.Event
    ) -> None:
        self._name = str(endpoint)
        self._base = endpoint.producer.url
        self._outbound = outbound
        self._means = means
        self._reached = reached
        self._stopping = stopping
        self._pause, self._most_pause = _RETRY_S

    async def run(self) -> None:
        """Lease, store and acknowledge until told to stop; the next lease is under way while a batch is stored."""
        told = asyncio.ensure_future(self._stopping.wait())
        leasing = asyncio.ensure_future(self._lease())
        try:
            while not self._stopping.is_set():
                await asyncio.wait([leasing, told], return_when=asyncio.FIRST_COMPLETED)
                if not leasing.done():
                    break
                leased = leasing.result()
                leasing = asyncio.ensure_future(self._lease())
                if leased is not None and leased.batch is not None:
                    await self._take(leased)
        finally:
            told.cancel()
            leasing.cancel()

    async def _lease(self) -> LeasedEvents | None:
        request = LeaseRequest(self._means.most, _WAIT_MILLIS, self._means.collector, self._means.session)
        try:
            flow = lease_events(self._base, self._means.access.key, request)
            leased = await self._outbound.run(flow, deadline_s=_DEADLINE_S)
        except (TenantSecurityError, UnreachableError) as failure:
            self._note(failure)
            await until(self._stopping, self._pause)
            self._pause = min(self._pause * 2, self._most_pause)
            return None
        self._note(None)
        self._pause = _RETRY_S[0]
        return leased

    async def _take(self, leased: LeasedEvents) -> None:
        repeats, metrics = self._means.repeats, self._means.metrics
        events = await take(leased.events, self._means)
        try:
            flow = acknowledge_events(self._base, self._means.access.key, leased)
            await self._outbound.run(flow, deadline_s=_DEADLINE_S)
        except (TenantSecurityError, UnreachableError) as failure:
            # It will be lent again, or has been: these events are known now.
            repeats.remember(each.event_id for each in events)
            metrics.leases.add("unacknowledged")
            self._means.log.info("a batch could not be acknowledged", producer=self._name, reason=str(failure))

    def _note(self, failure: Exception | None) -> None:
        before = self._reached.get(self._name)
        self._reached[self._name] = failure is None
        if failure is not None:
            self._means.metrics.leases.add("failed")
            if before is not False:
                self._means.log.warning("a proxy's events cannot be fetched", producer=self._name, reason=str(failure))
        elif not before:
            self._means.log.info("fetching events from a proxy", producer=self._name)


async def take(lines: Sequence[msgspec.Raw], means: Means) -> list[Incoming]:
    """Have the events of a batch on the disk, but those that are there already. Returns all of them."""
    events = [each for raw in lines if (each := read_incoming(bytes(raw))) is not None]
    means.metrics.unreadable.add(count=len(lines) - len(events))
    fresh = [with_ray(each, means.rays.next()) for each in means.repeats.fresh(events)]
    await means.store(fresh)
    means.metrics.leases.add("stored" if fresh or not events else "repeated")
    return events
