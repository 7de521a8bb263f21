"""Configs that the vendor made, which many tenants may be assigned."""

import sqlalchemy as sa

from tenant_security.broker import schema
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import NotAllowedNowError
from tenant_security.broker.sealed_configs import judge, require_config, store
from tenant_security.broker.trusted import vendor_trust
from tenant_security.wire.broker_api import SealedConfig
from tenant_security.wire.snapshot import SHARED


async def put_vendor_config(change: Change, offered: SealedConfig) -> int:
    """Keep a config of the vendor, new or in a new version, and return its number.

    Raises: NotAllowedNowError.
    """
    trust = await vendor_trust(change.connection, change.vendor)
    verified = judge(offered, SHARED, trust, trust.authors)
    is_new = await store(change, offered, verified, None)
    number = verified.header.config
    detail = {"type": offered.type, "version": verified.header.version, "leasingAllowed": offered.leasing_allowed}
    await change.record("config.create" if is_new else "config.update", str(number), detail=detail)
    return number


async def allow_leasing(change: Change, number: int, allowed: bool) -> None:
    """Say whether tenants' records may lease with a config. What was leased before still unwraps.

    Raises: NotFoundError; NotAllowedNowError for a tenant's own config.
    """
    row = await require_config(change.connection, change.vendor, number)
    if row.owner is not None:
        raise NotAllowedNowError(f"config {number} is a tenant's own")
    configs = schema.configs
    await change.connection.execute(
        configs.update()
        .where(configs.c.vendor == change.vendor, configs.c.number == number)
        .values(leasing_allowed=allowed, updated_ms=change.now_ms)
    )
    await change.record("config.leasing", str(number), detail={"leasingAllowed": allowed})


async def remove_vendor_config(change: Change, number: int) -> None:
    """Remove a config that no tenant is assigned. Secrets that it wraps can be read by nobody after that.

    Raises: NotFoundError; NotAllowedNowError while tenants are assigned it, or when it is a tenant's own.
    """
    row = await require_config(change.connection, change.vendor, number)
    if row.owner is not None:
        raise NotAllowedNowError(f"config {number} is a tenant's own")
    used = schema.assignments
    count = await change.connection.execute(
        sa.select(sa.func.count()).select_from(used).where(used.c.vendor == change.vendor, used.c.config == number)
    )
    if tenants := count.scalar_one():
        raise NotAllowedNowError(f"config {number} is assigned to {tenants} tenants; take it from them first")
    configs = schema.configs
    await change.connection.execute(
        configs.delete().where(configs.c.vendor == change.vendor, configs.c.number == number)
    )
    await change.connection.execute(
        schema.removed_configs.insert().values(vendor=change.vendor, number=number, revision=change.touch())
    )
    await change.record("config.remove", str(number))
