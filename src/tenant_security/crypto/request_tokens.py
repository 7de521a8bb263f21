"""Proof of who sends a request: a short-lived JWT over its method, address and body, signed with Ed25519.

Shape: header ``{"alg": "EdDSA", "typ": "ts-request", "kid": key id of the signer}``; claims ``iat``, ``exp``, ``jti``,
and ``htm`` (method), ``htu`` (path with query, as sent), ``bsh`` (base64url of SHA-256 of the body, without padding).
It travels as ``Authorization: TS-Signed <token>``.

A signature on a token can be taken for one on a document, or the other way round, by nobody: documents are signed with
a prefix that no token begins with.

Source: RFC 7519, RFC 8037; docs/broker/api.md, "Signed requests".
"""

import base64
import hashlib
from typing import Any, Final, NamedTuple

import jwt

from tenant_security.crypto.signing import SigningKey, VerifyingKey

SCHEME: Final = "TS-Signed"
LIFE_S: Final = 60
"""How long a token is good. Units: seconds."""
SKEW_S: Final = 30
"""How far the clocks of both ends may be apart. Units: seconds."""
_TYPE: Final = "ts-request"
_LONGEST: Final = 4096


class BadTokenError(Exception):
    """A token proves nothing. The message says why and holds none of it."""


class Asking(NamedTuple):
    """What a request asks: the parts that its token is bound to. ``target`` is path and query as they were sent."""

    method: str
    target: str
    body: bytes

    @property
    def claims(self) -> dict[str, str]:
        """The claims that say the same."""
        digest = base64.urlsafe_b64encode(hashlib.sha256(self.body).digest()).rstrip(b"=").decode()
        return {"htm": self.method, "htu": self.target, "bsh": digest}


def sign_request(key: SigningKey, asking: Asking, *, now_s: int, token_id: str) -> str:
    """Return the token that proves that the holder of this key asks this, once."""
    claims: dict[str, Any] = {"iat": now_s, "exp": now_s + LIFE_S, "jti": token_id, **asking.claims}
    return key.sign_token(claims, _TYPE)


def signer_of(token: str) -> str:
    """Return the key id that a token claims to be signed with. Nothing is proved yet.

    Raises: BadTokenError.
    """
    if len(token) > _LONGEST:
        raise BadTokenError("it is too long")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise BadTokenError("it is not a token") from None
    signer = header.get("kid")
    if header.get("alg") != "EdDSA" or header.get("typ") != _TYPE or not isinstance(signer, str):
        raise BadTokenError("it is not a token for signed requests")
    return signer


def check_request(token: str, key: VerifyingKey, asking: Asking, *, now_s: int) -> str:
    """Check that the holder of this key asks exactly this, now, and return the token's id.

    Whoever calls this remembers the id for as long as the token is good, so that nobody asks the same again with it.

    Raises: BadTokenError.
    """
    try:
        claims = key.read_token(token)
    except jwt.PyJWTError:
        raise BadTokenError("its signature is wrong") from None
    made, ends, token_id = claims.get("iat"), claims.get("exp"), claims.get("jti")
    if not isinstance(made, int) or not isinstance(ends, int) or not isinstance(token_id, str) or not token_id:
        raise BadTokenError("it lacks a claim")
    if made > now_s + SKEW_S or ends + SKEW_S <= now_s or ends - made > LIFE_S:
        raise BadTokenError("it is not good now; check the clocks of both machines")
    if {name: claims.get(name) for name in asking.claims} != asking.claims:
        raise BadTokenError("it was made for another request")
    return token_id
