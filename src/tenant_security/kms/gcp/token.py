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

from tenant_security.kms.gcp.endpoints import KMS_SCOPE, invalid
from tenant_security.kms.gcp.errors import fault, unusable
from tenant_security.kms.refusals import Phase
from tenant_security.outbound import google_token
from tenant_security.outbound.flow import Flow, Lasting, Request, send
from tenant_security.secret import Secret

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
        try:
            return google_token.self_signed(self._private_key, self._email, KMS_SCOPE, self._now())
        except ValueError as wrong:
            raise invalid(str(wrong)) from None

    def token_after_refusal(self) -> Flow[Lasting[Token]]:
        """Exchange a signed assertion for a token of Google's.

        Raises: KmsFaultError 206-210, 100 when our clock is wrong; UnreachableError.
        """
        try:
            request = google_token.exchange(self._private_key, self._email, KMS_SCOPE, self._now())
        except ValueError as wrong:
            raise invalid(str(wrong)) from None
        return (yield from ask_for_token(request, self._now))


def ask_for_token(request: Request, now: Callable[[], datetime]) -> Flow[Lasting[Token]]:
    """Send a request for a token and read the reply as RFC 6749 has it."""
    response = yield from send(request)
    if response.status != OK:
        raise fault(Phase.TOKEN, response, now())
    try:
        return google_token.read_granted(response)
    except ValueError as wrong:
        raise unusable(Phase.TOKEN, str(wrong)) from None


def lasting(token: str, left_s: float) -> Lasting[Token]:
    """Keep a token until shortly before its end, if it may stand in a header."""
    try:
        return google_token.lasting(token, left_s)
    except ValueError as wrong:
        raise unusable(Phase.TOKEN, str(wrong)) from None
