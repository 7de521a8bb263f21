"""Configs whose DEKs are wrapped to an old epoch of a segment, and their new wraps.

Whoever rotates a segment opens each DEK with the old key and wraps it to the new one. Payloads and signatures stay as
they are; the broker sees neither key.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import NotFoundError
from tenant_security.broker.sealed_configs import check_wrap
from tenant_security.broker.trusted import vendor_trust
from tenant_security.wire import broker_api as api
from tenant_security.wire import snapshot as words


async def outdated(
    connection: AsyncConnection, vendor: str, number: int, *, after: int, limit: int
) -> api.OutdatedWraps:
    """Return configs of a segment that are wrapped to an older epoch than its newest, in portions by number.

    Raises: NotFoundError.
    """
    segment = (await vendor_trust(connection, vendor)).segment(number)
    if segment is None:
        raise NotFoundError(f"vendor {vendor!r} has no segment {number}")
    configs, wraps = schema.configs, schema.config_wraps
    joined = wraps.join(configs, sa.and_(configs.c.vendor == wraps.c.vendor, configs.c.number == wraps.c.config))
    old = sa.and_(wraps.c.vendor == vendor, wraps.c.segment == number, wraps.c.epoch < segment.epoch)
    left = await connection.execute(sa.select(sa.func.count()).select_from(wraps).where(old, wraps.c.config > after))
    rows = await connection.execute(
        sa.select(wraps, configs.c.header)
        .select_from(joined)
        .where(old, wraps.c.config > after)
        .order_by(wraps.c.config)
        .limit(limit)
    )
    found = tuple(
        api.OutdatedWrap(row.config, row.header, words.Wrap(row.segment, row.epoch, row.suite, row.sealed))
        for row in rows
    )
    return api.OutdatedWraps(found, int(left.scalar_one()))


async def replace(change: Change, wraps: Sequence[api.NewWrap]) -> None:
    """Keep new wraps in place of older ones of the same segment. What is gone in the meantime is left out.

    Raises: NotAllowedNowError when one is not to the newest epoch.
    """
    trust = await vendor_trust(change.connection, change.vendor)
    table, configs, tenants = schema.config_wraps, schema.configs, schema.tenants
    revision = change.touch()
    for each in wraps:
        check_wrap(each.config, each.wrap, trust)
        mine = sa.and_(table.c.vendor == change.vendor, table.c.config == each.config)
        await change.connection.execute(
            table.update()
            .where(mine, table.c.segment == each.wrap.segment)
            .values(epoch=each.wrap.epoch, suite=each.wrap.suite, sealed=each.wrap.sealed)
        )
    numbers = [each.config for each in wraps]
    touched = sa.and_(configs.c.vendor == change.vendor, configs.c.number.in_(numbers))
    await change.connection.execute(configs.update().where(touched).values(revision=revision))
    owners = sa.select(configs.c.owner).where(touched, configs.c.owner.is_not(None))
    await change.connection.execute(tenants.update().where(tenants.c.number.in_(owners)).values(revision=revision))
    await change.record("config.rewrap", f"{len(wraps)} configs", detail={"configs": len(wraps)})
