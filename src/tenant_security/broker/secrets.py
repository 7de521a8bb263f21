"""Tenant secrets: the roots of deterministic and search keys, wrapped by the tenant's own KMS before they come here.

States: Current -> InRotation -> Archived. There is at most one Current and one InRotation for a tenant, type and path;
constraints hold that too. A secret whose config is no longer the primary needs migration: it must be wrapped anew.
"""

import hashlib
import uuid
from collections.abc import Sequence
from typing import Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError, NotFoundError
from tenant_security.broker.sealed_configs import require_config
from tenant_security.broker.tenants import tenant_row
from tenant_security.wire.broker_api import ImportedSecret

SecretType = Literal["search", "deterministic", "vector"]
Rotation = Literal["current", "in-rotation", "archived"]


class NewSecret(NamedTuple):
    """A secret as a proxy made it. ``encrypted`` is an EDEK, ``config`` the config that wrapped it."""

    tenant: str
    type: SecretType
    path: str
    fingerprint: bytes
    config: int
    encrypted: bytes


async def create_secret(change: Change, new: NewSecret) -> sa.Row[tuple[object, ...]]:
    """Keep a new Current secret and return its row.

    Raises: ConflictError when there is a Current one: whoever asked takes that one; NotFoundError.
    """
    tenant = await tenant_row(change.connection, change.vendor, new.tenant)
    config = await require_config(change.connection, change.vendor, new.config)
    if config.owner not in (None, tenant.number):
        raise NotAllowedNowError(f"config {new.config} belongs to somebody else")
    table, vendors = schema.tenant_secrets, schema.vendors
    same = sa.and_(table.c.tenant == tenant.number, table.c.type == new.type, table.c.path == new.path)
    current = sa.select(table.c.id).where(same, table.c.rotation == "current")
    if (await change.connection.execute(current)).first() is not None:
        raise ConflictError(f"tenant {new.tenant!r} has a current secret of this type and path already")
    upcoming = await change.connection.execute(sa.select(vendors.c.next_secret).where(vendors.c.id == change.vendor))
    number = int(upcoming.scalar_one())
    await change.connection.execute(
        vendors.update().where(vendors.c.id == change.vendor).values(next_secret=number + 1)
    )
    made = await change.connection.execute(
        table.insert()
        .values(
            id=str(uuid.uuid4()),
            vendor=change.vendor,
            number=number,
            tenant=tenant.number,
            type=new.type,
            path=new.path,
            fingerprint=new.fingerprint,
            config=new.config,
            encrypted_secret=new.encrypted,
            migration="current",
            rotation="current",
            updated_ms=change.now_ms,
            **change.made,
        )
        .returning(*table.c)
    )
    row = made.one()
    detail = {"type": new.type, "path": new.path, "config": new.config}
    await change.record("secret.create", row.id, tenant=new.tenant, detail=detail)
    return row


async def import_secret(change: Change, secret: ImportedSecret) -> bool:
    """Keep a secret that was kept elsewhere, with its number and state; return whether it was new.

    Raises: NotFoundError; NotAllowedNowError when its number is another secret's, or the path has another one in this
    state.
    """
    tenant = await tenant_row(change.connection, change.vendor, secret.tenant)
    table, vendors = schema.tenant_secrets, schema.vendors
    numbered = await change.connection.execute(
        sa.select(table.c.encrypted_secret).where(table.c.vendor == change.vendor, table.c.number == secret.number)
    )
    there = numbered.scalar_one_or_none()
    if there is not None:
        if bytes(there) != secret.encrypted:
            raise NotAllowedNowError(f"number {secret.number} is another secret's here")
        return False
    same = sa.and_(table.c.tenant == tenant.number, table.c.type == secret.type, table.c.path == secret.path)
    in_state = sa.select(table.c.id).where(same, table.c.rotation == secret.rotation)
    if secret.rotation != "archived" and (await change.connection.execute(in_state)).first() is not None:
        raise NotAllowedNowError(
            f"tenant {secret.tenant!r} has a {secret.rotation} {secret.type} secret of path {secret.path!r} already; "
            "it was made before the import, and what is encrypted under either needs both: rotate it first"
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
            fingerprint=hashlib.sha256(b"tenant-security/imported-secret/v1\n" + secret.encrypted).digest(),
            config=secret.config,
            encrypted_secret=secret.encrypted,
            migration="current",
            rotation=secret.rotation,
            updated_ms=change.now_ms,
            **{**change.made, "created_ms": secret.created},
        )
    )
    return True


async def begin_rotation(change: Change, tenant_id: str, secret_id: str) -> sa.Row[tuple[object, ...]]:
    """Current -> InRotation. The next need makes a new Current one; this one still decrypts.

    Raises: NotFoundError; NotAllowedNowError when it is not Current, or another is in rotation.
    """
    row = await _secret(change.connection, change.vendor, tenant_id, secret_id)
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
    row = await _secret(change.connection, change.vendor, tenant_id, secret_id)
    if row.rotation != "in-rotation":
        raise NotAllowedNowError(f"secret {secret_id} is {row.rotation}; only one in rotation can be committed")
    return await _move(change, tenant_id, row, "archived", "secret.rotation-commit")


async def migrate_secret(
    change: Change, tenant_id: str, secret_id: str, *, config: int, encrypted: bytes
) -> sa.Row[tuple[object, ...]]:
    """Keep the same secret, wrapped by another config.

    Raises: NotFoundError; NotAllowedNowError when the config is not the tenant's primary.
    """
    row = await _secret(change.connection, change.vendor, tenant_id, secret_id)
    used = schema.assignments
    primary = await change.connection.execute(
        sa.select(used.c.config).where(used.c.tenant == row.tenant, used.c.is_primary)
    )
    if primary.scalar_one_or_none() != config:
        raise NotAllowedNowError(f"config {config} is not the primary of tenant {tenant_id!r}")
    table = schema.tenant_secrets
    moved = await change.connection.execute(
        table.update()
        .where(table.c.id == secret_id)
        .values(config=config, encrypted_secret=encrypted, migration="current", updated_ms=change.now_ms)
        .returning(*table.c)
    )
    await change.record("secret.migrate", secret_id, tenant=tenant_id, detail={"config": config})
    return moved.one()


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


async def _secret(
    connection: AsyncConnection, vendor: str, tenant_id: str, secret_id: str
) -> sa.Row[tuple[object, ...]]:
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
