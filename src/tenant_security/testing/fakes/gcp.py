"""A fake of Google Cloud, as far as wrapping keys goes: Cloud KMS, the token services, the metadata server.

It verifies what Google verifies: RS256 by the public keys that were registered for the issuer, audiences, scopes,
lifetimes, IAM on each key, key states, checksums. The clock is its own, so that tokens can end at once.
"""

import re
import time
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from types import TracebackType
from typing import Final, Self
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

from tenant_security.testing.fakes.gcp_accounts import (
    LIFE_S,
    SCOPE,
    Accounts,
    Provider,
    ServiceAccount,
    unknown_audience,
)
from tenant_security.testing.fakes.gcp_keys import CryptoKey
from tenant_security.testing.fakes.gcp_replies import (
    RefusedError,
    for_reason,
    oauth_refusal,
    permission_denied,
    reason,
    refusal,
    retry_after,
)
from tenant_security.testing.fakes.rsa_keys import rsa_key
from tenant_security.testing.fakes.server import Answered, Asked, FakeServer, answered

METADATA_HOST: Final = "metadata.google.internal"
ENCRYPT: Final = "cloudkms.cryptoKeyVersions.useToEncrypt"
DECRYPT: Final = "cloudkms.cryptoKeyVersions.useToDecrypt"
ACT_AS: Final = "iam.serviceAccounts.getAccessToken"

_CRYPT: Final = re.compile(
    r"/v1/(?P<key>projects/(?P<project>[^/]+)/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/:]+)"
    r"(?:/cryptoKeyVersions/(?P<version>[0-9]+))?:(?P<verb>encrypt|decrypt)"
)
_ACT_AS: Final = re.compile(r"/v1/projects/-/serviceAccounts/(?P<email>[^/:]+):generateAccessToken")
_BOUNDARY: Final = re.compile(r"/v1/projects/-/serviceAccounts/[^/:]+/allowedLocations")
_METADATA: Final = "/computeMetadata/v1/instance/service-accounts/default/token"
_MEMBERS: Final = {
    verb: {member, member + "Crc32c", "additionalAuthenticatedData", "additionalAuthenticatedDataCrc32c"}
    for verb, member in (("encrypt", "plaintext"), ("decrypt", "ciphertext"))
}
_KMS_SCOPES: Final = (SCOPE + "cloudkms", SCOPE + "cloud-platform")


class Project:
    """What can be wrong with a whole project."""

    def __init__(self) -> None:
        self.refuses: str | None = None
        """A reason of ``google.api.ErrorReason``, such as ``BILLING_DISABLED``, for which every call is refused."""
        self.calls_left: int | None = None
        """How many calls its quota still allows; None: any number."""
        self.retry_after_s = 7.0


