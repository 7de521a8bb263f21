"""What a service is sent: the tenants of its segment, whole or only what has changed.

Everything is read in one transaction, so a snapshot is of one moment, and in portions, so that it needs no memory.
Its version is the vendor's revision.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.refusals import NotFoundError
from tenant_security.broker.trusted import VendorTrust, stored, vendor_trust
from tenant_security.wire import snapshot as words

_PORTION: Final = 500


class _Scope(NamedTuple):
    """Which segment's snapshot, and since when."""

    trust: VendorTrust
    segment: words.Segment
    since: int


async def current_revision(connection: AsyncConnection, vendor: str) -> int:
    """Return the version of the snapshot as it is now. One row, by its key.

    Raises: NotFoundError.
    """
    vendors = schema.vendors
    found = await connection.execute(sa.select(vendors.c.revision).where(vendors.c.id == vendor))
    revision = found.scalar_one_or_none()
    if revision is None:
        raise NotFoundError(f"there is no vendor {vendor!r} here")
    return int(revision)


async def snapshot_lines(
    connection: AsyncConnection, vendor: str, segment: int, *, since: int | None, now_s: int
) -> AsyncIterator[bytes]:
    """Yield the lines of a segment's snapshot, without line breaks; with ``since`` only what has changed after it.

    Raises: NotFoundError for an unknown segment.
    """
    trust = await vendor_trust(connection, vendor)
    found = trust.segment(segment)
    if found is None:
        raise NotFoundError(f"vendor {vendor!r} has no segment {segment}")
    scope = _Scope(trust, found, since or 0)
    lines = await _count(connection, scope)
    yield words.encode(await _header(connection, scope, lines, since, now_s))
    async for line in _gone_lines(connection, scope):
        yield line
    async for line in _config_lines(connection, scope):
        yield line
    async for line in _tenant_lines(connection, scope):
        yield line


async def revocation_line(connection: AsyncConnection, vendor: str, segment: int, *, now_s: int) -> bytes:
    """Return the first line of a snapshot alone: the manifest, in which a service reads that it is revoked.

    Raises: NotFoundError for an unknown segment.
    """
    trust = await vendor_trust(connection, vendor)
    found = trust.segment(segment)
    if found is None:
        raise NotFoundError(f"vendor {vendor!r} has no segment {segment}")
    header = await _header(connection, _Scope(trust, found, 0), 0, None, now_s)
    return words.encode(msgspec.structs.replace(header, segment_wraps=()))


async def _header(
    connection: AsyncConnection, scope: _Scope, lines: int, since: int | None, now_s: int
) -> words.SnapshotHeader:
    vendor, wraps, heads = scope.trust.vendor, schema.segment_wraps, schema.heads
    rows = await connection.execute(
        sa.select(wraps).where(wraps.c.vendor == vendor).order_by(wraps.c.segment, wraps.c.epoch, wraps.c.recipient)
    )
    version = await current_revision(connection, vendor)
    head = await connection.execute(
        sa.select(heads.c.signed).where(
            heads.c.vendor == vendor, heads.c.segment == scope.segment.id, heads.c.snapshot_version == version
        )
    )
    signed = head.scalar_one_or_none()
    return words.SnapshotHeader(
        format=words.FORMAT,
        format_version=words.FORMAT_VERSION,
        version=version,
        created=now_s,
        lines=lines,
        root=scope.trust.root_signed,
        manifest=scope.trust.manifest_signed,
        segment_wraps=tuple(
            words.SegmentWrap(row.segment, row.epoch, row.recipient, row.suite, row.sealed) for row in rows
        ),
        head=None if signed is None else stored(signed),
        segment=scope.segment.id,
        since=since,
    )


def served(vendor: str, segment: words.Segment) -> sa.ColumnElement[bool]:
    """The condition on tenants that a segment serves: they have all of its tags, and a record."""
    tenants, tags = schema.tenants, schema.tags
    joined = schema.tenant_tags.join(tags, tags.c.id == schema.tenant_tags.c.tag)
    has_all = [
        sa.exists().select_from(joined).where(schema.tenant_tags.c.tenant == tenants.c.number, tags.c.text == tag)
        for tag in segment.tags
    ]
    return sa.and_(tenants.c.vendor == vendor, tenants.c.record.is_not(None), *has_all)


def _served(scope: _Scope) -> sa.ColumnElement[bool]:
    return served(scope.trust.vendor, scope.segment)


def _wrapped(scope: _Scope) -> sa.ColumnElement[bool]:
    """The condition on vendor's configs that the segment can open."""
    configs, wraps = schema.configs, schema.config_wraps
    return sa.and_(
        configs.c.vendor == scope.trust.vendor,
        configs.c.owner.is_(None),
        sa.exists().where(
            wraps.c.vendor == configs.c.vendor,
            wraps.c.config == configs.c.number,
            wraps.c.segment == scope.segment.id,
        ),
    )


