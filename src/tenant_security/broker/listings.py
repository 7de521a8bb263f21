"""Lists for people and for the bridge: tenants, configs, assignments, tags, secrets; filtered, sorted, in pages."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.wire import broker_api as api

T = TypeVar("T")

MOST_ON_A_PAGE: Final = 1_000
_MOST_DIGITS: Final = 10


class Paging(NamedTuple):
    """Which part of a list, and in which order. ``page`` counts from 1."""

    page: int = 1
    size: int = 10
    sort: str = "created"
    descending: bool = True


async def tenants(
    connection: AsyncConnection,
    vendor: str,
    paging: Paging,
    *,
    query: str | None = None,
    status: Literal["accepted", "not-accepted"] | None = None,
) -> api.Page[api.Tenant]:
    """List tenants whose id or name contains the query."""
    table, used = schema.tenants, schema.assignments
    primary = sa.select(used.c.config).where(used.c.tenant == table.c.number, used.c.is_primary).scalar_subquery()
    chosen = sa.select(table, primary.label("primary_config")).where(table.c.vendor == vendor)
    if query:
        chosen = chosen.where(sa.or_(_contains(table.c.id, query), _contains(table.c.name, query)))
    if status is not None:
        accepted = table.c.accepted_ms.is_not(None)
        chosen = chosen.where(accepted if status == "accepted" else sa.not_(accepted))
    sorts = {"name": table.c.name, "id": table.c.id, "created": table.c.created_ms, "updated": table.c.updated_ms}
    rows, page = await _page(connection, chosen, paging, sorts, table.c.number)
    tags = await tags_of(connection, [row.number for row in rows])
    return page(rows, lambda row: _tenant(row, tags.get(row.number, ())))


async def tenant(connection: AsyncConnection, row: sa.Row[Any]) -> api.Tenant:
    """Describe one tenant from its row."""
    used = schema.assignments
    found = await connection.execute(sa.select(used.c.config).where(used.c.tenant == row.number, used.c.is_primary))
    tags = await tags_of(connection, [row.number])
    return _tenant(row, tags.get(row.number, ()), found.scalar_one_or_none())


async def configs(
    connection: AsyncConnection,
    vendor: str,
    paging: Paging,
    *,
    type_: str | None = None,
    leasing: bool | None = None,
    owner: int | None = None,
    number: int | None = None,
) -> api.Page[api.Config]:
    """List the vendor's configs, or those of one tenant by its number."""
    table = schema.configs
    owners = schema.tenants.alias("owners")
    assigned = _count(schema.assignments, table)
    secrets = (
        sa.select(sa.func.count())
        .select_from(schema.tenant_secrets)
        .where(schema.tenant_secrets.c.vendor == table.c.vendor, schema.tenant_secrets.c.config == table.c.number)
        .scalar_subquery()
    )
    chosen = (
        sa.select(table, owners.c.id.label("owner_id"), assigned.label("assigned"), secrets.label("secrets"))
        .select_from(table.outerjoin(owners, owners.c.number == table.c.owner))
        .where(table.c.vendor == vendor)
    )
    if number is not None:
        chosen = chosen.where(table.c.number == number)
    else:
        chosen = chosen.where(table.c.owner.is_(None) if owner is None else table.c.owner == owner)
    if type_ is not None:
        chosen = chosen.where(table.c.type == type_)
    if leasing is not None:
        chosen = chosen.where(table.c.leasing_allowed == leasing)
    sorts = {"assignments": assigned, "created": table.c.created_ms, "updated": table.c.updated_ms}
    rows, page = await _page(connection, chosen, paging, sorts, table.c.number)
    wraps = schema.config_wraps
    found = await connection.execute(
        sa.select(wraps.c.config, wraps.c.segment)
        .where(wraps.c.vendor == vendor, wraps.c.config.in_([row.number for row in rows]))
        .order_by(wraps.c.segment)
    )
    segments: dict[int, list[int]] = {}
    for row in found:
        segments.setdefault(row.config, []).append(row.segment)
    return page(rows, lambda row: _config(row, tuple(segments.get(row.number, ()))))


