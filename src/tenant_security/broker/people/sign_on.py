"""Single sign-on: an organisation's own provider says who signs in, for that organisation and no other.

A provider can say of any address that it signed in. So what it says opens nothing but its own organisation: a session
that it made has no rights elsewhere, and does not change what is a person's own while they belong elsewhere too.
Somebody's subject is remembered when they first come, by an address that the provider has verified; after that the
address no longer counts, because providers give addresses away again.
"""

import base64
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.audit import Actor
from tenant_security.broker.database import Change
from tenant_security.broker.http import Broker
from tenant_security.broker.listings import created_by
from tenant_security.broker.people import back_off, ceremonies, oidc, sign_in
from tenant_security.broker.people.ceremonies import Ceremony
from tenant_security.broker.people.oidc import Client, Expected, Identity, Provider, SignOnError
from tenant_security.broker.people.organisations import Organisation, organisation
from tenant_security.broker.people.personal import personal
from tenant_security.broker.people.sessions import Origin, SignedIn, SignOnPlace
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError, RefusalError
from tenant_security.broker.web import Web, counted_together
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.wire.people_api import BeginSignOn, NewSignOn, SignOn

T = TypeVar("T")

COOKIE: Final = "__Host-ts-sign-on"
RETURN_PATH: Final = "/api/1/sign-in/sso/return"
LIFE_MS: Final = 10 * 60_000
_DEADLINE_S: Final = 10.0
_VERIFIER_BYTES: Final = 48
_ERROR: Final = re.compile(r"[a-z_]{1,64}")
_NONE: Final = "there is no such organisation, or it has no single sign-on"


class BegunSignOn(NamedTuple):
    """Where the browser goes, and what it keeps until it comes back."""

    location: str
    cookie: str


class Came(NamedTuple):
    """What the browser brings back."""

    code: str | None
    state: str | None
    issuer: str | None
    cookie: str | None
    error: str | None = None
    """The provider's own word for why it sends no code."""


class Led(NamedTuple):
    """Where the browser goes on to, and the token of its session if there is one."""

    location: str
    token: str | None


# -- settings ----------------------------------------------------------------------------------------------------------


async def read(connection: AsyncConnection, where: Organisation, web: Web) -> SignOn:
    """Describe an organisation's single sign-on. Raises: NotFoundError."""
    row = await _row(connection, where)
    if row is None:
        raise NotFoundError("there is no single sign-on")
    return SignOn(row.issuer, row.client_id, row.required, redirect_uri(web), created_by(row), row.created_ms)


async def check(broker: Broker, new: NewSignOn) -> None:
    """Ask the provider whether it is one.

    Raises: NotAllowedNowError that says what is wrong.
    """
    try:
        await _provider(broker, new.issuer)
    except SignOnError as why:
        raise NotAllowedNowError(f"the provider cannot be used: {why}") from None


async def put(change: Change, where: Organisation, new: NewSignOn, web: Web) -> None:
    """Set an organisation's single sign-on.

    Raises: NotAllowedNowError without a client secret where none is stored.
    """
    table = schema.single_sign_ons
    row = await _row(change.connection, where)
    if new.client_secret is not None:
        sealed = web.key.seal("sso", new.client_secret.encode(), _bound(where))
    elif row is not None and row.issuer == new.issuer:
        sealed = row.client_secret_sealed
    else:
        raise NotAllowedNowError("bring the client's secret")
    await change.connection.execute(table.delete().where(_at(where)))
    await change.connection.execute(
        table.insert().values(
            vendor=where.vendor,
            tenant=where.tenant,
            issuer=new.issuer,
            client_id=new.client_id,
            client_secret_sealed=sealed,
            required=new.required,
            **change.made,
        )
    )
    detail = {"issuer": new.issuer, "clientId": new.client_id, "required": new.required}
    await change.record("sso.set", where.vendor, tenant=where.in_audit, detail=detail)


async def remove(change: Change, where: Organisation) -> None:
    """Do without single sign-on. Raises: NotFoundError."""
    table, subjects, sessions = schema.single_sign_ons, schema.single_sign_on_subjects, schema.sessions
    if not (await change.connection.execute(table.delete().where(_at(where)))).rowcount:
        raise NotFoundError("there is no single sign-on")
    mine = sa.and_(subjects.c.vendor == where.vendor, subjects.c.tenant == where.tenant)
    await change.connection.execute(subjects.delete().where(mine))
    made_by_it = sa.and_(sessions.c.sso_vendor == where.vendor, sessions.c.sso_tenant == where.tenant)
    await change.connection.execute(sessions.delete().where(made_by_it))
    await change.record("sso.remove", where.vendor, tenant=where.in_audit)


