"""A fake of HashiCorp Vault and OpenBao, as far as wrapping keys goes: auth methods, policies, the Transit engine.

It verifies what the real one verifies: the token, its life and its uses, its policies on the very path, the namespace,
key versions and their bounds. The clock is its own, so that tokens can end at once.
"""

import re
import time
import uuid
from typing import Final

import msgspec

from tenant_security.testing.fakes.server import Answered, Asked, FakeServer, answered
from tenant_security.testing.fakes.vault_auth import (
    AppRole,
    PlatformRole,
    Policy,
    Role,
    Token,
    Tokens,
    auth_of,
    platform_token,
)
from tenant_security.testing.fakes.vault_transit import AES, RefusedError, TransitKey

HOST: Final = "vault.acme.example"
SUBJECT: Final = "system:serviceaccount:vendor:tenant-security-proxy"

TO_WRAP: Final[Policy] = {
    "transit/encrypt/wrapping": frozenset({"update"}),
    "transit/decrypt/wrapping": frozenset({"update"}),
}
"""The policy that a tenant should write, for the key ``wrapping``."""

_LOGIN: Final = re.compile(r"auth/(?P<mount>.+)/login")
_TRANSIT: Final = re.compile(r"(?P<mount>.+)/(?P<verb>encrypt|decrypt|keys)/(?P<key>[^/]+)")
_WRITES: Final = ("POST", "PUT")


class Namespace:
    """One namespace: what is mounted in it, and who may do what."""

    def __init__(self, fake: "FakeVault") -> None:
        self.tokens = Tokens(fake.now_s)
        self.engines: dict[str, dict[str, TransitKey]] = {}
        self.app_roles: dict[str, dict[str, AppRole]] = {}
        """AppRoles by mount and role id."""
        self.platform_roles: dict[str, dict[str, PlatformRole]] = {}
        """Roles of the Kubernetes and JWT auth methods by mount and name."""
        self._clock = fake.now_s

    def key(
        self, name: str = "wrapping", kind: str = AES, *, mount: str = "transit", derived: bool = False
    ) -> TransitKey:
        """Make a Transit key."""
        made = TransitKey(name, kind, derived=derived)
        self.engines.setdefault(mount, {})[name] = made
        return made

    def policy(self, name: str = "wrap", rules: Policy = TO_WRAP) -> str:
        """Write a policy."""
        self.tokens.policies[name] = rules
        return name

    def app_role(self, *policies: str, mount: str = "approle") -> AppRole:
        """Make an AppRole."""
        made = AppRole(policies or (self.policy(),), self._clock)
        self.app_roles.setdefault(mount, {})[made.role_id] = made
        return made

    def platform_role(self, name: str = "proxy", *policies: str, mount: str = "kubernetes") -> PlatformRole:
        """Make a role of the Kubernetes auth method, or of the JWT one where the mount says ``jwt``."""
        made = PlatformRole(policies or (self.policy(),), SUBJECT, self._clock)
        self.platform_roles.setdefault(mount, {})[name] = made
        return made


