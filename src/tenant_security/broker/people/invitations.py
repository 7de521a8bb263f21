"""Invitations: by mail or by a link that whoever invites brings along; for a week, once.

States: open -> accepted, withdrawn or expired. Each new link makes the old one void.
The token proves that somebody was invited; it is in the link's fragment, which browsers send to nobody.
"""

import hashlib
import secrets
import uuid
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.callers import Role
from tenant_security.broker.database import Change
from tenant_security.broker.listings import created_by
from tenant_security.broker.people import memberships
from tenant_security.broker.people.claims import authors_of
from tenant_security.broker.people.organisations import Organisation
from tenant_security.broker.people.personal import Personal
from tenant_security.broker.public_address import PublicAddress
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError, TooManyError
from tenant_security.broker.trusted import refused, stored
from tenant_security.trust.enrolments import verify_invitation
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words
from tenant_security.wire.people_api import InvitationLine, Invited, NewInvitation

LIFE_MS: Final = 7 * 24 * 3_600_000
MOST_OPEN: Final = 500
"""The most open invitations of one organisation."""
_TOKEN_BYTES: Final = 32
_MAIL_EVERY_MS: Final = 60_000
"""How often one address is mailed to, by whichever organisation."""
_HOUR_MS: Final = 3_600_000
_MAILS_AN_HOUR: Final = 200
_NOT_GOOD: Final = "the invitation is not good any more; ask whoever invited you for a new one"

Status = Literal["open", "accepted", "withdrawn", "expired"]


class Made(NamedTuple):
    """An invitation and its link's token."""

    id: str
    token: str
    email: str
    expires_ms: int


async def invite(change: Change, organisation: Organisation, new: NewInvitation) -> Made:
    """Invite somebody. An invitation that is open for the same address becomes void.

    Raises: NotAllowedNowError; TooManyError.
    """
    email = new.email.lower()
    if new.deliver == "mail":
        await _require_patience(change.connection, organisation, email, change.now_ms)
    await _withdraw_open(change, organisation, email)
    await _require_sensible(change.connection, organisation, email, new.role, change.now_ms)
    if new.signed is not None:
        authors = await authors_of(change.connection, organisation)
        try:
            said = verify_invitation(
                new.signed, authors, vendor=organisation.vendor, tenant=organisation.in_audit, email=email
            )
        except BadEntryError as why:
            raise refused(why) from None
        if said.role != new.role:
            raise NotAllowedNowError("the signed invitation names another role")
    made = Made(str(uuid.uuid4()), _new_token(), email, change.now_ms + LIFE_MS)
    await change.connection.execute(
        schema.invitations.insert().values(
            id=made.id,
            token_hash=hashed(made.token),
            vendor=organisation.vendor,
            tenant=organisation.tenant,
            email=email,
            role=new.role,
            signed=None if new.signed is None else words.encode(new.signed),
            expires_ms=made.expires_ms,
            **change.made,
        )
    )
    if organisation.tenant:
        tenants = schema.tenants
        await change.connection.execute(
            tenants.update().where(tenants.c.number == organisation.tenant).values(invited_ms=change.now_ms)
        )
    detail = {"email": email, "role": new.role, "signed": new.signed is not None}
    await change.record("invitation.make", made.id, tenant=organisation.in_audit, detail=detail)
    return made


async def renew(
    change: Change, organisation: Organisation, invitation: str, deliver: Literal["mail", "link"] = "link"
) -> Made:
    """Make a new link; the old one is void.

    Raises: NotFoundError; NotAllowedNowError unless it is open or expired; TooManyError.
    """
    row = await _row(change.connection, organisation, invitation)
    if deliver == "mail":
        await _require_patience(change.connection, organisation, row.email, change.now_ms)
    if status(row, change.now_ms) not in {"open", "expired"}:
        raise NotAllowedNowError(f"the invitation is {status(row, change.now_ms)}; make a new one")
    made = Made(row.id, _new_token(), row.email, change.now_ms + LIFE_MS)
    table = schema.invitations
    await change.connection.execute(
        table.update()
        .where(table.c.id == row.id)
        .values(token_hash=hashed(made.token), expires_ms=made.expires_ms, mailed_ms=None)
    )
    await change.record("invitation.resend", row.id, tenant=organisation.in_audit, detail={"email": row.email})
    return made


