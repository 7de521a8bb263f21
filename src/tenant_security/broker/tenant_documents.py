"""One change of what a tenant is: a new record, its configs and who may sign for it, all or nothing.

The record is the truth. Rows about assignments are derived from it here, in the same transaction, and nowhere else.

* The record was made from the one that is stored; else somebody else was faster.
* While a tenant has configs that its own people signed, only its own people change what it is assigned.
* A config may be leased only where it allows that.
* What is assigned cannot be removed.
* Where a tenant wants a second person, a change of its KMS, its assignments or its authors waits for one.
"""

from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.approvals import Waiting, hold, is_required
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError
from tenant_security.broker.sealed_configs import judge, read_configs, require_config, store
from tenant_security.broker.tags import tag_texts
from tenant_security.broker.tenants import tenant_row
from tenant_security.broker.trusted import VendorTrust, refused, stored, vendor_trust
from tenant_security.trust.chain import Authors, TrustedAuthor
from tenant_security.trust.entries import verify_authors, verify_record
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import TenantChange, TenantDocuments


class _Signers(NamedTuple):
    """Everybody who may sign for a tenant, and the document that says so where the manifest does not."""

    authors: Authors
    signed: words.Signed | None
    version: int


async def read_tenant(connection: AsyncConnection, vendor: str, tenant_id: str) -> TenantDocuments:
    """Read what is stored of a tenant.

    Raises: NotFoundError.
    """
    row = await tenant_row(connection, vendor, tenant_id)
    return TenantDocuments(
        tenant=tenant_id,
        record_version=row.record_version,
        record=None if row.record is None else stored(row.record),
        authors=None if row.authors is None else stored(row.authors),
        configs=tuple(await read_configs(connection, vendor, schema.configs.c.owner == row.number)),
        tags=tuple(sorted(await tag_texts(connection, row.number))),
    )


async def put_tenant(
    change: Change, tenant_id: str, offered: TenantChange, *, approved: bool = False
) -> Waiting | None:
    """Make a tenant's next version, or let it wait for a second person where the tenant wants one.

    Returns: what waits, or None when it is done.
    Raises: NotFoundError; ConflictError when it was not made from what is stored; NotAllowedNowError.
    """
    row = await tenant_row(change.connection, change.vendor, tenant_id)
    if approved or not await is_required(change.connection, row.number):
        await _put(change, row, tenant_id, offered)
        return None
    summary = await _summary(change, row, offered)
    if not summary:
        await _put(change, row, tenant_id, offered)
        return None
    # What could not be done is refused now, and not when somebody has approved it.
    recorded, touched = change.recorded, change.touched
    async with change.connection.begin_nested() as trial:
        await _put(change, row, tenant_id, offered)
        await trial.rollback()
    change.recorded, change.touched = recorded, touched
    return await hold(change, row.number, tenant_id, kind="documents", what=offered, summary=summary)


async def _summary(change: Change, row: sa.Row[tuple[object, ...]], offered: TenantChange) -> str:
    """Say what a change does to KMS configs, assignments and authors; empty when it does nothing to them."""
    said: list[str] = []
    kms = [config for config in offered.configs if _header(config.header).kind == "kms"]
    said += [f"config {_header(config.header).config} ({config.type})" for config in kms]
    configs = schema.configs
    gone = await change.connection.execute(
        sa.select(configs.c.number).where(
            configs.c.vendor == change.vendor, configs.c.kind == "kms", configs.c.number.in_(offered.removed)
        )
    )
    said += [f"config {number} removed" for number in sorted(gone.scalars())]
    had = None if row.record is None else words.decode(words.TenantRecord, stored(row.record).body)
    record = _decoded(offered.record)
    if had is None or had.assignments != record.assignments:
        said.append("assignments")
    if (() if had is None else had.spares) != record.spares:
        said.append(f"spares {', '.join(map(str, record.spares))}" if record.spares else "no spares")
    if had is None or had.leasing_required != record.leasing_required:
        said.append("leasing required" if record.leasing_required else "leasing not required")
    if offered.authors is not None and words.encode(offered.authors) != row.authors:
        said.append("who signs")
    return ", ".join(said)