async def _count(connection: AsyncConnection, scope: _Scope) -> int:
    tenants, configs = schema.tenants, schema.configs
    selects = [
        sa.select(sa.func.count()).select_from(tenants).where(_served(scope), tenants.c.revision > scope.since),
        sa.select(sa.func.count()).select_from(configs).where(_wrapped(scope), configs.c.revision > scope.since),
    ]
    if scope.since:
        selects += [sa.select(sa.func.count()).select_from(gone.subquery()) for gone in _gone(scope)]
    counts = [int((await connection.execute(each)).scalar_one()) for each in selects]
    return sum(counts)


def _gone(scope: _Scope) -> tuple[sa.Select[Any], sa.Select[Any], sa.CompoundSelect[Any]]:
    """Tenants that were removed, tenants that left the segment, configs that were removed or left it."""
    vendor, since = scope.trust.vendor, scope.since
    removed, tenants = schema.removed_tenants, schema.tenants
    configs, dropped = schema.configs, schema.removed_configs
    left = sa.select(tenants.c.id).where(
        tenants.c.vendor == vendor, tenants.c.revision > since, sa.not_(_served(scope))
    )
    unwrapped = sa.select(configs.c.number).where(
        configs.c.vendor == vendor, configs.c.owner.is_(None), configs.c.revision > since, sa.not_(_wrapped(scope))
    )
    return (
        sa.select(removed.c.id).where(removed.c.vendor == vendor, removed.c.revision > since),
        left,
        sa.union_all(
            sa.select(dropped.c.number).where(dropped.c.vendor == vendor, dropped.c.revision > since), unwrapped
        ),
    )


async def _gone_lines(connection: AsyncConnection, scope: _Scope) -> AsyncIterator[bytes]:
    if not scope.since:
        return
    removed, left, configs = _gone(scope)
    for selected in (removed, left):
        for row in await connection.execute(selected):
            yield words.encode(words.GoneLine(tenant=row.id))
    for row in await connection.execute(configs):
        yield words.encode(words.GoneLine(config=row.number))


async def _config_lines(connection: AsyncConnection, scope: _Scope) -> AsyncIterator[bytes]:
    configs = schema.configs
    rows = await connection.execute(
        sa.select(configs).where(_wrapped(scope), configs.c.revision > scope.since).order_by(configs.c.number)
    )
    for envelope in (await _envelopes(connection, scope, rows.all())).values():
        for each in envelope:
            yield words.encode(words.ConfigLine(envelope=each))


async def _tenant_lines(connection: AsyncConnection, scope: _Scope) -> AsyncIterator[bytes]:
    tenants, configs = schema.tenants, schema.configs
    after = 0
    while True:
        rows = (
            await connection.execute(
                sa.select(tenants.c.number, tenants.c.id, tenants.c.record, tenants.c.authors)
                .where(_served(scope), tenants.c.revision > scope.since, tenants.c.number > after)
                .order_by(tenants.c.number)
                .limit(_PORTION)
            )
        ).all()
        if not rows:
            return
        after = rows[-1].number
        own = await connection.execute(
            sa.select(configs).where(configs.c.owner.in_([row.number for row in rows])).order_by(configs.c.number)
        )
        envelopes = await _envelopes(connection, scope, own.all())
        for row in rows:
            yield words.encode(
                words.TenantLine(
                    tenant=row.id,
                    record=stored(row.record),
                    configs=tuple(envelopes.get(row.number, ())),
                    authors=None if row.authors is None else stored(row.authors),
                )
            )


async def _envelopes(
    connection: AsyncConnection, scope: _Scope, rows: Sequence[sa.Row[tuple[object, ...]]]
) -> Mapping[int | None, list[words.ConfigEnvelope]]:
    """Return these configs by their owner, each with its wrap for the segment; without one a config is left out."""
    wraps = schema.config_wraps
    found = await connection.execute(
        sa.select(wraps).where(
            wraps.c.vendor == scope.trust.vendor,
            wraps.c.segment == scope.segment.id,
            wraps.c.config.in_([row.number for row in rows]),
        )
    )
    by_config = {row.config: words.Wrap(row.segment, row.epoch, row.suite, row.sealed) for row in found}
    envelopes: defaultdict[int | None, list[words.ConfigEnvelope]] = defaultdict(list)
    for row in rows:
        wrap = by_config.get(row.number)
        if wrap is not None:
            envelopes[row.owner].append(
                words.ConfigEnvelope(row.header, row.payload, row.commit, row.author, row.sig, wrap)
            )
    return envelopes
