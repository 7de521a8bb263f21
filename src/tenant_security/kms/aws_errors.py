"""What AWS's refusals mean: a table from AWS's error codes to ours, and the reading of an error reply.

Source: the AWS KMS and STS API references, "Errors" of Encrypt, Decrypt and AssumeRole, and "Common errors"; a test
holds the table to the error shapes of botocore's models.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.aws_endpoints import PROVIDER
from tenant_security.kms.aws_xml import leaves
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Response


class Phase(Enum):
    """What we were asking for when AWS refused."""

    TOKEN = "assume the role"  # noqa: S105 - a name, no token
    WRAP = "wrap the key"
    UNWRAP = "unwrap the key"


class Meaning(NamedTuple):
    """Our code for a refusal, and what its reader should know or do."""

    code: Code
    words: str


_WHO: Final = Meaning(Code.KMS_AUTHORIZATION_FAILED, "the access key is refused; check that it exists and is active")
_SIGNATURE: Final = Meaning(Code.KMS_AUTHORIZATION_FAILED, "the secret access key does not belong to the access key id")
_EXPIRED: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "the session token has expired; temporary keys must be renewed"
)
_DENIED: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the credentials may not use this key, or it does not exist; allow kms:Encrypt and kms:Decrypt on it",
)
_REQUEST: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key id, region or role is not in a form that AWS accepts"
)
_STATE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key's state forbids its use; is its deletion or import pending?"
)
_SERVICE: Final = Meaning(Code.KMS_UNREACHABLE, "the service failed on its side")
_KEY_STORE: Final = Meaning(
    Code.KMS_UNREACHABLE, "the key's store did not answer; check a custom or external key store"
)
_RATE: Final = Meaning(Code.KMS_THROTTLED, "the account's request quota is used up")
_ACCOUNT: Final = Meaning(Code.KMS_ACCOUNT_ISSUE, "the AWS account is not subscribed to the service; check its billing")

MEANINGS: Final[Mapping[str, Meaning]] = {
    # Who we are is refused.
    "UnrecognizedClientException": _WHO,
    "InvalidClientTokenId": _WHO,
    "InvalidAccessKeyId": _WHO,
    "NotAuthorized": _WHO,
    "MissingAuthenticationToken": _WHO,
    "MissingAuthenticationTokenException": _WHO,
    "InvalidSignatureException": _SIGNATURE,
    "SignatureDoesNotMatch": _SIGNATURE,
    "IncompleteSignature": _SIGNATURE,
    "IncompleteSignatureException": _SIGNATURE,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    # The key, the configuration or a permission is refused.
    "AccessDeniedException": _DENIED,
    "AccessDenied": _DENIED,
    "NotFoundException": Meaning(Code.KMS_CONFIGURATION_INVALID, "no such key in this account and region"),
    "DisabledException": Meaning(Code.KMS_CONFIGURATION_INVALID, "the key is disabled; its owner can enable it again"),
    "KMSInvalidStateException": _STATE,
    "InvalidArnException": _REQUEST,
    "InvalidKeyUsageException": Meaning(
        Code.KMS_CONFIGURATION_INVALID, "the key is not for encryption; use a symmetric ENCRYPT_DECRYPT key"
    ),
    "InvalidGrantTokenException": _DENIED,
    "UnsupportedOperationException": _REQUEST,
    "ValidationException": _REQUEST,
    "ValidationError": _REQUEST,
    "InvalidParameterValue": _REQUEST,
    "MalformedPolicyDocument": _REQUEST,
    "PackedPolicyTooLarge": _REQUEST,
    "DryRunOperationException": _REQUEST,
    "RegionDisabledException": Meaning(Code.KMS_CONFIGURATION_INVALID, "the region is not enabled in the AWS account"),
    # The service failed; the same call may succeed.
    "KMSInternalException": _SERVICE,
    "InternalFailure": _SERVICE,
    "InternalError": _SERVICE,
    "InternalServerError": _SERVICE,
    "ServiceUnavailable": _SERVICE,
    "ServiceUnavailableException": _SERVICE,
    "RequestTimeout": _SERVICE,
    "RequestTimeoutException": _SERVICE,
    "DependencyTimeoutException": _KEY_STORE,
    "KeyUnavailableException": _KEY_STORE,
    # Too many calls.
    "ThrottlingException": _RATE,
    "Throttling": _RATE,
    "ThrottledException": _RATE,
    "RequestThrottled": _RATE,
    "RequestThrottledException": _RATE,
    "TooManyRequestsException": _RATE,
    "RequestLimitExceeded": _RATE,
    "LimitExceededException": _RATE,
    "SlowDown": _RATE,
    # The account itself.
    "OptInRequired": _ACCOUNT,
    "SubscriptionRequiredException": _ACCOUNT,
}
"""AWS's codes whose meaning does not depend on the phase."""

