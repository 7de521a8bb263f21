"""What Azure's refusals mean: tables from Entra ID's and Key Vault's codes to ours, and the reading of error replies.

Entra ID says no with OAuth's ``error``, which decides, and with AADSTS numbers, which Microsoft may renumber: a number
refines what ``error`` says and is never needed. Key Vault says no with ``error.code`` and, inside, a finer
``innererror.code``; for a refused token only the message has a number, such as AKV10032. The finer code is looked up
first.

Source: Azure Key Vault, "REST API error codes"; Microsoft identity platform, "Authentication and authorization error
codes"; RFC 6749, section 5.2. What we could not confirm says so.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from tenant_security.errors import Code
from tenant_security.kms import refusals
from tenant_security.kms.azure.clouds import PROVIDER
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import (
    RATE,
    SERVICE,
    Meaning,
    Phase,
    Refusal,
    by_status,
    plain_code,
    plain_request_id,
    refused,
)
from tenant_security.outbound.flow import Response

HTTP_UNAUTHENTICATED: Final = 401

_WHO: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "the application's credentials are refused; check clientId and clientSecret"
)
_TOKEN: Final = Meaning(Code.KMS_AUTHORIZATION_FAILED, "the vault refuses a token that was just issued")
_APPLICATION: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the application is not known in the directory or may not sign in there; check clientId and tenantGuid",
)
_FEDERATION: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "no federated credential of the application matches the proxy's token; check its issuer, subject and audience",
)
_STALE: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the proxy's own token is outside its time; its operator must see why the platform does not renew the token file",
)
_CONDITIONAL: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "a conditional access policy blocks the application; exclude it or allow the proxy's addresses",
)
_DIRECTORY: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "there is no such directory in this cloud; check tenantGuid"
)
_NO_VAULTS: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the directory does not know Key Vault; check tenantGuid, and that it has an Azure subscription",
)
_SIGN_IN: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the request to sign in is refused; check clientId, tenantGuid and vaultBaseUrl"
)
_LAPSED: Final = Meaning(
    Code.KMS_ACCOUNT_ISSUE, "the directory or its subscription is disabled; its owner must see to its billing"
)
_SUBSCRIPTION: Final = Meaning(
    Code.KMS_ACCOUNT_ISSUE, "the vault's Azure subscription is disabled; its owner must see to its billing"
)
_DENIED: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the application may not use this key; its owner must allow it to wrap and unwrap keys with it",
)
_ROLE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "no role lets the application use this key; assign Key Vault Crypto Service Encryption User on it",
)
_POLICY: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the vault's access policies do not let the application use its keys; allow wrapKey and unwrapKey",
)
_FIREWALL: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the vault's firewall keeps the proxy out; allow the proxy's addresses"
)
_PRIVATE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the vault allows no public access and the proxy did not come through an approved private endpoint",
)
_DISABLED: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key or this version of it is disabled; its owner can enable it again"
)
_TIME: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key is not yet valid or has expired; its owner must set its dates or rotate it"
)
_OPERATION: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key's own permitted operations leave this one out; allow wrapKey and unwrapKey"
)
_NO_KEY: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the vault has no such key or version; if it was deleted, its owner may be able to recover it",
)
_DELETED: Final = Meaning(Code.KMS_CONFIGURATION_INVALID, "the key is deleted; its owner can still recover it")
_ISSUER: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the vault belongs to another directory than tenantGuid; use the vault's own"
)
_AUDIENCE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the vault does not take tokens of this cloud; check vaultBaseUrl"
)
_WAY: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key cannot wrap in the way that is asked for; check its type and `algorithm`"
)
_NO_VAULT: Final = Meaning(
    Code.KMS_UNREACHABLE, "the vault's name is not known; a vault that was deleted or misspelt looks like this"
)

OAUTH: Final[Mapping[str, Meaning]] = {
    "invalid_client": _WHO,
    "unauthorized_client": _APPLICATION,
    "access_denied": _APPLICATION,
    "invalid_grant": _APPLICATION,
    "interaction_required": _CONDITIONAL,
    "consent_required": _APPLICATION,
    "invalid_request": _SIGN_IN,
    "invalid_scope": _SIGN_IN,
    "invalid_resource": _NO_VAULTS,
    "invalid_tenant": _DIRECTORY,
    "unsupported_grant_type": _SIGN_IN,
    "unsupported_response_type": _SIGN_IN,
    "temporarily_unavailable": SERVICE,
    "server_error": SERVICE,
    "slow_down": RATE,
}
"""What OAuth's ``error`` means when we ask for a token."""

