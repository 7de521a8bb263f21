"""Tokens of CipherTrust Manager: a user name and a password for a token that lives five minutes.

The refresh token that comes along is not used: it stays the same for as long as it lives, so beside a stored password
it adds a second secret and no safety.

Source: CipherTrust Manager, "Authentication Tokens"; the embedded API guide, ``POST /v1/auth/tokens/``.
"""

import hashlib
import re
from typing import Final, NamedTuple

import msgspec

from tenant_security.kms.refusals import Phase
from tenant_security.kms.thales.errors import fault, unusable
from tenant_security.outbound.flow import ON_ITS_WAY_S, Flow, Lasting, Request, send
from tenant_security.secret import Secret

HEADERS: Final = (("Content-Type", "application/json"), ("Accept", "application/json"))
"""CipherTrust Manager refuses a request that does not say what it accepts."""

CAP_BYTES: Final = 65_536
OK: Final = 200

_USED: Final = 0.8
_LONGEST_S: Final = 3600.0
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")


class User(NamedTuple):
    """Who signs in where. ``base`` is the address before ``/v1``; ``authorities`` is PEM or empty."""

    base: str
    authorities: bytes
    username: str
    password: Secret[str]
    auth_domain: str
    connection: str
    domain: str | None

    def key(self) -> bytes:
        """The name under which the token is shared.

        It is a digest over everything that proves the right to it, the password included: whoever merely knows a
        user's name does not share its token.
        """
        proof = [each.reveal() if isinstance(each, Secret) else each for each in self]
        return b"thales:" + hashlib.sha256(msgspec.json.encode(proof)).digest()


class _Issued(msgspec.Struct):
    """The reply to a login. Units: ``duration`` in seconds."""

    jwt: str
    duration: float
    token_type: str = "Bearer"  # noqa: S105 - a name, no token


def sign_in(user: User) -> Flow[Lasting[Secret[str]]]:
    """Get a token, to be used for four fifths of its life: 240 of 300 seconds.

    Raises: KmsFaultError 206-210; UnreachableError.
    """
    body = {
        "grant_type": "password",
        "username": user.username,
        "password": user.password.reveal(),
        "connection": user.connection,
        "auth_domain": user.auth_domain,
    }
    if user.domain is not None:
        body["domain"] = user.domain
    url = f"{user.base}/v1/auth/tokens/"
    request = Request("POST", url, HEADERS, msgspec.json.encode(body), CAP_BYTES, authorities=user.authorities)
    response = yield from send(request)
    if response.status not in (OK, 201):
        raise fault(Phase.TOKEN, response)
    try:
        issued = msgspec.json.decode(response.body, type=_Issued)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unusable(Phase.TOKEN, "the answer holds no token") from None
    if not _TOKEN.fullmatch(issued.jwt) or issued.token_type.lower() != "bearer" or not issued.duration > 0:
        raise unusable(Phase.TOKEN, "the answer holds no usable token")
    life_s = min(issued.duration, _LONGEST_S)
    return Lasting(Secret(issued.jwt), life_s * _USED, life_s - ON_ITS_WAY_S)