async def withdraw(change: Change, organisation: Organisation, invitation: str) -> None:
    """Make an invitation void.

    Raises: NotFoundError; NotAllowedNowError when it was accepted.
    """
    row = await _row(change.connection, organisation, invitation)
    if row.accepted_ms is not None:
        raise NotAllowedNowError("the invitation was accepted; remove the member instead")
    table = schema.invitations
    await change.connection.execute(table.update().where(table.c.id == row.id).values(withdrawn_ms=change.now_ms))
    await change.record("invitation.withdraw", row.id, tenant=organisation.in_audit)


async def mailed(connection: AsyncConnection, invitation: str, now_ms: int) -> None:
    """Write down that the link was handed to the mail server."""
    table = schema.invitations
    await connection.execute(table.update().where(table.c.id == invitation).values(mailed_ms=now_ms))


async def lines(connection: AsyncConnection, organisation: Organisation, now_ms: int) -> list[InvitationLine]:
    """List an organisation's invitations, the newest first."""
    table = schema.invitations
    rows = await connection.execute(
        sa.select(table).where(_in(organisation)).order_by(table.c.created_ms.desc(), table.c.id).limit(1_000)
    )
    return [
        InvitationLine(
            id=row.id,
            email=row.email,
            role=row.role,
            status=status(row, now_ms),
            mailed=row.mailed_ms is not None,
            signed=row.signed is not None,
            created_by=created_by(row),
            created=row.created_ms,
            expires=row.expires_ms,
            accepted=row.accepted_ms,
        )
        for row in rows
    ]


async def find(connection: AsyncConnection, token: str, now_ms: int) -> sa.Row[Any]:
    """Return the open invitation of a token, with the names of what it invites to.

    Raises: NotFoundError.
    """
    table, vendors, tenants = schema.invitations, schema.vendors, schema.tenants
    found = await connection.execute(
        sa.select(
            table,
            vendors.c.name.label("vendor_name"),
            vendors.c.root_fingerprint,
            tenants.c.id.label("tenant_id"),
            tenants.c.name.label("tenant_name"),
        )
        .join(vendors, vendors.c.id == table.c.vendor)
        .outerjoin(tenants, tenants.c.number == table.c.tenant)
        .where(table.c.token_hash == hashed(token))
    )
    row = found.one_or_none()
    if row is None or status(row, now_ms) != "open":
        raise NotFoundError(_NOT_GOOD)
    return row


def describe(row: sa.Row[Any]) -> Invited:
    """Say what a token invites to."""
    return Invited(
        id=row.id,
        vendor=row.vendor,
        vendor_name=row.vendor_name,
        root_fingerprint=row.root_fingerprint,
        tenant=row.tenant_id,
        tenant_name=row.tenant_name,
        email=row.email,
        role=row.role,
        expires=row.expires_ms,
        signed=None if row.signed is None else stored(row.signed),
    )


def letter(invited: Invited, token: str, public: PublicAddress) -> tuple[str, str]:
    """Return subject and text of the mail that carries a link."""
    where = invited.vendor_name if invited.tenant is None else f"{invited.tenant_name} at {invited.vendor_name}"
    until = datetime.fromtimestamp(invited.expires / 1_000, UTC)
    link = f"{public.origin}/invitation#t={token}&r={invited.root_fingerprint}"
    text = (
        f"You are invited to {where}, as {invited.role}.\n\n"
        f"Open this link to accept. It is good once, until {until:%Y-%m-%d %H:%M} UTC:\n\n{link}\n\n"
        f"The vendor's root key has this fingerprint:\n\n{invited.root_fingerprint}\n\n"
        "Compare it with the person who invited you, by another way than this message, before you enter any key.\n"
        "If you expected no invitation, do nothing.\n"
    )
    return f"Invitation to {where}", text


