"""Access tokens of Entra ID: for an application with a secret, or for the proxy's own workload identity.

Source: Microsoft identity platform, "OAuth 2.0 client credentials flow"; Entra workload ID, "Workload identity
federation"; the variables are those that Azure's workload identity webhook sets.
"""

import hashlib
import re
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.azure.clouds import PROVIDER, Cloud, invalid
from tenant_security.kms.azure.errors import token_fault, unusable
from tenant_security.kms.own_identity import may_be_itself
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.outbound import entra
from tenant_security.outbound.flow import Flow, Lasting, read_file, send
from tenant_security.secret import Secret
from tenant_security.wire.kms.azure import AzureCredentials

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""What Entra ID calls a token of another issuer that stands in for a secret. Source: RFC 7523, section 2.2."""

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_OK: Final = 200


class SignIn(NamedTuple):
    """How to get a token: exactly one of ``secret`` and ``token_file`` is given."""

    login: str
    """The address of the cloud's or the operator's login service, without a slash at its end."""
    of_operator: bool
    client_id: str
    tenant_guid: str
    scope: str
    secret: Secret[str] | None
    token_file: Path | None

    def key(self) -> bytes:
        """The name under which the token is shared.

        It is a digest over everything that proves the right to it, the secret included: whoever merely knows a
        tenant's application id does not share its token.
        """
        parts = [
            self.login,
            self.client_id,
            self.tenant_guid,
            self.scope,
            None if self.secret is None else self.secret.reveal(),
            None if self.token_file is None else str(self.token_file),
        ]
        return b"azure:" + hashlib.sha256(msgspec.json.encode(parts)).digest()


def sign_in(credentials: AzureCredentials, cloud: Cloud, context: KmsContext) -> SignIn:
    """Say how to get a token with these credentials.

    Raises: KmsFaultError 207 when they cannot work, or may not be used.
    """
    if credentials.workload_identity:
        return _as_ourselves(credentials, cloud, context)
    secret = credentials.client_secret
    assert secret is not None
    text = secret.reveal()
    if not text.isprintable() or text != text.strip():
        raise invalid("credentials.clientSecret holds a character that no client secret has, such as a line break")
    return SignIn(
        login=f"https://{cloud.login_host}",
        of_operator=False,
        client_id=_guid(credentials.client_id, "credentials.clientId"),
        tenant_guid=_guid(credentials.tenant_guid, "credentials.tenantGuid"),
        scope=cloud.scope,
        secret=secret,
        token_file=None,
    )


def access_token(way: SignIn) -> Flow[Lasting[Secret[str]]]:
    """Get a token.

    Raises: KmsFaultError 206-210; UnreachableError.
    """
    proof: dict[str, str] = {}
    if way.secret is not None:
        proof["client_secret"] = way.secret.reveal()
    if way.token_file is not None:
        assertion = yield from _assertion(way.token_file)
        proof |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    response = yield from send(
        entra.client_credentials(
            way.login, way.tenant_guid, way.client_id, way.scope, proof, of_operator=way.of_operator
        )
    )
    if response.status != _OK:
        raise token_fault(response)
    try:
        return entra.read_token(response)
    except ValueError as wrong:
        raise unusable(Phase.TOKEN, str(wrong), response) from None


def _as_ourselves(credentials: AzureCredentials, cloud: Cloud, context: KmsContext) -> SignIn:
    may_be_itself(PROVIDER, context, "credentials.workloadIdentity", "use an application")
    file = context.environ.get("AZURE_FEDERATED_TOKEN_FILE", "")
    if not file:
        raise invalid("the proxy has no workload identity: its operator must set AZURE_FEDERATED_TOKEN_FILE")
    login = context.environ.get("AZURE_AUTHORITY_HOST", "")
    return SignIn(
        login=_authority(login) if login else f"https://{cloud.login_host}",
        of_operator=bool(login),
        client_id=_guid(credentials.client_id or context.environ.get("AZURE_CLIENT_ID"), "AZURE_CLIENT_ID"),
        tenant_guid=_guid(credentials.tenant_guid or context.environ.get("AZURE_TENANT_ID"), "AZURE_TENANT_ID"),
        scope=cloud.scope,
        secret=None,
        token_file=Path(file),
    )


def _assertion(file: Path) -> Flow[str]:
    """Read the proxy's own token anew each time: the platform renews the file."""
    try:
        text = (yield from read_file(file)).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not entra.TOKEN.fullmatch(text):
        raise KmsFaultError(
            Code.KMS_AUTHORIZATION_FAILED,
            f"{PROVIDER.name} did not sign us in: the proxy's own token file cannot be read. "
            "Its operator must check AZURE_FEDERATED_TOKEN_FILE.",
            provider=PROVIDER.id,
            provider_code="TokenFile",
        )
    return text


def _guid(text: str | None, name: str) -> str:
    try:
        return entra.guid(text, name)
    except ValueError as wrong:
        raise invalid(str(wrong)) from None


def _authority(address: str) -> str:
    """Check AZURE_AUTHORITY_HOST, which the operator's platform sets."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise invalid("AZURE_AUTHORITY_HOST of the proxy is not an address") from None
    plain = address.isascii() and address.isprintable() and "?" not in address and "#" not in address
    host = parts.hostname or ""
    if (
        not plain
        or parts.scheme != "https"
        or parts.username
        or parts.path not in ("", "/")
        or not _HOST.fullmatch(host)
    ):
        raise invalid("AZURE_AUTHORITY_HOST of the proxy must have the form https://host")
    return f"https://{host}" if port is None else f"https://{host}:{port}"
