"""Tags: words that tenants and segments share. A segment serves the tenants that have all of its tags."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError
from tenant_security.wire import snapshot as words


async def create_tag(change: Change, text: str, *, default: bool = False) -> int:
    """Make a tag and return its id.

    Raises: NotAllowedNowError when the vendor has one of this text, or a default one already.
    """
    if text in (words.BRIDGE_TAG, words.LOGDRIVER_TAG):
        raise NotAllowedNowError(f"{text!r} says what a service is, and is no tag for tenants; choose another text")
    tags = schema.tags
    taken = sa.select(tags.c.id).where(
        tags.c.vendor == change.vendor, sa.or_(tags.c.text == text, sa.and_(tags.c.is_default, sa.literal(default)))
    )
    if (await change.connection.execute(taken)).first() is not None:
        raise NotAllowedNowError(f"the vendor has a tag {text!r}, or a default tag, already")
    made = await change.connection.execute(
        tags.insert().values(vendor=change.vendor, text=text, is_default=default, **change.made).returning(tags.c.id)
    )
    tag = int(made.scalar_one())
    await change.record("tag.create", str(tag), detail={"text": text, "default": default})
    return tag


async def default_tag(connection: AsyncConnection, vendor: str) -> int | None:
    """Return the id of the tag that tenants get when nobody says otherwise."""
    tags = schema.tags
    found = await connection.execute(sa.select(tags.c.id).where(tags.c.vendor == vendor, tags.c.is_default))
    return found.scalar_one_or_none()


async def tag_texts(connection: AsyncConnection, tenant: int) -> frozenset[str]:
    """Return the texts of a tenant's tags."""
    joined = schema.tenant_tags.join(schema.tags, schema.tags.c.id == schema.tenant_tags.c.tag)
    rows = await connection.execute(
        sa.select(schema.tags.c.text).select_from(joined).where(schema.tenant_tags.c.tenant == tenant)
    )
    return frozenset(rows.scalars())


async def require_tags(connection: AsyncConnection, vendor: str, wanted: frozenset[int]) -> None:
    """Check that these are ids of the vendor's tags.

    Raises: NotFoundError that names one which is not.
    """
    tags = schema.tags
    rows = await connection.execute(sa.select(tags.c.id).where(tags.c.vendor == vendor, tags.c.id.in_(wanted)))
    if missing := wanted - set(rows.scalars()):
        raise NotFoundError(f"there is no tag {min(missing)}")


async def change_tags(change: Change, tenant: int, *, add: frozenset[int], remove: frozenset[int]) -> bool:
    """Give a tenant tags and take others from it; return whether that changed anything.

    The caller writes the audit row and touches the tenant.
    Raises: NotFoundError.
    """
    await require_tags(change.connection, change.vendor, add | remove)
    table = schema.tenant_tags
    rows = await change.connection.execute(sa.select(table.c.tag).where(table.c.tenant == tenant))
    had = set(rows.scalars())
    new, gone = add - had - remove, remove & had
    if gone:
        await change.connection.execute(table.delete().where(table.c.tenant == tenant, table.c.tag.in_(gone)))
    if new:
        await change.connection.execute(table.insert(), [{"tenant": tenant, "tag": tag} for tag in sorted(new)])
    return bool(new or gone)
