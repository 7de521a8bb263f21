"""The proxy's own identity at AWS: what its platform gives it, and nothing that a configuration says.

In AWS's own order: keys in the environment; a web identity token, as EKS gives to a service account (IRSA); the
container's endpoint, as on ECS and with EKS Pod Identity; the instance's metadata, version 2 only.

Trust: every file and address here is the operator's, or AWS's link-local ones; a config only says that this identity
is to be used. ``refusals.may_be_itself`` decides whether it may.

Source: AWS SDKs and Tools Reference Guide, "Standardized credential providers"; EC2 User Guide, "Use IMDSv2"; STS API
reference, "AssumeRoleWithWebIdentity".
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlencode, urlsplit

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.aws.endpoints import PROVIDER
from tenant_security.kms.aws.errors import fault, unusable
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.aws import Identity, as_given, read_session
from tenant_security.outbound.flow import Flow, Lasting, Request, Response, UnreachableError, read_file, send
from tenant_security.secret import Secret

SESSION_NAME: Final = "tenant-security-proxy"
CONTAINER_HOST: Final = "http://169.254.170.2"
METADATA: Final = "http://169.254.169.254"

_CONTAINER_HOSTS: Final = frozenset(
    {"127.0.0.1", "localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"}
)
"""Who may be asked without TLS: this machine, and where ECS and EKS listen. Source: "Container credential provider"."""
_ROLES: Final = "/latest/meta-data/iam/security-credentials/"
_TOKEN_HEADER: Final = "X-aws-ec2-metadata-token"  # noqa: S105 - a name
_TOKEN_LIFE_S: Final = "21600"  # noqa: S105 - a number
_PLAIN: Final = re.compile(r"[!-~]{1,16384}")
_ROLE_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{1,128}")
_CAP_BYTES: Final = 65_536
_OK: Final = 200


class _Given(msgspec.Struct, rename="pascal"):
    """What a container's endpoint and an instance's metadata answer."""

    access_key_id: str
    secret_access_key: Secret[str]
    token: Secret[str]
    expiration: datetime
    code: str = "Success"


class OwnIdentity:
    """The proxy itself. ``sts``: the address of the regional STS, for web identity tokens."""

    __slots__ = ("_environ", "_now", "_sts", "key")

    def __init__(self, context: KmsContext, sts: str) -> None:
        self._environ: Mapping[str, str] = context.environ
        self._now = context.now
        self._sts = sts
        self.key = b"aws-proxy:" + hashlib.sha256(sts.encode()).digest()
        """The name under which the keys are shared: all configs that use them are the vendor's own."""

    def obtain(self) -> Flow[Lasting[Identity]]:
        """Get keys, and for how long they are fresh.

        Raises: KmsFaultError 206-209; UnreachableError.
        """
        environ = self._environ
        if environ.get("AWS_ACCESS_KEY_ID") and environ.get("AWS_SECRET_ACCESS_KEY"):
            return self._static()
        if environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environ.get("AWS_ROLE_ARN"):
            return (yield from self._web_identity())
        relative = environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        full = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if relative or full:
            return (yield from self._container(CONTAINER_HOST + relative if relative else full or ""))
        if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            raise _nobody("nothing in its environment says who it is, and the instance's metadata is disabled")
        return (yield from self._instance(environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", METADATA).rstrip("/")))

    def _static(self) -> Lasting[Identity]:
        token = self._environ.get("AWS_SESSION_TOKEN")
        identity = Identity(
            self._environ["AWS_ACCESS_KEY_ID"],
            Secret(self._environ["AWS_SECRET_ACCESS_KEY"]),
            Secret(token) if token else None,
        )
        if not identity.is_plain:
            raise _nobody("the AWS keys of its environment hold a character that no AWS key has")
        return Lasting(identity, 3600.0)

    def _web_identity(self) -> Flow[Lasting[Identity]]:
        token = yield from _read(self._environ["AWS_WEB_IDENTITY_TOKEN_FILE"], "AWS_WEB_IDENTITY_TOKEN_FILE")
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": self._environ["AWS_ROLE_ARN"],
            "RoleSessionName": self._environ.get("AWS_ROLE_SESSION_NAME", SESSION_NAME),
            "WebIdentityToken": token,
        }
        headers = (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),)
        body = urlencode(form).encode()
        response = yield from send(Request("POST", self._sts, headers, body, _CAP_BYTES, of_operator=True))
        if response.status != _OK:
            raise fault(Phase.TOKEN, response)
        try:
            return read_session(response, self._now())
        except ValueError as wrong:
            raise unusable(Phase.TOKEN, str(wrong), response) from None

    def _container(self, url: str) -> Flow[Lasting[Identity]]:
        parts = urlsplit(url)
        if parts.scheme != "https" and (parts.scheme != "http" or parts.hostname not in _CONTAINER_HOSTS):
            raise _nobody("AWS_CONTAINER_CREDENTIALS_FULL_URI leads elsewhere than to the container's own endpoint")
        headers: tuple[tuple[str, str], ...] = (("Accept", "application/json"),)
        file = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
        if file:
            token = yield from _read(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        if token:
            headers += (("Authorization", token),)
        response = yield from _asked("GET", url, headers)
        return self._given(response, "the container's endpoint")

    def _instance(self, base: str) -> Flow[Lasting[Identity]]:
        asked = (("X-aws-ec2-metadata-token-ttl-seconds", _TOKEN_LIFE_S),)
        token = (yield from _asked("PUT", f"{base}/latest/api/token", asked)).body.decode("ascii", "replace").strip()
        if not _PLAIN.fullmatch(token):
            raise _nobody("the instance's metadata gave no session token")
        headers = ((_TOKEN_HEADER, token),)
        roles = yield from _asked("GET", base + _ROLES, headers)
        role = next(iter(roles.body.decode("ascii", "replace").split()), "")
        if not _ROLE_NAME.fullmatch(role):
            raise _nobody("the instance has no role")
        response = yield from _asked("GET", base + _ROLES + role, headers)
        return self._given(response, "the instance's metadata")

    def _given(self, response: Response, by: str) -> Lasting[Identity]:
        try:
            given = msgspec.json.decode(response.body, type=_Given, dec_hook=_secret)
            left_s = (given.expiration - self._now()).total_seconds()
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError):  # TypeError: an expiration without a time zone
            raise _nobody(f"{by} gave no keys") from None
        identity = Identity(given.access_key_id, given.secret_access_key, given.token)
        if given.code != "Success" or not identity.is_plain:
            raise _nobody(f"{by} gave no keys")
        return as_given(identity, left_s)


