"""The logdriver of ``tenant-security dev``: in the same process, with the proxy's identity, from the same broker."""

from collections.abc import Callable, Mapping
from pathlib import Path

from tenant_security.logdriver.app import Logdriver
from tenant_security.logdriver.settings import read_logdriver_settings
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals

DIRECTORY = "logdriver"
"""Where its spool is, in the state directory."""


class _Borrowed(Signals):
    """Stops with the others, and leaves the process's signals to them."""

    def __init__(self, others: Signals) -> None:
        super().__init__()
        self.stop, self.hurry = others.stop, others.hurry

    def install(self, on_hangup: Callable[[], object] | None = None) -> None:
        """Somebody else has installed them."""


def demo_logdriver(
    environ: Mapping[str, str], state: Path, signals: Signals, *, host: str, events_port: int, ops_port: int
) -> Logdriver:
    """Build it: ``environ`` is the proxy's. Raises: SettingsError."""
    settings, identity = read_logdriver_settings(
        {
            "LOGDRIVER_BUFFER_POLL_INTERVAL": "200",
            "LOGDRIVER_SPOOL_BYTES": str(1 << 28),
            **environ,
            "LOGDRIVER_SPOOL_DIRECTORY": str(state / DIRECTORY),
            "LOGDRIVER_EVENT_PRODUCER_URL": f"http://{host}:{events_port}",
            "LOGDRIVER_OPS_BIND_ADDRESS": f"{host}:{ops_port}",
            "LOGDRIVER_DRAIN_SECONDS": "0",
        }
    )
    return Logdriver(settings, identity, configure_logs("logdriver", settings.log_level), _Borrowed(signals))
