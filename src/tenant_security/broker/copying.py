"""Copies everything from one database to another: to move a broker, and to restore a backup.

Both have the newest tables, and the target is empty. What proxies are sent afterwards is numbered above everything that
they can have seen from the old one, and is sent whole: what happened in between nobody knows here.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import audit_log, schema
from tenant_security.broker.database import Database
from tenant_security.broker.refusals import NotAllowedNowError

_PORTION: Final = 500


async def copy_all(old: Database, new: Database) -> dict[str, int]:
    """Copy every table, compare counts, replay the audit; return the counts by table.

    It is one transaction of each: the target has everything, or stays empty.
    Raises: NotAllowedNowError when the target is not empty, or the audit's chain does not hold in it.
    """
    counts: dict[str, int] = {}
    async with old.read() as source, new.note() as target:
        for table in schema.metadata.sorted_tables:
            if await _count(target, table):
                raise NotAllowedNowError(f"the target is not empty: it has rows in {table.name}; name a new database")
        for table in schema.metadata.sorted_tables:
            counts[table.name] = await _copy(source, target, table)
            if counts[table.name] != await _count(source, table):
                raise NotAllowedNowError(f"{table.name} changed while it was copied; stop the broker first")
        if not new.is_sqlite:
            await _count_on(target)
        await _begin_anew(target, new.now_ms())
        for vendor in (await target.execute(sa.select(schema.vendors.c.id))).scalars():
            broken = await audit_log.verify(target, vendor)
            if broken is not None:
                raise NotAllowedNowError(f"the audit of vendor {vendor!r} does not hold: {broken.why}")
    return counts


async def _copy(source: AsyncConnection, target: AsyncConnection, table: sa.Table) -> int:
    """Copy one table in portions, by its primary key."""
    keys, copied = list(table.primary_key.columns), 0
    last: tuple[Any, ...] | None = None
    while True:
        query = sa.select(table).order_by(*keys).limit(_PORTION)
        if last is not None:
            query = query.where(
                sa.tuple_(*keys) > sa.tuple_(*(sa.literal(v, k.type) for k, v in zip(keys, last, strict=True)))
            )
        rows = (await source.execute(query)).mappings().all()
        if not rows:
            return copied
        await target.execute(table.insert(), [dict(row) for row in rows])
        copied += len(rows)
        last = tuple(rows[-1][key.name] for key in keys)


async def _count(connection: AsyncConnection, table: sa.Table) -> int:
    return int((await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one())


async def _count_on(target: AsyncConnection) -> None:
    """Have PostgreSQL number new rows after those that were copied."""
    for table in schema.metadata.sorted_tables:
        for column in table.primary_key.columns:
            if column.autoincrement is True:
                highest = sa.select(sa.func.coalesce(sa.func.max(column), 0) + 1).scalar_subquery()
                sequence = sa.func.pg_get_serial_sequence(table.name, column.name)
                await target.execute(sa.select(sa.func.setval(sequence, highest, sa.literal(False))))


async def _begin_anew(target: AsyncConnection, now_ms: int) -> None:
    vendors = schema.vendors
    for row in (await target.execute(sa.select(vendors.c.id, vendors.c.revision))).all():
        revision = max(int(row.revision) + 1, now_ms)
        await target.execute(
            vendors.update().where(vendors.c.id == row.id).values(revision=revision, changes_from=revision)
        )