def _asked(method: str, url: str, headers: tuple[tuple[str, str], ...]) -> Flow[Response]:
    """Ask the platform, which is not AWS: nothing of what it says is AWS's word about the tenant's key."""
    try:
        response = yield from send(Request(method, url, headers, b"", _CAP_BYTES, of_operator=True))
    except UnreachableError as cause:
        raise _nobody(f"its platform does not answer: {cause.reason.value}") from None
    if response.status != _OK:
        raise _nobody(f"its platform answers HTTP {response.status}")
    return response


def _read(file: str, variable: str) -> Flow[str]:
    """Read a token of the platform anew each time: it renews the file."""
    try:
        text = (yield from read_file(Path(file))).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not _PLAIN.fullmatch(text):
        raise _nobody(f"the file that {variable} names cannot be read or holds no token")
    return text


def _secret(kind: type, value: object) -> object:
    if kind == Secret[str] and isinstance(value, str):
        return Secret(value)
    raise msgspec.ValidationError(f"expected a {kind}")


def _nobody(why: str) -> KmsFaultError:
    """The proxy has no identity: its operator's fault. Code 206."""
    return KmsFaultError(
        Code.KMS_AUTHORIZATION_FAILED,
        f"{PROVIDER.name} did not sign us in: the proxy has no identity of its own: {why}. Its operator must mend it.",
        provider=PROVIDER.id,
        provider_code="OwnIdentity",
    )
