"""Passkeys: WebAuthn with user verification, discoverable, several for each person.

Source: W3C Web Authentication Level 3; docs/broker-people.md, "Passkeys".
"""

import json
import secrets
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from tenant_security.broker import schema
from tenant_security.broker.public_address import PublicAddress
from tenant_security.broker.refusals import NotAllowedNowError

_PARTY: Final = "Tenant Security"
_CHALLENGE_BYTES: Final = 32
_WAIT_MS: Final = 120_000
MOST: Final = 20
"""The most passkeys of one person."""
_UNREADABLE: Final = (WebAuthnException, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What the library raises for answers that are no answers."""


class NewPasskey(NamedTuple):
    """A passkey that was just made."""

    id: bytes
    public_key: bytes
    sign_count: int


def new_challenge() -> bytes:
    """Return what an authenticator has to sign."""
    return secrets.token_bytes(_CHALLENGE_BYTES)


def creation_options(
    public: PublicAddress, challenge: bytes, *, person: str, email: str, name: str, has: Sequence[bytes] = ()
) -> dict[str, Any]:
    """Return what the browser needs to make a passkey."""
    options = generate_registration_options(
        rp_id=public.host,
        rp_name=_PARTY,
        user_id=person.encode(),
        user_name=email,
        user_display_name=name,
        challenge=challenge,
        timeout=_WAIT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=each) for each in has],
    )
    return _as_json(options_to_json(options))


def request_options(public: PublicAddress, challenge: bytes, allowed: Sequence[bytes] = ()) -> dict[str, Any]:
    """Return what the browser needs to use a passkey; without ``allowed`` whichever the person chooses."""
    options = generate_authentication_options(
        rp_id=public.host,
        challenge=challenge,
        timeout=_WAIT_MS,
        allow_credentials=[PublicKeyCredentialDescriptor(id=each) for each in allowed],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return _as_json(options_to_json(options))


def verify_new(public: PublicAddress, challenge: bytes, credential: dict[str, Any]) -> NewPasskey:
    """Check a passkey that was just made.

    Raises: NotAllowedNowError.
    """
    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=public.host,
            expected_origin=public.origin,
            require_user_verification=True,
        )
    except _UNREADABLE as why:
        raise NotAllowedNowError(f"the passkey is refused: {_said(why)}") from None
    return NewPasskey(verified.credential_id, verified.credential_public_key, verified.sign_count)


def credential_id(credential: dict[str, Any]) -> bytes | None:
    """Return which passkey an answer claims to be of."""
    try:
        return base64url_to_bytes(credential["rawId"])
    except _UNREADABLE:
        return None


def verify_answer(
    public: PublicAddress, challenge: bytes, credential: dict[str, Any], stored: sa.Row[Any]
) -> int | None:
    """Return the passkey's new count when it signed the challenge here and now for its person, or None."""
    try:
        handle = credential["response"].get("userHandle")
        if handle and base64url_to_bytes(handle) != stored.person.encode():
            return None
        verified = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=public.host,
            expected_origin=public.origin,
            credential_public_key=stored.public_key,
            credential_current_sign_count=stored.sign_count,
            require_user_verification=True,
        )
    except _UNREADABLE:
        return None
    return verified.new_sign_count


async def find(connection: AsyncConnection, passkey: bytes) -> sa.Row[Any] | None:
    """Read a passkey."""
    table = schema.passkeys
    return (await connection.execute(sa.select(table).where(table.c.id == passkey))).one_or_none()


async def of(connection: AsyncConnection, person: str) -> Sequence[sa.Row[Any]]:
    """Read a person's passkeys, oldest first."""
    table = schema.passkeys
    rows = await connection.execute(sa.select(table).where(table.c.person == person).order_by(table.c.created_ms))
    return rows.all()


async def add(connection: AsyncConnection, person: str, new: NewPasskey, name: str, now_ms: int) -> None:
    """Keep a passkey.

    Raises: NotAllowedNowError when there are too many.
    """
    if len(await of(connection, person)) >= MOST:
        raise NotAllowedNowError(f"there are {MOST} passkeys already; remove one first")
    await connection.execute(
        schema.passkeys.insert().values(
            id=new.id,
            person=person,
            public_key=new.public_key,
            sign_count=new.sign_count,
            name=name,
            created_ms=now_ms,
        )
    )


async def use(connection: AsyncConnection, stored: sa.Row[Any], count: int, now_ms: int) -> bool:
    """Write down a passkey's use; False when its count went on in the meantime, as a copied one's does."""
    table = schema.passkeys
    used = await connection.execute(
        table.update()
        .where(table.c.id == stored.id, table.c.sign_count == stored.sign_count)
        .values(sign_count=count, used_ms=now_ms)
    )
    return used.rowcount == 1


def shown_id(passkey: bytes) -> str:
    """Return a passkey's id as people and paths have it."""
    return bytes_to_base64url(passkey)


def read_id(text: str) -> bytes:
    """Read it. An id that is none is of no passkey."""
    try:
        return base64url_to_bytes(text)
    except ValueError:
        return b""


def _as_json(text: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(text)
    return read


def _said(why: Exception) -> str:
    return str(why) if isinstance(why, WebAuthnException) else "it cannot be read"
