"""What somebody does about themselves: one transaction, written down at every organisation that they are of."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.audit import Actor
from tenant_security.broker.database import Changes, Database


class Personal:
    """One transaction about one person."""

    def __init__(self, changes: Changes, person: str) -> None:
        self._changes: Final = changes
        self.person: Final = person
        self.connection: Final[AsyncConnection] = changes.connection
        self.now_ms: Final = changes.now_ms

    async def record(self, action: str, target: str = "", detail: Mapping[str, object] | None = None) -> None:
        """Write it down wherever the person belongs. Somebody who belongs nowhere yet leaves no trace there."""
        for place in await places(self.connection, self.person):
            change = await self._changes.of(place.vendor)
            await change.record(action, target or self.person, tenant=place.tenant_id or "", detail=detail)

    @property
    def changes(self) -> Changes:
        """The transaction, for what is of one vendor."""
        return self._changes


@contextlib.asynccontextmanager
async def personal(database: Database, actor: Actor) -> AsyncIterator[Personal]:
    """Begin a transaction in which a person changes what is their own."""
    async with database.changes(actor) as changes:
        yield Personal(changes, actor.id)


async def places(connection: AsyncConnection, person: str) -> list[sa.Row[Any]]:
    """Read where somebody belongs: memberships with names, and whether the organisation wants its own sign-on."""
    members, vendors, tenants = schema.memberships, schema.vendors, schema.tenants
    sso = schema.single_sign_ons
    joined = (
        members.join(vendors, vendors.c.id == members.c.vendor)
        .outerjoin(tenants, sa.and_(tenants.c.number == members.c.tenant, tenants.c.vendor == members.c.vendor))
        .outerjoin(sso, sa.and_(sso.c.vendor == members.c.vendor, sso.c.tenant == members.c.tenant))
    )
    wanted: list[sa.ColumnElement[Any]] = [
        members.c.vendor,
        members.c.tenant,
        members.c.role,
        members.c.disabled_ms,
        vendors.c.name.label("vendor_name"),
        vendors.c.root_fingerprint,
        tenants.c.id.label("tenant_id"),
        tenants.c.name.label("tenant_name"),
        sa.func.coalesce(sso.c.required, sa.false()).label("sso_required"),
    ]
    chosen = sa.select(*wanted).select_from(joined).where(members.c.person == person)
    rows = await connection.execute(chosen.order_by(members.c.vendor, members.c.tenant))
    return list(rows.all())
