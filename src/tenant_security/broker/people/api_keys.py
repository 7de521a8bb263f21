"""API keys of a vendor: shown once, stored as a hash, two for each name so that one can be changed for the other."""

import json
import secrets
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.callers import Caller, Role
from tenant_security.broker.database import Change
from tenant_security.broker.identify import API_KEY_PREFIX, api_key_parts, known_scopes
from tenant_security.broker.listings import created_by
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError
from tenant_security.wire.people_api import ApiKeyLine, ApiKeyMade, NewApiKey

SLOTS: Final = 2
MOST: Final = 200
"""The most keys of one vendor that are good at a time."""
_ID_BYTES: Final = 8
_SECRET_BYTES: Final = 32


async def lines(connection: AsyncConnection, vendor: str) -> list[ApiKeyLine]:
    """List a vendor's keys, the newest first."""
    keys = schema.api_keys
    rows = await connection.execute(
        sa.select(keys).where(keys.c.vendor == vendor).order_by(keys.c.created_ms.desc(), keys.c.id).limit(1_000)
    )
    return [
        ApiKeyLine(
            id=row.id,
            name=row.name,
            role=row.role,
            scopes=None if row.scopes is None else known_scopes(row.scopes),
            tenants=None if row.tenants is None else json.loads(row.tenants),
            created_by=created_by(row),
            created=row.created_ms,
            expires=row.expires_ms,
            used=row.used_ms,
            revoked=row.revoked_ms,
        )
        for row in rows
    ]


async def make(change: Change, caller: Caller, new: NewApiKey) -> ApiKeyMade:
    """Make a key that may no more than its role, and no more than who makes it.

    Raises: NotAllowedNowError when both slots of the name are taken, it would expire in the past, or its role has not
    all of its scopes; ForbiddenError.
    """
    scopes = None if new.scopes is None else sorted({scope.value for scope in new.scopes})
    tenants = None if new.tenants is None else sorted(set(new.tenants))
    caller.require_to_give(Role(new.role), None if new.scopes is None else frozenset(new.scopes), new.tenants)
    if new.expires is not None and new.expires <= change.now_ms:
        raise NotAllowedNowError("the key would have expired already; times are Unix milliseconds")
    keys = schema.api_keys
    good = sa.and_(
        keys.c.vendor == change.vendor,
        keys.c.revoked_ms.is_(None),
        sa.or_(keys.c.expires_ms.is_(None), keys.c.expires_ms > change.now_ms),
    )
    names = (await change.connection.execute(sa.select(keys.c.name).where(good))).scalars().all()
    if names.count(new.name) >= SLOTS:
        raise NotAllowedNowError(f"both slots of {new.name!r} are taken; revoke the key that is not used any more")
    if len(names) >= MOST:
        raise NotAllowedNowError(f"there are {MOST} keys already; revoke some first")
    made = secrets.token_hex(_ID_BYTES)
    text = f"{API_KEY_PREFIX}{made}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    await change.connection.execute(
        keys.insert().values(
            id=made,
            vendor=change.vendor,
            name=new.name,
            hash=api_key_parts(text)[1],
            role=new.role,
            scopes=None if scopes is None else json.dumps(scopes),
            tenants=None if tenants is None else json.dumps(tenants),
            expires_ms=new.expires,
            **change.made,
        )
    )
    detail = {"name": new.name, "role": new.role, "scopes": scopes, "tenants": tenants, "expires": new.expires}
    await change.record("api-key.make", made, detail=detail)
    return ApiKeyMade(made, text)


async def revoke(change: Change, key_id: str) -> None:
    """Make a key void, for good.

    Raises: NotFoundError; NotAllowedNowError when it is void already.
    """
    keys = schema.api_keys
    mine = sa.and_(keys.c.vendor == change.vendor, keys.c.id == key_id)
    row = (await change.connection.execute(sa.select(keys).where(mine))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no API key {key_id!r}")
    if row.revoked_ms is not None:
        raise NotAllowedNowError("the key was revoked before")
    await change.connection.execute(keys.update().where(mine).values(revoked_ms=change.now_ms))
    await change.record("api-key.revoke", key_id, detail={"name": row.name})
