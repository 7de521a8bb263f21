"""Who is who in the fake Google Cloud: service accounts and their keys, workload identity pools, tokens."""

import secrets
from collections.abc import Callable
from typing import Final, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tenant_security.testing.fakes.gcp_replies import RefusedError, for_reason, oauth_refusal, refusal
from tenant_security.testing.fakes.server import Answered

KMS_AUDIENCE: Final = "https://cloudkms.googleapis.com/"
TOKEN_AUDIENCE: Final = "https://oauth2.googleapis.com/token"
SCOPE: Final = "https://www.googleapis.com/auth/"
LIFE_S: Final = 3600

_TIMEFRAME: Final = (
    "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
    " Check your iat and exp values in the JWT claim."
)


class ServiceAccount:
    """A service account with one key, as its owner knows it."""

    def __init__(self, email: str, key: RSAPrivateKey) -> None:
        self.email = email
        self.private_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        self.keys: list[RSAPublicKey] = [key.public_key()]
        """The public keys that Google has of it. Empty: every key was deleted."""
        self.enabled = True

    @property
    def key_file(self) -> dict[str, str]:
        """What Google hands out as JSON, as far as anybody here reads it."""
        return {
            "type": "service_account",
            "client_email": self.email,
            "private_key": self.private_key,
            "token_uri": TOKEN_AUDIENCE,
        }


