"""The proxy's side of its broker.

The broker is never on the way of a key operation: what it says last is in memory, and on disk where a cache is set.
"""

from typing import Any, Final

from tenant_security.directory.open_source import SourceSettings
from tenant_security.directory.reporter import Run
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Flow
from tenant_security.proxy.settings import ProxySettings

_REQUEST_S: Final = 10.0


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


def runner(outbound: Outbound) -> Run:
    """Return what runs short talks with the broker."""

    async def run(flow: Flow[Any]) -> Any:
        return await outbound.run(flow, deadline_s=_REQUEST_S)

    return run
