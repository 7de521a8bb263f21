"""Tries tenants' configs when the broker asks for it: from here, with this proxy's network and its limits.

A test signs in anew, wraps 32 random bytes with the config and unwraps them again. It makes no key that anybody uses
and leaves nothing behind but lines in the KMS's own log. What it found says what to do (``kms.check``).
"""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from tenant_security import __version__
from tenant_security.directory.reporter import Run
from tenant_security.directory.tenants import ConfigHandle, TenantDirectory
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, finish_work, take_work
from tenant_security.outbound.flow import UnreachableError
from tenant_security.wire.kms_check import CheckFinding, CheckReport, CheckStep
from tenant_security.wire.service_api import Check, Work, WorkDone

_MOST_AT_ONCE: Final = 20
"""How many tests are done before the broker is asked for news again."""
_LETTERS: Final = 500


class ConnectionTests:
    """Does the broker's connection tests, one after the other. Owner: the task that runs :meth:`do`."""

    def __init__(
        self,
        account: BrokerAccount,
        run: Run,
        *,
        segment: int,
        directory: Callable[[], TenantDirectory],
        test: Callable[[ConfigHandle], Awaitable[CheckReport]],
        instance: str,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._account: Final = account
        self._run: Final = run
        self._segment: Final = segment
        self._directory: Final = directory
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
                work = await self._run(take_work(self._account, self._segment))
                if work is None:
                    return
                done = await self._try(work)
                await self._run(finish_work(self._account, work.id, done))
        except (BrokerRefusedError, UnreachableError) as failure:
            self._log.warning("a connection test could not be taken or answered", reason=str(failure))
        finally:
            self._busy = False

    async def _try(self, work: Work) -> WorkDone:
        checks: list[Check] = []
        config = self._config(work, checks)
        if config is not None:
            report = await self._test(config)
            checks += [_check_of(step, report.finding) for step in report.steps if step.outcome != "skipped"]
        ok = bool(checks) and all(each.ok for each in checks)
        return WorkDone(ok, tuple(checks), self._instance, __version__)

    def _config(self, work: Work, checks: list[Check]) -> ConfigHandle | None:
        tenant = self._directory().tenant(work.tenant)
        if tenant is None:
            problem = "this proxy does not know the tenant; check the tags of tenant and segment"
        elif tenant.quarantined is not None:
            problem = f"the tenant's configuration was refused: {tenant.quarantined}"
        elif (assignment := tenant.assignment(work.config)) is None:
            problem = f"config {work.config} is not assigned to the tenant in what this proxy has"
        else:
            return assignment.config
        checks.append(Check("configuration", ok=False, message=problem[:_LETTERS]))
        return None


def _check_of(step: CheckStep, finding: CheckFinding | None) -> Check:
    """Put a step into the broker's words. One that was skipped is left out by the caller."""
    message = ""
    if finding is not None and finding.step == step.name:
        message = f"{finding.code}: {finding.problem} {finding.remedy}"
    return Check(step.name, ok=step.outcome == "ok", message=message[:_LETTERS], milliseconds=float(step.millis))