class Provider:
    """A workload identity pool's provider, and the platform that it trusts."""

    def __init__(self, audience: str, issuer: str, key: RSAPrivateKey, clock: Callable[[], float]) -> None:
        self.audience = audience
        self.issuer = issuer
        self.enabled = True
        self.admits: Callable[[str], bool] = lambda _subject: True
        """The attribute condition: which subjects may come in."""
        self._key = key
        self._clock = clock

    def subject_token(self, subject: str, **claims: object) -> str:
        """Make the token that the platform gives to a workload; ``claims`` replace what it says otherwise."""
        at = int(self._clock())
        usual = {"iss": self.issuer, "aud": "https:" + self.audience, "sub": subject, "iat": at, "exp": at + LIFE_S}
        return jwt.encode(usual | claims, self._key, algorithm="RS256")

    def principal(self, subject_token: str) -> str:
        """Say who shows a token. Raises RefusedError as the token service does."""
        if not self.enabled:
            raise RefusedError(unknown_audience())
        try:
            claims = jwt.decode(
                subject_token,
                self._key.public_key(),
                algorithms=["RS256"],
                audience="https:" + self.audience,
                issuer=self.issuer,
                options={"require": ["sub", "iat", "exp"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise RefusedError(
                oauth_refusal("invalid_grant", "The subject token is not valid for this provider.")
            ) from None
        if not claims["iat"] <= self._clock() < claims["exp"]:
            raise RefusedError(oauth_refusal("invalid_grant", "ID Token is stale to sign-in."))
        if not self.admits(claims["sub"]):
            description = "The given credential is rejected by the attribute condition."
            raise RefusedError(oauth_refusal("unauthorized_client", description))
        return f"principal:{self.audience.removesuffix('/' + self.audience.rpartition('/')[2])}/subject/{claims['sub']}"


def unknown_audience() -> Answered:
    """Refuse an audience that names no provider in use."""
    return oauth_refusal(
        "invalid_target",
        'The target service indicated by the "audience" parameters is invalid. This might either be because the pool or'
        " provider is disabled or deleted or because it doesn't exist.",
    )


class _Issued(NamedTuple):
    who: str
    scope: str
    ends: float


class Accounts:
    """Everybody, and every token that was handed out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.takes_self_signed = True
        """Whether APIs take tokens that a service account signed itself."""
        self.known: dict[str, ServiceAccount] = {}
        self.providers: dict[str, Provider] = {}
        self._issued: dict[str, _Issued] = {}

    def issue(self, who: str, scope: str, life_s: float = LIFE_S) -> str:
        """Hand out an access token."""
        token = f"ya29.{secrets.token_urlsafe(90)}"
        self._issued[token] = _Issued(who, scope, self.clock() + life_s)
        return token

    def revoke_all(self) -> None:
        """Forget every token."""
        self._issued.clear()

    def granted(self, assertion: str) -> str:
        """Exchange an assertion for an access token. Raises RefusedError."""
        claims, account = self._claims(assertion)
        if account is None:
            raise RefusedError(oauth_refusal("invalid_grant", "Invalid grant: account not found"))
        if not account.enabled:
            raise RefusedError(oauth_refusal("disabled_client", "The OAuth client was disabled.", 401))
        if not _signed_by(account, assertion):
            raise RefusedError(oauth_refusal("invalid_grant", "Invalid JWT Signature."))
        if not self._in_time(claims):
            raise RefusedError(oauth_refusal("invalid_grant", _TIMEFRAME))
        if claims.get("aud") != TOKEN_AUDIENCE:
            raise RefusedError(oauth_refusal("invalid_grant", "Invalid JWT: Failed audience check."))
        scope = claims.get("scope")
        if not isinstance(scope, str) or not all(each.startswith(SCOPE) for each in scope.split()) or not scope:
            raise RefusedError(oauth_refusal("invalid_scope", "Invalid OAuth scope or ID token audience provided."))
        return self.issue(account.email, scope)

    def caller(self, authorization: str, scopes: tuple[str, ...]) -> str:
        """Say who sends a request. Raises RefusedError as every API does."""
        kind, _, token = authorization.partition(" ")
        if kind != "Bearer" or not token:
            raise RefusedError(for_reason("CREDENTIALS_MISSING"))
        if not token.startswith("ya29."):
            return self._self_signed(token, scopes)
        issued = self._issued.get(token)
        if issued is None:
            raise RefusedError(for_reason("ACCESS_TOKEN_TYPE_UNSUPPORTED"))
        if issued.ends <= self.clock():
            raise RefusedError(for_reason("ACCESS_TOKEN_EXPIRED"))
        account = self.known.get(issued.who)
        if "@" in issued.who and (account is None or not account.enabled):
            raise RefusedError(for_reason("ACCOUNT_STATE_INVALID"))
        if not set(scopes) & set(issued.scope.split()):
            raise RefusedError(for_reason("ACCESS_TOKEN_SCOPE_INSUFFICIENT"))
        return issued.who

    def _self_signed(self, token: str, wanted: tuple[str, ...]) -> str:
        claims, account = self._claims(token)
        scopes = str(claims.get("scope", "")).split()
        audience_fits = claims.get("aud") == KMS_AUDIENCE or {*wanted} & {*scopes}
        if (
            not self.takes_self_signed
            or account is None
            or claims.get("sub") != account.email
            or not _signed_by(account, token)
            or not self._in_time(claims)
            or not audience_fits
        ):
            raise RefusedError(for_reason("JWT_TOKEN_INVALID"))
        if not account.enabled:
            raise RefusedError(for_reason("ACCOUNT_STATE_INVALID"))
        return account.email

    def _claims(self, token: str) -> tuple[dict[str, object], ServiceAccount | None]:
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            raise RefusedError(refusal("UNAUTHENTICATED", "Request had invalid authentication credentials.")) from None
        return claims, self.known.get(str(claims.get("iss")))

    def _in_time(self, claims: dict[str, object]) -> bool:
        issued, ends, now = claims.get("iat"), claims.get("exp"), self.clock()
        if not isinstance(issued, int) or not isinstance(ends, int):
            return False
        return issued <= now < ends and ends - issued <= LIFE_S


def _signed_by(account: ServiceAccount, token: str) -> bool:
    for key in account.keys:
        try:
            jwt.decode(
                token,
                key,
                algorithms=["RS256"],
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            continue
        return True
    return False