MEANINGS_BY_PHASE: Final[Mapping[tuple[Phase, str], Meaning]] = {
    (Phase.TOKEN, "AccessDenied"): Meaning(
        Code.KMS_AUTHORIZATION_FAILED, "the role may not be assumed; check its trust policy and the external id"
    ),
    (Phase.UNWRAP, "InvalidCiphertextException"): Meaning(
        Code.KMS_UNWRAP_FAILED, "the wrapped key was altered or did not come from AWS KMS"
    ),
    (Phase.UNWRAP, "IncorrectKeyException"): Meaning(Code.KMS_UNWRAP_FAILED, "another key wrapped it"),
}
"""AWS's codes that mean something only, or something else, in one phase. Asked before ``MEANINGS``."""

_UNLISTED: Final[Mapping[Phase, Meaning]] = {
    Phase.TOKEN: Meaning(Code.KMS_AUTHORIZATION_FAILED, "the role may not be assumed"),
    Phase.WRAP: Meaning(Code.KMS_WRAP_FAILED, "the request was refused"),
    Phase.UNWRAP: Meaning(Code.KMS_UNWRAP_FAILED, "the request was refused"),
}

REFUSED_SESSION: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"}
)
"""How AWS refuses temporary keys that have ended or were revoked; a role can be assumed anew."""

# AWS has no code of its own for a wrong clock on most services: it refuses the signature and says why in the message.
_CLOCK_CODES: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_CLOCK_WORDS: Final = ("signature expired", "not yet current")

_HTTP_TOO_MANY: Final = 429
_HTTP_SERVER_FAULT: Final = 500
_RETRY_AFTER_CAP_S: Final = 60.0
_CODE: Final = re.compile(r"[A-Za-z0-9_.]{1,64}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Refusal(NamedTuple):
    """An error reply as AWS wrote it. Trust: the message may name resources of the tenant; it goes nowhere."""

    code: str
    message: str
    request_id: str


def classify(phase: Phase, status: int, code: str) -> Meaning:
    """Say what a refusal means: by phase and code, else by code, else by HTTP status."""
    listed = MEANINGS_BY_PHASE.get((phase, code)) or MEANINGS.get(code)
    if listed is not None:
        return listed
    if status == _HTTP_TOO_MANY:
        return _RATE
    if status >= _HTTP_SERVER_FAULT:
        return _SERVICE
    return _UNLISTED[phase]


def read_refusal(response: Response) -> Refusal:
    """Read an error reply: JSON from KMS, XML from STS and from proxies of either; never fails.

    Shape: ``{"__type": "com.amazonaws.kms#DisabledException", "message": ...}``, or a header ``x-amzn-errortype`` with
    ``Code:address``, or ``<Error><Code>...``.
    """
    members: Mapping[str, object] = {}
    if response.body.lstrip().startswith(b"<"):
        members = leaves(response.body)
    else:
        try:
            decoded = msgspec.json.decode(response.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            decoded = None
        if isinstance(decoded, dict):
            members = decoded
    code = members.get("__type") or members.get("Code") or members.get("code")
    code = code if isinstance(code, str) else response.headers.get("x-amzn-errortype", "")
    message = members.get("message") or members.get("Message")
    request_id = response.headers.get("x-amzn-requestid") or members.get("RequestId") or members.get("RequestID")
    return Refusal(
        _plain(_CODE, code.split(":", 1)[0].rsplit("#", 1)[-1]),
        message if isinstance(message, str) else "",
        _plain(_REQUEST_ID, request_id),
    )


def request_id(response: Response) -> str:
    """The id under which AWS can look the call up."""
    return _plain(_REQUEST_ID, response.headers.get("x-amzn-requestid"))


def fault(phase: Phase, response: Response) -> KmsFaultError:
    """Turn an error reply into our fault, in our words."""
    refusal = read_refusal(response)
    if refusal.code in _CLOCK_CODES or any(words in refusal.message.lower() for words in _CLOCK_WORDS):
        return KmsFaultError(
            Code.UNKNOWN_ERROR,
            "AWS refused the time of our request: the clock of this proxy is wrong. Its operator must set it.",
            provider=PROVIDER,
            provider_code=refusal.code,
            request_id=refusal.request_id,
        )
    meaning = classify(phase, response.status, refusal.code)
    return KmsFaultError(
        meaning.code,
        f"AWS did not {phase.value}: {meaning.words}.",
        provider=PROVIDER,
        provider_code=refusal.code or f"HTTP{response.status}",
        request_id=refusal.request_id,
        retry_after_s=_retry_after_s(response) if meaning.code is Code.KMS_THROTTLED else None,
        once_more=meaning.code is Code.KMS_UNREACHABLE,
    )


def unusable(phase: Phase, what: str, response: Response) -> KmsFaultError:
    """A reply that says success and is none. Code 204, 205 or 206."""
    return KmsFaultError(
        _UNLISTED[phase].code,
        f"AWS did not {phase.value}: {what}.",
        provider=PROVIDER,
        provider_code="UnusableAnswer",
        request_id=request_id(response),
    )


def _retry_after_s(response: Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return min(float(text), _RETRY_AFTER_CAP_S) if text.isascii() and text.isdigit() else None


def _plain(shape: re.Pattern[str], text: object) -> str:
    """A peer's word, if it is one: it goes to logs."""
    return text if isinstance(text, str) and shape.fullmatch(text) else ""
