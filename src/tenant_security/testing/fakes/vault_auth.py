"""Who is who in the fake Vault: AppRoles, Kubernetes and JWT roles, tokens with lives and uses, policies."""

import re
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Final

import jwt

from tenant_security.testing.fakes.rsa_keys import rsa_key
from tenant_security.testing.fakes.vault_transit import RefusedError

PLATFORM_AUDIENCE: Final = "vault"

_PLATFORM: Final = 9_500
_DEFAULT_POLICY: Final = {"auth/token/lookup-self": frozenset({"read"}), "auth/token/renew-self": frozenset({"update"})}
_PERMISSION_DENIED: Final = "permission denied"

Policy = Mapping[str, frozenset[str]]
"""Capabilities by path; ``+`` stands for one segment, a ``*`` at the end for the rest."""


class Token:
    """A token. Units: ``ends`` in seconds since 1970; None: never."""

    def __init__(self, policies: tuple[str, ...], ends: float | None, uses_left: int) -> None:
        self.id = f"hvs.{secrets.token_urlsafe(48)}"
        self.policies = policies
        self.ends = ends
        self.uses_left = uses_left
        """0: any number. Vault revokes a token with its last use."""


class Role:
    """What all roles say about the tokens that they give."""

    def __init__(self, policies: tuple[str, ...]) -> None:
        self.policies = policies
        self.token_ttl_s = 3600
        self.token_num_uses = 0


class AppRole(Role):
    """A role of the AppRole auth method."""

    def __init__(self, policies: tuple[str, ...], clock: Callable[[], float]) -> None:
        super().__init__(policies)
        self.role_id = str(uuid.uuid4())
        self.secret_ids: dict[str, list[float]] = {}
        """Each secret id: when it ends, and how many uses it has left (0: any number)."""
        self.bound_elsewhere = False
        """Whether its bound CIDRs leave the caller's address out."""
        self._clock = clock

    def secret_id(self, life_s: float = 86_400.0, uses: int = 0) -> str:
        """Make a secret id."""
        made = str(uuid.uuid4())
        self.secret_ids[made] = [self._clock() + life_s, uses]
        return made

    def check(self, secret_id: str) -> None:
        """Use a secret id. Raises RefusedError."""
        kept = self.secret_ids.get(secret_id)
        if kept is None or kept[0] <= self._clock():
            raise RefusedError(400, "invalid role or secret ID")
        if self.bound_elsewhere:
            raise RefusedError(400, 'source address "127.0.0.1" unauthorized by CIDR restrictions on the role')
        if kept[1]:
            kept[1] -= 1
            if kept[1] == 0:
                del self.secret_ids[secret_id]


class PlatformRole(Role):
    """A role of the Kubernetes or the JWT auth method, bound to one service account."""

    def __init__(self, policies: tuple[str, ...], subject: str, clock: Callable[[], float]) -> None:
        super().__init__(policies)
        self.subject = subject
        self._clock = clock

    def check(self, token: str, *, of_kubernetes: bool) -> None:
        """Check a service account's token. Raises RefusedError."""
        try:
            claims = jwt.decode(
                token,
                rsa_key(_PLATFORM).public_key(),
                algorithms=["RS256"],
                audience=PLATFORM_AUDIENCE,
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise _bad_platform_token("invalid signature", of_kubernetes=of_kubernetes) from None
        if claims.get("exp", 0) <= self._clock():
            raise _bad_platform_token("token is expired", of_kubernetes=of_kubernetes)
        if claims.get("sub") != self.subject:
            raise RefusedError(403, "service account name not authorized")


def platform_token(clock: Callable[[], float], subject: str, **claims: object) -> str:
    """Make the token that Kubernetes gives to a pod; ``claims`` replace what it says otherwise."""
    at = int(clock())
    usual = {"iss": "https://kubernetes.default.svc", "aud": PLATFORM_AUDIENCE, "sub": subject, "exp": at + 3600}
    return jwt.encode(usual | claims, rsa_key(_PLATFORM), algorithm="RS256")


class Tokens:
    """The tokens and policies of one namespace."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.policies: dict[str, Policy] = {"default": _DEFAULT_POLICY}
        self._clock = clock
        self._known: dict[str, Token] = {}

    def issue(self, policies: tuple[str, ...], ttl_s: float | None = None, num_uses: int = 0) -> Token:
        """Hand out a token."""
        ends = None if ttl_s is None else self._clock() + ttl_s
        token = Token(("default", *policies), ends, num_uses)
        self._known[token.id] = token
        return token

    def revoke_all(self) -> None:
        """Forget every token."""
        self._known.clear()

    def used(self, token_id: str) -> Token:
        """Count a use of a token. Raises RefusedError when it is not good, or no longer."""
        token = self._known.get(token_id)
        if token is None or (token.ends is not None and token.ends <= self._clock()):
            raise RefusedError(403, _PERMISSION_DENIED)
        if token.uses_left:
            token.uses_left -= 1
            if token.uses_left == 0:
                del self._known[token_id]
        return token

    def check(self, token: Token, path: str, capability: str) -> None:
        """Hold a use to the token's policies. Raises RefusedError."""
        for name in token.policies:
            for pattern, capabilities in self.policies.get(name, {}).items():
                if _covers(pattern, path) and capability in capabilities:
                    return
        raise RefusedError(403, f"1 error occurred:\n\t* {_PERMISSION_DENIED}\n\n")

    def described(self, token: Token) -> dict[str, object]:
        """What a token is told about itself."""
        ttl = 0 if token.ends is None else int(token.ends - self._clock())
        return {
            "id": token.id,
            "policies": sorted(token.policies),
            "ttl": ttl,
            "num_uses": token.uses_left,
            "renewable": token.ends is not None,
            "type": "service",
        }


def auth_of(token: Token, role: Role) -> dict[str, object]:
    """What a login grants."""
    return {
        "client_token": token.id,
        "accessor": secrets.token_hex(12),
        "policies": sorted(token.policies),
        "token_policies": sorted(token.policies),
        "lease_duration": role.token_ttl_s,
        "renewable": True,
        "num_uses": role.token_num_uses,
        "token_type": "service",
    }


def _covers(pattern: str, path: str) -> bool:
    text = re.escape(pattern.removesuffix("*")).replace(r"\+", "[^/]+")
    return re.fullmatch(text + (".*" if pattern.endswith("*") else ""), path) is not None


def _bad_platform_token(why: str, *, of_kubernetes: bool) -> RefusedError:
    if of_kubernetes:
        return RefusedError(403, _PERMISSION_DENIED)
    return RefusedError(400, f"error validating token: {why}")
