"""Tries tenants' sinks when the broker asks for it: from here, with this logdriver's network and its egress policy.

A test sends one event that says that it is a test, past every queue, whatever the sink's filter is. It signs in anew,
and touches neither the spool nor what waits for the sink. What it found says what to do (``sinks.check``).
"""

from collections.abc import Callable
from typing import Final

import structlog

from tenant_security.directory.broker_work import BrokerWork, checks_of
from tenant_security.directory.reporter import Run
from tenant_security.directory.sealed_config import SealedConfig
from tenant_security.directory.tenants import Tenant, TenantDirectory
from tenant_security.errors import TenantSecurityError
from tenant_security.outbound.broker import BrokerAccount
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import EgressPolicy
from tenant_security.sinks.check import check_sink, report_unreadable
from tenant_security.sinks.sink import SinkContext
from tenant_security.wire.service_api import Check
from tenant_security.wire.sink_check import SinkCheckReport
from tenant_security.wire.sink_configs import SinkConfigError, decode_sink_config

_LIMITS: Final = OutboundLimits(connect_s=5.0, attempt_s=20.0, shared_s=20.0)


def sink_tests(
    account: BrokerAccount,
    run: Run,
    *,
    segment: int,
    directory: Callable[[], TenantDirectory],
    context: Callable[[str, bool], SinkContext],
    egress: EgressPolicy,
    instance: str,
    log: structlog.typing.FilteringBoundLogger,
) -> BrokerWork[SealedConfig]:
    """Return what does the broker's connection tests of sinks. ``context`` is as in :class:`SinkRoutes`."""

    async def try_out(tenant: Tenant, config: SealedConfig) -> list[Check]:
        report, refused = await _send_one(config, context(tenant.id, config.shared), egress)
        if refused:  # for the operator only: it names addresses of the operator's network
            log.warning("a sink's test was not let out", tenant_id=tenant.id, sink=config.id, reason=refused)
        return _checks(report)

    return BrokerWork(
        account,
        run,
        kind="sink",
        segment=segment,
        directory=directory,
        find=sink_of,
        test=try_out,
        instance=instance,
        log=log,
    )


def sink_of(tenant: Tenant, number: int) -> SealedConfig | None:
    """Return a tenant's sink by its number."""
    for config in tenant.sinks:
        if config.id == number:
            assert isinstance(config, SealedConfig)  # as every directory holds them that a snapshot became
            return config
    return None


async def _send_one(config: SealedConfig, context: SinkContext, egress: EgressPolicy) -> tuple[SinkCheckReport, str]:
    """Return the report, and why the egress policy let something not out, where it did not."""
    try:
        read = decode_sink_config(config.plaintext())
    except TenantSecurityError as fault:
        return report_unreadable("", SinkConfigError(fault.message)), ""
    except SinkConfigError as wrong:
        return report_unreadable("", wrong), ""
    # One for each test: what one signed in with is not another's.
    async with Outbound(_LIMITS, egress=egress) as outbound:
        return await check_sink(read, outbound, context), outbound.traffic.refused


def _checks(report: SinkCheckReport) -> list[Check]:
    finding = report.finding
    if finding is not None:
        return checks_of(report.steps, finding.step, f"{finding.problem} {finding.remedy}")
    return checks_of(report.steps, "delivery", f"Event {report.event_id}. {' '.join(report.notes)}")
