"""Tells the broker how a service is, every so often, and what happened since the last time."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal, NamedTuple

from tenant_security import __version__
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.directory.tenants import TenantDirectory
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, send_status
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.wire.service_api import Delivery, Status, TenantActivity

_JITTER: Final = 0.2
_REASON_LETTERS: Final = 300

Run = Callable[[Flow[Any]], Awaitable[Any]]
"""Runs a short talk with the broker."""
Health = Literal["UP", "WARN", "DOWN"]


class News(NamedTuple):
    """What happened since the last report, and how deliveries stand."""

    activity: tuple[TenantActivity, ...] = ()
    deliveries: tuple[Delivery, ...] = ()


class Reporter:
    """Reports of one process.

    A report that does not arrive is sent again, and counts once: what ``news`` gave is kept until it has arrived.
    ``on_failure`` hears of the first failure in a row. Owner: the task that runs :meth:`run`.
    """

    def __init__(
        self,
        account: BrokerAccount,
        run: Run,
        *,
        instance: str,
        refresher: DirectoryRefresher,
        health: Callable[[], Health],
        news: Callable[[TenantDirectory], News],
        on_failure: Callable[[str], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account: Final = account
        self._run: Final = run
        self._instance: Final = instance
        self._refresher: Final = refresher
        self._health: Final = health
        self._news: Final = news
        self._on_failure: Final = on_failure
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
                self._on_failure(str(failure))
            self._failing = True
            return False
        self._unsent, self._failing = None, False
        return True

    def _status(self) -> Status:
        directory, state = self._refresher.current, self._refresher.state
        activity, deliveries = self._news(directory)
        self._sequence += 1
        age_s = state.age_s(self._clock())
        return Status(
            software=__version__,
            instance=self._instance,
            snapshot_version=directory.version,
            snapshot_age_s=-1.0 if age_s is None else age_s,
            health=self._health(),
            quarantined_tenants=len(directory.quarantined),
            sequence=self._sequence,
            uptime_s=max(0.0, self._clock() - self._began_s),
            reason=(state.last_error or "")[:_REASON_LETTERS],
            activity=activity,
            deliveries=deliveries,
        )
