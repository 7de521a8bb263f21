"""Sessions: a random token in the browser's cookie, and a row that knows its hash.

Source: docs/broker-api.md, "Sessions"; OWASP ASVS 5.0, chapter V7.
"""

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.audit import Actor
from tenant_security.wire.people_api import Method

COOKIE: Final = "__Host-ts-session"
PROOF_MS: Final = 15 * 60_000
"""How long after somebody proved who they are nothing asks for it again."""
_SEEN_EVERY_MS: Final = 60_000
_TOKEN_BYTES: Final = 32
_AGENT_CHARS: Final = 200
_MOST: Final = 50
"""The most sessions of one person; the oldest end."""


class SignOnPlace(NamedTuple):
    """The organisation whose single sign-on made a session. ``tenant`` is a tenant's number, or 0."""

    vendor: str
    tenant: int


class Lives(NamedTuple):
    """How long sessions last: unused, and at most. Units: milliseconds."""

    idle_ms: int = 30 * 60_000
    life_ms: int = 12 * 3_600_000


class Origin(NamedTuple):
    """How and from where somebody signs in, and how long that is to last."""

    method: Method
    address: str
    agent: str
    place: SignOnPlace | None = None
    lives: Lives = Lives()


class SignedIn(NamedTuple):
    """A session that is good now."""

    token_hash: bytes
    person: str
    email: str
    name: str
    has_keys: bool
    method: Method
    place: SignOnPlace | None
    created_ms: int
    seen_ms: int
    expires_ms: int
    proved_ms: int

    @property
    def actor(self) -> Actor:
        """Who this is in the audit."""
        return Actor("person", self.person, self.name)

    def is_proved(self, now_ms: int) -> bool:
        """Whether somebody proved lately that it is they who sit there."""
        return now_ms < self.proved_ms + PROOF_MS


async def begin(connection: AsyncConnection, person: str, origin: Origin, now_ms: int) -> str:
    """Make a session and return its token; old ones that ended are cleared away."""
    table = schema.sessions
    await connection.execute(
        table.delete().where(sa.or_(table.c.expires_ms <= now_ms, table.c.seen_ms <= now_ms - origin.lives.idle_ms))
    )
    mine = sa.select(table.c.token_hash).where(table.c.person == person).order_by(table.c.created_ms.desc())
    over = (await connection.execute(mine.offset(_MOST - 1))).scalars().all()
    if over:
        await connection.execute(table.delete().where(table.c.token_hash.in_(over)))
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    await connection.execute(
        table.insert().values(
            token_hash=hashed(token),
            person=person,
            created_ms=now_ms,
            seen_ms=now_ms,
            expires_ms=now_ms + origin.lives.life_ms,
            proved_ms=now_ms,
            method=origin.method,
            address=origin.address,
            agent=_printable(origin.agent),
            sso_vendor=None if origin.place is None else origin.place.vendor,
            sso_tenant=None if origin.place is None else origin.place.tenant,
        )
    )
    return token


async def find(connection: AsyncConnection, token: str, now_ms: int, lives: Lives) -> SignedIn | None:
    """Return the session of a token, unless it ended or its person was disabled."""
    table, people = schema.sessions, schema.people
    found = await connection.execute(
        sa.select(table, people.c.email, people.c.name, people.c.key_claim.is_not(None).label("has_keys"))
        .join(people, people.c.id == table.c.person)
        .where(
            table.c.token_hash == hashed(token),
            table.c.expires_ms > now_ms,
            table.c.seen_ms > now_ms - lives.idle_ms,
            people.c.disabled_ms.is_(None),
        )
    )
    row = found.one_or_none()
    if row is None:
        return None
    place = None if row.sso_vendor is None else SignOnPlace(row.sso_vendor, row.sso_tenant)
    return SignedIn(
        row.token_hash,
        row.person,
        row.email,
        row.name,
        row.has_keys,
        row.method,
        place,
        row.created_ms,
        row.seen_ms,
        row.expires_ms,
        row.proved_ms,
    )


async def timed_out(connection: AsyncConnection, token: str, now_ms: int, lives: Lives) -> bool:
    """Whether a token is that of a session whose time is up.

    A token that is unknown may have been replaced a moment ago, by a sign-in or a proof in another tab: whoever made
    the browser forget its cookie then would end the new session.
    """
    table = schema.sessions
    over = sa.or_(table.c.expires_ms <= now_ms, table.c.seen_ms <= now_ms - lives.idle_ms)
    found = await connection.execute(sa.select(table.c.person).where(table.c.token_hash == hashed(token), over))
    return found.first() is not None


def should_be_seen(session: SignedIn, now_ms: int) -> bool:
    """Whether it is time to write down that a session is used; not at every request."""
    return now_ms >= session.seen_ms + _SEEN_EVERY_MS


async def seen(connection: AsyncConnection, session: SignedIn, now_ms: int) -> None:
    """Write down that a session is used."""
    table = schema.sessions
    await connection.execute(table.update().where(table.c.token_hash == session.token_hash).values(seen_ms=now_ms))


async def renew(connection: AsyncConnection, session: SignedIn, now_ms: int) -> str | None:
    """Give a session a new token and the time of a new proof; None when it ended in the meantime."""
    table = schema.sessions
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    renewed = await connection.execute(
        table.update()
        .where(table.c.token_hash == session.token_hash)
        .values(token_hash=hashed(token), proved_ms=now_ms, seen_ms=now_ms)
    )
    return token if renewed.rowcount else None


async def lines(connection: AsyncConnection, person: str, now_ms: int, lives: Lives) -> Sequence[sa.Row[Any]]:
    """Read a person's sessions, the newest first."""
    table = schema.sessions
    rows = await connection.execute(
        sa.select(table)
        .where(table.c.person == person, table.c.expires_ms > now_ms, table.c.seen_ms > now_ms - lives.idle_ms)
        .order_by(table.c.created_ms.desc())
    )
    return rows.all()


async def end(connection: AsyncConnection, person: str, *, only: bytes | None = None, but: bytes | None = None) -> int:
    """End one session of a person, or all, or all but one. Returns how many."""
    table = schema.sessions
    which = [table.c.person == person]
    if only is not None:
        which.append(table.c.token_hash == only)
    if but is not None:
        which.append(table.c.token_hash != but)
    return int((await connection.execute(table.delete().where(*which))).rowcount)


def session_id(token_hash: bytes) -> str:
    """Return the name by which a person tells their sessions apart; it proves nothing."""
    return hashlib.sha256(b"tenant-security/session-id/v1\n" + token_hash).hexdigest()[:32]


def hashed(token: str) -> bytes:
    """Return what is stored of a token. It has 256 random bits, so a fast hash will do."""
    return hashlib.sha256(b"tenant-security/session/v1\n" + token.encode()).digest()


def _printable(agent: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in agent[:_AGENT_CHARS])