class FakeGcp(FakeServer):
    """The fake.

    ``seen`` counts ``encrypt``, ``decrypt``, ``token``, ``sts``, ``act-as``, ``boundary`` and ``metadata``.
    """

    hosts: tuple[str, ...] = (
        "cloudkms.googleapis.com",
        "oauth2.googleapis.com",
        "sts.googleapis.com",
        "iamcredentials.googleapis.com",
    )

    def __init__(self) -> None:
        super().__init__()
        self.ahead_s = 0.0
        """How far its clock is ahead of ours."""
        self.accounts = Accounts(self.now_s)
        self.keys: dict[str, CryptoKey] = {}
        self.projects: dict[str, Project] = {}
        self.node: str | None = None
        """The service account of the machine that asks the metadata server; None: it has none."""
        self.metadata_port = 0
        self._allowed: set[tuple[str, str, str]] = set()
        self._lies: dict[str, deque[dict[str, object]]] = {}
        self._metadata: web.AppRunner | None = None

    def now_s(self) -> float:
        """Its time in seconds since 1970."""
        return time.time() + self.ahead_s

    # -- setting the scene ---------------------------------------------------------------------------------------------

    def service_account(self, name: str = "proxy", project: str = "acme-keys") -> ServiceAccount:
        """Make a service account with a key."""
        account = ServiceAccount(f"{name}@{project}.iam.gserviceaccount.com", rsa_key(len(self.accounts.known)))
        self.accounts.known[account.email] = account
        return account

    def provider(self, name: str = "cluster") -> Provider:
        """Make a workload identity pool with a provider that trusts a platform of this name."""
        audience = f"//iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/pool/providers/{name}"
        key = rsa_key(1_000 + len(self.accounts.providers))
        provider = Provider(audience, f"https://{name}.example", key, self.now_s)
        self.accounts.providers[audience] = provider
        return provider

    def key(self, key: str = "wrapping", *, project: str = "acme-keys", purpose: str = "ENCRYPT_DECRYPT") -> CryptoKey:
        """Make a key in the ring ``tenants`` at ``europe-west3``."""
        name = f"projects/{project}/locations/europe-west3/keyRings/tenants/cryptoKeys/{key}"
        self.keys[name] = CryptoKey(name, purpose)
        self.project(project)
        return self.keys[name]

    def project(self, name: str = "acme-keys") -> Project:
        """A project, to have something wrong with it."""
        return self.projects.setdefault(name, Project())

    def allow(self, who: str, resource: str, *permissions: str) -> None:
        """Grant permissions: on a key, on a project as a whole, or on a service account."""
        self._allowed |= {(who, resource, permission) for permission in permissions or (ENCRYPT, DECRYPT)}

    def deny(self, who: str, resource: str, *permissions: str) -> None:
        """Take permissions back."""
        self._allowed -= {(who, resource, permission) for permission in permissions or (ENCRYPT, DECRYPT)}

    def lies(self, name: str, /, **members: object) -> None:
        """Replace members of the next proper reply to requests of that name."""
        self._lies.setdefault(name, deque()).append(members)

    # -- answering -----------------------------------------------------------------------------------------------------

    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word."""
        if (crypt := _CRYPT.fullmatch(asked.path)) is not None:
            return crypt["verb"]
        if _ACT_AS.fullmatch(asked.path):
            return "act-as"
        if _BOUNDARY.fullmatch(asked.path):
            return "boundary"
        return {"/token": "token", "/v1/token": "sts", _METADATA: "metadata"}.get(asked.path, "unknown")

    def answer(self, asked: Asked) -> Answered:
        """Return what Google would."""
        answers = {
            "encrypt": self._crypt,
            "decrypt": self._crypt,
            "token": self._token,
            "sts": self._sts,
            "act-as": self._act_as,
            "boundary": self._boundary,
            "metadata": self._node_token,
        }
        answer = answers.get(self.name(asked))
        try:
            made = _not_found() if answer is None else answer(asked)
        except RefusedError as refused:
            made = refused.answer
        return made._replace(headers=(*made.headers, ("Date", formatdate(self.now_s(), usegmt=True))))

    def _crypt(self, asked: Asked) -> Answered:
        path = _CRYPT.fullmatch(asked.path)
        assert path is not None
        verb = path["verb"]
        body = _json(asked)
        unknown = body.keys() - _MEMBERS[verb]
        if unknown:
            message = f'Invalid JSON payload received. Unknown name "{min(unknown)}": Cannot find field.'
            raise RefusedError(refusal("INVALID_ARGUMENT", message))
        who = self.accounts.caller(asked.headers.get("Authorization", ""), _KMS_SCOPES)
        self._let_through(path["project"])
        permission = ENCRYPT if verb == "encrypt" else DECRYPT
        key = self.keys.get(path["key"])
        if (who, f"projects/{path['project']}", permission) not in self._allowed and (
            key is None or (who, path["key"], permission) not in self._allowed
        ):
            raise RefusedError(permission_denied(permission, path["key"]))
        if key is None:
            raise RefusedError(refusal("NOT_FOUND", f"CryptoKey {path['key']} not found."))
        version = None if path["version"] is None else int(path["version"])
        answer = key.encrypt(body, version) if verb == "encrypt" else key.decrypt(body)
        if "enum-encoding=int" in asked.query:
            answer["protectionLevel"] = 1
        lies = self._lies.get(verb)
        return answered(200, answer | (lies.popleft() if lies else {}))

    def _let_through(self, name: str) -> None:
        project = self.projects.get(name)
        if project is None:
            raise RefusedError(for_reason("CONSUMER_INVALID"))
        if project.refuses is not None:
            raise RefusedError(for_reason(project.refuses))
        if project.calls_left == 0:
            exceeded = "Quota exceeded for quota metric 'Cryptographic requests'."
            details = (reason("RATE_LIMIT_EXCEEDED"), retry_after(project.retry_after_s))
            raise RefusedError(refusal("RESOURCE_EXHAUSTED", exceeded, *details))
        if project.calls_left is not None:
            project.calls_left -= 1

    def _token(self, asked: Asked) -> Answered:
        form = _form(asked)
        grant = form.get("grant_type", "")
        if grant != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            raise RefusedError(oauth_refusal("unsupported_grant_type", f"Invalid grant_type: {grant}"))
        token = self.accounts.granted(form.get("assertion", ""))
        return answered(200, {"access_token": token, "expires_in": LIFE_S - 1, "token_type": "Bearer"})

    def _sts(self, asked: Asked) -> Answered:
        form = _form(asked)
        wanted = {"grant_type": "grant-type:token-exchange", "requested_token_type": "token-type:access_token"}
        for member, value in wanted.items():
            if form.get(member) != f"urn:ietf:params:oauth:{value}":
                raise RefusedError(oauth_refusal("invalid_request", f'Invalid value for "{member}".'))
        if form.get("subject_token_type") != "urn:ietf:params:oauth:token-type:jwt":
            raise RefusedError(oauth_refusal("invalid_request", 'Invalid value for "subject_token_type".'))
        provider = self.accounts.providers.get(form.get("audience", ""))
        if provider is None:
            raise RefusedError(unknown_audience())
        scope = form.get("scope", "")
        if not scope.startswith(SCOPE):
            raise RefusedError(oauth_refusal("invalid_scope", "Invalid OAuth scope provided."))
        token = self.accounts.issue(provider.principal(form.get("subject_token", "")), scope)
        issued = "urn:ietf:params:oauth:token-type:access_token"
        granted = {"access_token": token, "issued_token_type": issued, "token_type": "Bearer", "expires_in": LIFE_S}
        return answered(200, granted)

    def _act_as(self, asked: Asked) -> Answered:
        path = _ACT_AS.fullmatch(asked.path)
        assert path is not None
        scopes = (SCOPE + "cloud-platform", SCOPE + "iam")
        who = self.accounts.caller(asked.headers.get("Authorization", ""), scopes)
        body = _json(asked)
        if (who, path["email"], ACT_AS) not in self._allowed:
            raise RefusedError(permission_denied(ACT_AS, f"projects/-/serviceAccounts/{path['email']}"))
        if path["email"] not in self.accounts.known:
            raise RefusedError(refusal("NOT_FOUND", "Not found; Gaia id not found for email " + path["email"]))
        scope, lifetime = body.get("scope"), body.get("lifetime", f"{LIFE_S}s")
        if not isinstance(scope, list) or not scope or lifetime != f"{LIFE_S}s":
            raise RefusedError(refusal("INVALID_ARGUMENT", "Request contains an invalid argument."))
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.now_s() + LIFE_S))
        token = self.accounts.issue(path["email"], " ".join(scope))
        return answered(200, {"accessToken": token, "expireTime": ends})

    def _boundary(self, _: Asked) -> Answered:
        """Say that nothing bounds where a service account may be used. Google's own libraries ask beforehand."""
        return answered(200, {"locations": [], "encodedLocations": "0x0"})

    def _node_token(self, asked: Asked) -> Answered:
        if asked.headers.get("Metadata-Flavor") != "Google":
            return Answered(403, b"Missing Metadata-Flavor:Google header.", (("Content-Type", "text/html"),))
        if self.node is None:
            return Answered(404, b"", (("Content-Type", "text/html"), ("Metadata-Flavor", "Google")))
        scopes = parse_qs(asked.query).get("scopes", [SCOPE + "cloud-platform"])
        token = self.accounts.issue(self.node, " ".join(scopes[0].split(",")))
        granted = {"access_token": token, "expires_in": LIFE_S - 1, "token_type": "Bearer"}
        return answered(200, granted, ("Metadata-Flavor", "Google"))

    # -- the metadata server, which alone speaks no TLS ----------------------------------------------------------------

    @property
    def dial(self) -> dict[str, tuple[str, int]]:
        """Where to find each host name, for the driver."""
        return super().dial | {METADATA_HOST: ("127.0.0.1", self.metadata_port)}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        app = web.Application()
        app.router.add_get(_METADATA, self._serve)
        self._metadata = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._metadata.setup()
        await web.TCPSite(self._metadata, "127.0.0.1", 0).start()
        self.metadata_port = self._metadata.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._metadata is not None:
            await self._metadata.cleanup()
            self._metadata = None
        await super().__aexit__(kind, fault, trace)


def _not_found() -> Answered:
    return refusal("NOT_FOUND", "The requested URL was not found on this server.")


def _json(asked: Asked) -> Mapping[str, object]:
    if asked.method != "POST" or not asked.headers.get("Content-Type", "").startswith("application/json"):
        raise RefusedError(_not_found())
    try:
        return msgspec.json.decode(asked.body, type=dict[str, object])
    except msgspec.DecodeError:
        raise RefusedError(refusal("INVALID_ARGUMENT", "Invalid JSON payload received.")) from None


def _form(asked: Asked) -> dict[str, str]:
    if asked.method != "POST" or asked.headers.get("Content-Type") != "application/x-www-form-urlencoded":
        raise RefusedError(oauth_refusal("invalid_request", "The request is no form.", 400))
    return {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
