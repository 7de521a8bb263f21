"""Configs as they lie in the tables: sealed, signed, and wrapped to one segment or several."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError
from tenant_security.broker.trusted import VendorTrust, refused
from tenant_security.trust.chain import Authors
from tenant_security.trust.entries import VerifiedConfig, verify_config
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import SealedConfig


def judge(offered: SealedConfig, owner: str, trust: VendorTrust, authors: Authors) -> VerifiedConfig:
    """Check who signed a config, and that its wraps are to segments that the manifest has now.

    Raises: NotAllowedNowError.
    """
    try:
        verified = verify_config(offered.envelope(offered.wraps[0]), owner, trust.vendor, authors)
    except BadEntryError as why:
        raise refused(why) from None
    number = verified.header.config
    if len({wrap.segment for wrap in offered.wraps}) != len(offered.wraps):
        raise NotAllowedNowError(f"config {number} is wrapped to a segment twice")
    for wrap in offered.wraps:
        check_wrap(number, wrap, trust)
    return verified


def check_wrap(number: int, wrap: words.Wrap, trust: VendorTrust) -> None:
    """Check that a wrap is to the newest epoch of a segment of the manifest.

    Raises: NotAllowedNowError.
    """
    segment = trust.segment(wrap.segment)
    if segment is None or (segment.epoch, segment.suite) != (wrap.epoch, wrap.suite):
        raise NotAllowedNowError(
            f"config {number} is wrapped to segment {wrap.segment}, epoch {wrap.epoch}, which is not the newest one; "
            "read the vendor's documents again and wrap it anew"
        )


async def store(change: Change, offered: SealedConfig, verified: VerifiedConfig, owner: int | None) -> bool:
    """Write a new config, or a new version of one, and return whether it is new.

    Raises: NotAllowedNowError when it does not follow what is stored.
    """
    configs, header = schema.configs, verified.header
    mine = sa.and_(configs.c.vendor == change.vendor, configs.c.number == header.config)
    kept = (await change.connection.execute(sa.select(configs).where(mine))).one_or_none()
    values = {
        "version": header.version,
        "leasing_allowed": offered.leasing_allowed,
        "name": offered.name,
        "header": offered.header,
        "payload": offered.payload,
        "commit": offered.commit,
        "author": offered.author,
        "sig": offered.sig,
        "updated_ms": change.now_ms,
        "revision": change.touch(),
    }
    if kept is None:
        await _require_reserved(change, header.config)
        await change.connection.execute(
            configs.insert().values(
                vendor=change.vendor,
                number=header.config,
                owner=owner,
                kind=header.kind,
                type=offered.type,
                **values,
                **change.made,
            )
        )
    else:
        _require_follows(kept, header, offered, owner)
        await change.connection.execute(configs.update().where(mine).values(**values))
    await replace_wraps(change, header.config, offered.wraps)
    return kept is None


def _require_follows(
    kept: sa.Row[tuple[object, ...]], header: words.ConfigHeader, offered: SealedConfig, owner: int | None
) -> None:
    number = header.config
    if kept.owner != owner:
        raise NotAllowedNowError(f"config {number} belongs to somebody else")
    if (kept.kind, kept.type) != (header.kind, offered.type):
        raise NotAllowedNowError(f"config {number} is a {kept.type} and stays one; make a new config instead")
    same = (kept.header, kept.payload, kept.commit) == (offered.header, offered.payload, offered.commit)
    if header.version < kept.version or (header.version == kept.version and not same):
        raise NotAllowedNowError(f"config {number} is stored in version {kept.version}; this one is not newer")


async def _require_reserved(change: Change, number: int) -> None:
    vendors = schema.vendors
    upcoming = await change.connection.execute(sa.select(vendors.c.next_config).where(vendors.c.id == change.vendor))
    if number >= int(upcoming.scalar_one()):
        raise NotAllowedNowError(f"config number {number} was not reserved; ask for a number first")


async def replace_wraps(change: Change, number: int, wraps: Iterable[words.Wrap]) -> None:
    """Write a config's wraps in place of those it had."""
    table = schema.config_wraps
    await change.connection.execute(table.delete().where(table.c.vendor == change.vendor, table.c.config == number))
    rows = [{"vendor": change.vendor, "config": number, **msgspec.structs.asdict(wrap)} for wrap in wraps]
    await change.connection.execute(table.insert(), rows)


async def read_configs(
    connection: AsyncConnection, vendor: str, condition: sa.ColumnElement[bool]
) -> Sequence[SealedConfig]:
    """Read the configs that a condition on their table finds, by number."""
    configs = schema.configs
    rows = (
        await connection.execute(
            sa.select(configs).where(configs.c.vendor == vendor, condition).order_by(configs.c.number)
        )
    ).all()
    wraps = await wraps_of(connection, vendor, [row.number for row in rows])
    return [
        SealedConfig(
            header=row.header,
            payload=row.payload,
            commit=row.commit,
            author=row.author,
            sig=row.sig,
            wraps=wraps[row.number],
            type=row.type,
            name=row.name,
            leasing_allowed=row.leasing_allowed,
        )
        for row in rows
    ]


async def wraps_of(
    connection: AsyncConnection, vendor: str, numbers: Sequence[int]
) -> Mapping[int, tuple[words.Wrap, ...]]:
    """Read the wraps of these configs."""
    table = schema.config_wraps
    found: defaultdict[int, tuple[words.Wrap, ...]] = defaultdict(tuple)
    rows = await connection.execute(
        sa.select(table)
        .where(table.c.vendor == vendor, table.c.config.in_(numbers))
        .order_by(table.c.config, table.c.segment)
    )
    for row in rows:
        found[row.config] += (words.Wrap(row.segment, row.epoch, row.suite, row.sealed),)
    return found


async def require_config(connection: AsyncConnection, vendor: str, number: int) -> sa.Row[tuple[object, ...]]:
    """Find a config.

    Raises: NotFoundError.
    """
    configs = schema.configs
    found = await connection.execute(sa.select(configs).where(configs.c.vendor == vendor, configs.c.number == number))
    row = found.one_or_none()
    if row is None:
        raise NotFoundError(f"there is no config {number}")
    return row