class FakeVault(FakeServer):
    """One server. ``seen`` counts ``login``, ``lookup``, ``encrypt``, ``decrypt``, ``keys`` and ``other``."""

    hosts = (HOST,)
    is_public = False

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0
        """How far its clock is ahead of ours."""
        self.sealed = False
        self.standby = False
        """Whether this node waits for others to serve."""
        self.requests_left: int | None = None
        """How many more requests its rate limit quota allows; None: any number."""
        self.retry_after_s = 7
        self.namespaces: dict[str, Namespace] = {"": Namespace(self)}

    @property
    def root(self) -> Namespace:
        """The namespace that has no name."""
        return self.namespaces[""]

    def namespace(self, name: str) -> Namespace:
        """Make a namespace."""
        return self.namespaces.setdefault(name, Namespace(self))

    def now_s(self) -> float:
        """Its time in seconds since 1970."""
        return time.time() + self.ahead_s

    def platform_token(self, subject: str = SUBJECT, **claims: object) -> str:
        """Make the token that Kubernetes gives to a pod."""
        return platform_token(self.now_s, subject, **claims)

    # -- answering -----------------------------------------------------------------------------------------------------

    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word."""
        path = asked.path.removeprefix("/v1/")
        if _LOGIN.fullmatch(path):
            return "login"
        if path.endswith("auth/token/lookup-self"):
            return "lookup"
        transit = _TRANSIT.fullmatch(path)
        return "other" if transit is None else transit["verb"]

    def answer(self, asked: Asked) -> Answered:
        """Return what the real one would."""
        try:
            return self._answer(asked)
        except RefusedError as refused:
            return refused.answer

    def _answer(self, asked: Asked) -> Answered:
        if asked.path in ("/v1/sys/health", "/v1/sys/seal-status"):
            state = {"initialized": True, "sealed": self.sealed, "standby": self.standby, "version": "2.0.0"}
            return answered(503 if self.sealed and asked.path.endswith("health") else 200, state)
        if self.sealed:
            raise RefusedError(503, "Vault is sealed")
        if self.standby:
            raise RefusedError(503, "local node not active but active cluster node not found")
        space, path = self._place(asked)
        if self.requests_left is not None:
            if self.requests_left <= 0:
                text = f'1 error occurred:\n\t* request path "{path}": rate limit quota exceeded\n\n'
                raise RefusedError(429, text, headers=(("Retry-After", str(self.retry_after_s)),))
            self.requests_left -= 1
        if (login := _LOGIN.fullmatch(path)) is not None and asked.method in _WRITES:
            return self._login(space, login["mount"], _json(asked))
        token = space.tokens.used(asked.headers.get("X-Vault-Token", ""))
        if path == "auth/token/lookup-self":
            space.tokens.check(token, path, "read")
            return _data(space.tokens.described(token))
        return self._transit(space, token, path, asked)

    def _place(self, asked: Asked) -> tuple[Namespace, str]:
        """Find the namespace, which a header names or the address."""
        name = asked.headers.get("X-Vault-Namespace", "").strip("/")
        path = asked.path.removeprefix("/v1/")
        if not asked.path.startswith("/v1/"):
            raise RefusedError(404)
        for each in sorted(self.namespaces, key=len, reverse=True):
            if each and not name and path.startswith(each + "/"):
                return self.namespaces[each], path.removeprefix(each + "/")
        if name not in self.namespaces:
            raise RefusedError(403, "1 error occurred:\n\t* permission denied\n\n")
        return self.namespaces[name], path

    @staticmethod
    def _login(space: Namespace, mount: str, body: dict[str, object]) -> Answered:
        role: Role
        if mount in space.app_roles:
            for member in ("role_id", "secret_id"):
                if not body.get(member):
                    raise RefusedError(400, f"missing {member}")
            known = space.app_roles[mount].get(str(body["role_id"]))
            if known is None:
                raise RefusedError(400, "invalid role or secret ID")
            known.check(str(body["secret_id"]))
            role = known
        elif mount in space.platform_roles:
            name, token = str(body.get("role", "")), str(body.get("jwt", ""))
            if not name or not token:
                raise RefusedError(400, "missing role" if not name else "missing jwt")
            named = space.platform_roles[mount].get(name)
            if named is None:
                raise RefusedError(400, f'invalid role name "{name}"')
            named.check(token, of_kubernetes=not mount.startswith("jwt"))
            role = named
        else:
            raise RefusedError(403, "permission denied")
        token_made = space.tokens.issue(role.policies, role.token_ttl_s, role.token_num_uses)
        return answered(200, {"request_id": str(uuid.uuid4()), "auth": auth_of(token_made, role)})

    @staticmethod
    def _transit(space: Namespace, token: Token, path: str, asked: Asked) -> Answered:
        where = _TRANSIT.fullmatch(path)
        engine = None if where is None else space.engines.get(where["mount"])
        key = None if where is None or engine is None else engine.get(where["key"])
        if where is not None and where["verb"] == "keys":
            capability = "read" if asked.method == "GET" else "update" if key is not None else "create"
        else:
            # To encrypt with a key that is not there is to create it; to decrypt with one is not.
            missing = where is not None and where["verb"] == "encrypt" and key is None
            capability = "create" if missing else "update"
        space.tokens.check(token, path, capability)
        if where is None or engine is None:
            raise RefusedError(404, f'no handler for route "{path}". route entry not found.')
        if where["verb"] == "keys":
            if key is None and asked.method == "GET":
                raise RefusedError(404)
            key = key or engine.setdefault(where["key"], TransitKey(where["key"]))
            return _data(key.described())
        if asked.method not in _WRITES:
            raise RefusedError(405, "unsupported operation")
        body = _json(asked)
        if where["verb"] == "encrypt":
            key = key or engine.setdefault(where["key"], TransitKey(where["key"]))
            return _data(key.encrypt(body))
        if key is None:
            raise RefusedError(400, "encryption key not found")
        return _data(key.decrypt(body))


def _data(found: dict[str, object]) -> Answered:
    body = {"request_id": str(uuid.uuid4()), "lease_id": "", "renewable": False, "lease_duration": 0, "data": found}
    return answered(200, body)


def _json(asked: Asked) -> dict[str, object]:
    try:
        return msgspec.json.decode(asked.body or b"{}", type=dict[str, object])
    except msgspec.DecodeError:
        raise RefusedError(400, "error parsing JSON") from None
