"""What the proxy says of itself when somebody asks: gauges at scrape time and the lines of ``/health``."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from tenant_security import __version__
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.proxy.leasing import LeaseBook
from tenant_security.proxy.opened_configs import OpenedConfigs
from tenant_security.proxy.outbox import EventQueue
from tenant_security.proxy.tenant_secrets import TenantSecrets
from tenant_security.service.http_server import HttpServer
from tenant_security.service.metrics import Metrics
from tenant_security.service.ops import STATUS, Check, Health, Stage

_NAMED_AT_MOST: Final = 20
"""How many quarantined tenants ``/health`` names; the metrics count them all."""


class Parts(NamedTuple):
    """The parts of a proxy that have something to say."""

    stage: Callable[[], Stage]
    refresher: DirectoryRefresher
    outbox: EventQueue
    leases: LeaseBook
    opened: OpenedConfigs
    secrets: TenantSecrets
    api: HttpServer


def stage_of(parts: Parts) -> Stage:
    """Say where the proxy is in its life; one that its vendor has revoked is not ready."""
    stage = parts.stage()
    return Stage.REVOKED if stage is Stage.READY and parts.refresher.state.revoked else stage


def add_gauges(metrics: Metrics, parts: Parts) -> None:
    """Register every value that is read at scrape time."""
    _, refresher, outbox, leases, opened, secrets, api = parts
    add = metrics.gauge
    add("tsp_ready", "1 while requests are served", lambda: stage_of(parts) is Stage.READY)
    add("tsp_revoked", "1 once the vendor has revoked this proxy: nobody is served", lambda: refresher.state.revoked)
    add("tsp_directory_tenants", "Tenants in the directory", lambda: len(refresher.current))
    add("tsp_directory_version", "Version of the snapshot in use", lambda: refresher.current.version)
    add(
        "tsp_directory_quarantined_tenants",
        "Tenants whose configuration was refused",
        lambda: len(refresher.current.quarantined),
    )
    add(
        "tsp_directory_rollbacks",
        "Entries that were offered older than the one in use",
        lambda: len(refresher.current.rollbacks),
    )
    add(
        "tsp_directory_age_seconds",
        "Seconds since the tenants were last read and found good; -1 for never",
        lambda: _age_s(refresher),
    )
    add(
        "tsp_directory_refresh_failures",
        "Failed refreshes since the last good one",
        lambda: refresher.state.consecutive_failures,
    )
    add(
        "tsp_directory_from_copy",
        "1 while the tenants are those of the kept copy, because nothing good came from the broker since the start",
        lambda: refresher.state.remembered,
    )
    metrics.tally(
        "tsp_directory_refreshes",
        "How often the tenants were read, by outcome: good or failed",
        lambda: {("good",): float(refresher.state.successes), ("failed",): float(refresher.state.failures)},
        "outcome",
    )
    add(
        "tsp_leases",
        "Leased keys in memory",
        lambda: {(purpose,): float(count) for purpose, count in leases.count().items()},
        "purpose",
    )
    add("tsp_open_configs", "KMS configurations open in memory", lambda: len(opened))
    add("tsp_tenant_secret_paths", "Tenant secret paths cached in memory", lambda: len(secrets))
    add("tsp_outbox_events", "Events that wait for a logdriver", lambda: len(outbox))
    add("tsp_outbox_capacity_events", "Events that the outbox can hold", lambda: outbox.capacity)
    add("tsp_connections", "Open client connections on the API port", lambda: api.connections)
    metrics.tally(
        "tsp_refused_connections",
        "Connections ended by the edge since the start, by HTTP status or reason",
        lambda: {(reason,): float(count) for reason, count in api.state.refused.items()},
        "reason",
    )


def health_of(parts: Parts) -> Health:
    """Say how the proxy is."""
    directory, state, outbox = parts.refresher.current, parts.refresher.state, parts.outbox
    if state.revoked or (state.successes == 0 and not state.remembered):
        tenants_status = "DOWN"
    else:
        troubled = state.consecutive_failures or state.remembered or directory.quarantined or directory.rollbacks
        tenants_status = "WARN" if troubled else "UP"
    tenants = {
        "source": parts.refresher.source_name,
        "tenants": len(directory),
        "snapshotVersion": directory.version,
        "ageSeconds": round(_age_s(parts.refresher), 1),
        "freshness": directory.freshness.value,
        "quarantined": dict(list(directory.quarantined.items())[:_NAMED_AT_MOST]),
        "rollbacks": dict(list(directory.rollbacks.items())[:_NAMED_AT_MOST]),
        "failuresInARow": state.consecutive_failures,
        "lastError": state.last_error,
        "fromKeptCopy": state.remembered,
        "revoked": directory.withdrawn or None,
    }
    events = {"waiting": len(outbox), "capacity": outbox.capacity, "dropped": outbox.dropped}
    checks = [Check("tenants", tenants_status, tenants), Check("events", "WARN" if outbox.dropped else "UP", events)]
    return Health(STATUS[stage_of(parts)], __version__, checks)


def _age_s(refresher: DirectoryRefresher) -> float:
    age = refresher.state.age_s(time.time())
    return -1.0 if age is None else age
