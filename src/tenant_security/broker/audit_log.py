"""Reads the audit: pages for people, and the whole chain for whoever wants to know that nobody touched it."""

from collections.abc import AsyncIterator
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.audit import GENESIS, AuditRow, BrokenChain, StoredRow, first_break

_PORTION: Final = 2_000


async def page(
    connection: AsyncConnection,
    vendor: str,
    *,
    before: int | None = None,
    tenant: str | None = None,
    action: str | None = None,
    limit: int = 100,
) -> list[StoredRow]:
    """Read the newest rows before a number, newest first."""
    table = schema.audit
    chosen = sa.select(table).where(table.c.vendor == vendor)
    if before is not None:
        chosen = chosen.where(table.c.seq < before)
    if tenant is not None:
        chosen = chosen.where(table.c.tenant == tenant)
    if action is not None:
        chosen = chosen.where(table.c.action == action)
    rows = await connection.execute(chosen.order_by(table.c.seq.desc()).limit(limit))
    return [_stored(row) for row in rows]


async def chain(connection: AsyncConnection, vendor: str) -> AsyncIterator[list[StoredRow]]:
    """Read the whole chain, oldest first, in portions."""
    table, after = schema.audit, 0
    while True:
        rows = await connection.execute(
            sa.select(table).where(table.c.vendor == vendor, table.c.seq > after).order_by(table.c.seq).limit(_PORTION)
        )
        portion = [_stored(row) for row in rows]
        if not portion:
            return
        after = portion[-1].row.seq
        yield portion


async def verify(connection: AsyncConnection, vendor: str, *, expect: bytes | None = None) -> BrokenChain | None:
    """Replay the chain. With ``expect``, a hash that was noted before must be in it.

    Returns: None when it is whole.
    """
    previous, next_seq, met = GENESIS, 1, expect is None
    async for portion in chain(connection, vendor):
        broken = first_break(portion, after=previous, next_seq=next_seq)
        if broken is not None:
            return broken
        met = met or any(stored.hash == expect for stored in portion)
        previous, next_seq = portion[-1].hash, portion[-1].row.seq + 1
    if not met:
        return BrokenChain(next_seq, "the hash that was expected is nowhere in the chain: it was written anew")
    return None


def _stored(row: sa.Row[tuple[object, ...]]) -> StoredRow:
    return StoredRow(
        AuditRow(
            vendor=row.vendor,
            seq=row.seq,
            at_ms=row.at_ms,
            actor_kind=row.actor_kind,
            actor_id=row.actor_id,
            actor_name=row.actor_name,
            action=row.action,
            tenant=row.tenant,
            target=row.target,
            detail=row.detail,
        ),
        row.previous,
        row.hash,
    )