def _header(header: bytes) -> words.ConfigHeader:
    try:
        return words.decode(words.ConfigHeader, header)
    except words.MalformedError as malformed:
        raise NotAllowedNowError(f"a config's header cannot be read: {malformed}") from None


def _decoded(record: words.Signed) -> words.TenantRecord:
    try:
        return words.decode(words.TenantRecord, record.body)
    except words.MalformedError as malformed:
        raise NotAllowedNowError(f"the record cannot be read: {malformed}") from None


async def _put(change: Change, row: sa.Row[tuple[object, ...]], tenant_id: str, offered: TenantChange) -> None:
    if offered.base_version != row.record_version:
        raise ConflictError(
            f"tenant {tenant_id!r} is stored in version {row.record_version} and this change was made from "
            f"{offered.base_version}; read it again and repeat the change"
        )
    trust = await vendor_trust(change.connection, change.vendor)
    signers = _signers(row, tenant_id, offered, trust)
    record = _record(row, tenant_id, offered, trust, signers.authors)
    for config in offered.configs:
        verified = judge(config, tenant_id, trust, signers.authors)
        is_new = await store(change, config, verified, row.number)
        detail = {"kind": verified.header.kind, "type": config.type, "version": verified.header.version}
        action = "config.create" if is_new else "config.update"
        await change.record(action, str(verified.header.config), tenant=tenant_id, detail=detail)
    await _assign(change, row, record, signers.authors[offered.record.key])
    for number in offered.removed:
        await _remove(change, row.number, number)
        await change.record("config.remove", str(number), tenant=tenant_id)
    await _write(change, row, offered, record, signers)
    detail = {"version": record.version, "signedBy": offered.record.key}
    await change.record("tenant.record", tenant_id, tenant=tenant_id, detail=detail)


def _signers(row: sa.Row[tuple[object, ...]], tenant_id: str, offered: TenantChange, trust: VendorTrust) -> _Signers:
    signed = offered.authors or (None if row.authors is None else stored(row.authors))
    if signed is None:
        return _Signers(trust.authors, None, 0)
    try:
        verified = verify_authors(signed, tenant_id, trust.vendor, trust.authors)
    except BadEntryError as why:
        raise refused(why) from None
    version = verified.document.version
    if version < row.authors_version or (version == row.authors_version and words.encode(signed) != row.authors):
        raise NotAllowedNowError(f"the tenant's authors are stored in version {row.authors_version}")
    return _Signers(verified.authors, signed, version)


def _record(
    row: sa.Row[tuple[object, ...]], tenant_id: str, offered: TenantChange, trust: VendorTrust, authors: Authors
) -> words.TenantRecord:
    try:
        record = verify_record(offered.record, tenant_id, trust.vendor, authors)
    except BadEntryError as why:
        raise refused(why) from None
    if record.version <= row.record_version:
        raise NotAllowedNowError(f"the record must be newer than version {row.record_version}")
    return record


async def _assign(
    change: Change, row: sa.Row[tuple[object, ...]], record: words.TenantRecord, signer: TrustedAuthor
) -> None:
    """Bring the assignments in line with the record."""
    table = schema.assignments
    found = await change.connection.execute(sa.select(table).where(table.c.tenant == row.number))
    had = {each.config: each for each in found}
    wanted = {each.config: each for each in record.assignments}
    differs = {
        number
        for number in had.keys() | wanted.keys()
        if number not in had
        or number not in wanted
        or (had[number].active, had[number].is_primary, had[number].leasing)
        != (wanted[number].active, wanted[number].primary, wanted[number].leasing)
    }
    if differs and row.own_configs and signer.tenant != row.id:
        raise NotAllowedNowError(
            f"tenant {row.id!r} has configs of its own: what it is assigned is changed by its own people only"
        )
    for number in sorted(differs):
        await _require_usable(change, row.number, wanted.get(number))
    await change.connection.execute(
        table.delete().where(table.c.tenant == row.number, table.c.config.in_(differs - wanted.keys()))
    )
    # Nobody is primary for a moment, so that no two are.
    mine = sa.and_(table.c.tenant == row.number, table.c.config.in_(differs))
    await change.connection.execute(table.update().where(mine).values(is_primary=False))
    for number in sorted(differs & wanted.keys()):
        values = {
            "active": wanted[number].active,
            "is_primary": wanted[number].primary,
            "leasing": wanted[number].leasing,
            "updated_ms": change.now_ms,
        }
        if number in had:
            one = sa.and_(table.c.tenant == row.number, table.c.config == number)
            await change.connection.execute(table.update().where(one).values(**values))
        else:
            new = {"tenant": row.number, "vendor": change.vendor, "config": number, **values, **change.made}
            await change.connection.execute(table.insert().values(**new))
    for number in sorted(differs):
        detail = msgspec.to_builtins(wanted[number]) if number in wanted else {"removed": True}
        await change.record("assignment.change", str(number), tenant=row.id, detail=detail)