def redirect_uri(web: Web) -> str:
    """Return where a provider must be told to send browsers back to."""
    return web.public.origin + RETURN_PATH


# -- signing in --------------------------------------------------------------------------------------------------------


async def begin(broker: Broker, said: BeginSignOn, prover: SignedIn | None) -> BegunSignOn:
    """Begin single sign-on. ``prover`` is who proves it once more.

    Raises: NotFoundError; NotAllowedNowError when the provider does not answer as one.
    """
    async with broker.database.read() as connection:
        try:
            where = await organisation(connection, said.vendor, said.tenant)
            row = await _row(connection, where)
        except NotFoundError:
            row = None
    if row is None:
        raise NotFoundError(_NONE)
    try:
        provider = await _provider(broker, row.issuer)
    except SignOnError as why:
        raise NotAllowedNowError(f"single sign-on does not work now: {why}") from None
    ceremony = Ceremony(
        "sso",
        broker.now_ms() + LIFE_MS,
        ceremonies.nonce(),
        vendor=where.vendor,
        tenant=where.tenant,
        issuer=row.issuer,
        verifier=secrets.token_urlsafe(_VERIFIER_BYTES),
        next=said.next if _is_path(said.next) else "/",
        person="" if prover is None else prover.person,
    )
    location = oidc.begin_url(
        provider,
        _client(broker.web, where, row),
        state=_word(broker.web, "state", ceremony),
        nonce=_word(broker.web, "nonce", ceremony),
        verifier=ceremony.verifier,
        again=prover is not None,
    )
    return BegunSignOn(location, ceremonies.sealed(broker.web.key, ceremony))


async def finish(broker: Broker, came: Came, origin: Callable[[SignOnPlace], Origin]) -> Led:
    """Judge what the browser brought back, and sign in. What went wrong is a word for the sign-in page."""
    try:
        ceremony = ceremonies.opened(broker.web.key, "sso", came.cookie or "", broker.now_ms())
    except NotAllowedNowError:
        return Led("/sign-in?problem=sso-expired", None)
    whence = origin(SignOnPlace(ceremony.vendor, ceremony.tenant))
    try:
        counted = (back_off.address(broker.web.key, counted_together(whence.address)),)
        await back_off.attempt(broker.database, counted, broker.now_ms())
        identity, where = await _identified(broker, came, ceremony)
        token = await _signed_in(broker, ceremony, identity, where, whence)
        await back_off.forgive(broker.database, counted, whole=False)
    except (SignOnError, RefusalError) as why:
        word = why.word if isinstance(why, SignOnError) else "sso-failed"
        broker.log.warning("single sign-on failed", vendor=ceremony.vendor, why=str(why))
        return Led(f"/sign-in?problem={word}", None)
    return Led(ceremony.next, token)


async def _identified(broker: Broker, came: Came, ceremony: Ceremony) -> tuple[Identity, Organisation]:
    state = _word(broker.web, "state", ceremony)
    if came.state is None or not hmac.compare_digest(came.state.encode(), state.encode()):
        raise SignOnError("sso-failed", "the state is not the one that this browser took along")
    if came.error is not None:
        said = came.error if _ERROR.fullmatch(came.error) else "something that is no error's name"
        raise SignOnError("sso-refused", f"the provider says {said!r}: the person was refused there, or turned back")
    if not came.code:
        raise SignOnError("sso-failed", "the provider sent neither a code nor an error")
    async with broker.database.read() as connection:
        where = await _organisation(connection, ceremony)
        row = await _row(connection, where)
    if row is None or row.issuer != ceremony.issuer:
        raise SignOnError("sso-failed", "single sign-on was changed in the meantime")
    provider = await _provider(broker, row.issuer)
    named = came.issuer is not None or provider.authorization_response_iss_parameter_supported
    if named and came.issuer != provider.issuer:
        raise SignOnError("sso-failed", "another provider answered than was asked")
    began_s = (ceremony.expires_ms - LIFE_MS) // 1_000
    expected = Expected(
        provider.issuer,
        row.client_id,
        _word(broker.web, "nonce", ceremony),
        broker.now_ms() // 1_000,
        began_s if ceremony.person else None,
    )
    client = _client(broker.web, where, row)
    flow = oidc.identify(provider, client, came.code, ceremony.verifier, expected)
    return await _run(broker, flow), where


