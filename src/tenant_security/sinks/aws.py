"""What the sinks in AWS share: who signs, with keys of the tenant's own or of a role, and what refusals mean.

Source: AWS STS API reference, "AssumeRole"; AWS General Reference, "Common errors".
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec

from tenant_security.outbound.aws import Identity, Role, assume_request, public_endpoint, read_session
from tenant_security.outbound.aws_xml import leaves
from tenant_security.outbound.flow import Flow, Lasting, Request, Response, forget, send, shared
from tenant_security.outbound.sigv4 import sign
from tenant_security.sinks.sending import SignInError
from tenant_security.sinks.sink import Later
from tenant_security.wire.addresses import origin
from tenant_security.wire.kms.aws import AwsCredentials
from tenant_security.wire.sink_configs import SinkConfigError

SESSION_NAME: Final = "tenant-security-logdriver"
"""How our calls appear in the tenant's CloudTrail: ``assumed-role/<role>/tenant-security-logdriver``."""

_OK: Final = 200
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"})
_BUSY: Final = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "SlowDown",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "OperationAbortedException",
        "InternalFailure",
        "InternalError",
        "RequestTimeout",
    }
)


class AwsAccount:
    """A tenant's AWS account, in one region.

    Raises: SinkConfigError when the credentials cannot work.
    """

    def __init__(
        self,
        credentials: AwsCredentials,
        region: str,
        sts_endpoint: str | None,
        now: Callable[[], datetime],
    ) -> None:
        self._identity = Identity(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
        if not self._identity.is_plain:
            raise SinkConfigError("The credentials hold a space or a character that no AWS key has")
        self._region = region
        self._now = now
        self._role: Role | None = None
        self._shared = b""
        if credentials.role_arn is not None:
            sts = endpoint("sts", region, sts_endpoint, "stsEndpoint")
            self._role = Role(credentials.role_arn, credentials.external_id, self._identity, sts, region)
            self._shared = self._role.key()

    def call(self, service: str, request: Request) -> Flow[Response]:
        """Send a request, signed; where a role's temporary keys have expired, once more with new ones.

        Raises: SignInError, UnreachableError.
        """
        response = yield from self._call(service, request)
        if self._role is not None and error_code(response) in _EXPIRED:
            yield from forget(self._shared)
            response = yield from self._call(service, request)
        return response

    def _call(self, service: str, request: Request) -> Flow[Response]:
        identity = self._identity if self._role is None else (yield from shared(self._shared, self._assume))
        signed = sign(request, **identity._asdict(), service=service, region=self._region, now=self._now())
        return (yield from send(signed))

    def _assume(self) -> Flow[Lasting[Identity]]:
        assert self._role is not None
        now = self._now()
        response = yield from send(assume_request(self._role, SESSION_NAME, now))
        if response.status != _OK:
            refused = refusal("AWS STS", response)
            raise SignInError(refused.why, blocked=refused.blocked)
        try:
            return read_session(response, now)
        except ValueError as wrong:
            raise SignInError(f"AWS STS did not sign us in: {wrong}.") from None


def endpoint(service: str, region: str, own: str | None, member: str) -> str:
    """Return a service's address with a slash at its end. Raises: SinkConfigError."""
    try:
        return public_endpoint(service, region) if own is None else f"{origin(own, member)}/"
    except ValueError as wrong:
        raise SinkConfigError(f"The sink configuration cannot work: {wrong}") from None


class _Refusal(msgspec.Struct):
    kind: str = msgspec.field(name="__type", default="")


def error_code(response: Response) -> str:
    """The bare name of AWS's error, from JSON or XML; empty when there is none."""
    if response.status < 300:  # noqa: PLR2004 - success
        return ""
    if response.body.lstrip().startswith(b"<"):
        return leaves(response.body).get("Code", "")
    try:
        return msgspec.json.decode(response.body, type=_Refusal).kind.rsplit("#", 1)[-1]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def refusal(title: str, response: Response) -> Later:
    """Say what a refusal means that is not about the events."""
    code = error_code(response)
    shown = code if code.isascii() and code.isalnum() and len(code) <= 64 else f"HTTP {response.status}"  # noqa: PLR2004
    if code in _BUSY or response.status >= 500 or response.status == 429:  # noqa: PLR2004 - server error, too many
        return Later(f"{title} is busy or out of order ({shown}).")
    return Later(f"{title} refuses us ({shown}). Check the credentials, and what their policy allows.", blocked=True)
