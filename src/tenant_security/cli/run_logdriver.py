"""``tenant-security logdriver``: reads the environment and runs the logdriver."""

import os
import sys

from rich.console import Console

from tenant_security.logdriver.settings import LogdriverSettings, read_logdriver_settings, unknown_settings
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon
from tenant_security.wire.service_env import ServiceCredentials


def run(*, check_only: bool) -> None:
    """Run a logdriver until it is told to stop. Raises: SettingsError."""
    for name in unknown_settings(os.environ):
        sys.stderr.write(
            f"warning: {name} is no setting of the logdriver; 'tenant-security logdriver --settings' lists them\n"
        )
    settings, credentials = read_logdriver_settings(os.environ)
    if check_only:
        Console().print("The settings are valid.")
    else:
        _run(settings, credentials)


def _run(settings: LogdriverSettings, credentials: ServiceCredentials) -> None:
    from tenant_security.logdriver.app import Logdriver  # noqa: PLC0415 - loads the sinks' libraries

    # Standard output is where the events of tenants without a sink go, whole lines and nothing between them.
    log = configure_logs("logdriver", settings.log_level, open(2, "wb", buffering=0, closefd=False))  # noqa: SIM115

    async def main() -> None:
        await Logdriver(settings, credentials, log, Signals()).run()

    run_daemon(main)
