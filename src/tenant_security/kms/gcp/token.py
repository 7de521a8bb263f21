"""Tokens of a service account: signed by ourselves or, where Google does not take those, got in exchange from Google.

A token that we sign ourselves saves a call, a host and a way to fail. Where Google refuses it, the exchange is asked
once: either it gives a token that works, or it says better than Cloud KMS what is wrong.

Source: AIP-4111, "Self-signed JWT with scopes"; Google Identity, "Using OAuth 2.0 for server to server applications";
RFC 7523.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import urlencode

import msgspec

from tenant_security.kms.gcp.endpoints import KMS_SCOPE, TOKEN
from tenant_security.kms.gcp.errors import fault, unusable
from tenant_security.kms.gcp.private_key import sign
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.flow import Flow, Lasting, Request, send
from tenant_security.secret import Secret

LIFE_S: Final = 3600
"""How long a token that we sign is good: the longest that Google takes."""

EARLY_S: Final = 225.0
"""How long before its end a token is no longer used, so that none ends on its way.

Google's metadata server hands out the same token until some four minutes before its end, so more would ask it in vain.
Source: google-auth, ``REFRESH_THRESHOLD``.
"""

BACKDATED_S: Final = 10
"""How far ahead of Google's our clock may be: a token from the future is refused."""

CAP_BYTES: Final = 65_536
OK: Final = 200

Token = Secret[str]


class Identity(Protocol):
    """Who we are to Google, and how to prove it."""

    @property
    def key(self) -> bytes:
        """The name under which the token is shared: a digest over everything that proves the right to it."""

    def token(self) -> Flow[Lasting[Token]]:
        """Get a token in the usual way."""

    def token_after_refusal(self) -> Flow[Lasting[Token]]:
        """Get another, where Google refused the usual one."""


class ServiceAccount:
    """A service account and a private key of it."""

    __slots__ = ("_email", "_now", "_private_key", "key")

    def __init__(self, email: str, private_key: Secret[bytes], now: Callable[[], datetime]) -> None:
        self._email = email
        self._private_key = private_key
        self._now = now
        proof = hashlib.sha256(private_key.reveal())
        proof.update(email.encode())
        self.key = b"gcp:" + proof.digest()

    def token(self) -> Flow[Lasting[Token]]:
        """Sign a token that Cloud KMS takes as it is. Asks nobody."""
        yield from ()
        return Lasting(Secret(self._signed({"scope": KMS_SCOPE})), LIFE_S - BACKDATED_S - EARLY_S)

    def token_after_refusal(self) -> Flow[Lasting[Token]]:
        """Exchange a signed assertion for a token of Google's.

        Raises: KmsFaultError 206-210, 100 when our clock is wrong; UnreachableError.
        """
        assertion = self._signed({"scope": KMS_SCOPE, "aud": TOKEN})
        form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
        return (yield from ask_for_token(form_request(TOKEN, form), self._now))

    def _signed(self, claims: dict[str, object]) -> str:
        at_s = int(self._now().timestamp()) - BACKDATED_S
        who = {"iss": self._email, "sub": self._email, "iat": at_s, "exp": at_s + LIFE_S}
        return sign(self._private_key, who | claims)


class _Granted(msgspec.Struct):
    """What Google's token services answer. Units: seconds."""

    access_token: str
    expires_in: float


def form_request(url: str, form: dict[str, str], *, of_operator: bool = False) -> Request:
    """Make a request that posts a form."""
    headers = (("Content-Type", "application/x-www-form-urlencoded"),)
    return Request("POST", url, headers, urlencode(form).encode(), CAP_BYTES, of_operator=of_operator)


def ask_for_token(request: Request, now: Callable[[], datetime]) -> Flow[Lasting[Token]]:
    """Send a request for a token and read the reply as RFC 6749 has it."""
    response = yield from send(request)
    if response.status != OK:
        raise fault(Phase.TOKEN, response, now())
    try:
        granted = msgspec.json.decode(response.body, type=_Granted)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise unusable(Phase.TOKEN, "the answer holds no token") from None
    return lasting(granted.access_token, granted.expires_in)


def lasting(token: str, left_s: float) -> Lasting[Token]:
    """Keep a token until shortly before its end, if it may stand in a header."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise unusable(Phase.TOKEN, "the answer holds no usable token")
    return Lasting(Secret(token), left_s - EARLY_S)
