"""Tenants as the vendor manages them: made, named, tagged, required to lease, removed.

What a tenant may use stands in its signed record; see ``tenant_documents``.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError, NotFoundError
from tenant_security.broker.tags import change_tags

GRACE_MS: Final = 36 * 3_600_000
"""How long after its last own config was removed a tenant cannot be removed, so that a mistake can be undone."""


async def create_tenant(
    change: Change, tenant_id: str, name: str, *, tags: frozenset[int], leasing_required: bool | None = None
) -> int:
    """Make a tenant and return its number.

    Raises: ConflictError when the vendor has one of this id; NotFoundError for an unknown tag.
    """
    tenants = schema.tenants
    if await _row(change.connection, change.vendor, tenant_id) is not None:
        raise ConflictError(f"there is a tenant {tenant_id!r} already")
    if leasing_required is None:
        leasing_required = await _leasing_default(change)
    made = await change.connection.execute(
        tenants.insert()
        .values(
            vendor=change.vendor,
            id=tenant_id,
            name=name,
            record_version=0,
            authors_version=0,
            leasing_required=leasing_required,
            own_configs=0,
            updated_ms=change.now_ms,
            revision=change.touch(),
            **change.made,
        )
        .returning(tenants.c.number)
    )
    number = int(made.scalar_one())
    gone = schema.removed_tenants
    await change.connection.execute(gone.delete().where(gone.c.vendor == change.vendor, gone.c.id == tenant_id))
    await change_tags(change, number, add=tags, remove=frozenset())
    detail = {"name": name, "tags": sorted(tags), "leasingRequired": leasing_required}
    await change.record("tenant.create", tenant_id, tenant=tenant_id, detail=detail)
    return number


async def update_tenant(
    change: Change,
    tenant_id: str,
    *,
    name: str | None = None,
    leasing_required: bool | None = None,
    add_tags: frozenset[int] = frozenset(),
    remove_tags: frozenset[int] = frozenset(),
) -> None:
    """Change what the vendor may change without a signature. ``leasing_required`` counts once a record says it too.

    Raises: NotFoundError.
    """
    row = await tenant_row(change.connection, change.vendor, tenant_id)
    values: dict[str, object] = {"updated_ms": change.now_ms}
    detail: dict[str, object] = {}
    if name is not None and name != row.name:
        values["name"] = detail["name"] = name
    if leasing_required is not None and leasing_required != row.leasing_required:
        values["leasing_required"] = detail["leasingRequired"] = leasing_required
    if await change_tags(change, row.number, add=add_tags, remove=remove_tags):
        values["revision"] = change.touch()
        detail |= {"tagAdditions": sorted(add_tags), "tagRemovals": sorted(remove_tags)}
    await change.connection.execute(
        schema.tenants.update().where(schema.tenants.c.number == row.number).values(**values)
    )
    await change.record("tenant.update", tenant_id, tenant=tenant_id, detail=detail)


async def remove_tenant(change: Change, tenant_id: str) -> None:
    """Sever a tenant from the vendor. Its secrets go too, so what was encrypted with them is lost.

    Raises: NotFoundError; NotAllowedNowError while it has configs of its own or removed its last one too recently.
    """
    row = await tenant_row(change.connection, change.vendor, tenant_id)
    own = await change.connection.execute(
        sa.select(sa.func.count()).select_from(schema.configs).where(schema.configs.c.owner == row.number)
    )
    if own.scalar_one():
        raise NotAllowedNowError(f"tenant {tenant_id!r} has configs of its own; they must be removed first")
    if row.own_config_removed_ms is not None and change.now_ms - row.own_config_removed_ms < GRACE_MS:
        raise NotAllowedNowError(
            f"tenant {tenant_id!r} removed its last config less than {GRACE_MS // 3_600_000} hours ago; try later"
        )
    secrets = schema.tenant_secrets
    await change.connection.execute(secrets.delete().where(secrets.c.tenant == row.number))
    for table in (schema.memberships, schema.invitations, schema.single_sign_ons):
        await change.connection.execute(
            table.delete().where(table.c.vendor == change.vendor, table.c.tenant == row.number)
        )
    await change.connection.execute(schema.tenants.delete().where(schema.tenants.c.number == row.number))
    await change.connection.execute(
        schema.removed_tenants.insert().values(vendor=change.vendor, id=tenant_id, revision=change.touch())
    )
    await change.record("tenant.remove", tenant_id, tenant=tenant_id)


async def tenant_row(connection: AsyncConnection, vendor: str, tenant_id: str) -> sa.Row[tuple[object, ...]]:
    """Find a tenant.

    Raises: NotFoundError.
    """
    row = await _row(connection, vendor, tenant_id)
    if row is None:
        raise NotFoundError(f"there is no tenant {tenant_id!r}")
    return row


async def _row(connection: AsyncConnection, vendor: str, tenant_id: str) -> sa.Row[tuple[object, ...]] | None:
    tenants = schema.tenants
    found = await connection.execute(sa.select(tenants).where(tenants.c.vendor == vendor, tenants.c.id == tenant_id))
    return found.one_or_none()


async def _leasing_default(change: Change) -> bool:
    vendors = schema.vendors
    found = await change.connection.execute(
        sa.select(vendors.c.leasing_required_default).where(vendors.c.id == change.vendor)
    )
    return bool(found.scalar_one())
