"""Tenant secrets that wait to be renewed: wrapped by their tenant's primary, or bound to their place.

The broker can open none of them, so it lends each to one proxy at a time, for a while. What comes back takes the place
of exactly the EDEK that it was made from; a proxy that was slow, or had an older one, changes nothing. The proxy has
seen the new EDEK open before it hands it in, so the only readable copy is never replaced by one that is not.
"""

import hashlib
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.callers import Caller, Role
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import ConflictError, ForbiddenError, NotAllowedNowError, NotFoundError
from tenant_security.broker.secrets import migration_of, require_standing, secret_row, stored_secret
from tenant_security.broker.snapshots import served
from tenant_security.broker.tenants import tenant_row
from tenant_security.broker.trusted import vendor_trust
from tenant_security.wire import broker_api as said
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_api import MOST_RENEWALS, RenewalTrouble, RenewedSecret

LENT_MS: Final = 120_000
"""For how long a secret is lent to be renewed. Units: milliseconds."""
REST_MS: Final = 600_000
"""How long one rests that could not be renewed. Units: milliseconds."""

_SECRETS: Final = schema.tenant_secrets
_WAITING: Final = sa.and_(
    _SECRETS.c.rotation != "archived", sa.or_(_SECRETS.c.migration == "needs-migration", sa.not_(_SECRETS.c.bound))
)


async def lend(connection: AsyncConnection, caller: Caller, segment: int, now_ms: int) -> list[sa.Row[Any]]:
    """Lend a proxy some of what waits in its segment; each row has ``tenant_id`` besides its own columns.

    Raises: ForbiddenError; NotFoundError.
    """
    require_proxy(caller)
    trust = await vendor_trust(connection, caller.vendor)
    found = trust.segment(segment)
    if found is None:
        raise NotFoundError(f"vendor {caller.vendor!r} has no segment {segment}")
    tenants = schema.tenants
    waiting = (
        sa.select(_SECRETS.c.id)
        .select_from(_SECRETS.join(tenants, tenants.c.number == _SECRETS.c.tenant))
        .where(
            _SECRETS.c.vendor == caller.vendor,
            _WAITING,
            _SECRETS.c.lent_until_ms <= now_ms,
            served(caller.vendor, found),
        )
        .order_by(_SECRETS.c.lent_until_ms, _SECRETS.c.number)
        .limit(MOST_RENEWALS)
        .with_for_update(skip_locked=True, of=_SECRETS)
    )
    ids = list((await connection.execute(waiting)).scalars())
    if not ids:
        return []
    lent = _SECRETS.update().where(_SECRETS.c.id.in_(ids)).values(lent_until_ms=now_ms + LENT_MS)
    await connection.execute(lent)
    rows = await connection.execute(
        sa.select(_SECRETS, tenants.c.id.label("tenant_id"))
        .select_from(_SECRETS.join(tenants, tenants.c.number == _SECRETS.c.tenant))
        .where(_SECRETS.c.id.in_(ids))
        .order_by(_SECRETS.c.number)
    )
    return list(rows)


async def renew(change: Change, secret_id: str, new: RenewedSecret) -> None:
    """Take a secret's new EDEK, if it was made from the one that is kept.

    Raises: ConflictError when it was not: somebody was faster; NotFoundError; NotAllowedNowError when a config wraps
    it that is not the tenant's primary.
    """
    row: sa.Row[Any] = await secret_row(change.connection, change.vendor, new.tenant, secret_id)
    _require_base(row, new.base)
    migration = await migration_of(change.connection, row.tenant, new.config)
    if new.encrypted != bytes(row.encrypted_secret) and migration != "current":
        raise NotAllowedNowError(f"config {new.config} is not the primary of tenant {new.tenant!r}")
    offered = msgspec.structs.replace(
        stored_secret(row), fingerprint=new.fingerprint, encrypted=new.encrypted, binding=new.binding
    )
    await require_standing(change.connection, change.vendor, new.tenant, offered)
    await change.connection.execute(
        _SECRETS.update()
        .where(_SECRETS.c.id == secret_id)
        .values(
            config=new.config,
            encrypted_secret=new.encrypted,
            fingerprint=new.fingerprint,
            binding=words.encode(new.binding),
            bound=True,
            migration=migration,
            lent_until_ms=0,
            trouble="",
            updated_ms=change.now_ms,
        )
    )
    action = "secret.bind" if new.config == row.config else "secret.migrate"
    detail = {"from": row.config, "to": new.config, "signedBy": new.binding.key}
    await change.record(action, secret_id, tenant=new.tenant, detail=detail)


async def rest(connection: AsyncConnection, caller: Caller, secret_id: str, said_: RenewalTrouble, now_ms: int) -> None:
    """Note why a secret could not be renewed, and lend it again after a while.

    Raises: ForbiddenError; NotFoundError; ConflictError when it was renewed meanwhile.
    """
    require_proxy(caller)
    row = await secret_row(connection, caller.vendor, said_.tenant, secret_id)
    _require_base(row, said_.base)
    resting: dict[str, object] = {"lent_until_ms": 0}
    if said_.why:
        printable = "".join(letter if letter.isprintable() else " " for letter in said_.why)
        resting = {"trouble": printable, "lent_until_ms": now_ms + REST_MS}
    await connection.execute(_SECRETS.update().where(_SECRETS.c.id == secret_id).values(**resting))


async def try_again(change: Change, tenant: str | None) -> said.SecretRenewals:
    """Have everything that waits be lent again at once, of one tenant or of all, and say how much that is.

    Raises: NotFoundError.
    """
    mine = _mine(
        change.vendor, None if tenant is None else (await tenant_row(change.connection, change.vendor, tenant))
    )
    counts = await _count(change.connection, mine)
    await change.connection.execute(_SECRETS.update().where(mine, _WAITING).values(lent_until_ms=0))
    await change.record("secret.renew-again", tenant or "*", tenant=tenant or "")
    return counts


async def waiting(connection: AsyncConnection, vendor: str, tenant: str | None = None) -> said.SecretRenewals:
    """Say how many secrets wait, of one tenant or of all. Raises: NotFoundError."""
    return await _count(
        connection, _mine(vendor, None if tenant is None else await tenant_row(connection, vendor, tenant))
    )


def require_proxy(caller: Caller) -> None:
    """Refuse everybody but proxies: nobody else can open a tenant's secrets. Raises: ForbiddenError."""
    if caller.role is not Role.PROXY:
        raise ForbiddenError(f"the role {caller.role.value!r} may not make or renew tenant secrets; proxies do")


def _mine(vendor: str, tenant: sa.Row[Any] | None) -> sa.ColumnElement[bool]:
    of_vendor = _SECRETS.c.vendor == vendor
    return of_vendor if tenant is None else sa.and_(of_vendor, _SECRETS.c.tenant == tenant.number)


async def _count(connection: AsyncConnection, mine: sa.ColumnElement[bool]) -> said.SecretRenewals:
    def counted(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    row = (
        await connection.execute(
            sa.select(
                counted(_SECRETS.c.migration == "needs-migration"),
                counted(sa.not_(_SECRETS.c.bound)),
                counted(_SECRETS.c.trouble != ""),
            ).where(mine, _WAITING)
        )
    ).one()
    return said.SecretRenewals(*(int(each) for each in row))


def _require_base(row: sa.Row[Any], base: bytes) -> None:
    if hashlib.sha256(row.encrypted_secret).digest() != base:
        raise ConflictError("the secret was renewed meanwhile")
