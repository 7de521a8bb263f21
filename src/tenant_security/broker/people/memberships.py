"""Who belongs to an organisation, and as what. There is always an owner who can sign in."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.callers import Role
from tenant_security.broker.database import Change
from tenant_security.broker.people import claims
from tenant_security.broker.people.organisations import Organisation
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError
from tenant_security.wire.people_api import Member, RoleName


async def members(connection: AsyncConnection, organisation: Organisation) -> list[Member]:
    """List an organisation's people, in the order of their names."""
    table, people = schema.memberships, schema.people
    sessions, passkeys = schema.sessions, schema.passkeys
    seen = sa.select(sa.func.max(sessions.c.seen_ms)).where(sessions.c.person == people.c.id).scalar_subquery()
    with_passkey = sa.exists().where(passkeys.c.person == people.c.id)
    rows = await connection.execute(
        sa.select(table, people, seen.label("last_seen"), with_passkey.label("with_passkey"))
        .join(people, people.c.id == table.c.person)
        .where(_in(organisation))
        .order_by(people.c.name, people.c.id)
    )
    return [_member(row._mapping, table, people) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


async def add(change: Change, organisation: Organisation, person: str, role: str) -> None:
    """Make somebody a member.

    Raises: NotAllowedNowError when they are one.
    """
    table = schema.memberships
    had = sa.select(table.c.role).where(_in(organisation), table.c.person == person)
    if (await change.connection.execute(had)).first() is not None:
        raise NotAllowedNowError("this person belongs to the organisation already")
    await change.connection.execute(
        table.insert().values(
            person=person, vendor=organisation.vendor, tenant=organisation.tenant, role=role, **change.made
        )
    )
    await change.record("member.add", person, tenant=organisation.in_audit, detail={"role": role})


async def update(
    change: Change, organisation: Organisation, person: str, *, role: RoleName | None, disabled: bool | None
) -> None:
    """Change what somebody is, or keep them out for a while.

    Raises: NotFoundError; NotAllowedNowError for the last owner.
    """
    table = schema.memberships
    row = await _membership(change, organisation, person)
    values: dict[str, Any] = {}
    detail: dict[str, object] = {}
    if role is not None and role != row.role:
        values["role"] = detail["role"] = role
    if disabled is not None and disabled != (row.disabled_ms is not None):
        values["disabled_ms"] = change.now_ms if disabled else None
        detail["disabled"] = disabled
    if values:
        mine = sa.and_(_in(organisation), table.c.person == person)
        await change.connection.execute(table.update().where(mine).values(**values))
        await _require_an_owner(change, organisation)
    await change.record("member.update", person, tenant=organisation.in_audit, detail=detail)


async def remove(change: Change, organisation: Organisation, person: str) -> None:
    """End a membership. The person's account stays: it may belong elsewhere.

    Raises: NotFoundError; NotAllowedNowError for the last owner.
    """
    table, subjects = schema.memberships, schema.single_sign_on_subjects
    await _membership(change, organisation, person)
    await change.connection.execute(table.delete().where(_in(organisation), table.c.person == person))
    await change.connection.execute(
        subjects.delete().where(
            subjects.c.vendor == organisation.vendor,
            subjects.c.tenant == organisation.tenant,
            subjects.c.person == person,
        )
    )
    await _require_an_owner(change, organisation)
    await change.record("member.remove", person, tenant=organisation.in_audit)


async def has_owner(connection: AsyncConnection, organisation: Organisation) -> bool:
    """Whether somebody owns an organisation and is not kept out."""
    table, people = schema.memberships, schema.people
    found = await connection.execute(
        sa.select(table.c.person)
        .join(people, people.c.id == table.c.person)
        .where(
            _in(organisation),
            table.c.role == Role.OWNER.value,
            table.c.disabled_ms.is_(None),
            people.c.disabled_ms.is_(None),
        )
        .limit(1)
    )
    return found.first() is not None


async def anybody(connection: AsyncConnection, organisation: Organisation) -> bool:
    """Whether an organisation has people at all."""
    table = schema.memberships
    return (await connection.execute(sa.select(table.c.person).where(_in(organisation)).limit(1))).first() is not None


async def _require_an_owner(change: Change, organisation: Organisation) -> None:
    if not await has_owner(change.connection, organisation):
        raise NotAllowedNowError("this is the last owner; make somebody else an owner first")


async def _membership(change: Change, organisation: Organisation, person: str) -> sa.Row[Any]:
    table = schema.memberships
    found = await change.connection.execute(sa.select(table).where(_in(organisation), table.c.person == person))
    row = found.one_or_none()
    if row is None:
        raise NotFoundError(f"nobody of the organisation is {person!r}")
    return row


def _in(organisation: Organisation) -> sa.ColumnElement[bool]:
    table = schema.memberships
    return sa.and_(table.c.vendor == organisation.vendor, table.c.tenant == organisation.tenant)


def _member(row: Any, table: sa.Table, people: sa.Table) -> Member:
    claim = None if row[people.c.key_claim] is None else claims.stored(row[people.c.key_claim])
    methods = ("passkey",) if row["with_passkey"] else ()
    return Member(
        person=row[people.c.id],
        email=row[people.c.email],
        name=row[people.c.name],
        role=row[table.c.role],
        disabled=row[table.c.disabled_ms] is not None or row[people.c.disabled_ms] is not None,
        created=row[table.c.created_ms],
        last_seen=row["last_seen"],
        key_id=None if claim is None else claim.key_id,
        fingerprint=None if claim is None else claim.fingerprint,
        methods=methods if row[people.c.passphrase_hash] is None else (*methods, "passphrase"),
    )
