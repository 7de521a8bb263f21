"""How this process calls the tenants' KMSs: the caller with its limits, the open keys, and what is seen of them."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

import structlog

from tenant_security.directory.tenants import ConfigHandle
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.caller import KmsCaller, KmsCallRecord
from tenant_security.kms.catalog import open_key
from tenant_security.kms.check import check, report_unreadable
from tenant_security.kms.provider import KmsContext, KmsKey
from tenant_security.kms.resilience import CallLimits
from tenant_security.outbound.driver import Outbound
from tenant_security.proxy.fleet_report import Activity
from tenant_security.proxy.opened_configs import OpenedConfigs
from tenant_security.proxy.settings import ProxySettings
from tenant_security.proxy.several import WrapWithKms
from tenant_security.service.metrics import Metrics
from tenant_security.wire.kms.local import LocalKmsConfig
from tenant_security.wire.kms_check import CheckReport
from tenant_security.wire.kms_configs import KmsConfig

_MOST_TOLD: Final = 200
"""How many different codes are told of: a peer may make up as many as it likes."""


class KmsCalls:
    """Wraps and unwraps with sealed configs. ``opened`` are those that are open now."""

    def __init__(
        self,
        settings: ProxySettings,
        outbound: Outbound,
        observe: Callable[[KmsCallRecord], None],
        log: structlog.typing.FilteringBoundLogger,
        activity: Activity | None,
        *,
        note: Callable[[str], None],
        open_outbound: Callable[[], Outbound],
    ) -> None:
        self._allow_local = settings.allow_local_kms
        self._own_identity = settings.own_identity
        self._outbound = outbound
        self._log = log
        self._observe = observe
        self._told: set[tuple[str, str]] = set()
        self._activity = activity
        self._note = note
        self._open_outbound = open_outbound
        self._caller = KmsCaller(
            outbound,
            CallLimits(
                deadline_s=settings.kms_deadline_s,
                in_flight_per_tenant=settings.kms_per_tenant,
                in_flight_per_config=settings.kms_per_config,
                in_flight=settings.kms_at_once,
                waiting_per_tenant=settings.kms_waiting_per_tenant,
            ),
            observe=self._seen,
        )
        self.opened = OpenedConfigs(self._open)

    def _seen(self, record: KmsCallRecord) -> None:
        """Count a call; tell the operator of each code that no table lists, once."""
        self._observe(record)
        told = (record.provider, record.provider_code)
        if record.listed or told in self._told or len(self._told) >= _MOST_TOLD:
            return
        self._told.add(told)
        self._log.warning(
            "a KMS refused with a code that is not in our tables; its HTTP status decided what the caller was told",
            provider=record.provider,
            provider_code=record.provider_code,
            provider_request_id=record.request_id,
            code=record.outcome,
        )

    def port(self) -> WrapWithKms:
        """What others wrap and unwrap with."""
        return WrapWithKms(self._wrap, self._unwrap, self._note)

    async def _wrap(self, tenant_id: str, config: ConfigHandle, key: bytes) -> bytes:
        with self._timed(tenant_id):
            opened = self.opened.key(tenant_id, config)
            return await self._caller.wrap(tenant_id, opened, key, config=config.fingerprint)

    async def _unwrap(self, tenant_id: str, config: ConfigHandle, blob: bytes) -> bytes:
        with self._timed(tenant_id):
            opened = self.opened.key(tenant_id, config)
            return await self._caller.unwrap(tenant_id, opened, blob, config=config.fingerprint)

    @contextlib.contextmanager
    def _timed(self, tenant_id: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            if self._activity is not None:
                self._activity.kms_call(tenant_id, time.monotonic() - began)

    def retain(self, wanted: Callable[[str, bytes], bool]) -> None:
        """Drop the keys that their tenants may no longer use, and old troubles."""
        self.opened.retain(wanted)
        self._caller.health.sweep()

    def add_gauges(self, metrics: Metrics) -> None:
        """Register what is read at scrape time."""
        caller, outbound = self._caller, self._outbound
        add = metrics.gauge
        add("tsp_kms_calls_in_flight", "KMS calls under way", lambda: caller.bulkhead.running)
        add("tsp_kms_calls_waiting", "KMS calls that wait for their turn", lambda: caller.bulkhead.waiting)
        add(
            "tsp_kms_configs_not_asked",
            "KMS configurations whose KMS is not asked now, by why",
            lambda: {(why.value,): float(count) for why, count in caller.health.blocked().items()},
            "reason",
        )
        add(
            "tsp_kms_idle_connections",
            "Connections to KMSs that are kept for reuse",
            lambda: outbound.idle_connections,
        )
        add("tsp_name_lookups_in_flight", "Host names that are being looked up", lambda: outbound.lookups_in_flight)
        add("tsp_shared_values", "Access tokens and the like in memory", lambda: outbound.shared_values)
        metrics.tally(
            "tsp_kms_requests",
            "HTTP requests sent to KMSs and where one signs in to them",
            lambda: {(): float(outbound.traffic.requests)},
        )
        metrics.tally(
            "tsp_kms_request_failures",
            "HTTP requests to KMSs that got no response, by reason",
            lambda: {(reason.name.lower(),): float(n) for reason, n in outbound.traffic.failures.items()},
            "reason",
        )

    async def test(self, sealed: ConfigHandle) -> CheckReport:
        """Test a config over connections of its own: what was learnt of it before, good or bad, does not count."""
        try:
            config = self._allowed(sealed)
        except TenantSecurityError as fault:
            return report_unreadable(fault)
        async with self._open_outbound() as outbound:
            return await check(config, outbound, self._context(sealed))

    def _open(self, sealed: ConfigHandle) -> KmsKey:
        config = self._allowed(sealed)
        if isinstance(config, LocalKmsConfig):
            self._log.warning("a config of the local KMS is in use: its key is not in anybody's custody")
        return open_key(config, self._context(sealed))

    def _allowed(self, sealed: ConfigHandle) -> KmsConfig:
        config = sealed.open()
        if isinstance(config, LocalKmsConfig) and not self._allow_local:
            raise TenantSecurityError(
                Code.KMS_CONFIGURATION_INVALID,
                "This KMS configuration is of the local KMS, which this proxy does not allow; "
                "it is meant for development (TSP_ALLOW_LOCAL_KMS)",
            )
        return config

    def _context(self, sealed: ConfigHandle) -> KmsContext:
        return KmsContext(
            now=lambda: datetime.now(UTC),
            vendor_owned=sealed.shared,
            identities=self._own_identity,
            environ=os.environ if sealed.shared and self._own_identity else {},
        )