async def accept(own: Personal, token: str) -> Organisation:
    """Make the person of a transaction a member, once, however many try at the same moment.

    Raises: NotFoundError when the invitation is not good; NotAllowedNowError when they are a member already.
    """
    row = await find(own.connection, token, own.now_ms)
    organisation = Organisation(row.vendor, row.tenant, row.tenant_id)
    change = await own.changes.of(row.vendor)
    table = schema.invitations
    accepted = await own.connection.execute(
        table.update()
        .where(
            table.c.id == row.id,
            table.c.token_hash == hashed(token),
            table.c.accepted_ms.is_(None),
            table.c.withdrawn_ms.is_(None),
        )
        .values(accepted_ms=own.now_ms, person=own.person)
    )
    if accepted.rowcount != 1:
        raise NotFoundError(_NOT_GOOD)
    if row.mailed_ms is not None:
        # The link went to the mailbox alone, so whoever has it reads what is sent there.
        people = schema.people
        await own.connection.execute(people.update().where(people.c.id == own.person).values(verified_ms=own.now_ms))
    await memberships.add(change, organisation, own.person, row.role)
    if organisation.tenant:
        tenants = schema.tenants
        await own.connection.execute(
            tenants.update()
            .where(tenants.c.number == organisation.tenant, tenants.c.accepted_ms.is_(None))
            .values(accepted_ms=own.now_ms)
        )
    await change.record("invitation.accept", row.id, tenant=organisation.in_audit, detail={"role": row.role})
    return organisation


def status(row: sa.Row[Any], now_ms: int) -> Status:
    """Return where an invitation is in its life."""
    if row.accepted_ms is not None:
        return "accepted"
    if row.withdrawn_ms is not None:
        return "withdrawn"
    return "expired" if row.expires_ms <= now_ms else "open"


def hashed(token: str) -> bytes:
    """Return what is stored of a token. It has 256 random bits, so a fast hash will do."""
    return hashlib.sha256(b"tenant-security/invitation/v1\n" + token.encode()).digest()


async def _require_patience(connection: AsyncConnection, organisation: Organisation, email: str, now_ms: int) -> None:
    """Send nobody mail again and again, and nobody's mail server a flood."""
    table = schema.invitations
    last = await connection.execute(sa.select(sa.func.max(table.c.mailed_ms)).where(table.c.email == email))
    mailed_ms = last.scalar_one_or_none()
    if mailed_ms is not None and mailed_ms > now_ms - _MAIL_EVERY_MS:
        raise TooManyError("a message went to this address a moment ago; wait a minute", _MAIL_EVERY_MS // 1_000)
    lately = sa.and_(_in(organisation), table.c.mailed_ms > now_ms - _HOUR_MS)
    count = await connection.execute(sa.select(sa.func.count()).select_from(table).where(lately))
    if count.scalar_one() >= _MAILS_AN_HOUR:
        raise TooManyError(f"{_MAILS_AN_HOUR} invitations were mailed within an hour; go on later", _HOUR_MS // 1_000)


async def _withdraw_open(change: Change, organisation: Organisation, email: str) -> None:
    table = schema.invitations
    rows = await change.connection.execute(sa.select(table).where(_in(organisation), table.c.email == email))
    for row in rows.all():
        if status(row, change.now_ms) == "open":
            await withdraw(change, organisation, row.id)


async def _require_sensible(
    connection: AsyncConnection, organisation: Organisation, email: str, role: str, now_ms: int
) -> None:
    table, members, people = schema.invitations, schema.memberships, schema.people
    open_ = sa.and_(
        _in(organisation), table.c.accepted_ms.is_(None), table.c.withdrawn_ms.is_(None), table.c.expires_ms > now_ms
    )
    count = await connection.execute(sa.select(sa.func.count()).select_from(table).where(open_))
    if count.scalar_one() >= MOST_OPEN:
        raise NotAllowedNowError(f"{MOST_OPEN} invitations are open already; withdraw some first")
    member = await connection.execute(
        sa.select(people.c.id)
        .join(members, members.c.person == people.c.id)
        .where(
            people.c.email == email,
            members.c.vendor == organisation.vendor,
            members.c.tenant == organisation.tenant,
        )
    )
    if member.first() is not None:
        raise NotAllowedNowError("somebody of this address belongs to the organisation already")
    if role != Role.OWNER.value and not await memberships.has_owner(connection, organisation):
        raise NotAllowedNowError("the first person of an organisation must be an owner")


async def _row(connection: AsyncConnection, organisation: Organisation, invitation: str) -> sa.Row[Any]:
    table = schema.invitations
    found = await connection.execute(sa.select(table).where(_in(organisation), table.c.id == invitation))
    row = found.one_or_none()
    if row is None:
        raise NotFoundError(f"there is no invitation {invitation!r}")
    return row


def _in(organisation: Organisation) -> sa.ColumnElement[bool]:
    table = schema.invitations
    return sa.and_(table.c.vendor == organisation.vendor, table.c.tenant == organisation.tenant)


def _new_token() -> str:
    return "inv_" + secrets.token_urlsafe(_TOKEN_BYTES)
