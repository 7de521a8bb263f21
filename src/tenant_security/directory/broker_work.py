"""Takes what a broker has to do for a service, connection tests of tenants' configs, and says what came of each.

What is tried, and how, is the service's own: a proxy's keys, a logdriver's sinks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import structlog

from tenant_security import __version__
from tenant_security.directory.reporter import Run
from tenant_security.directory.tenants import Tenant, TenantDirectory
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, finish_work, take_work
from tenant_security.outbound.flow import UnreachableError
from tenant_security.wire.kms_check import CheckStep
from tenant_security.wire.service_api import Check, Work, WorkDone, WorkKind
from tenant_security.wire.sink_check import SinkCheckStep

C = TypeVar("C")

_MOST_AT_ONCE: Final = 20
"""How many tests are done before the broker is asked for news again."""
_LETTERS: Final = 500
PATIENCE_S: Final = 10.0
"""How long a config is waited for that the directory lacks: a broker may hand out its test first. Units: seconds."""
_LOOK_S: Final = 0.2
_LACKS: Final[dict[WorkKind, str]] = {
    "kms": "is not assigned to the tenant",
    "sink": "is not one of the tenant's sinks",
}


class BrokerWork(Generic[C]):
    """Does one kind of a broker's connection tests, one after the other. Owner: the task that runs :meth:`do`.

    ``find`` picks a config of a tenant, and ``test`` tries it and returns its steps.
    """

    def __init__(
        self,
        account: BrokerAccount,
        run: Run,
        *,
        kind: WorkKind,
        segment: int,
        directory: Callable[[], TenantDirectory],
        find: Callable[[Tenant, int], C | None],
        test: Callable[[Tenant, C], Awaitable[Sequence[Check]]],
        instance: str,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._account: Final = account
        self._run: Final = run
        self._kind: Final[WorkKind] = kind
        self._segment: Final = segment
        self._directory: Final = directory
        self._find: Final = find
        self._test: Final = test
        self._instance: Final = instance
        self._log: Final = log
        self._busy = False

    async def do(self) -> None:
        """Take what there is and do it; nothing where it is being done already."""
        if self._busy:
            return
        self._busy = True
        try:
            for _ in range(_MOST_AT_ONCE):
                work = await self._run(take_work(self._account, self._segment, self._kind))
                if work is None:
                    return
                done = await self._try(work)
                await self._run(finish_work(self._account, work.id, done))
        except (BrokerRefusedError, UnreachableError) as failure:
            self._log.warning("a connection test could not be taken or answered", reason=str(failure))
        finally:
            self._busy = False

    async def _try(self, work: Work) -> WorkDone:
        checks: Sequence[Check]
        wanted = await self._wanted(work)
        if isinstance(wanted, str):
            checks = (Check("configuration", ok=False, message=wanted[:_LETTERS]),)
        else:
            checks = await self._tested(work, *wanted)
        ok = bool(checks) and all(each.ok for each in checks)
        return WorkDone(ok, tuple(checks), self._instance, __version__)

    async def _tested(self, work: Work, tenant: Tenant, config: C) -> Sequence[Check]:
        try:
            return await self._test(tenant, config)
        except Exception as fault:  # noqa: BLE001 - a fault of ours in one test must not end the service
            self._log.error(
                "a connection test failed unexpectedly",
                tenant_id=tenant.id,
                config=work.config,
                error=type(fault).__name__,
            )
            return (Check("test", ok=False, message="The test failed unexpectedly; the operator finds it in the log."),)

    async def _wanted(self, work: Work) -> tuple[Tenant, C] | str:
        """Return what is to be tried once the directory has it, or why it has not."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while True:
            tenant = self._directory().tenant(work.tenant)
            if tenant is None:
                problem = "this service does not know the tenant; check the tags of tenant and segment"
            elif tenant.quarantined is not None:
                return f"the tenant's configuration was refused: {tenant.quarantined}"
            elif (config := self._find(tenant, work.config)) is None:
                problem = f"config {work.config} {_LACKS[self._kind]} in what this service has"
            else:
                return tenant, config
            if loop.time() >= until:
                return problem
            await asyncio.sleep(_LOOK_S)


def checks_of(steps: Sequence[CheckStep] | Sequence[SinkCheckStep], at: str, message: str) -> list[Check]:
    """Put steps into the broker's words, ``message`` to the step that is called ``at``; skipped ones are left out."""
    return [
        Check(
            each.name,
            ok=each.outcome == "ok",
            message=message[:_LETTERS] if each.name == at else "",
            milliseconds=float(each.millis),
        )
        for each in steps
        if each.outcome != "skipped"
    ]
