"""Tokens of a Google service account: what we sign ourselves, and what Google's token services are asked and answer.

Source: AIP-4111, "Self-signed JWT with scopes"; Google Identity, "Using OAuth 2.0 for server to server applications";
RFC 7523; RFC 6749, section 5.1.
"""

from datetime import datetime
from typing import Final
from urllib.parse import urlencode

import msgspec

from tenant_security.outbound.flow import ON_ITS_WAY_S, Lasting, Request, Response
from tenant_security.outbound.google_key import sign
from tenant_security.secret import Secret

TOKEN: Final = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

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


def self_signed(key: Secret[bytes], email: str, scope: str, now: datetime) -> Lasting[Secret[str]]:
    """Return a token that Google's services take as it is. Asks nobody.

    Raises: ValueError when the key cannot sign.
    """
    return Lasting(Secret(_signed(key, email, {"scope": scope}, now)), LIFE_S - BACKDATED_S - EARLY_S)


def exchange(key: Secret[bytes], email: str, scope: str, now: datetime) -> Request:
    """Return the request that exchanges a signed assertion for a token of Google's.

    Raises: ValueError when the key cannot sign.
    """
    assertion = _signed(key, email, {"scope": scope, "aud": TOKEN}, now)
    return form_request(TOKEN, {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion})


def form_request(url: str, form: dict[str, str], *, of_operator: bool = False) -> Request:
    """Make a request that posts a form."""
    headers = (("Content-Type", "application/x-www-form-urlencoded"),)
    return Request("POST", url, headers, urlencode(form).encode(), CAP_BYTES, of_operator=of_operator)


class _Granted(msgspec.Struct):
    """What Google's token services answer. Units: seconds."""

    access_token: str
    expires_in: float


def read_granted(response: Response) -> Lasting[Secret[str]]:
    """Read a token service's reply. Raises: ValueError that says what is wrong with it."""
    try:
        granted = msgspec.json.decode(response.body, type=_Granted)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise ValueError("the answer holds no token") from None
    return lasting(granted.access_token, granted.expires_in)


def lasting(token: str, left_s: float) -> Lasting[Secret[str]]:
    """Keep a token until shortly before its end. Raises: ValueError where it may not stand in a header."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("the answer holds no usable token")
    return Lasting(Secret(token), left_s - EARLY_S, left_s - ON_ITS_WAY_S)


def _signed(key: Secret[bytes], email: str, claims: dict[str, object], now: datetime) -> str:
    at_s = int(now.timestamp()) - BACKDATED_S
    who = {"iss": email, "sub": email, "iat": at_s, "exp": at_s + LIFE_S}
    return sign(key, who | claims)
