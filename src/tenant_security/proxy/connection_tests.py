"""Tries tenants' KMS configs when the broker asks for it: from here, with this proxy's network and its limits.

A test signs in anew, wraps 32 random bytes with the config and unwraps them again. It makes no key that anybody uses
and leaves nothing behind but lines in the KMS's own log. What it found says what to do (``kms.check``).
"""

from collections.abc import Awaitable, Callable

import structlog

from tenant_security.directory.broker_work import BrokerWork, checks_of
from tenant_security.directory.reporter import Run
from tenant_security.directory.tenants import ConfigHandle, Tenant, TenantDirectory
from tenant_security.outbound.broker import BrokerAccount
from tenant_security.wire.kms_check import CheckReport
from tenant_security.wire.service_api import Check


def connection_tests(
    account: BrokerAccount,
    run: Run,
    *,
    segment: int,
    directory: Callable[[], TenantDirectory],
    test: Callable[[ConfigHandle], Awaitable[CheckReport]],
    instance: str,
    log: structlog.typing.FilteringBoundLogger,
) -> BrokerWork[ConfigHandle]:
    """Return what does the broker's connection tests of KMS configs."""

    async def try_out(_tenant: Tenant, config: ConfigHandle) -> list[Check]:
        report = await test(config)
        finding = report.finding
        if finding is None:
            return checks_of(report.steps, "", "")
        return checks_of(report.steps, finding.step, f"{finding.code}: {finding.problem} {finding.remedy}")

    return BrokerWork(
        account,
        run,
        kind="kms",
        segment=segment,
        directory=directory,
        find=_assigned,
        test=try_out,
        instance=instance,
        log=log,
    )


def _assigned(tenant: Tenant, number: int) -> ConfigHandle | None:
    assignment = tenant.assignment(number)
    return None if assignment is None else assignment.config
