"""Tenant secrets: the roots of deterministic and search keys, wrapped by the tenant's own KMS before they come here.

States: Current -> InRotation -> Archived. There is at most one Current and one InRotation for a tenant, type and path;
constraints hold that too. Numbers rise along a path. A secret whose config is no longer the primary needs migration: a
proxy wraps it anew (``secret_renewals``).
"""

import uuid
from collections.abc import Sequence
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError, NotFoundError
from tenant_security.broker.sealed_configs import require_config
from tenant_security.broker.tenants import tenant_row
from tenant_security.broker.trusted import stored, vendor_trust
from tenant_security.trust.tenant_secrets import Standing, imported_fingerprint, makers_of, place_of, standing_of
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import ImportedSecret
from tenant_security.wire.service_api import NewSecret, StoredSecret

Rotation = Literal["current", "in-rotation", "archived"]


_RANKS: Final = {"archived": 0, "in-rotation": 1, "current": 2}


async def reserve_number(connection: AsyncConnection, vendor: str) -> int:
    """Return a number that no secret has, and that none will get again."""
    vendors = schema.vendors
    taken = await connection.execute(
        vendors.update()
        .where(vendors.c.id == vendor)
        .values(next_secret=vendors.c.next_secret + 1)
        .returning(vendors.c.next_secret)
    )
    return int(taken.scalar_one()) - 1


async def create_secret(change: Change, new: NewSecret) -> sa.Row[tuple[object, ...]]:
    """Keep a new Current secret and return its row.

    Raises: ConflictError when there is a Current one, or a newer one has come and gone: whoever asked reads what there
    is; NotFoundError; NotAllowedNowError for a number that was not reserved.
    """
    tenant = await tenant_row(change.connection, change.vendor, new.tenant)
    config = await require_config(change.connection, change.vendor, new.config)
    if config.owner not in (None, tenant.number):
        raise NotAllowedNowError(f"config {new.config} belongs to somebody else")
    table, vendors = schema.tenant_secrets, schema.vendors
    alike = await _of_path(change.connection, tenant.number, new.type, new.path)
    if any(rotation == "current" or number >= new.number for number, rotation in alike):
        raise ConflictError(f"tenant {new.tenant!r} has a newer or current secret of this type and path already")
    upcoming = await change.connection.execute(sa.select(vendors.c.next_secret).where(vendors.c.id == change.vendor))
    numbered = sa.select(table.c.id).where(table.c.vendor == change.vendor, table.c.number == new.number)
    taken = (await change.connection.execute(numbered)).first() is not None
    if taken or new.number >= int(upcoming.scalar_one()):
        raise NotAllowedNowError(f"number {new.number} was not reserved for this secret; reserve one first")
    made = await change.connection.execute(
        table.insert()
        .values(
            id=str(uuid.uuid4()),
            vendor=change.vendor,
            number=new.number,
            tenant=tenant.number,
            type=new.type,
            path=new.path,
            fingerprint=new.fingerprint,
            config=new.config,
            encrypted_secret=new.encrypted,
            binding=words.encode(new.binding),
            bound=True,
            migration=await migration_of(change.connection, tenant.number, new.config),
            rotation="current",
            updated_ms=change.now_ms,
            **change.made,
        )
        .returning(*table.c)
    )
    row = made.one()
    detail = {"type": new.type, "path": new.path, "config": new.config, "signedBy": new.binding.key}
    await change.record("secret.create", row.id, tenant=new.tenant, detail=detail)
    return row


async def require_standing(connection: AsyncConnection, vendor: str, tenant: str, secret: StoredSecret) -> None:
    """Refuse what proxies would refuse: a secret of which nobody entitled signed that it belongs where it is put.

    Raises: NotAllowedNowError.
    """
    trust = await vendor_trust(connection, vendor)
    makers = makers_of(trust.manifest)
    if standing_of(secret, place_of(vendor, tenant, secret), makers) is Standing.UNBOUND:
        raise NotAllowedNowError(
            f"the binding of secret {secret.number} is not by a proxy of the manifest, or an author for all tenants, "
            "or is of another secret or place"
        )


