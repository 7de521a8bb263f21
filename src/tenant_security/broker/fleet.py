"""What services report of themselves: kept for a while and in bounded numbers, for the vendor's fleet page.

Counts are added up per tenant and hour. A report counts once, however often it is sent: an instance numbers its
reports. Nothing in here is signed, and nothing that is decided depends on it.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.callers import Caller
from tenant_security.wire import broker_api as said
from tenant_security.wire.service_api import KMS_BUCKETS_S, Status, TenantActivity

BUCKET_MS: Final = 3_600_000
"""Counts are added up over so long. Units: milliseconds."""
KEPT_MS: Final = 14 * 24 * 3_600_000
"""How long counts are kept. Units: milliseconds."""
FORGOTTEN_MS: Final = 24 * 3_600_000
"""An instance that was not heard of for so long is forgotten. Units: milliseconds."""
MOST_INSTANCES: Final = 1_000
"""How many instances of one identity are kept; the one that was not heard of for longest goes first."""

_OPERATIONS: Final = "operations"
_KMS: Final = "kms:"
_ERROR: Final = "error:"


async def hear(connection: AsyncConnection, caller: Caller, status: Status, now_ms: int) -> None:
    """Keep a service's report and add up what it counted."""
    accounts, instances = schema.service_accounts, schema.service_instances
    mine = sa.and_(
        instances.c.vendor == caller.vendor,
        instances.c.service == caller.actor.id,
        instances.c.instance == status.instance,
    )
    before = (await connection.execute(sa.select(instances.c.sequence).where(mine))).scalar_one_or_none()
    values = {"sequence": status.sequence, "seen_ms": now_ms, "report": msgspec.json.encode(_without_counts(status))}
    if before is None:
        names = {"vendor": caller.vendor, "service": caller.actor.id, "instance": status.instance}
        await connection.execute(instances.insert().values(**names, **values))
        await _forget_instances(connection, caller, now_ms)
    else:
        await connection.execute(instances.update().where(mine).values(**values))
    await connection.execute(
        accounts.update()
        .where(accounts.c.vendor == caller.vendor, accounts.c.id == caller.actor.id)
        .values(seen_ms=now_ms, seen_version=status.software, seen_revision=status.snapshot_version)
    )
    if before is None or status.sequence > before:
        await _add_up(connection, caller.vendor, status.activity, now_ms - now_ms % BUCKET_MS)


def _without_counts(status: Status) -> Status:
    return msgspec.structs.replace(status, activity=())


async def _forget_instances(connection: AsyncConnection, caller: Caller, now_ms: int) -> None:
    table = schema.service_instances
    of_service = sa.and_(table.c.vendor == caller.vendor, table.c.service == caller.actor.id)
    await connection.execute(table.delete().where(of_service, table.c.seen_ms < now_ms - FORGOTTEN_MS))
    oldest_kept = await connection.execute(
        sa.select(table.c.seen_ms)
        .where(of_service)
        .order_by(table.c.seen_ms.desc())
        .offset(MOST_INSTANCES - 1)
        .limit(1)
    )
    bound = oldest_kept.scalar_one_or_none()
    if bound is not None:
        await connection.execute(table.delete().where(of_service, table.c.seen_ms < bound))


async def _add_up(connection: AsyncConnection, vendor: str, activity: Iterable[TenantActivity], bucket_ms: int) -> None:
    table = schema.activity
    rows = [
        {"vendor": vendor, "tenant": each.tenant, "bucket_ms": bucket_ms, "what": what, "count": count}
        for each in sorted(activity, key=lambda each: each.tenant)
        for what, count in sorted(_counts(each))
        if count
    ]
    if not rows:
        return
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    adding = insert(table)
    key = [table.c.vendor, table.c.tenant, table.c.bucket_ms, table.c.what]
    adding = adding.on_conflict_do_update(
        index_elements=key, set_={"count": table.c["count"] + adding.excluded["count"]}
    )
    await connection.execute(adding, rows)
    old = sa.and_(table.c.vendor == vendor, table.c.bucket_ms < bucket_ms - KEPT_MS)
    await connection.execute(table.delete().where(old))


def _counts(activity: TenantActivity) -> Iterator[tuple[str, int]]:
    yield _OPERATIONS, activity.operations
    for code, count in activity.errors.items():
        yield f"{_ERROR}{code}", count
    for number, count in enumerate(activity.kms[: len(KMS_BUCKETS_S) + 1]):
        yield f"{_KMS}{number}", count


async def instances(connection: AsyncConnection, vendor: str) -> list[said.FleetInstance]:
    """List what was last heard of every instance, the newest word first."""
    table = schema.service_instances
    rows = await connection.execute(
        sa.select(table).where(table.c.vendor == vendor).order_by(table.c.seen_ms.desc(), table.c.instance)
    )
    return [_instance(row) for row in rows]


def _instance(row: sa.Row[tuple[object, ...]]) -> said.FleetInstance:
    status = msgspec.json.decode(row.report, type=Status)
    return said.FleetInstance(
        service=row.service,
        instance=row.instance,
        software=status.software,
        health=status.health,
        reason=status.reason,
        snapshot_version=status.snapshot_version,
        snapshot_age_s=status.snapshot_age_s,
        quarantined_tenants=status.quarantined_tenants,
        uptime_s=status.uptime_s,
        seen=row.seen_ms,
        deliveries=status.deliveries,
    )


async def activity(
    connection: AsyncConnection, vendor: str, tenant: str | None, *, since_ms: int
) -> list[said.ActivityBucket]:
    """Return the counts of one tenant, or of all together, hour by hour, oldest first."""
    table = schema.activity
    wanted = [table.c.vendor == vendor, table.c.bucket_ms >= since_ms - since_ms % BUCKET_MS]
    if tenant is not None:
        wanted.append(table.c.tenant == tenant)
    summed = sa.func.sum(table.c["count"]).label("total")
    rows = await connection.execute(
        sa.select(table.c.bucket_ms, table.c.what, summed)
        .where(*wanted)
        .group_by(table.c.bucket_ms, table.c.what)
        .order_by(table.c.bucket_ms)
    )
    buckets: dict[int, dict[str, int]] = {}
    for row in rows:
        buckets.setdefault(row.bucket_ms, {})[row.what] = int(row.total)
    return [_bucket(start, counts) for start, counts in buckets.items()]


def _bucket(start: int, counts: dict[str, int]) -> said.ActivityBucket:
    return said.ActivityBucket(
        start=start,
        operations=counts.get(_OPERATIONS, 0),
        errors={what.removeprefix(_ERROR): count for what, count in counts.items() if what.startswith(_ERROR)},
        kms=tuple(counts.get(f"{_KMS}{number}", 0) for number in range(len(KMS_BUCKETS_S) + 1)),
    )
