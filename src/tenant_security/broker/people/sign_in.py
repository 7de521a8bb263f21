"""Signing in, and proving it once more: with a passkey, or with a passphrase and a second factor."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from tenant_security.broker import schema
from tenant_security.broker.audit import Actor
from tenant_security.broker.callers import Role
from tenant_security.broker.http import Broker
from tenant_security.broker.people import authenticators, back_off, ceremonies, passkeys, sessions
from tenant_security.broker.people.ceremonies import Ceremony
from tenant_security.broker.people.personal import Personal, personal, places
from tenant_security.broker.people.sessions import Origin, SignedIn
from tenant_security.broker.refusals import NotSignedInError, SignInFailedError
from tenant_security.broker.web import counted_together
from tenant_security.wire.people_api import Begun, PasskeyProof, PassphraseSignIn, Proof


class _Nobody(NamedTuple):
    """What stands where there is no such person, so that judging it takes as long."""

    id: str = ""
    name: str = ""
    passphrase_hash: str | None = None
    totp_sealed: bytes | None = None
    disabled_ms: int | None = None


_NOBODY: Final = _Nobody()


class Kept(NamedTuple):
    """A session that was just made: its token, for the cookie."""

    token: str
    person: str


async def begin_passkey(broker: Broker, prover: SignedIn | None = None) -> Begun:
    """Begin a sign-in with whichever passkey the person chooses, or a new proof with one of their own."""
    challenge = passkeys.new_challenge()
    allowed: list[bytes] = []
    if prover is not None:
        async with broker.database.read() as connection:
            allowed = [each.id for each in await passkeys.of(connection, prover.person)]
    ceremony = Ceremony(
        "sign-in" if prover is None else "prove",
        broker.now_ms() + ceremonies.LIFE_MS,
        ceremonies.nonce(),
        challenge=challenge,
        person="" if prover is None else prover.person,
    )
    options = passkeys.request_options(broker.web.public, challenge, allowed)
    return Begun(ceremonies.sealed(broker.web.key, ceremony), options)


async def by_passkey(broker: Broker, said: PasskeyProof, origin: Origin) -> Kept:
    """Sign in with a passkey.

    Raises: SignInFailedError; NotAllowedNowError for a ceremony that is over; TooManyError.
    """
    async with _attempt(broker, origin) as failures:
        ceremony = ceremonies.opened(broker.web.key, "sign-in", said.ceremony, broker.now_ms())
        person = await _person_of_passkey(broker, said.credential)
        async with personal(broker.database, _actor(person)) as own:
            await _use_passkey(broker, own, ceremony, said.credential)
            return Kept(await start(own, origin, failures), own.person)


async def by_passphrase(broker: Broker, said: PassphraseSignIn, origin: Origin) -> Kept:
    """Sign in with a passphrase and a second factor; both are always judged.

    Raises: SignInFailedError; TooManyError.
    """
    email = said.email.strip().lower()
    async with _attempt(broker, origin, email) as failures:
        people = schema.people
        async with broker.database.read() as connection:
            found = await connection.execute(sa.select(people).where(people.c.email == email))
            person = found.one_or_none() or _NOBODY
        async with _judged(broker, person, said.passphrase, said.code, said.recovery_code) as own:
            return Kept(await start(own, origin, failures), own.person)


async def prove(broker: Broker, session: SignedIn, said: Proof, origin: Origin) -> Kept:
    """Prove once more who sits there, by a way of their own; the session gets a new token.

    Raises: SignInFailedError; NotAllowedNowError; TooManyError; NotSignedInError when it ended meanwhile.
    """
    if session.place is not None:
        raise SignInFailedError
    if said.credential is not None and said.ceremony is not None:
        async with _attempt(broker, origin):
            ceremony = ceremonies.opened(broker.web.key, "prove", said.ceremony, broker.now_ms())
            person = await _person_of_passkey(broker, said.credential)
            if not person.id == session.person == ceremony.person:
                raise SignInFailedError
            async with personal(broker.database, session.actor) as own:
                await _use_passkey(broker, own, ceremony, said.credential)
                return await _proved(own, session, "passkey")
    async with _attempt(broker, origin, session.email):
        people = schema.people
        async with broker.database.read() as connection:
            found = (await connection.execute(sa.select(people).where(people.c.id == session.person))).one_or_none()
        passphrase = said.passphrase or ""
        async with _judged(broker, found or _NOBODY, passphrase, said.code, said.recovery_code) as own:
            return await _proved(own, session, "passphrase")


async def start(own: Personal, origin: Origin, failures: int = 0) -> str:
    """Begin a session, and write down wherever the person belongs that they signed in. Returns its token."""
    token = await sessions.begin(own.connection, own.person, origin, own.now_ms)
    detail = {"method": origin.method, "address": origin.address, "failuresBefore": failures}
    await own.record("sign-in", detail=detail)
    if origin.place is None:
        for place in await places(own.connection, own.person):
            if place.sso_required and place.role == Role.OWNER.value and place.disabled_ms is None:
                change = await own.changes.of(place.vendor)
                await change.record("sign-in.break-glass", own.person, tenant=place.tenant_id or "", detail=detail)
    return token


# -- parts -------------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _attempt(broker: Broker, origin: Origin, email: str | None = None) -> AsyncIterator[int]:
    """Count an attempt before it is judged, and forgive it when the block ends well. Gives the failures before."""
    key = broker.web.key
    address = back_off.address(key, counted_together(origin.address))
    account = () if email is None else (back_off.account(key, email),)
    failures = await back_off.attempt(broker.database, (*account, address), broker.now_ms())
    try:
        yield failures
    except SignInFailedError:
        broker.log.warning("a sign-in failed", failures=failures + 1, method=origin.method)
        raise
    await back_off.forgive(broker.database, (address,), whole=False)
    await back_off.forgive(broker.database, account, whole=True)


@contextlib.asynccontextmanager
async def _judged(
    broker: Broker, person: sa.Row[Any] | _Nobody, passphrase: str, code: str | None, recovery_code: str | None
) -> AsyncIterator[Personal]:
    """Begin a transaction in which passphrase and second factor are used up, if both are right."""
    right = await broker.web.passphrases.is_right(person.passphrase_hash, passphrase)
    stored = person.passphrase_hash
    newer = None
    if right and stored is not None and broker.web.passphrases.is_outdated(stored):
        newer = await broker.web.passphrases.hashed(passphrase)
    async with personal(broker.database, _actor(person)) as own:
        if recovery_code is not None:
            second = await authenticators.use_recovery_code(own.connection, person.id, recovery_code, own.now_ms)
        else:
            now_s = own.now_ms // 1_000
            second = await authenticators.use_code(own.connection, broker.web.key, person, code or "", now_s)
        if not (right and second and person.disabled_ms is None):
            raise SignInFailedError
        if newer is not None:
            people = schema.people
            await own.connection.execute(people.update().where(people.c.id == person.id).values(passphrase_hash=newer))
        if recovery_code is not None:
            left = await authenticators.recovery_codes_left(own.connection, person.id)
            await own.record("recovery-code.use", detail={"left": left})
        yield own


async def _person_of_passkey(broker: Broker, credential: dict[str, Any]) -> sa.Row[Any]:
    people = schema.people
    async with broker.database.read() as connection:
        stored = await passkeys.find(connection, passkeys.credential_id(credential) or b"")
        if stored is None:
            raise SignInFailedError
        found = await connection.execute(sa.select(people).where(people.c.id == stored.person))
        person = found.one()
    if person.disabled_ms is not None:
        raise SignInFailedError
    return person


async def _use_passkey(broker: Broker, own: Personal, ceremony: Ceremony, credential: dict[str, Any]) -> None:
    stored = await passkeys.find(own.connection, passkeys.credential_id(credential) or b"")
    if stored is None or stored.person != own.person:
        raise SignInFailedError
    count = passkeys.verify_answer(broker.web.public, ceremony.challenge, credential, stored)
    if count is None or not await passkeys.use(own.connection, stored, count, own.now_ms):
        raise SignInFailedError
    await ceremonies.use(own.connection, ceremony, own.now_ms)


async def _proved(own: Personal, session: SignedIn, method: str) -> Kept:
    token = await sessions.renew(own.connection, session, own.now_ms)
    if token is None:
        raise NotSignedInError("the session has ended; sign in again")
    await own.record("sign-in.prove", detail={"method": method})
    return Kept(token, own.person)


def _actor(person: sa.Row[Any] | _Nobody) -> Actor:
    return Actor("person", person.id, person.name)
