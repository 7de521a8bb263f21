"""A fake of Azure, as far as wrapping keys goes: Entra ID's token endpoint, Key Vault and Managed HSM.

It verifies what Azure verifies: who an application is, for what a token was issued, by which directory and until when,
permissions for each operation, key states and versions. The clock is its own, so that tokens can end at once.
"""

import re
import time
import uuid
from typing import Final
from urllib.parse import parse_qs

import msgspec

from tenant_security.testing.fakes.azure_entra import Application, Directory, Entra, RefusedError, entra_refusal
from tenant_security.testing.fakes.azure_keys import OPERATIONS, VaultKey, not_found, refusal
from tenant_security.testing.fakes.server import Answered, Asked, FakeServer, answered

LOGIN_HOST: Final = "login.microsoftonline.com"
API_VERSIONS: Final = frozenset({"7.0", "7.1", "7.2", "7.3", "7.4", "7.5", "7.6", "2025-07-01"})
USUAL_PERMISSIONS: Final = ("wrapKey", "unwrapKey")

_TOKEN: Final = re.compile(r"/(?P<directory>[^/]+)/oauth2/v2\.0/token")
_OPENID: Final = re.compile(r"/(?P<directory>[^/]+)/v2\.0/\.well-known/openid-configuration")
_INSTANCE: Final = "/common/discovery/instance"
_KEY: Final = re.compile(r"/keys/(?P<key>[0-9A-Za-z-]+)(/(?P<version>[0-9A-Za-z]*))??(/(?P<verb>[a-z]+))?/?")


class Vault:
    """One vault or Managed HSM, of one directory."""

    def __init__(self, host: str, directory: Directory, *, rbac: bool) -> None:
        self.host = host
        self.directory = directory
        self.rbac = rbac
        """Whether roles decide, or access policies."""
        self.keys: dict[str, VaultKey] = {}
        self.allowed: set[tuple[str, str, str]] = set()
        """Client id, key, permission."""
        self.refuses: str | None = None
        """An inner code for which every call is refused, such as ``ForbiddenByFirewall``."""
        self.calls_left: int | None = None
        """How many calls its limit still allows; None: any number."""
        self.retry_after_s = 7
        self.deleted = False
        """A deleted vault's name does not resolve."""

    @property
    def resource(self) -> str:
        """What a token must be for."""
        return f"https://{self.host.partition('.')[2]}"

    @property
    def url(self) -> str:
        """Its address."""
        return f"https://{self.host}"

    def key(self, name: str = "wrapping", kind: str = "RSA", bits: int = 2048) -> VaultKey:
        """Make a key."""
        self.keys[name] = VaultKey(self.url, name, kind, bits, len(self.keys))
        return self.keys[name]

    def allow(self, application: Application, key: VaultKey, *permissions: str) -> None:
        """Grant permissions on a key: ``wrapKey`` and ``unwrapKey`` unless others are named."""
        self.allowed |= {(application.client_id, key.name, each) for each in permissions or USUAL_PERMISSIONS}

    def deny(self, application: Application, key: VaultKey, *permissions: str) -> None:
        """Take permissions back."""
        self.allowed -= {(application.client_id, key.name, each) for each in permissions or USUAL_PERMISSIONS}


