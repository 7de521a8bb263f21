"""Signing in to Vault or OpenBao: an AppRole, the proxy's own service account, or a token as it stands.

A token that we signed in for is used for four fifths of its lease and then got anew; renewing one needs a call too, and
ends at a maximum. Where a role limits how often a token may be used, we count with it.

Source: Vault API, "AppRole Auth Method", "Kubernetes Auth Method", "JWT/OIDC Auth Method": each one's Login.
"""

import hashlib
import re
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.own_identity import may_be_itself
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.kms.vault.errors import PROVIDER, fault, invalid, unusable
from tenant_security.outbound.flow import ON_ITS_WAY_S, Flow, Lasting, Request, read_file, send
from tenant_security.secret import Secret
from tenant_security.wire.kms.vault import VaultCredentials

CAP_BYTES: Final = 65_536
OK: Final = 200

TOKEN_FILE: Final = "VAULT_SERVICE_ACCOUNT_TOKEN_FILE"  # noqa: S105 - a variable's name
"""The variable of the proxy's environment that says where Kubernetes puts a token for Vault."""

USUAL_TOKEN_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105 - a path
"""Where Kubernetes puts a pod's token. Source: Kubernetes, "Configure Service Accounts for Pods"."""

_USED: Final = 0.8
_LONGEST_S: Final = 86_400.0
_TOKEN: Final = re.compile(r"[!-~]{1,8192}")
_OWN_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,16384}")


class Server(NamedTuple):
    """Where we talk to. ``base`` ends before ``/v1``; ``namespace`` and ``authorities`` (PEM) may be empty."""

    base: str
    namespace: str
    authorities: bytes

    def request(self, method: str, path: str, body: bytes, token: Secret[str] | None) -> Request:
        """Make a request to ``/v1/<path>``. With ``X-Vault-Request``, an agent on the way knows that it is meant."""
        headers = [("X-Vault-Request", "true"), ("Accept", "application/json")]
        if body:
            headers.append(("Content-Type", "application/json"))
        if self.namespace:
            headers.append(("X-Vault-Namespace", self.namespace))
        if token is not None:
            headers.append(("X-Vault-Token", token.reveal()))
        url = f"{self.base}/v1/{path}"
        return Request(method, url, tuple(headers), body, CAP_BYTES, authorities=self.authorities)


class Session:
    """A token, since when we have it, and how often it may still be used (None: without end).

    Owner: the flows of one driver, which change it between two awaits only.
    """

    __slots__ = ("born", "token", "uses_left")

    def __init__(self, token: Secret[str], born: datetime, uses_left: int | None = None) -> None:
        self.token = token
        self.born = born
        self.uses_left = uses_left

    def take(self) -> bool:
        """Count one use. False when there is none left."""
        if self.uses_left is None:
            return True
        self.uses_left -= 1
        return self.uses_left >= 0


class SignIn(NamedTuple):
    """How to get a token: ``secret_id`` for an AppRole, else ``token_file`` for the proxy's own service account."""

    mount: str
    role: str
    secret_id: Secret[str] | None
    token_file: Path | None

    def key(self, server: Server) -> bytes:
        """The name under which the token is shared.

        It is a digest over everything that proves the right to it, the secret id included: whoever merely knows a role
        id does not share its token.
        """
        proof = [
            *server,
            self.mount,
            self.role,
            None if self.secret_id is None else self.secret_id.reveal(),
            None if self.token_file is None else str(self.token_file),
        ]
        return b"vault:" + hashlib.sha256(msgspec.json.encode(proof)).digest()


class _Auth(msgspec.Struct):
    """What a login grants. Units: ``lease_duration`` in seconds; 0: without end."""

    client_token: str
    lease_duration: float
    num_uses: int = 0


class _Login(msgspec.Struct):
    """The reply to a login."""

    auth: _Auth


def sign_in_with(credentials: VaultCredentials, context: KmsContext) -> SignIn | Secret[str]:
    """Say how to get a token with these credentials, or return the token that they are.

    Raises: KmsFaultError 207 when they cannot work, or may not be used.
    """
    if credentials.token is not None:
        if not _TOKEN.fullmatch(credentials.token.reveal()):
            raise invalid("credentials.token holds a space or a character that no token has")
        return credentials.token
    if credentials.secret_id is not None and credentials.role_id is not None:
        if not credentials.secret_id.reveal().isprintable():
            raise invalid("credentials.secretId holds a character that no secret id has, such as a line break")
        return SignIn(credentials.auth_mount or "approle", credentials.role_id, credentials.secret_id, None)
    may_be_itself(PROVIDER, context, "credentials.workloadIdentity", "use an AppRole")
    file = context.environ.get(TOKEN_FILE) or USUAL_TOKEN_FILE
    return SignIn(credentials.auth_mount or "kubernetes", credentials.role or "", None, Path(file))


def session(server: Server, way: SignIn, context: KmsContext) -> Flow[Lasting[Session]]:
    """Sign in.

    Raises: KmsFaultError 206-209; UnreachableError.
    """
    if way.secret_id is not None:
        proof = {"role_id": way.role, "secret_id": way.secret_id.reveal()}
    else:
        assert way.token_file is not None
        proof = {"role": way.role, "jwt": (yield from _own_token(way.token_file))}
    request = server.request("POST", f"auth/{way.mount}/login", msgspec.json.encode(proof), None)
    response = yield from send(request)
    if response.status != OK:
        raise fault(Phase.TOKEN, response)
    try:
        auth = msgspec.json.decode(response.body, type=_Login).auth
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unusable(Phase.TOKEN, "the answer holds no token") from None
    if not _TOKEN.fullmatch(auth.client_token) or not auth.lease_duration >= 0:
        raise unusable(Phase.TOKEN, "the answer holds no usable token")
    life_s = min(auth.lease_duration or _LONGEST_S, _LONGEST_S)
    uses = auth.num_uses if auth.num_uses > 0 else None
    return Lasting(Session(Secret(auth.client_token), context.now(), uses), life_s * _USED, life_s - ON_ITS_WAY_S)


def _own_token(file: Path) -> Flow[str]:
    """Read the proxy's own token anew each time: Kubernetes renews the file."""
    try:
        text = (yield from read_file(file)).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not _OWN_TOKEN.fullmatch(text):
        raise KmsFaultError(
            Code.KMS_AUTHORIZATION_FAILED,
            f"{PROVIDER.name} did not sign us in: the proxy's own token file cannot be read. "
            f"Its operator must check {TOKEN_FILE}.",
            provider=PROVIDER.id,
            provider_code="TokenFile",
        )
    return text
