"""What AWS's refusals mean: a table from AWS's error codes to ours, and the reading of an error reply.

Source: the AWS KMS and STS API references, "Errors" of Encrypt, Decrypt and AssumeRole, and "Common errors"; a test
holds the table to the error shapes of botocore's models.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from tenant_security.errors import Code
from tenant_security.kms import refusals
from tenant_security.kms.aws.endpoints import PROVIDER
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import (
    RATE,
    SERVICE,
    UNLISTED,
    Meaning,
    Phase,
    Refusal,
    by_status,
    our_clock,
    plain_code,
    plain_request_id,
    refused,
)
from tenant_security.outbound.aws_xml import leaves
from tenant_security.outbound.flow import Response

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
_KEY_STORE: Final = Meaning(
    Code.KMS_UNREACHABLE, "the key's store did not answer; check a custom or external key store"
)
_OWN_TOKEN: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the proxy's own web identity token is refused; its operator must check the identity provider and the role's trust",
)
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
    "KMSInternalException": SERVICE,
    "InternalFailure": SERVICE,
    "InternalError": SERVICE,
    "InternalServerError": SERVICE,
    "ServiceUnavailable": SERVICE,
    "ServiceUnavailableException": SERVICE,
    "RequestTimeout": SERVICE,
    "RequestTimeoutException": SERVICE,
    "DependencyTimeoutException": _KEY_STORE,
    "KeyUnavailableException": _KEY_STORE,
    # Too many calls.
    "ThrottlingException": RATE,
    "Throttling": RATE,
    "ThrottledException": RATE,
    "RequestThrottled": RATE,
    "RequestThrottledException": RATE,
    "TooManyRequestsException": RATE,
    "RequestLimitExceeded": RATE,
    "LimitExceededException": RATE,
    "SlowDown": RATE,
    # The account itself.
    "OptInRequired": _ACCOUNT,
    "SubscriptionRequiredException": _ACCOUNT,
}
"""AWS's codes whose meaning does not depend on the phase."""

MEANINGS_BY_PHASE: Final[Mapping[tuple[Phase, str], Meaning]] = {
    (Phase.TOKEN, "AccessDenied"): Meaning(
        Code.KMS_AUTHORIZATION_FAILED, "the role may not be assumed; check its trust policy and the external id"
    ),
    (Phase.TOKEN, "InvalidIdentityToken"): _OWN_TOKEN,
    (Phase.TOKEN, "IDPRejectedClaim"): _OWN_TOKEN,
    (Phase.TOKEN, "IDPCommunicationError"): SERVICE,
    (Phase.UNWRAP, "InvalidCiphertextException"): Meaning(
        Code.KMS_UNWRAP_FAILED, "the wrapped key was altered or did not come from AWS KMS"
    ),
    (Phase.UNWRAP, "IncorrectKeyException"): Meaning(Code.KMS_UNWRAP_FAILED, "another key wrapped it"),
}
"""AWS's codes that mean something only, or something else, in one phase. Asked before ``MEANINGS``."""

_UNLISTED_TOKEN: Final = Meaning(Code.KMS_AUTHORIZATION_FAILED, "the role may not be assumed")

REFUSED_SESSION: Final = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"}
)
"""How AWS refuses temporary keys that have ended or were revoked; a role can be assumed anew."""

# AWS has no code of its own for a wrong clock on most services: it refuses the signature and says why in the message.
_CLOCK_CODES: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
_CLOCK_WORDS: Final = ("signature expired", "not yet current")


def classify(phase: Phase, status: int, code: str) -> tuple[Meaning, bool]:
    """Say what a refusal means, by phase and code, else by code, else by HTTP status; and whether a table listed it."""
    listed = MEANINGS_BY_PHASE.get((phase, code)) or MEANINGS.get(code)
    if listed is not None:
        return listed, True
    meaning = by_status(phase, status)
    return (_UNLISTED_TOKEN if meaning is UNLISTED[Phase.TOKEN] else meaning), False


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
        plain_code(code.split(":", 1)[0].rsplit("#", 1)[-1]),
        message if isinstance(message, str) else "",
        plain_request_id(request_id),
    )


def fault(phase: Phase, response: Response) -> KmsFaultError:
    """Turn an error reply into our fault, in our words."""
    refusal = read_refusal(response)
    if refusal.code in _CLOCK_CODES or any(words in refusal.message.lower() for words in _CLOCK_WORDS):
        return our_clock(PROVIDER, refusal)
    meaning, listed = classify(phase, response.status, refusal.code)
    return refused(PROVIDER, phase, meaning, refusal, response, listed=listed)


def unusable(phase: Phase, what: str, response: Response) -> KmsFaultError:
    """A reply that says success and is none. Code 204, 205 or 206."""
    return refusals.unusable(PROVIDER, phase, what, plain_request_id(response.headers.get("x-amzn-requestid", "")))