async def _require_usable(change: Change, tenant: int, wanted: words.RecordAssignment | None) -> None:
    if wanted is None:
        return
    config = await require_config(change.connection, change.vendor, wanted.config)
    if config.owner not in (None, tenant):
        raise NotAllowedNowError(f"config {wanted.config} belongs to somebody else")
    if config.kind != "kms":
        raise NotAllowedNowError(f"config {wanted.config} is not of a KMS and cannot be assigned")
    if wanted.primary and not wanted.active:
        raise NotAllowedNowError(f"config {wanted.config} must be active to be primary")
    if wanted.leasing and not config.leasing_allowed:
        raise NotAllowedNowError(f"config {wanted.config} does not allow leasing; allow it first")


async def _remove(change: Change, tenant: int, number: int) -> None:
    config = await require_config(change.connection, change.vendor, number)
    if config.owner != tenant:
        raise NotAllowedNowError(f"config {number} belongs to somebody else")
    used = schema.assignments
    assigned = await change.connection.execute(
        sa.select(used.c.config).where(used.c.vendor == change.vendor, used.c.config == number)
    )
    if assigned.first() is not None:
        raise NotAllowedNowError(f"config {number} is assigned; take it out of the record first")
    configs = schema.configs
    await change.connection.execute(
        configs.delete().where(configs.c.vendor == change.vendor, configs.c.number == number)
    )


async def _write(
    change: Change,
    row: sa.Row[tuple[object, ...]],
    offered: TenantChange,
    record: words.TenantRecord,
    signers: _Signers,
) -> None:
    own = await _signed_by_own_people(change, row.number, signers.authors)
    values: dict[str, object] = {
        "record": words.encode(offered.record),
        "record_version": record.version,
        "authors": None if signers.signed is None else words.encode(signers.signed),
        "authors_version": signers.version,
        "leasing_required": record.leasing_required,
        "own_configs": own,
        "updated_ms": change.now_ms,
        "revision": change.touch(),
    }
    if row.own_configs and not own:
        values["own_config_removed_ms"] = change.now_ms
    await change.connection.execute(
        schema.tenants.update().where(schema.tenants.c.number == row.number).values(**values)
    )
    primary = next((each.config for each in record.assignments if each.primary), None)
    secrets = schema.tenant_secrets
    await change.connection.execute(
        secrets.update()
        .where(secrets.c.tenant == row.number, secrets.c.rotation != "archived")
        .values(
            migration=sa.case((secrets.c.config == primary, "current"), else_="needs-migration")
            if primary is not None
            else secrets.c.migration,
            # What stood in the way of a renewal may have been mended by this very change.
            lent_until_ms=0,
            trouble="",
        )
    )


async def _signed_by_own_people(change: Change, tenant: int, authors: Authors) -> int:
    """Count the tenant's KMS configs that the vendor's authors did not sign."""
    configs = schema.configs
    rows = await change.connection.execute(
        sa.select(configs.c.author).where(configs.c.owner == tenant, configs.c.kind == "kms")
    )
    return sum(author in authors and authors[author].tenant != words.SHARED for author in rows.scalars())