async def _signed_in(
    broker: Broker, ceremony: Ceremony, identity: Identity, where: Organisation, origin: Origin
) -> str:
    async with broker.database.read() as connection:
        person = await _person(connection, identity, where, ceremony.issuer)
    if ceremony.person not in ("", person.id):
        raise SignOnError("sso-failed", "somebody else signed in than had to prove it")
    async with personal(broker.database, Actor("person", person.id, person.name)) as own:
        await ceremonies.use(own.connection, ceremony, own.now_ms)
        # It takes the vendors in their order; what follows concerns one that is taken then.
        token = await sign_in.start(own, origin)
        subjects = schema.single_sign_on_subjects
        link = {
            "vendor": where.vendor,
            "tenant": where.tenant,
            "issuer": ceremony.issuer,
            "subject": identity.subject,
            "person": person.id,
        }
        known = sa.and_(*(subjects.c[name] == value for name, value in link.items()))
        if (await own.connection.execute(sa.select(subjects).where(known))).first() is None:
            await own.connection.execute(subjects.insert().values(**link))
            change = await own.changes.of(where.vendor)
            await change.record("sso.link", person.id, tenant=where.in_audit, detail={"subject": identity.subject})
        return token


async def _person(connection: AsyncConnection, identity: Identity, where: Organisation, issuer: str) -> sa.Row[Any]:
    """Find whom a provider means: by the subject it named before, else by an address nobody came with yet."""
    people, members, subjects = schema.people, schema.memberships, schema.single_sign_on_subjects
    at = sa.and_(subjects.c.vendor == where.vendor, subjects.c.tenant == where.tenant, subjects.c.issuer == issuer)
    chosen = (
        sa.select(people)
        .join(members, members.c.person == people.c.id)
        .where(
            members.c.vendor == where.vendor,
            members.c.tenant == where.tenant,
            members.c.disabled_ms.is_(None),
            people.c.disabled_ms.is_(None),
        )
    )
    linked = await connection.execute(sa.select(subjects.c.person).where(at, subjects.c.subject == identity.subject))
    person = linked.scalar_one_or_none()
    by = people.c.id == person if person is not None else people.c.email == identity.email
    found = (await connection.execute(chosen.where(by))).one_or_none()
    if found is None:
        raise SignOnError("sso-not-a-member", "nobody of this address, or subject, belongs to the organisation")
    other = await connection.execute(sa.select(subjects.c.subject).where(at, subjects.c.person == found.id))
    if other.scalar_one_or_none() not in (None, identity.subject):
        raise SignOnError("sso-email", "the provider now means somebody else by this address")
    return found


# -- parts -------------------------------------------------------------------------------------------------------------


async def _provider(broker: Broker, issuer: str) -> Provider:
    return await _run(broker, oidc.discover(issuer))


async def _run(broker: Broker, flow: Flow[T]) -> T:
    if broker.web.outbound is None:
        raise SignOnError("sso-unreachable", "this broker reaches no providers")
    try:
        return await broker.web.outbound.run(flow, deadline_s=_DEADLINE_S)
    except UnreachableError as why:
        raise SignOnError("sso-unreachable", f"the provider was not reached: {why}") from None


async def _organisation(connection: AsyncConnection, ceremony: Ceremony) -> Organisation:
    if not ceremony.tenant:
        return Organisation(ceremony.vendor)
    tenants = schema.tenants
    found = await connection.execute(sa.select(tenants.c.id).where(tenants.c.number == ceremony.tenant))
    tenant_id = found.scalar_one_or_none()
    if tenant_id is None:
        raise SignOnError("sso-failed", "the organisation is gone")
    return Organisation(ceremony.vendor, ceremony.tenant, tenant_id)


async def _row(connection: AsyncConnection, where: Organisation) -> sa.Row[Any] | None:
    return (await connection.execute(sa.select(schema.single_sign_ons).where(_at(where)))).one_or_none()


def _at(where: Organisation) -> sa.ColumnElement[bool]:
    table = schema.single_sign_ons
    return sa.and_(table.c.vendor == where.vendor, table.c.tenant == where.tenant)


def _client(web: Web, where: Organisation, row: sa.Row[Any]) -> Client:
    secret = web.key.open("sso", row.client_secret_sealed, _bound(where))
    if secret is None:
        raise NotAllowedNowError("the client's secret cannot be opened any more; set single sign-on anew")
    return Client(row.client_id, secret.decode(), redirect_uri(web))


def _bound(where: Organisation) -> bytes:
    return f"{where.vendor}\n{where.tenant}".encode()


def _word(web: Web, purpose: str, ceremony: Ceremony) -> str:
    """Return a state or nonce that belongs to one ceremony."""
    return base64.urlsafe_b64encode(web.key.code(f"sso/{purpose}", ceremony.nonce)).rstrip(b"=").decode()


def _is_path(text: str) -> bool:
    """Whether this is a path of ours, and leads to nobody else."""
    return text.startswith("/") and not text.startswith("//") and text.isprintable() and "\\" not in text