NUMBERS: Final[Mapping[int, Meaning]] = {
    7000215: Meaning(
        Code.KMS_AUTHORIZATION_FAILED, "the client secret is wrong; clientSecret must be its value and not its id"
    ),
    7000222: Meaning(Code.KMS_AUTHORIZATION_FAILED, "the client secret has expired; make a new one"),
    7000229: Meaning(
        Code.KMS_AUTHORIZATION_FAILED, "the application has no service principal in the directory; create one there"
    ),
    7000112: Meaning(Code.KMS_AUTHORIZATION_FAILED, "the application is disabled in the directory; enable it there"),
    700016: _APPLICATION,
    53003: _CONDITIONAL,
    # The old and the new numbers of one thing. Its older `error` is invalid_request, its newer one invalid_client.
    70021: _FEDERATION,
    700211: _FEDERATION,
    700212: _FEDERATION,
    700213: _FEDERATION,
    7002137: _FEDERATION,
    7002138: _FEDERATION,
    700024: _STALE,
    90002: _DIRECTORY,
    900023: _DIRECTORY,
    500011: _NO_VAULTS,
    500014: _LAPSED,
    5000224: _LAPSED,
    5000225: _LAPSED,
}
"""What an AADSTS number adds. Where Microsoft renumbers, ``OAUTH`` still holds."""

VAULT: Final[Mapping[str, Meaning]] = {
    "Unauthorized": _TOKEN,
    "AKV10032": _ISSUER,
    "AKV10022": _AUDIENCE,
    "Forbidden": _DENIED,
    "AccessDenied": _DENIED,
    "ForbiddenByRbac": _ROLE,
    "ForbiddenByPolicy": _POLICY,
    "ForbiddenByFirewall": _FIREWALL,
    "ForbiddenByConnection": _PRIVATE,
    "KeyDisabled": _DISABLED,
    "KeyOperationForbidden": _OPERATION,
    # Not confirmed: the documentation promises a 403 and does not name the codes. "Forbidden" is caught above.
    "KeyNotYetValid": _TIME,
    "KeyExpired": _TIME,
    "KeyNotFound": _NO_KEY,
    "ObjectIsDeletedButRecoverable": _DELETED,
    "ObjectIsBeingDeleted": _DELETED,
    "Throttled": RATE,
    "TooManyRequests": RATE,
    "InternalServerError": SERVICE,
    "InternalError": SERVICE,
    "ServiceUnavailable": SERVICE,
    "BackendUnavailable": SERVICE,
    "ServerBusy": SERVICE,
    # Not confirmed for vaults: these are what Azure's resource manager says.
    "SubscriptionDisabled": _SUBSCRIPTION,
    "DisabledSubscription": _SUBSCRIPTION,
    "ReadOnlyDisabledSubscription": _SUBSCRIPTION,
    "SubscriptionNotFound": _SUBSCRIPTION,
    "SubscriptionNotRegistered": _SUBSCRIPTION,
}
"""Key Vault's and Managed HSM's codes whose meaning does not depend on the phase."""

# Published clients look for these words of Azure's when a key cannot be unwrapped.
_ALTERED: Final = Meaning(
    Code.KMS_UNWRAP_FAILED,
    "the wrapped key was altered, or another key or version wrapped it. Code: BadParameter, The parameter is incorrect",
)

VAULT_BY_PHASE: Final[Mapping[tuple[Phase, str], Meaning]] = {
    (Phase.WRAP, "BadParameter"): _WAY,
    (Phase.UNWRAP, "BadParameter"): _ALTERED,
}
"""Codes that mean something else in each phase. Asked before ``VAULT``."""

_NUMBER: Final = re.compile(r"\bAKV\d{5}\b")
_CHALLENGER: Final = re.compile(r'authorization="https://[a-z.]+/([0-9a-fA-F-]{36})["/]')


