"""What people change about themselves: name, passkeys, passphrase, recovery codes. One way to sign in always stays."""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.http import Broker
from tenant_security.broker.people import authenticators, ceremonies, passkeys, passphrases, sessions
from tenant_security.broker.people.ceremonies import Ceremony, Kind
from tenant_security.broker.people.personal import Personal, personal
from tenant_security.broker.people.sessions import SignedIn
from tenant_security.broker.people.sign_up import set_passphrase
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError
from tenant_security.wire.people_api import (
    Account,
    AuthenticatorBegun,
    Begun,
    NewPasskey,
    NewPassphrase,
    PasskeyLine,
    RecoveryCodes,
)


async def read(connection: AsyncConnection, person: str) -> Account:
    """Describe how somebody can sign in."""
    people = schema.people
    row = (await connection.execute(sa.select(people).where(people.c.id == person))).one()
    return Account(
        id=row.id,
        email=row.email,
        name=row.name,
        passphrase=row.passphrase_hash is not None,
        recovery_codes_left=await authenticators.recovery_codes_left(connection, person),
        passkeys=tuple(_line(each) for each in await passkeys.of(connection, person)),
    )


async def rename(broker: Broker, session: SignedIn, name: str) -> None:
    """Change somebody's name."""
    async with personal(broker.database, session.actor) as own:
        people = schema.people
        await own.connection.execute(people.update().where(people.c.id == own.person).values(name=name))
        await own.record("account.rename", detail={"name": name})


async def begin_passkey(broker: Broker, session: SignedIn) -> Begun:
    """Begin to add a passkey."""
    async with broker.database.read() as connection:
        has = [each.id for each in await passkeys.of(connection, session.person)]
    challenge = passkeys.new_challenge()
    options = passkeys.creation_options(
        broker.web.public, challenge, person=session.person, email=session.email, name=session.name, has=has
    )
    return Begun(_begun(broker, session, "add-passkey", challenge=challenge), options)


async def add_passkey(broker: Broker, session: SignedIn, said: NewPasskey) -> PasskeyLine:
    """Add a passkey.

    Raises: NotAllowedNowError.
    """
    ceremony = _opened(broker, session, "add-passkey", said.ceremony)
    new = passkeys.verify_new(broker.web.public, ceremony.challenge, said.credential)
    async with personal(broker.database, session.actor) as own:
        await ceremonies.use(own.connection, ceremony, own.now_ms)
        if await passkeys.find(own.connection, new.id) is not None:
            raise NotAllowedNowError("this passkey is known already")
        await passkeys.add(own.connection, own.person, new, said.name, own.now_ms)
        await own.record("passkey.add", passkeys.shown_id(new.id), detail={"name": said.name})
        return PasskeyLine(passkeys.shown_id(new.id), said.name, own.now_ms, None)


async def rename_passkey(broker: Broker, session: SignedIn, shown_id: str, name: str) -> None:
    """Give a passkey another name. Raises: NotFoundError."""
    table = schema.passkeys
    async with personal(broker.database, session.actor) as own:
        mine = sa.and_(table.c.id == passkeys.read_id(shown_id), table.c.person == own.person)
        renamed = await own.connection.execute(table.update().where(mine).values(name=name))
        if not renamed.rowcount:
            raise NotFoundError("you have no such passkey")
        await own.record("passkey.rename", shown_id, detail={"name": name})


async def remove_passkey(broker: Broker, session: SignedIn, shown_id: str) -> None:
    """Remove a passkey; every other session ends.

    Raises: NotFoundError; NotAllowedNowError for the last way to sign in.
    """
    table = schema.passkeys
    async with personal(broker.database, session.actor) as own:
        await _alone(own)
        mine = sa.and_(table.c.id == passkeys.read_id(shown_id), table.c.person == own.person)
        if not (await own.connection.execute(table.delete().where(mine))).rowcount:
            raise NotFoundError("you have no such passkey")
        await _require_a_way_in(own)
        # Whoever has the key that is removed may be signed in with it.
        ended = await sessions.end(own.connection, own.person, but=session.token_hash)
        await own.record("passkey.remove", shown_id, detail={"sessionsEnded": ended})


