"""``tenant-security broker``: reads the environment and runs the Configuration Broker."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console

from tenant_security.broker.database import Database
from tenant_security.broker.settings import BrokerSettings, read_broker_settings
from tenant_security.cli.settings_table import print_settings
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon
from tenant_security.wire.broker_api import NewVendor

T = TypeVar("T")


def run(*, check_only: bool, print_only: bool) -> None:
    """Run a broker until it is told to stop. Raises: SettingsError."""
    if print_only:
        print_settings("broker", BrokerSettings)
        return
    settings = read_broker_settings(os.environ)
    if check_only:
        Console().print("The settings are valid.")
        return
    from tenant_security.broker.app import BrokerDaemon  # noqa: PLC0415 - only now is the server needed

    log = configure_logs("broker", settings.log_level)

    async def main() -> None:
        await BrokerDaemon(settings, log, Signals()).run()

    run_daemon(main)


def add_vendor(file: Path) -> str:
    """Keep a vendor whose keys were written to a file, without HTTP; return its id."""
    from tenant_security.broker.setup_api import keep_vendor  # noqa: PLC0415

    new = msgspec.json.decode(file.read_bytes(), type=NewVendor)

    async def work(database: Database) -> str:
        return await keep_vendor(database, new.name, new.documents, new.default_tag)

    return with_database(read_broker_settings(os.environ).database_url, work)


def with_database(url: str, work: Callable[[Database], Awaitable[T]], *, upgraded: bool = True) -> T:
    """Do something with a broker's database, whose tables are brought up to date first unless ``upgraded`` is off."""
    from tenant_security.broker.app import now_ms  # noqa: PLC0415
    from tenant_security.broker.migrations.upgrade import upgrade  # noqa: PLC0415

    async def main() -> T:
        async with Database(url, now_ms) as database:
            if upgraded:
                await database.run_sync(upgrade)
            return await work(database)

    return asyncio.run(main())