async def assignments(
    connection: AsyncConnection,
    vendor: str,
    paging: Paging,
    *,
    tenant_number: int | None = None,
    config: int | None = None,
    status: Literal["active", "disabled", "primary"] | None = None,
    query: str | None = None,
) -> api.Page[api.Assignment]:
    """List the assignments of a tenant, of a config, or of both."""
    table, tenants_ = schema.assignments, schema.tenants
    chosen = (
        sa.select(table, tenants_.c.id.label("tenant_id"))
        .select_from(table.join(tenants_, tenants_.c.number == table.c.tenant))
        .where(table.c.vendor == vendor)
    )
    if tenant_number is not None:
        chosen = chosen.where(table.c.tenant == tenant_number)
    if config is not None:
        chosen = chosen.where(table.c.config == config)
    if status is not None:
        states = {"active": table.c.active, "disabled": sa.not_(table.c.active), "primary": table.c.is_primary}
        chosen = chosen.where(states[status])
    if query:
        chosen = chosen.where(_about(query, tenants_, table.c.config))
    sorts = {
        "active": table.c.active,
        "primary": table.c.is_primary,
        "created": table.c.created_ms,
        "updated": table.c.updated_ms,
    }
    rows, page = await _page(connection, chosen, paging, sorts, table.c.tenant, table.c.config)
    return page(rows, _assignment)


async def tags(
    connection: AsyncConnection, vendor: str, paging: Paging, *, text: str | None = None, number: int | None = None
) -> api.Page[api.Tag]:
    """List tags whose text contains this."""
    table = schema.tags
    counted = (
        sa.select(sa.func.count())
        .select_from(schema.tenant_tags)
        .where(schema.tenant_tags.c.tag == table.c.id)
        .scalar_subquery()
    )
    chosen = sa.select(table, counted.label("tenants")).where(table.c.vendor == vendor)
    if text:
        chosen = chosen.where(_contains(table.c.text, text))
    if number is not None:
        chosen = chosen.where(table.c.id == number)
    sorts = {"text": table.c.text, "created": table.c.created_ms}
    rows, page = await _page(connection, chosen, paging, sorts, table.c.id)
    return page(
        rows, lambda row: api.Tag(row.id, row.text, row.is_default, row.tenants, created_by(row), row.created_ms)
    )


class SecretFilter(NamedTuple):
    """Which secrets. Units: ``*_since_ms`` Unix milliseconds."""

    type: str | None = None
    migration: str | None = None
    rotation: str | None = None
    created_since_ms: int | None = None
    updated_since_ms: int | None = None
    query: str | None = None
    tenants: Sequence[str] = ()
    tags: Sequence[int] = ()
    """Ids: secrets of tenants that have any of them."""
    numbers: Sequence[int] = ()
    """Only these."""


async def secrets(
    connection: AsyncConnection, vendor: str, paging: Paging, wanted: SecretFilter
) -> api.Page[api.TenantSecret]:
    """List tenant secrets, wrapped as they are."""
    table, tenants_ = schema.tenant_secrets, schema.tenants
    conditions: list[sa.ColumnElement[bool]] = [table.c.vendor == vendor]
    for column, value in ((table.c.type, wanted.type), (table.c.migration, wanted.migration)):
        if value is not None:
            conditions.append(column == value)
    if wanted.rotation is not None:
        conditions.append(table.c.rotation == wanted.rotation)
    if wanted.created_since_ms is not None:
        conditions.append(table.c.created_ms >= wanted.created_since_ms)
    if wanted.updated_since_ms is not None:
        conditions.append(table.c.updated_ms >= wanted.updated_since_ms)
    if wanted.query:
        conditions.append(_about(wanted.query, tenants_, table.c.config, table.c.path))
    if wanted.numbers:
        conditions.append(table.c.number.in_(wanted.numbers))
    if wanted.tenants:
        conditions.append(tenants_.c.id.in_(wanted.tenants))
    if wanted.tags:
        tagged = schema.tenant_tags
        conditions.append(sa.exists().where(tagged.c.tenant == table.c.tenant, tagged.c.tag.in_(wanted.tags)))
    chosen = (
        sa.select(table, tenants_.c.id.label("tenant_id"))
        .select_from(table.join(tenants_, tenants_.c.number == table.c.tenant))
        .where(*conditions)
    )
    sorts = {"created": table.c.created_ms, "updated": table.c.updated_ms}
    rows, page = await _page(connection, chosen, paging, sorts, table.c.number)
    tagged_with = await tags_of(connection, [row.tenant for row in rows])
    return page(rows, lambda row: secret(row, row.tenant_id, tagged_with.get(row.tenant, ())))


def secret(row: sa.Row[Any], tenant_id: str, tags: tuple[int, ...]) -> api.TenantSecret:
    """Describe a secret from its row."""
    return api.TenantSecret(
        id=row.id,
        number=row.number,
        tenant=tenant_id,
        tags=tags,
        type=row.type,
        path=row.path,
        fingerprint=row.fingerprint,
        config=row.config,
        migration=row.migration,
        rotation=row.rotation,
        encrypted=row.encrypted_secret,
        created_by=created_by(row),
        created=row.created_ms,
        updated=row.updated_ms,
        bound=row.bound,
        trouble=row.trouble,
    )


