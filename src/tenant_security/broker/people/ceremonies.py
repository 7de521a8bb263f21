"""Talks in two steps: what the broker must remember between them travels with the browser, sealed, for minutes, once.

So nobody can fill the broker's memory by beginning, and any of its processes can finish what another began.
"""

import base64
import hashlib
import secrets
from typing import Final, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.refusals import NotAllowedNowError
from tenant_security.broker.server_key import ServerKey

LIFE_MS: Final = 5 * 60_000
SIGN_UP_LIFE_MS: Final = 15 * 60_000
_NONCE_BYTES: Final = 16

Kind = Literal["sign-in", "prove", "sign-up", "add-passkey", "add-passphrase", "sso"]


class Ceremony(msgspec.Struct, frozen=True, omit_defaults=True):
    """What must be remembered. ``challenge`` is a passkey's, ``secret`` an authenticator's."""

    kind: Kind
    expires_ms: int
    nonce: bytes
    challenge: bytes = b""
    person: str = ""
    email: str = ""
    name: str = ""
    secret: str = ""
    token_hash: bytes = b""
    vendor: str = ""
    tenant: int = 0
    issuer: str = ""
    verifier: str = ""
    next: str = ""
    again: bytes = b""


_DECODE: Final = msgspec.msgpack.Decoder(Ceremony)


def nonce() -> bytes:
    """Return what makes a ceremony the only one of its kind."""
    return secrets.token_bytes(_NONCE_BYTES)


def sealed(key: ServerKey, ceremony: Ceremony) -> str:
    """Return what the browser keeps until the second step."""
    packed = key.seal(f"ceremony/{ceremony.kind}", msgspec.msgpack.encode(ceremony))
    return base64.urlsafe_b64encode(packed).decode()


def opened(key: ServerKey, kind: Kind, text: str, now_ms: int) -> Ceremony:
    """Read what the browser brought back.

    Raises: NotAllowedNowError when it is not ours or too late.
    """
    try:
        plain = key.open(f"ceremony/{kind}", base64.b64decode(text.encode(), altchars=b"-_", validate=True))
        ceremony = None if plain is None else _DECODE.decode(plain)
    except (ValueError, msgspec.DecodeError):
        ceremony = None
    if ceremony is None or ceremony.expires_ms <= now_ms:
        raise NotAllowedNowError("this took too long, or was begun elsewhere; begin again")
    return ceremony


async def use(connection: AsyncConnection, ceremony: Ceremony, now_ms: int) -> None:
    """Make sure that a ceremony is finished once, in the transaction of what it is for.

    Raises: NotAllowedNowError.
    """
    used = schema.used_ceremonies
    await connection.execute(used.delete().where(used.c.expires_ms <= now_ms))
    digest = hashlib.sha256(ceremony.nonce).digest()
    if (await connection.execute(sa.select(used.c.hash).where(used.c.hash == digest))).first() is not None:
        raise NotAllowedNowError("this was finished before; begin again")
    await connection.execute(used.insert().values(hash=digest, expires_ms=ceremony.expires_ms))
