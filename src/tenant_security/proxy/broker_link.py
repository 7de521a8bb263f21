"""The proxy's side of its broker: who it is there, and the reports that it sends now and then.

The broker is never on the way of a key operation: what it says last is in memory, and on disk where a cache is set.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog

from tenant_security import __version__
from tenant_security.directory.open_source import SourceSettings
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, send_status
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.proxy.fleet_report import Activity
from tenant_security.proxy.settings import ProxySettings
from tenant_security.service.ops import Health
from tenant_security.wire.service_api import Status

_REQUEST_S: Final = 10.0
_JITTER: Final = 0.2
_REASON_LETTERS: Final = 300


def source_settings(settings: ProxySettings) -> SourceSettings:
    """Where this proxy's tenants come from."""
    return SourceSettings(
        settings.snapshot_file,
        settings.broker_url,
        settings.broker_ca_file,
        settings.config_cache,
        settings.config_wait_s,
        settings.refresh_s,
        settings.snapshot_bytes,
    )


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