async def begin_passphrase(broker: Broker, session: SignedIn) -> AuthenticatorBegun:
    """Begin to set a passphrase and an authenticator."""
    secret = authenticators.new_secret()
    uri = authenticators.uri(secret, session.email, "Tenant Security")
    return AuthenticatorBegun(_begun(broker, session, "add-passphrase", secret=secret), secret, uri)


async def put_passphrase(broker: Broker, session: SignedIn, said: NewPassphrase) -> RecoveryCodes:
    """Set or replace passphrase and authenticator; every other session ends.

    Raises: NotAllowedNowError.
    """
    ceremony = _opened(broker, session, "add-passphrase", said.ceremony)
    passphrases.check_new(said.passphrase, session.email)
    hashed = await broker.web.passphrases.hashed(said.passphrase)
    async with personal(broker.database, session.actor) as own:
        await ceremonies.use(own.connection, ceremony, own.now_ms)
        codes = await set_passphrase(broker, own, hashed, ceremony.secret, said.code)
        ended = await sessions.end(own.connection, own.person, but=session.token_hash)
        await own.record("passphrase.set", detail={"sessionsEnded": ended})
    return RecoveryCodes(codes)


async def remove_passphrase(broker: Broker, session: SignedIn) -> None:
    """Take passphrase, authenticator and recovery codes away.

    Raises: NotAllowedNowError for the last way to sign in.
    """
    people, codes = schema.people, schema.recovery_codes
    async with personal(broker.database, session.actor) as own:
        await _alone(own)
        await own.connection.execute(
            people.update().where(people.c.id == own.person).values(passphrase_hash=None, totp_sealed=None)
        )
        await own.connection.execute(codes.delete().where(codes.c.person == own.person))
        await _require_a_way_in(own)
        await own.record("passphrase.remove")


async def renew_recovery_codes(broker: Broker, session: SignedIn) -> RecoveryCodes:
    """Make new recovery codes; the old ones are void.

    Raises: NotAllowedNowError without a passphrase.
    """
    people = schema.people
    async with personal(broker.database, session.actor) as own:
        row = (await own.connection.execute(sa.select(people).where(people.c.id == own.person))).one()
        if row.passphrase_hash is None:
            raise NotAllowedNowError("recovery codes stand in for an authenticator; set a passphrase first")
        codes = await authenticators.new_recovery_codes(own.connection, own.person)
        await own.record("recovery-code.renew")
    return RecoveryCodes(codes)


def _begun(broker: Broker, session: SignedIn, kind: Kind, *, challenge: bytes = b"", secret: str = "") -> str:
    ceremony = Ceremony(
        kind,
        broker.now_ms() + ceremonies.SIGN_UP_LIFE_MS,
        ceremonies.nonce(),
        challenge=challenge,
        person=session.person,
        secret=secret,
    )
    return ceremonies.sealed(broker.web.key, ceremony)


def _opened(broker: Broker, session: SignedIn, kind: Kind, text: str) -> Ceremony:
    ceremony = ceremonies.opened(broker.web.key, kind, text, broker.now_ms())
    if ceremony.person != session.person:
        raise NotAllowedNowError("this was begun by somebody else; begin again")
    return ceremony


async def _alone(own: Personal) -> None:
    """Take the person's row, so that two ways to sign in are not removed at once."""
    people = schema.people
    await own.connection.execute(sa.select(people.c.id).where(people.c.id == own.person).with_for_update())


async def _require_a_way_in(own: Personal) -> None:
    people, table = schema.people, schema.passkeys
    row = (await own.connection.execute(sa.select(people).where(people.c.id == own.person))).one()
    left = await own.connection.execute(sa.select(sa.func.count()).where(table.c.person == own.person))
    subjects = schema.single_sign_on_subjects
    signs_on = await own.connection.execute(sa.select(subjects.c.person).where(subjects.c.person == own.person))
    if row.passphrase_hash is None and not left.scalar_one() and signs_on.first() is None:
        raise NotAllowedNowError("this is the last way to sign in; add another one first")


def _line(row: sa.Row[tuple[object, ...]]) -> PasskeyLine:
    return PasskeyLine(passkeys.shown_id(row.id), row.name, row.created_ms, row.used_ms)
