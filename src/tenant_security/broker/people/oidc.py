"""OpenID Connect, the relying party's half: discovery, the exchange of a code, and what an ID token must say.

Addresses come from the organisation's admins, so the egress policy is asked about each.

Source: OpenID Connect Core 1.0, sections 3.1.2 to 3.1.3.7; OpenID Connect Discovery 1.0; RFC 7636; RFC 9207; RFC 9700.
"""

import base64
import hashlib
import hmac
import json
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tenant_security.outbound.flow import Flow, Lasting, Request, Response, forget, send, shared

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
"""Signatures only: what a client secret could sign is refused, and so is ``none``."""
_FRESH_S: Final = 3_600.0
_SKEW_S: Final = 60
_CAP_BYTES: Final = 262_144
_OK: Final = 200
_SCOPE: Final = "openid email profile"


T = TypeVar("T")


class SignOnError(Exception):
    """Single sign-on did not work. ``word`` is what the sign-in page is told; the message is for the log."""

    def __init__(self, word: str, message: str) -> None:
        super().__init__(message)
        self.word = word


class Provider(msgspec.Struct, frozen=True):
    """What a provider says about itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Client(NamedTuple):
    """Who we are at a provider."""

    id: str
    secret: str
    redirect_uri: str


class Expected(NamedTuple):
    """What an ID token must say. ``since_s``: when the person was asked to sign in anew, or None."""

    issuer: str
    client_id: str
    nonce: str
    now_s: int
    since_s: int | None = None


class Identity(NamedTuple):
    """Who a provider says signed in. ``email`` is an address that it has verified."""

    subject: str
    email: str


def check_address(url: str) -> str:
    """Return an issuer's or an endpoint's address as it stands.

    Raises: SignOnError unless it is https, without credentials and without a fragment.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and parts.hostname and not (parts.username or parts.password or parts.fragment)
    except ValueError:
        usable = False
    if not usable or not url.isascii() or any(letter.isspace() for letter in url):
        raise SignOnError("sso-failed", "the provider's addresses must be https:// without credentials")
    return url


def discover(issuer: str) -> Flow[Provider]:
    """Fetch what a provider says about itself, once an hour. Raises: SignOnError; UnreachableError."""
    check_address(issuer)

    def fetch() -> Flow[Lasting[Provider]]:
        response = yield from send(Request("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration"))
        read = _json(response, Provider)
        if read.issuer != issuer:
            raise SignOnError("sso-failed", f"the metadata names the issuer {read.issuer!r}; write it exactly so")
        for endpoint in (read.authorization_endpoint, read.token_endpoint, read.jwks_uri):
            check_address(endpoint)
        return Lasting(read, _FRESH_S)

    return (yield from shared(("oidc", issuer), fetch))


def begin_url(provider: Provider, client: Client, *, state: str, nonce: str, verifier: str, again: bool) -> str:
    """Return where the browser goes to sign in."""
    digest = hashlib.sha256(verifier.encode()).digest()
    query = {
        "response_type": "code",
        "scope": _SCOPE,
        "client_id": client.id,
        "redirect_uri": client.redirect_uri,
        "state": state,
        "nonce": nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    if again:
        query |= {"prompt": "login", "max_age": "0"}
    joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
    return f"{provider.authorization_endpoint}{joint}{urlencode(query)}"


def identify(provider: Provider, client: Client, code: str, verifier: str, expected: Expected) -> Flow[Identity]:
    """Exchange a code for an ID token and judge it. Raises: SignOnError; UnreachableError."""
    token = yield from _exchange(provider, client, code, verifier)
    keys = yield from _keys(provider)
    try:
        return judge(token, keys, expected)
    except JoseError:
        # The provider may have new keys.
        yield from forget(("oidc-keys", provider.jwks_uri))
        keys = yield from _keys(provider)
    try:
        return judge(token, keys, expected)
    except JoseError as why:
        raise SignOnError("sso-failed", f"the ID token's signature: {type(why).__name__}") from None


def judge(token: str, keys: bytes, expected: Expected) -> Identity:
    """Check an ID token against a provider's keys.

    Raises: JoseError when no key signed it; SignOnError for what it says.
    """
    try:
        key_set = KeySet.import_key_set(json.loads(keys))
        claims: dict[str, Any] = jwt.decode(token, key_set, algorithms=ALGORITHMS).claims
    except (ValueError, TypeError, KeyError, RecursionError) as malformed:
        raise SignOnError(
            "sso-failed", f"the ID token or the keys cannot be read: {type(malformed).__name__}"
        ) from None
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    _expect(claims.get("iss") == expected.issuer, "it is of another issuer")
    _expect(expected.client_id in audiences, "it is for another audience")
    authorised = claims.get("azp")
    _expect(authorised in (None, expected.client_id), "it is for another party")
    _expect(len(audiences) == 1 or authorised is not None, "it is for several audiences and names no party")
    expires, issued = claims.get("exp"), claims.get("iat")
    _expect(isinstance(expires, int | float) and expires > expected.now_s - _SKEW_S, "it has expired")
    _expect(isinstance(issued, int | float) and issued < expected.now_s + _SKEW_S, "it is from the future")
    nonce = claims.get("nonce")
    _expect(
        isinstance(nonce, str) and hmac.compare_digest(nonce.encode(), expected.nonce.encode()), "the nonce is wrong"
    )
    if expected.since_s is not None:
        at = claims.get("auth_time")
        _expect(
            isinstance(at, int | float) and at >= expected.since_s - _SKEW_S, "the person was not asked to sign in anew"
        )
    subject, email = claims.get("sub"), claims.get("email")
    _expect(isinstance(subject, str) and 0 < len(subject) <= 255, "it names nobody")  # noqa: PLR2004 - Core, section 2
    if not isinstance(email, str) or claims.get("email_verified") not in (True, "true"):
        raise SignOnError("sso-email", "the provider does not say that it verified the person's address")
    return Identity(str(subject), email.strip().lower())


def _exchange(provider: Provider, client: Client, code: str, verifier: str) -> Flow[str]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": verifier,
    }
    headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")]
    if "client_secret_basic" in provider.token_endpoint_auth_methods_supported:
        pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}"
        headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    else:
        form |= {"client_id": client.id, "client_secret": client.secret}
    body = urlencode(form).encode()
    response = yield from send(Request("POST", provider.token_endpoint, tuple(headers), body, _CAP_BYTES))
    return _json(response, _Tokens).id_token


def _keys(provider: Provider) -> Flow[bytes]:
    def fetch() -> Flow[Lasting[bytes]]:
        response = yield from send(Request("GET", provider.jwks_uri, cap_bytes=_CAP_BYTES))
        if response.status != _OK:
            raise SignOnError("sso-failed", f"the provider answered {response.status} for its keys")
        return Lasting(response.body, _FRESH_S)

    return (yield from shared(("oidc-keys", provider.jwks_uri), fetch))


class _Tokens(msgspec.Struct):
    id_token: str


def _json(response: Response, kind: type[T]) -> T:
    if response.status != _OK:
        raise SignOnError("sso-failed", f"the provider answered {response.status}")
    try:
        return msgspec.json.decode(response.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SignOnError("sso-failed", "the provider's answer cannot be read") from None


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SignOnError("sso-failed", f"the ID token is refused: {otherwise}")