async def migration_of(connection: AsyncConnection, tenant: int, config: int) -> str:
    """Say whether a secret that this config wraps needs migration; without a primary there is nowhere to go."""
    used = schema.assignments
    found = await connection.execute(sa.select(used.c.config).where(used.c.tenant == tenant, used.c.is_primary))
    return "current" if found.scalar_one_or_none() in (None, config) else "needs-migration"


async def _of_path(connection: AsyncConnection, tenant: int, type_: str, path: str) -> list[tuple[int, str]]:
    table = schema.tenant_secrets
    same = sa.and_(table.c.tenant == tenant, table.c.type == type_, table.c.path == path)
    rows = await connection.execute(sa.select(table.c.number, table.c.rotation).where(same))
    return [(row.number, row.rotation) for row in rows]


async def import_secret(change: Change, secret: ImportedSecret) -> bool:
    """Keep a secret that was kept elsewhere, with its number and state; return whether it was new.

    One that is there and that nobody vouched for yet is vouched for now.

    Raises: NotFoundError; NotAllowedNowError when its number is another secret's, or the path has another one in this
    state or a newer one in an older state.
    """
    tenant = await tenant_row(change.connection, change.vendor, secret.tenant)
    table, vendors = schema.tenant_secrets, schema.vendors
    numbered = await change.connection.execute(
        sa.select(table).where(table.c.vendor == change.vendor, table.c.number == secret.number)
    )
    there = numbered.one_or_none()
    binding = None
    if secret.binding is not None:
        await require_standing(change.connection, change.vendor, secret.tenant, _as_brought(secret))
        binding = words.encode(secret.binding)
    if there is not None:
        place = (there.tenant, there.type, there.path, there.created_ms)
        # A proxy may have wrapped it anew since it was brought: then its place and its time say that it is the same.
        renewed = there.bound and place == (tenant.number, secret.type, secret.path, secret.created)
        if bytes(there.encrypted_secret) != secret.encrypted and not renewed:
            raise NotAllowedNowError(f"number {secret.number} is another secret's here")
        if not there.bound and binding is not None:
            await change.connection.execute(table.update().where(table.c.id == there.id).values(binding=binding))
        return False
    alike = await _of_path(change.connection, tenant.number, secret.type, secret.path)
    if secret.rotation != "archived" and any(rotation == secret.rotation for _, rotation in alike):
        raise NotAllowedNowError(
            f"tenant {secret.tenant!r} has a {secret.rotation} {secret.type} secret of path {secret.path!r} already; "
            "it was made before the import, and what is encrypted under either needs both: rotate it first"
        )
    ranks = [_RANKS[rotation] for _, rotation in sorted([*alike, (secret.number, secret.rotation)])]
    if ranks != sorted(ranks):
        raise NotAllowedNowError(
            f"tenant {secret.tenant!r} has {secret.type} secrets of path {secret.path!r} whose order secret "
            f"{secret.number} contradicts: numbers rise from archived to in rotation to current"
        )
    await change.connection.execute(
        vendors.update()
        .where(vendors.c.id == change.vendor, vendors.c.next_secret <= secret.number)
        .values(next_secret=secret.number + 1)
    )
    await change.connection.execute(
        table.insert().values(
            id=str(uuid.uuid4()),
            vendor=change.vendor,
            number=secret.number,
            tenant=tenant.number,
            type=secret.type,
            path=secret.path,
            fingerprint=imported_fingerprint(secret.encrypted),
            config=secret.config,
            encrypted_secret=secret.encrypted,
            binding=binding,
            migration=await migration_of(change.connection, tenant.number, secret.config),
            rotation=secret.rotation,
            updated_ms=change.now_ms,
            **{**change.made, "created_ms": secret.created},
        )
    )
    return True