def classify_token(status: int, error: str, numbers: list[int]) -> tuple[Meaning, bool]:
    """Say what Entra ID's refusal means, and whether a table listed it."""
    if status == refusals.HTTP_TOO_MANY:
        return RATE, True
    for number in numbers:
        if number in NUMBERS:
            return NUMBERS[number], True
    if error in OAUTH:
        return OAUTH[error], True
    return by_status(Phase.TOKEN, status), False


def classify(phase: Phase, status: int, code: str, finer: str) -> tuple[Meaning, bool]:
    """Say what the vault's refusal means, by the finer code, the code, else the HTTP status; and if it was listed."""
    for name in (finer, code):
        listed = VAULT_BY_PHASE.get((phase, name)) or VAULT.get(name)
        if listed is not None:
            return listed, True
    return (_TOKEN if status == HTTP_UNAUTHENTICATED else by_status(phase, status)), False


def token_fault(response: Response) -> KmsFaultError:
    """Turn Entra ID's refusal into our fault.

    Shape: ``{"error": "invalid_client", "error_codes": [7000215], "trace_id": ...}``.
    """
    members = _members(response)
    error = plain_code(members.get("error"))
    written = members.get("error_codes")
    numbers = [each for each in written[:8] if isinstance(each, int)] if isinstance(written, list) else []
    meaning, listed = classify_token(response.status, error, numbers)
    code = f"{error}.AADSTS{numbers[0]}" if error and numbers else error
    refusal = Refusal(plain_code(code), "", _request_id(response) or plain_request_id(members.get("trace_id")))
    return refused(PROVIDER, Phase.TOKEN, meaning, refusal, response, listed=listed)


def fault(phase: Phase, response: Response, tenant_guid: str) -> KmsFaultError:
    """Turn the vault's refusal into our fault.

    Shape: ``{"error": {"code": "Forbidden", "message": ..., "innererror": {"code": "ForbiddenByRbac"}}}``.
    """
    code, finer = _codes(response, tenant_guid)
    meaning, listed = classify(phase, response.status, code, finer)
    if response.status == refusals.HTTP_TOO_MANY:
        meaning, listed = RATE, True
    refusal = Refusal(plain_code(f"{code}.{finer}" if finer else code), "", _request_id(response))
    return refused(PROVIDER, phase, meaning, refusal, response, listed=listed)


def is_stale_token(response: Response, tenant_guid: str) -> bool:
    """Whether a new token may help. Not where the vault wants one of another directory or for something else."""
    return response.status == HTTP_UNAUTHENTICATED and _codes(response, tenant_guid)[1] not in ("AKV10032", "AKV10022")


def no_vault(phase: Phase) -> KmsFaultError:
    """The vault's name did not resolve. Code 208."""
    return KmsFaultError(
        _NO_VAULT.code,
        f"{PROVIDER.name} did not {phase.value}: {_NO_VAULT.words}.",
        provider=PROVIDER.id,
        provider_code="NAME",
        once_more=True,
    )


def unusable(phase: Phase, what: str, response: Response) -> KmsFaultError:
    """A reply that says success and is none. Code 204, 205 or 206."""
    return refusals.unusable(PROVIDER, phase, what, _request_id(response))


def _codes(response: Response, tenant_guid: str) -> tuple[str, str]:
    """Read the code and the finer one; empty where there is none."""
    error = _members(response).get("error")
    error = error if isinstance(error, dict) else {}
    inner = error.get("innererror")
    code, finer = plain_code(error.get("code")), plain_code(inner.get("code") if isinstance(inner, dict) else None)
    if response.status == HTTP_UNAUTHENTICATED and not finer:
        message = error.get("message")
        numbered = _NUMBER.search(message) if isinstance(message, str) else None
        challenger = _CHALLENGER.search(response.headers.get("www-authenticate", ""))
        if numbered is not None and numbered[0] in VAULT:
            finer = numbered[0]
        elif challenger is not None and challenger[1].lower() != tenant_guid.lower():
            finer = "AKV10032"
    return code, finer


def _members(response: Response) -> Mapping[str, object]:
    try:
        decoded = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _request_id(response: Response) -> str:
    return plain_request_id(response.headers.get("x-ms-request-id", ""))
