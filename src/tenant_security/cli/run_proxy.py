"""``tenant-security proxy``: reads the environment, runs the proxy."""

import os

from rich.console import Console
from rich.table import Table

from tenant_security.proxy.app import Proxy
from tenant_security.proxy.settings import ProxySettings, read_proxy_settings
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon
from tenant_security.service.settings import settings_of


def run(*, check_only: bool) -> None:
    """Run a proxy until it is told to stop. Raises: SettingsError."""
    settings, credentials = read_proxy_settings(os.environ)
    if check_only:
        Console().print("The settings are valid.")
        return
    log = configure_logs("proxy", settings.log_level)

    async def main() -> None:
        await Proxy(settings, credentials, log, Signals()).run()

    run_daemon(main)


def print_settings() -> None:
    """Print every setting as a table."""
    table = Table("Setting", "Default", "Meaning", title="Settings of the proxy", show_lines=True)
    for each in settings_of(ProxySettings):
        default = "required" if each.required else "" if each.default is None else str(each.default)
        table.add_row(each.name, f"{default} {each.unit}".strip(), each.meaning)
    Console().print(table)