def created_by(row: sa.Row[Any]) -> api.CreatedBy:
    """Say who made a row."""
    return api.CreatedBy(row.created_by_id, row.created_by_name, row.created_by_kind)


async def _page(
    connection: AsyncConnection,
    chosen: sa.Select[Any],
    paging: Paging,
    sorts: Mapping[str, sa.ColumnElement[Any]],
    *tie: sa.ColumnElement[Any],
) -> tuple[Sequence[sa.Row[Any]], "_MakePage"]:
    """Read one page. Equal rows keep one order, so that nothing is on two pages or on none."""
    size = min(max(1, paging.size), MOST_ON_A_PAGE)
    total = int((await connection.execute(sa.select(sa.func.count()).select_from(chosen.subquery()))).scalar_one())
    by = (sorts[paging.sort], *tie)
    order = [each.desc() if paging.descending else each.asc() for each in by]
    rows = await connection.execute(chosen.order_by(*order).limit(size).offset((max(1, paging.page) - 1) * size))
    return rows.all(), _MakePage(max(1, paging.page), -(-total // size), total)


class _MakePage(NamedTuple):
    """Turns rows into a page of what they say."""

    page: int
    total_pages: int
    total: int

    def __call__(self, rows: Sequence[sa.Row[Any]], describe: Callable[[sa.Row[Any]], T]) -> api.Page[T]:
        return api.Page([describe(row) for row in rows], self.page, self.total_pages, self.total)


def _contains(column: sa.ColumnElement[str], text: str) -> sa.ColumnElement[bool]:
    """Whether a column contains a text, in whatever case. The database folds both sides, each in its own way."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return sa.func.lower(column).like(sa.func.lower(f"%{escaped}%"), escape="\\")


def _about(
    query: str, tenants_: sa.Table, config: sa.ColumnElement[int], *texts: sa.ColumnElement[str]
) -> sa.ColumnElement[bool]:
    """Whether a row has to do with what somebody looks for: a tenant, by id or name, or the number of a config."""
    found = [_contains(column, query) for column in (tenants_.c.id, tenants_.c.name, *texts)]
    if query.isascii() and query.isdigit() and len(query) < _MOST_DIGITS:
        found.append(config == int(query))
    return sa.or_(*found)


def _count(table: sa.Table, config: sa.Table) -> sa.ScalarSelect[int]:
    return (
        sa.select(sa.func.count())
        .select_from(table)
        .where(table.c.vendor == config.c.vendor, table.c.config == config.c.number)
        .scalar_subquery()
    )


async def tags_of(connection: AsyncConnection, numbers: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return the ids of these tenants' tags."""
    tagged = schema.tenant_tags
    rows = await connection.execute(
        sa.select(tagged).where(tagged.c.tenant.in_(numbers)).order_by(tagged.c.tenant, tagged.c.tag)
    )
    found: dict[int, tuple[int, ...]] = {}
    for row in rows:
        found[row.tenant] = (*found.get(row.tenant, ()), row.tag)
    return found


def _tenant(row: sa.Row[Any], tags: tuple[int, ...], primary: int | None = None) -> api.Tenant:
    return api.Tenant(
        id=row.id,
        name=row.name,
        invited=row.invited_ms is not None,
        accepted=row.accepted_ms is not None,
        own_configs=row.own_configs,
        leasing_required=row.leasing_required,
        primary_config=row._mapping.get("primary_config", primary),  # noqa: SLF001 - SQLAlchemy's public name for it
        record_version=row.record_version,
        tags=tags,
        created_by=created_by(row),
        created=row.created_ms,
        updated=row.updated_ms,
    )


def _config(row: sa.Row[Any], segments: tuple[int, ...]) -> api.Config:
    return api.Config(
        id=row.number,
        owner=row.owner_id,
        kind=row.kind,
        type=row.type,
        name=row.name,
        version=row.version,
        leasing_allowed=row.leasing_allowed,
        segments=segments,
        assignment_count=row.assigned,
        secret_count=row.secrets,
        created_by=created_by(row),
        created=row.created_ms,
        updated=row.updated_ms,
    )


def _assignment(row: sa.Row[Any]) -> api.Assignment:
    return api.Assignment(
        config=row.config,
        tenant=row.tenant_id,
        active=row.active,
        primary=row.is_primary,
        leasing=row.leasing,
        created_by=created_by(row),
        created=row.created_ms,
        updated=row.updated_ms,
    )
