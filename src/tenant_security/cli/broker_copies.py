"""Backups of a broker's database, and moves from one database to another."""

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from tenant_security.broker import audit_log, schema
from tenant_security.broker.copying import copy_all
from tenant_security.broker.database import Database
from tenant_security.broker.refusals import RefusalError
from tenant_security.cli.run_broker import with_database


def backup(database: str, out: Path) -> int:
    """Copy a SQLite database that may be in use, and replay the copy's audit; return how many rows that has.

    Raises: ValueError when it is no SQLite database, the file is there already, or the copy does not hold.
    """
    path = Path(database.removeprefix("sqlite:///"))
    if not database.startswith("sqlite:///"):
        raise ValueError("this is not SQLite; use pg_dump for PostgreSQL (docs/broker-operate.md)")
    if out.exists() or not path.exists():
        raise ValueError(f"{out} is there already" if out.exists() else f"{path} is not there")
    out.touch(mode=0o600)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as old, closing(sqlite3.connect(out)) as new:
        old.backup(new)

    async def check(copy: Database) -> int:
        async with copy.read() as connection:
            for vendor in (await connection.execute(sa.select(schema.vendors.c.id))).scalars():
                if (broken := await audit_log.verify(connection, vendor)) is not None:
                    raise ValueError(f"the audit of vendor {vendor!r} does not hold in the copy: {broken.why}")
            counted = await connection.execute(sa.select(sa.func.count()).select_from(schema.audit))
            return int(counted.scalar_one())

    return with_database(f"sqlite:///{out}", check, upgraded=False)


def migrate(old_url: str, new_url: str) -> dict[str, int]:
    """Copy everything; return how many rows each table has. Raises: ValueError."""

    async def both(old: Database) -> dict[str, int]:
        from tenant_security.broker.app import now_ms  # noqa: PLC0415
        from tenant_security.broker.migrations.upgrade import upgrade  # noqa: PLC0415

        async with Database(new_url, now_ms) as target:
            await target.run_sync(upgrade)
            return await copy_all(old, target)

    try:
        return with_database(old_url, both)
    except RefusalError as refused:
        raise ValueError(refused.message) from refused
