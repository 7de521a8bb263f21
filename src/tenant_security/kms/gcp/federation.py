"""The proxy's own identity at Google: a token of its platform, exchanged for Google's, or Google's metadata server.

For configs of the vendor's own, whose key lives in the vendor's project. Where the proxy runs outside Google,
``GOOGLE_APPLICATION_CREDENTIALS`` names the file that ``gcloud iam workload-identity-pools create-cred-config`` wrote;
inside, as on GKE with Workload Identity Federation, the metadata server knows who we are.

Trust: every file and address here is the operator's; a config only says that this identity is to be used, and which
service account it is to act as.

Source: AIP-4117, "External account credentials"; AIP-4115, "Default credentials from Google virtual machines";
RFC 8693; IAM, "generateAccessToken".
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlencode

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.gcp.endpoints import IAM_CREDENTIALS, KMS_SCOPE, METADATA_HOST, PLATFORM_SCOPE, PROVIDER
from tenant_security.kms.gcp.errors import fault, unusable
from tenant_security.kms.gcp.token import OK, Token, ask_for_token, lasting
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.flow import Flow, Lasting, Request, read_file, send
from tenant_security.outbound.google_token import CAP_BYTES, form_request

_ACT_AS: Final = re.compile(r"https://[a-z0-9.-]+/v1/projects/-/serviceAccounts/[^/:?#]+:generateAccessToken", re.ASCII)
_STS_URL: Final = re.compile(r"https://sts(\.[a-z0-9-]+)*\.googleapis\.com/v1/token", re.ASCII)
_HOST: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}(:[0-9]{1,5})?", re.ASCII)


class _Format(msgspec.Struct):
    """How the token stands in its file: as it is, or as a member of JSON."""

    type: Literal["text", "json"] = "text"
    subject_token_field_name: str = ""


class _Source(msgspec.Struct):
    """Where the platform's token is."""

    file: str = ""
    format: _Format = msgspec.field(default_factory=_Format)


class _ExternalAccount(msgspec.Struct, tag_field="type", tag="external_account"):
    """The file that ``gcloud`` writes, without what we have no use for."""

    audience: str
    subject_token_type: str
    credential_source: _Source
    token_url: str
    service_account_impersonation_url: str | None = None


class _ActingAs(msgspec.Struct, rename="camel"):
    """The reply to generateAccessToken."""

    access_token: str
    expire_time: datetime


class ProxyIdentity:
    """The proxy itself, or a service account that it acts as."""

    __slots__ = ("_environ", "_now", "_service_account", "key")

    def __init__(self, service_account: str | None, context: KmsContext) -> None:
        self._environ: Mapping[str, str] = context.environ
        self._now: Callable[[], datetime] = context.now
        self._service_account = service_account
        self.key = b"gcp-proxy:" + hashlib.sha256((service_account or "").encode()).digest()

    def token(self) -> Flow[Lasting[Token]]:
        """Get a token from where the operator's environment says.

        Raises: KmsFaultError 206-210, 100 when our clock is wrong; UnreachableError.
        """
        credentials = self._environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        if credentials:
            return (yield from self._exchanged(Path(credentials)))
        acts_as = None if self._service_account is None else _url_of(self._service_account)
        own = yield from self._of_metadata_server(KMS_SCOPE if acts_as is None else PLATFORM_SCOPE)
        return own if acts_as is None else (yield from self._acting_as(acts_as, own.value))

    def token_after_refusal(self) -> Flow[Lasting[Token]]:
        """Get a new token: there is no other way than the usual one."""
        return self.token()

    def _exchanged(self, path: Path) -> Flow[Lasting[Token]]:
        try:
            account = msgspec.json.decode((yield from _read(path, "credentials file")), type=_ExternalAccount)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _own("is no external_account file with a credential_source.file") from None
        acts_as = account.service_account_impersonation_url
        if self._service_account is not None:
            acts_as = _url_of(self._service_account)
        if not _STS_URL.fullmatch(account.token_url) or (acts_as is not None and not _ACT_AS.fullmatch(acts_as)):
            raise _own("names an address that is not Google's")
        if not account.credential_source.file:
            raise _own("names no token file; of the credential sources only files are supported")
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": account.audience,
            "scope": KMS_SCOPE if acts_as is None else PLATFORM_SCOPE,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token": (yield from _subject_token(account.credential_source)),
            "subject_token_type": account.subject_token_type,
        }
        own = yield from ask_for_token(form_request(account.token_url, form, of_operator=True), self._now)
        return own if acts_as is None else (yield from self._acting_as(acts_as, own.value))

    def _of_metadata_server(self, scope: str) -> Flow[Lasting[Token]]:
        host = self._environ.get("GCE_METADATA_HOST") or METADATA_HOST
        if not _HOST.fullmatch(host):
            raise _own("cannot be asked for: GCE_METADATA_HOST is no host")
        # The metadata server is on this very machine or its host, and speaks no TLS.
        url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token?{urlencode({'scopes': scope})}"
        request = Request("GET", url, (("Metadata-Flavor", "Google"),), cap_bytes=CAP_BYTES, of_operator=True)
        return (yield from ask_for_token(request, self._now))

    def _acting_as(self, url: str, own: Token) -> Flow[Lasting[Token]]:
        headers = (("Authorization", f"Bearer {own.reveal()}"), ("Content-Type", "application/json"))
        body = msgspec.json.encode({"scope": [KMS_SCOPE], "lifetime": "3600s"})
        response = yield from send(Request("POST", url, headers, body, CAP_BYTES, of_operator=True))
        if response.status != OK:
            raise fault(Phase.TOKEN, response, self._now())
        try:
            granted = msgspec.json.decode(response.body, type=_ActingAs)
            left_s = (granted.expire_time - self._now()).total_seconds()
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):  # TypeError: a time without a zone
            raise unusable(Phase.TOKEN, "the answer holds no token") from None
        return lasting(granted.access_token, left_s)


def _subject_token(source: _Source) -> Flow[str]:
    """Read the platform's token from its file, anew each time: platforms renew it."""
    content = yield from _read(Path(source.file), "token file")
    try:
        if source.format.type == "json":
            found = msgspec.json.decode(content, type=dict[str, object]).get(source.format.subject_token_field_name)
            token = found if isinstance(found, str) else ""
        else:
            token = content.decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        token = ""
    if not token.strip():
        raise _own("has a token file without a token")
    return token.strip()


def _read(path: Path, what: str) -> Flow[bytes]:
    try:
        return (yield from read_file(path))
    except OSError:
        raise _own(f"has a {what} that cannot be read") from None


def _url_of(service_account: str) -> str:
    return f"{IAM_CREDENTIALS}{service_account}:generateAccessToken"


def _own(what: str) -> KmsFaultError:
    """Say what is wrong with our own identity: the operator's fault, but of this config alone. Code 206."""
    return KmsFaultError(
        Code.KMS_AUTHORIZATION_FAILED,
        f"The proxy's own identity at {PROVIDER.name} {what}. The proxy's operator must mend it.",
        provider=PROVIDER.id,
        provider_code="OwnIdentity",
    )
