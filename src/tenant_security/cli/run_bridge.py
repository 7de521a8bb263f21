"""``tenant-security bridge``: reads the environment and runs the vendor bridge."""

import os

from rich.console import Console

from tenant_security.bridge.settings import BridgeSettings, read_bridge_settings
from tenant_security.cli.settings_table import print_settings
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon


def run(*, check_only: bool, print_only: bool) -> None:
    """Run a bridge until it is told to stop. Raises: SettingsError."""
    if print_only:
        print_settings("vendor bridge", BridgeSettings)
        return
    settings, credentials = read_bridge_settings(os.environ)
    if check_only:
        Console().print("The settings are valid.")
        return
    from tenant_security.bridge.app import BridgeDaemon  # noqa: PLC0415 - only now is the server needed

    log = configure_logs("bridge", settings.log_level)

    async def main() -> None:
        await BridgeDaemon(settings, credentials, log, Signals()).run()

    run_daemon(main)
