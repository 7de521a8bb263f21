"""Second factors of passphrases: an authenticator's codes (TOTP), each good once, and recovery codes, each good once.

Source: RFC 6238; OWASP ASVS 5.0, 6.5.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Final, Protocol

import pyotp
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.server_key import ServerKey

_STEP_S: Final = 30
_STEPS_OFF: Final = 1
"""How many steps a phone's clock may be off."""
_DIGITS: Final = 6
_PURPOSE: Final = "totp"
_CODES: Final = 10
_CODE_BYTES: Final = 10
_GROUP: Final = 4


class HasAuthenticator(Protocol):
    """A person's row, or what stands in its place."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def totp_sealed(self) -> bytes | None: ...  # noqa: D102


def new_secret() -> str:
    """Make an authenticator's secret, in base32."""
    return pyotp.random_base32()


def uri(secret: str, email: str, issuer: str) -> str:
    """Return what a phone scans."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=issuer)


def step_of(secret: str, code: str, now_s: int) -> int | None:
    """Return the time step whose code this is, or None. Every step is compared, so that time tells nothing."""
    given = code.strip().replace(" ", "")
    if len(given) != _DIGITS or not given.isascii() or not given.isdigit():
        given = ""
    totp, now = pyotp.TOTP(secret), now_s // _STEP_S
    found = None
    for step in range(now - _STEPS_OFF, now + _STEPS_OFF + 1):
        if hmac.compare_digest(totp.generate_otp(step), given):
            found = step
    return found


def seal_secret(key: ServerKey, person: str, secret: str) -> bytes:
    """Seal a secret for its person's row."""
    return key.seal(_PURPOSE, secret.encode(), person.encode())


async def use_code(
    connection: AsyncConnection, key: ServerKey, person: HasAuthenticator, code: str, now_s: int
) -> bool:
    """Whether this is a code of the person's authenticator that was not used before; now it was."""
    plain = None if person.totp_sealed is None else key.open(_PURPOSE, person.totp_sealed, person.id.encode())
    step = step_of((plain or b"A" * 32).decode(), code, now_s)
    if plain is None or step is None:
        return False
    people = schema.people
    used = await connection.execute(
        people.update().where(people.c.id == person.id, people.c.totp_last_step < step).values(totp_last_step=step)
    )
    return used.rowcount == 1


async def new_recovery_codes(connection: AsyncConnection, person: str) -> tuple[str, ...]:
    """Make recovery codes in place of those that there were. They are shown once; only hashes stay."""
    table = schema.recovery_codes
    made = tuple(_grouped(base64.b32encode(secrets.token_bytes(_CODE_BYTES)).decode().lower()) for _ in range(_CODES))
    await connection.execute(table.delete().where(table.c.person == person))
    await connection.execute(table.insert(), [{"person": person, "hash": _hashed(person, code)} for code in made])
    return made


async def use_recovery_code(connection: AsyncConnection, person: str, code: str, now_ms: int) -> bool:
    """Whether this is a recovery code of the person that was not used before; now it was."""
    table = schema.recovery_codes
    mine = sa.and_(table.c.person == person, table.c.hash == _hashed(person, code), table.c.used_ms.is_(None))
    return (await connection.execute(table.update().where(mine).values(used_ms=now_ms))).rowcount == 1


async def recovery_codes_left(connection: AsyncConnection, person: str) -> int:
    """Count the codes that were not used."""
    table = schema.recovery_codes
    counted = sa.select(sa.func.count()).where(table.c.person == person, table.c.used_ms.is_(None))
    return int((await connection.execute(counted)).scalar_one())


def _hashed(person: str, code: str) -> bytes:
    """Hash a code of 80 random bits; a fast hash will do."""
    plain = code.lower().replace("-", "").replace(" ", "")
    return hashlib.sha256(f"tenant-security/recovery-code/v1\n{person}\n{plain}".encode()).digest()


def _grouped(plain: str) -> str:
    return "-".join(plain[at : at + _GROUP] for at in range(0, len(plain), _GROUP))
