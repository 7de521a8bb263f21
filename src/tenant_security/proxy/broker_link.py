"""The proxy's side of its broker: who it is there, and the reports that it sends now and then.

The broker is never on the way of a key operation: what it says last is in memory, and on disk where a cache is set.
"""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import structlog

from tenant_security import __version__
from tenant_security.crypto.signing import SigningKey
from tenant_security.directory.broker_source import BrokerSource
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.directory.snapshot_file import SnapshotFile
from tenant_security.errors import SettingsError
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, send_status
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.proxy.fleet_report import Activity
from tenant_security.proxy.ops import Health
from tenant_security.proxy.settings import ProxySettings
from tenant_security.wire.service_api import Status
from tenant_security.wire.service_env import ServiceCredentials

LIMITS: Final = OutboundLimits(connect_s=2.0, attempt_s=10.0, connections=64)
"""A session of its own: a broker that hangs takes no connection from a KMS."""
_REQUEST_S: Final = 10.0
_JITTER: Final = 0.2
_REASON_LETTERS: Final = 300


def broker_account(settings: ProxySettings, credentials: ServiceCredentials) -> BrokerAccount | None:
    """Return who this proxy is at its broker; None where it reads a file. Raises: SettingsError."""
    if settings.broker_url is None:
        return None
    authorities = b"" if settings.broker_ca_file is None else _read(settings.broker_ca_file)
    return BrokerAccount(
        settings.broker_url,
        SigningKey(credentials.signing_seed),
        lambda: int(time.time()),
        lambda: uuid.uuid4().hex,
        authorities,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failure:
        raise SettingsError([f"CONFIG_BROKER_CA_FILE: {path}: {failure.strerror or failure}"]) from failure


def open_source(
    settings: ProxySettings,
    credentials: ServiceCredentials,
    account: BrokerAccount | None,
    outbound: Outbound,
    on_work: Callable[[], object],
) -> BrokerSource | SnapshotFile:
    """Open where the tenants come from. Raises: SettingsError when the cache directory cannot be used."""
    if account is None:
        assert settings.snapshot_file is not None
        return SnapshotFile(settings.snapshot_file, period_s=settings.refresh_s)

    async def run(flow: Flow[Any], within_s: float) -> Any:
        return await outbound.run(flow, deadline_s=within_s)

    waits = settings.config_wait_s
    try:
        return BrokerSource(
            account,
            credentials.segment_id,
            run,
            cache=settings.config_cache,
            wait_s=waits,
            period_s=1.0 if waits else settings.refresh_s,
            cap_bytes=settings.snapshot_bytes,
            on_work=on_work,
        )
    except OSError as failure:
        raise SettingsError([f"TSP_CONFIG_CACHE_DIR: {failure.strerror or failure}"]) from failure


Run = Callable[[Flow[Any]], Awaitable[Any]]
"""Runs a short talk with the broker."""


def runner(outbound: Outbound) -> Run:
    """Return what runs short talks with the broker."""

    async def run(flow: Flow[Any]) -> Any:
        return await outbound.run(flow, deadline_s=_REQUEST_S)

    return run


class Reporter:
    """Tells the broker how this process is, every so often.

    A report that does not arrive is sent again, and counts once: what was counted is kept until it has arrived.
    """

    def __init__(
        self,
        account: BrokerAccount,
        outbound: Outbound,
        *,
        instance: str,
        refresher: DirectoryRefresher,
        activity: Activity,
        health: Callable[[], Health],
        log: structlog.typing.FilteringBoundLogger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account: Final = account
        self._run: Final = runner(outbound)
        self._instance: Final = instance
        self._refresher: Final = refresher
        self._activity: Final = activity
        self._health: Final = health
        self._log: Final = log
        self._clock: Final = clock
        self._began_s: Final = clock()
        self._sequence = 0
        self._unsent: Status | None = None
        self._failing = False

    async def run(self, period_s: float) -> None:
        """Report until cancelled."""
        while True:
            await self.report()
            await asyncio.sleep(period_s * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - spreads a fleet

    async def report(self) -> bool:
        """Report once, and return whether it arrived."""
        status = self._unsent or self._status()
        self._unsent = status
        try:
            await self._run(send_status(self._account, status))
        except (BrokerRefusedError, UnreachableError) as failure:
            if not self._failing:
                self._log.warning("the broker does not take our reports; trying on", reason=str(failure))
            self._failing = True
            return False
        self._unsent, self._failing = None, False
        return True

    def _status(self) -> Status:
        directory, state = self._refresher.current, self._refresher.state
        checks = self._health().checks
        worst = max((each.status for each in checks), key=("UP", "WARN", "DOWN").index, default="UP")
        self._sequence += 1
        age_s = state.age_s(self._clock())
        return Status(
            software=__version__,
            instance=self._instance,
            snapshot_version=directory.version,
            snapshot_age_s=-1.0 if age_s is None else age_s,
            health="UP" if worst == "UP" else "WARN" if worst == "WARN" else "DOWN",
            quarantined_tenants=len(directory.quarantined),
            sequence=self._sequence,
            uptime_s=max(0.0, self._clock() - self._began_s),
            reason=(state.last_error or "")[:_REASON_LETTERS],
            activity=self._activity.take(directory),
        )
