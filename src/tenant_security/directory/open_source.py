"""Opens where the tenants come from, as a daemon's settings say: a file, or a broker with a kept copy."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tenant_security.crypto.signing import SigningKey
from tenant_security.directory.broker_source import BrokerSource
from tenant_security.directory.snapshot_file import SnapshotFile
from tenant_security.errors import SettingsError
from tenant_security.outbound.broker import BrokerAccount
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow
from tenant_security.wire.service_api import WorkKind
from tenant_security.wire.service_env import ServiceCredentials

BROKER_LIMITS: Final = OutboundLimits(connect_s=2.0, attempt_s=10.0, connections=64)
"""A session of its own: a broker that hangs takes no connection from anybody else."""


class SourceSettings(msgspec.Struct, frozen=True):
    """Where the tenants come from. Units: seconds, bytes. One of ``snapshot_file`` and ``broker_url`` is set.

    With ``wait_s`` of 0 a broker is asked every ``refresh_s`` instead of being waited on.
    """

    snapshot_file: Path | None
    broker_url: str | None
    broker_ca_file: Path | None
    cache: Path | None
    wait_s: int
    refresh_s: float
    most_bytes: int


def broker_account(settings: SourceSettings, credentials: ServiceCredentials) -> BrokerAccount | None:
    """Return who this service is at its broker; None where it reads a file. Raises: SettingsError."""
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
    settings: SourceSettings,
    credentials: ServiceCredentials,
    account: BrokerAccount | None,
    outbound: Outbound,
    on_work: Callable[[], object],
    *,
    work: WorkKind = "kms",
) -> BrokerSource | SnapshotFile:
    """Open it. ``on_work`` hears that a broker has ``work`` for us.

    Raises: SettingsError when the cache directory cannot be used.
    """
    if account is None:
        assert settings.snapshot_file is not None
        return SnapshotFile(settings.snapshot_file, period_s=settings.refresh_s)

    async def run(flow: Flow[Any], within_s: float) -> Any:
        return await outbound.run(flow, deadline_s=within_s)

    waits = settings.wait_s
    try:
        return BrokerSource(
            account,
            credentials.segment_id,
            run,
            cache=settings.cache,
            wait_s=waits,
            period_s=1.0 if waits else settings.refresh_s,
            cap_bytes=settings.most_bytes,
            work=work,
            on_work=on_work,
        )
    except OSError as failure:
        raise SettingsError([f"TSP_CONFIG_CACHE_DIR: {failure.strerror or failure}"]) from failure
