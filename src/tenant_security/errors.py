"""The one table of fault codes, and the one exception that carries them.

A code says what went wrong in the numbers that every SaaS Shield client knows; the table adds what the number
alone cannot say: the HTTP status we answer with, whether asking again can help, and who can mend it.

Source: docs/proxy-api.md, "Errors".
"""

from enum import Enum, IntEnum
from typing import Final, NamedTuple


class Fixer(Enum):
    """Who can make the fault go away."""

    APP = "app"
    """The vendor's application: it sent something wrong."""
    TENANT = "tenant"
    """The tenant: its KMS, its key or its credentials need attention."""
    OPERATOR = "operator"
    """Whoever runs this software."""


class Code(IntEnum):
    """Fault codes on the wire. Numbers are never reused; 900-907 belong to clients and are never sent."""

    UNKNOWN_ERROR = 100
    UNAUTHORIZED_REQUEST = 101
    INVALID_REQUEST_BODY = 102
    NO_PRIMARY_KMS_CONFIGURATION = 200
    UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS = 201
    KMS_CONFIGURATION_DISABLED = 202
    INVALID_PROVIDED_EDEK = 203
    KMS_WRAP_FAILED = 204
    KMS_UNWRAP_FAILED = 205
    KMS_AUTHORIZATION_FAILED = 206
    KMS_CONFIGURATION_INVALID = 207
    KMS_UNREACHABLE = 208
    KMS_THROTTLED = 209
    KMS_ACCOUNT_ISSUE = 210
    SECURITY_EVENT_REJECTED = 301
    SECRET_CREATION_FAILED = 401


class FaultKind(NamedTuple):
    """What the table knows of one code."""

    http_status: int
    retryable: bool
    fixer: Fixer


# A fault of one tenant or one request answers 422 and never 5xx: load balancers and meshes eject an instance that
# answers 5xx, and one tenant's broken KMS must not take a healthy proxy out of service for all the others. HTTP 401
# is reserved for a wrong API key, because Java clients read every 401 as code 101 without looking at the body.
FAULTS: Final[dict[Code, FaultKind]] = {
    Code.UNKNOWN_ERROR: FaultKind(500, retryable=True, fixer=Fixer.OPERATOR),
    Code.UNAUTHORIZED_REQUEST: FaultKind(401, retryable=False, fixer=Fixer.APP),
    Code.INVALID_REQUEST_BODY: FaultKind(400, retryable=False, fixer=Fixer.APP),
    Code.NO_PRIMARY_KMS_CONFIGURATION: FaultKind(422, retryable=False, fixer=Fixer.TENANT),
    Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS: FaultKind(422, retryable=False, fixer=Fixer.TENANT),
    Code.KMS_CONFIGURATION_DISABLED: FaultKind(422, retryable=False, fixer=Fixer.TENANT),
    Code.INVALID_PROVIDED_EDEK: FaultKind(422, retryable=False, fixer=Fixer.APP),
    Code.KMS_WRAP_FAILED: FaultKind(422, retryable=False, fixer=Fixer.TENANT),
    Code.KMS_UNWRAP_FAILED: FaultKind(422, retryable=False, fixer=Fixer.TENANT),
    Code.KMS_AUTHORIZATION_FAILED: FaultKind(422, retryable=False, fixer=Fixer.TENANT),
    Code.KMS_CONFIGURATION_INVALID: FaultKind(422, retryable=False, fixer=Fixer.TENANT),
    Code.KMS_UNREACHABLE: FaultKind(422, retryable=True, fixer=Fixer.TENANT),
    Code.KMS_THROTTLED: FaultKind(429, retryable=True, fixer=Fixer.TENANT),
    Code.KMS_ACCOUNT_ISSUE: FaultKind(422, retryable=False, fixer=Fixer.TENANT),
    Code.SECURITY_EVENT_REJECTED: FaultKind(422, retryable=True, fixer=Fixer.OPERATOR),
    Code.SECRET_CREATION_FAILED: FaultKind(422, retryable=True, fixer=Fixer.OPERATOR),
}


class TenantSecurityError(Exception):
    """A fault of the world, told in words that its reader can act on.

    The message reaches the caller as it stands, so it never holds key material, credentials, bodies or a provider's
    raw answer. Those who log it may add what they know beside it.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.http_status = FAULTS[code].http_status if http_status is None else http_status
        self.retry_after_s = retry_after_s

    @property
    def retryable(self) -> bool:
        """Whether the same request can succeed later without anybody changing anything."""
        return FAULTS[self.code].retryable

    @property
    def fixer(self) -> Fixer:
        """Who can make it go away."""
        return FAULTS[self.code].fixer


class SettingsError(Exception):
    """Every problem found in a daemon's settings, at once, each in words a human can act on."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
