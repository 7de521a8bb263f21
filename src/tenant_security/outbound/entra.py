"""Access tokens of Entra ID: what its token endpoint is asked for and answers.

Source: Microsoft identity platform, "OAuth 2.0 client credentials flow"; RFC 6749, sections 4.4 and 5.1.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import msgspec

from tenant_security.outbound.flow import ON_ITS_WAY_S, Lasting, Request, Response
from tenant_security.secret import Secret

PUBLIC: Final = "login.microsoftonline.com"
CHINA: Final = "login.partner.microsoftonline.cn"
US_GOVERNMENT: Final = "login.microsoftonline.us"
"""Where one signs in, by cloud. Source: Microsoft identity platform, "National clouds"."""

EARLY_S: Final = 300.0
"""How long before its end a token is no longer used; a shorter-lived one is used for four fifths of its life."""

TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")
"""What may stand in a header as a bearer token. Source: RFC 6750, section 2.1."""

_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CAP_BYTES: Final = 65_536
_LONGEST_S: Final = 86_400.0


class _Issued(msgspec.Struct):
    """The reply of the token endpoint."""

    access_token: str
    expires_in: int | str
    token_type: str = "Bearer"  # noqa: S105 - a name, no token


def client_credentials(
    login: str, tenant_guid: str, client_id: str, scope: str, proof: Mapping[str, str], *, of_operator: bool = False
) -> Request:
    """Return the request for a token. ``login`` is an address; ``proof`` is what proves who asks, such as a secret."""
    form = {"client_id": client_id, "scope": scope, "grant_type": "client_credentials"} | dict(proof)
    headers = (("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"))
    url = f"{login}/{tenant_guid}/oauth2/v2.0/token"
    return Request("POST", url, headers, urlencode(form).encode(), _CAP_BYTES, of_operator=of_operator)


def read_token(response: Response) -> Lasting[Secret[str]]:
    """Read the reply. Raises: ValueError that says what is wrong with it."""
    try:
        issued = msgspec.json.decode(response.body, type=_Issued)
        life_s = min(float(issued.expires_in), _LONGEST_S)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError):
        raise ValueError("the answer holds no token") from None
    if not TOKEN.fullmatch(issued.access_token) or issued.token_type.lower() != "bearer":
        raise ValueError("the answer holds no usable token")
    return Lasting(Secret(issued.access_token), max(life_s - EARLY_S, life_s * 0.8), life_s - ON_ITS_WAY_S)


def guid(text: str | None, name: str) -> str:
    """Return a GUID in lower case. Raises: ValueError that says its name."""
    if text is None or not _GUID.fullmatch(text):
        raise ValueError(f"{name} is not a GUID, such as 00000000-1111-2222-3333-444444444444")
    return text.lower()
