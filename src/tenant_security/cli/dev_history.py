"""A day of use for the demo, so that its charts show something. Written as counts only; no event stands behind it."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from tenant_security.broker import schema
from tenant_security.broker.app import now_ms
from tenant_security.broker.database import Database
from tenant_security.broker.fleet import BUCKET_MS

_HOURS: Final = 24
_BUSIEST: Final = 1_800
_SHARES: Final = (0.02, 0.36, 0.44, 0.13, 0.04, 0.01)
"""Which part of the KMS's calls falls into each of the first buckets."""


async def fill_history(database_url: str, vendor: str, tenants: Sequence[str]) -> None:
    """Make up a day of counts, where nothing was counted yet."""
    table = schema.activity
    async with Database(database_url, now_ms) as database:
        async with database.read() as connection:
            if (await connection.execute(sa.select(table.c.tenant).limit(1))).first() is not None:
                return
        now = now_ms()
        rows = [
            {"vendor": vendor, "tenant": tenant, "bucket_ms": start, "what": what, "count": count}
            for number, tenant in enumerate(tenants)
            for start in range(now - now % BUCKET_MS - _HOURS * BUCKET_MS, now - BUCKET_MS, BUCKET_MS)
            for what, count in _counts(number, start // BUCKET_MS)
            if count
        ]
        async with database.note() as connection:
            await connection.execute(table.insert(), rows)


def _counts(tenant: int, hour: int) -> Iterator[tuple[str, int]]:
    """Yield an hour of a tenant: busy by day, quiet by night, with a few refusals now and then."""
    by_day = 0.55 + 0.45 * math.sin((hour % _HOURS - 8) * math.pi / 12)
    wave = 1 + 0.2 * math.sin(hour * (tenant + 3))
    operations = round(_BUSIEST / (tenant + 1) * by_day * wave) + 20
    yield "operations", operations
    for bucket, share in enumerate(_SHARES):
        yield f"kms:{bucket}", round(operations * share / 3)
    if (hour + tenant) % 7 == 0:
        yield "error:209", 4 + tenant
    if (hour + tenant) % 11 == 0:
        yield "error:208", 2