class FakeAzure(FakeServer):
    """The fake.

    ``seen`` counts ``token``, ``wrapkey``, ``unwrapkey``, ``encrypt``, ``decrypt``, ``get``, and ``discovery``.
    """

    hosts: tuple[str, ...] = (
        LOGIN_HOST,
        "login.microsoftonline.us",
        "*.vault.azure.net",
        "*.managedhsm.azure.net",
        "*.vault.usgovcloudapi.net",
    )

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0
        """How far its clock is ahead of ours."""
        self.entra = Entra(self.now_s)
        self.vaults: dict[str, Vault] = {}

    def now_s(self) -> float:
        """Its time in seconds since 1970."""
        return time.time() + self.ahead_s

    # -- setting the scene ---------------------------------------------------------------------------------------------

    def directory(self) -> Directory:
        """Make a directory."""
        made = Directory(str(uuid.uuid4()))
        self.entra.directories[made.guid] = made
        return made

    def application(self, directory: Directory) -> Application:
        """Register an application in a directory."""
        made = Application(self.now_s)
        directory.applications[made.client_id] = made
        return made

    def vault(
        self, directory: Directory, name: str = "acme", suffix: str = "vault.azure.net", *, rbac: bool = True
    ) -> Vault:
        """Make a vault, or with ``managedhsm.azure.net`` a Managed HSM."""
        made = Vault(f"{name}.{suffix}", directory, rbac=rbac)
        self.vaults[made.host] = made
        return made

    # -- answering -----------------------------------------------------------------------------------------------------

    def found(self, host: str) -> tuple[str, int] | None:
        """Where to find a host name. Only vaults that exist have one."""
        vault = self.vaults.get(host)
        if host not in self.hosts and (vault is None or vault.deleted):
            return None
        return "127.0.0.1", self.port

    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word."""
        if asked.host.startswith("login."):
            if _TOKEN.fullmatch(asked.path):
                return "token"
            return "discovery" if asked.path == _INSTANCE or _OPENID.fullmatch(asked.path) else "unknown"
        path = _KEY.fullmatch(asked.path)
        verb = None if path is None else path["verb"]
        return verb if verb in OPERATIONS else "unknown" if path is None else "get"

    def answer(self, asked: Asked) -> Answered:
        """Return what Azure would."""
        try:
            made = self._entra(asked) if asked.host.startswith("login.") else self._vault(asked)
        except RefusedError as refused:
            made = refused.answer
        return made._replace(headers=(*made.headers, ("x-ms-request-id", str(uuid.uuid4()))))

    def _entra(self, asked: Asked) -> Answered:
        login = f"https://{asked.host}"
        if asked.path == _INSTANCE:
            wanted = parse_qs(asked.query).get("authorization_endpoint", [f"{login}/common"])[0]
            directory = wanted.split("/")[3]
            endpoint = f"{login}/{directory}/v2.0/.well-known/openid-configuration"
            alias = {"preferred_network": asked.host, "preferred_cache": asked.host, "aliases": [asked.host]}
            return answered(200, {"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [alias]})
        if (path := _OPENID.fullmatch(asked.path)) is not None:
            guid = path["directory"]
            if guid not in self.entra.directories:
                raise RefusedError(entra_refusal(90002))
            return answered(
                200,
                {
                    "token_endpoint": f"{login}/{guid}/oauth2/v2.0/token",
                    "authorization_endpoint": f"{login}/{guid}/oauth2/v2.0/authorize",
                    "issuer": f"{login}/{guid}/v2.0",
                    "jwks_uri": f"{login}/{guid}/discovery/v2.0/keys",
                },
            )
        path = _TOKEN.fullmatch(asked.path)
        form_type = "application/x-www-form-urlencoded"
        if path is None or asked.method != "POST" or not asked.headers.get("Content-Type", "").startswith(form_type):
            raise RefusedError(entra_refusal(900144, status=404 if path is None else 400))
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        return answered(200, self.entra.grant(path["directory"], form), ("Cache-Control", "no-store, no-cache"))

    def _vault(self, asked: Asked) -> Answered:
        vault = self.vaults.get(asked.host)
        path = _KEY.fullmatch(asked.path)
        if vault is None or path is None:
            raise RefusedError(refusal(404, "NotFound", "The requested resource does not exist."))
        if parse_qs(asked.query).get("api-version", [""])[0] not in API_VERSIONS:
            raise RefusedError(refusal(400, "BadParameter", "The specified version is not recognized."))
        client_id = self._caller(asked, vault)
        self._let_through(vault)
        verb = path["verb"]
        if (asked.method, verb) != ("GET", None) and (asked.method != "POST" or verb not in OPERATIONS):
            raise RefusedError(refusal(405, "MethodNotAllowed", "The request has an invalid method."))
        permission = "get" if verb is None else OPERATIONS[verb]
        if (client_id, path["key"], permission) not in vault.allowed:
            raise RefusedError(_denied(vault, client_id, permission))
        key = vault.keys.get(path["key"])
        if key is None:
            raise RefusedError(not_found(path["key"]))
        if verb is None:
            return answered(200, key.described(path["version"] or ""))
        return answered(200, key.use(verb, path["version"] or "", _json(asked), self.now_s()))

    def _caller(self, asked: Asked, vault: Vault) -> str:
        """Say which application shows a token that is good here. Raises RefusedError."""
        kind, _, token = asked.headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not token:
            raise RefusedError(_challenge(vault, "AKV10000: Request is missing a Bearer or PoP token."))
        claims = self.entra.verified(token)
        if claims is None:
            raise RefusedError(_challenge(vault, "AKV10046: Unable to resolve the key used for signature validation."))
        if claims["aud"] != vault.resource:
            message = f"AKV10022: Invalid audience. Expected {vault.resource}, found: {claims['aud']}."
            raise RefusedError(_challenge(vault, message))
        if claims["tid"] != vault.directory.guid or claims["iss"] != f"https://sts.windows.net/{claims['tid']}/":
            expected = f"https://sts.windows.net/{vault.directory.guid}/"
            message = f"AKV10032: Invalid issuer. Expected one of {expected}, found {claims['iss']}."
            raise RefusedError(_challenge(vault, message))
        times = [claims[name] for name in ("nbf", "exp", "iat")]
        begins, ends, issued = (at if isinstance(at, int) else 0 for at in times)
        if not begins <= self.now_s() < ends or issued < self.entra.revoked_before:
            raise RefusedError(_challenge(vault, "Lifetime validation failed. The token is expired.", "invalid_token"))
        application = vault.directory.applications.get(str(claims["appid"]))
        if application is None:
            raise RefusedError(_challenge(vault, "AKV10015: The application is not known.", "invalid_token"))
        return application.client_id

    @staticmethod
    def _let_through(vault: Vault) -> None:
        if vault.calls_left == 0:
            message = "Request was not processed because too many requests were received."
            raise RefusedError(refusal(429, "Throttled", message, "", ("Retry-After", str(vault.retry_after_s))))
        if vault.calls_left is not None:
            vault.calls_left -= 1
        if vault.refuses is not None:
            raise RefusedError(refusal(403, "Forbidden", "Client address is not authorized.", vault.refuses))


def _denied(vault: Vault, client_id: str, permission: str) -> Answered:
    if vault.rbac:
        message = f"Caller is not authorized to perform action on resource. Caller: appid={client_id}"
        return refusal(403, "Forbidden", message, "ForbiddenByRbac")
    message = f"The user, group or application 'appid={client_id}' does not have keys {permission} permission."
    return refusal(403, "Forbidden", message, "ForbiddenByPolicy")


def _challenge(vault: Vault, message: str, error: str = "") -> Answered:
    parts = [
        f'authorization="https://{LOGIN_HOST}/{vault.directory.guid}"',
        f'resource="{vault.resource}"',
    ]
    if error:
        parts.append(f'error="{error}"')
    return refusal(401, "Unauthorized", message, "", ("WWW-Authenticate", "Bearer " + ", ".join(parts)))


def _json(asked: Asked) -> dict[str, object]:
    if not asked.headers.get("Content-Type", "").startswith("application/json"):
        raise RefusedError(refusal(415, "UnsupportedMediaType", "The request has an invalid content type."))
    try:
        return msgspec.json.decode(asked.body, type=dict[str, object])
    except msgspec.DecodeError:
        raise RefusedError(refusal(400, "BadParameter", "The request body is not JSON.")) from None
