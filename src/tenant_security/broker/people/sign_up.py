"""Signing up: with an invitation's token, or with the set-up token of a new broker."""

import hmac
import uuid
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.audit import Actor
from tenant_security.broker.http import Broker
from tenant_security.broker.people import (
    authenticators,
    ceremonies,
    invitations,
    passkeys,
    passphrases,
    set_up,
    sign_in,
)
from tenant_security.broker.people.ceremonies import Ceremony
from tenant_security.broker.people.personal import Personal, personal
from tenant_security.broker.people.sessions import Origin
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError
from tenant_security.wire.people_api import AuthenticatorBegun, BeginSignUp, Begun, SignUp

_ISSUER: Final = "Tenant Security"
_NOBODYS_DOMAIN: Final = "unverified.invalid"


class Made(NamedTuple):
    """A new account: its session's token, and its recovery codes, which are shown once."""

    token: str
    person: str
    recovery_codes: tuple[str, ...]


async def begin(broker: Broker, said: BeginSignUp) -> Begun | AuthenticatorBegun:
    """Begin a sign-up.

    Raises: NotFoundError for a token that is not good; ConflictError when there is an account; NotAllowedNowError.
    """
    async with broker.database.read() as connection:
        if await set_up.is_good(connection, broker.web, said.token):
            if said.email is None:
                raise NotAllowedNowError("say which address is yours")
            email = said.email.lower()
        else:
            email = (await invitations.find(connection, said.token, broker.now_ms())).email
        await _require_free(connection, email, said.token)
    ceremony = Ceremony(
        "sign-up",
        broker.now_ms() + ceremonies.SIGN_UP_LIFE_MS,
        ceremonies.nonce(),
        person=str(uuid.uuid4()),
        email=email,
        name=said.name,
        token_hash=invitations.hashed(said.token),
        challenge=passkeys.new_challenge() if said.with_ == "passkey" else b"",
        secret=authenticators.new_secret() if said.with_ == "passphrase" else "",
    )
    packed = ceremonies.sealed(broker.web.key, ceremony)
    if said.with_ == "passphrase":
        return AuthenticatorBegun(packed, ceremony.secret, authenticators.uri(ceremony.secret, email, _ISSUER))
    options = passkeys.creation_options(
        broker.web.public, ceremony.challenge, person=ceremony.person, email=email, name=said.name
    )
    return Begun(packed, options)


async def finish(broker: Broker, said: SignUp, origin: Origin) -> Made:
    """Make the account, accept the invitation and sign in, all or nothing.

    Raises: NotFoundError; ConflictError; NotAllowedNowError.
    """
    ceremony = ceremonies.opened(broker.web.key, "sign-up", said.ceremony, broker.now_ms())
    if not hmac.compare_digest(ceremony.token_hash, invitations.hashed(said.token)):
        raise NotAllowedNowError("this was begun with another token; begin again")
    new = None
    hashed = None
    if ceremony.challenge:
        new = passkeys.verify_new(broker.web.public, ceremony.challenge, said.credential or {})
    else:
        passphrases.check_new(said.passphrase or "", ceremony.email)
        hashed = await broker.web.passphrases.hashed(said.passphrase or "")
    async with personal(broker.database, Actor("person", ceremony.person, ceremony.name)) as own:
        await ceremonies.use(own.connection, ceremony, own.now_ms)
        squatter = await _require_free(own.connection, ceremony.email, said.token)
        if squatter is not None:
            await _give_way(own, squatter, ceremony.email)
        await own.connection.execute(
            schema.people.insert().values(
                id=own.person, email=ceremony.email, name=ceremony.name, created_ms=own.now_ms
            )
        )
        if not await set_up.is_good(own.connection, broker.web, said.token):
            await invitations.accept(own, said.token)
        codes: tuple[str, ...] = ()
        if new is not None:
            await passkeys.add(own.connection, own.person, new, said.passkey_name or "Passkey", own.now_ms)
        else:
            codes = await set_passphrase(broker, own, hashed or "", ceremony.secret, said.code or "")
        made = Made(await sign_in.start(own, origin), own.person, codes)
    broker.log.info("somebody signed up", person=made.person, address=origin.address)
    return made


async def set_passphrase(broker: Broker, own: Personal, hashed: str, secret: str, code: str) -> tuple[str, ...]:
    """Set a person's passphrase and authenticator, and return new recovery codes.

    Raises: NotAllowedNowError when the code is not the authenticator's.
    """
    step = authenticators.step_of(secret, code, own.now_ms // 1_000)
    if step is None:
        raise NotAllowedNowError("this is not the authenticator's code now; check the clock of the device")
    people = schema.people
    await own.connection.execute(
        people.update()
        .where(people.c.id == own.person)
        .values(
            passphrase_hash=hashed,
            totp_sealed=authenticators.seal_secret(broker.web.key, own.person, secret),
            totp_last_step=step,
        )
    )
    return await authenticators.new_recovery_codes(own.connection, own.person)


async def _require_free(connection: AsyncConnection, email: str, token: str) -> str | None:
    """Check that an address can be somebody's who brings this token.

    An account that was made with a link which somebody brought along says nothing about the address; a link that came
    by mail does. So an account whose address nobody ever verified gives way to it, and whoever made it with somebody
    else's address keeps nobody out. Returns: the account that has to give way.
    Raises: ConflictError when there is an account.
    """
    people, invited = schema.people, schema.invitations
    found = await connection.execute(sa.select(people.c.id, people.c.verified_ms).where(people.c.email == email))
    account = found.one_or_none()
    if account is None:
        return None
    mailed = await connection.execute(
        sa.select(invited.c.mailed_ms).where(invited.c.token_hash == invitations.hashed(token))
    )
    if account.verified_ms is not None or mailed.scalar_one_or_none() is None:
        raise ConflictError("there is an account of this address: sign in, then accept the invitation")
    return str(account.id)


async def _give_way(own: Personal, account: str, email: str) -> None:
    """Take an address from an account that never proved it."""
    people = schema.people
    other = Personal(own.changes, account)
    await other.record("account.lose-address", detail={"email": email})
    await own.connection.execute(
        people.update().where(people.c.id == account).values(email=f"{account}@{_NOBODYS_DOMAIN}")
    )