def _as_brought(secret: ImportedSecret) -> StoredSecret:
    return StoredSecret(
        id="",
        number=secret.number,
        type=secret.type,
        path=secret.path,
        fingerprint=imported_fingerprint(secret.encrypted),
        config=secret.config,
        migration="current",
        rotation=secret.rotation,
        encrypted=secret.encrypted,
        created=secret.created,
        binding=secret.binding,
    )


async def begin_rotation(change: Change, tenant_id: str, secret_id: str) -> sa.Row[tuple[object, ...]]:
    """Current -> InRotation. The next need makes a new Current one; this one still decrypts.

    Raises: NotFoundError; NotAllowedNowError when it is not Current, or another is in rotation.
    """
    row = await secret_row(change.connection, change.vendor, tenant_id, secret_id)
    if row.rotation != "current":
        raise NotAllowedNowError(f"secret {secret_id} is {row.rotation}; only a current one can begin a rotation")
    table = schema.tenant_secrets
    same = sa.and_(table.c.tenant == row.tenant, table.c.type == row.type, table.c.path == row.path)
    other = sa.select(table.c.id).where(same, table.c.rotation == "in-rotation")
    if (await change.connection.execute(other)).first() is not None:
        raise NotAllowedNowError("a secret of this type and path is in rotation; commit that first")
    return await _move(change, tenant_id, row, "in-rotation", "secret.rotation-begin")


async def commit_rotation(change: Change, tenant_id: str, secret_id: str) -> sa.Row[tuple[object, ...]]:
    """InRotation -> Archived. Nothing should be encrypted with it any more; it still decrypts.

    Raises: NotFoundError; NotAllowedNowError when it is not in rotation.
    """
    row = await secret_row(change.connection, change.vendor, tenant_id, secret_id)
    if row.rotation != "in-rotation":
        raise NotAllowedNowError(f"secret {secret_id} is {row.rotation}; only one in rotation can be committed")
    return await _move(change, tenant_id, row, "archived", "secret.rotation-commit")


async def tenant_secrets(
    connection: AsyncConnection, vendor: str, tenant_id: str
) -> Sequence[sa.Row[tuple[object, ...]]]:
    """Read all secrets of a tenant, oldest first.

    Raises: NotFoundError.
    """
    tenant = await tenant_row(connection, vendor, tenant_id)
    table = schema.tenant_secrets
    rows = await connection.execute(sa.select(table).where(table.c.tenant == tenant.number).order_by(table.c.number))
    return rows.all()


def stored_secret(row: sa.Row[Any]) -> StoredSecret:
    """Describe a secret from its row, as services read it."""
    return StoredSecret(
        id=row.id,
        number=row.number,
        type=row.type,
        path=row.path,
        fingerprint=row.fingerprint,
        config=row.config,
        migration=row.migration,
        rotation=row.rotation,
        encrypted=row.encrypted_secret,
        created=row.created_ms,
        binding=None if row.binding is None else stored(row.binding),
    )


async def secret_row(
    connection: AsyncConnection, vendor: str, tenant_id: str, secret_id: str
) -> sa.Row[tuple[object, ...]]:
    """Find one secret of a tenant.

    Raises: NotFoundError.
    """
    tenant = await tenant_row(connection, vendor, tenant_id)
    table = schema.tenant_secrets
    found = await connection.execute(sa.select(table).where(table.c.tenant == tenant.number, table.c.id == secret_id))
    row = found.one_or_none()
    if row is None:
        raise NotFoundError(f"tenant {tenant_id!r} has no secret {secret_id}")
    return row


async def _move(
    change: Change, tenant_id: str, row: sa.Row[tuple[object, ...]], to: Rotation, action: str
) -> sa.Row[tuple[object, ...]]:
    table = schema.tenant_secrets
    moved = await change.connection.execute(
        table.update().where(table.c.id == row.id).values(rotation=to, updated_ms=change.now_ms).returning(*table.c)
    )
    await change.record(action, str(row.id), tenant=tenant_id, detail={"type": row.type, "path": row.path})
    return moved.one()
