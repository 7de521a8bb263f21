"""What CipherTrust Manager's refusals mean: tables from its codes, words and statuses to ours, and their reading.

CipherTrust Manager has few codes and says the rest in words, which nobody promises to keep. So the order is: words that
refine a code, then the code, then the HTTP status. What we have only from other clients, or could not confirm at all,
says so.

Source: CipherTrust Manager's embedded API guide, "Error codes"; public clients, Thales' Terraform provider among them.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from tenant_security.errors import Code
from tenant_security.kms import refusals
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import (
    RATE,
    SERVICE,
    Meaning,
    Phase,
    Provider,
    Refusal,
    by_status,
    plain_code,
    plain_request_id,
    refused,
)
from tenant_security.outbound.flow import Response

PROVIDER: Final = Provider("thales", "CipherTrust Manager")

HTTP_UNAUTHENTICATED: Final = 401

_LOGIN: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED,
    "the user or its password is refused; check username, password, authDomain and connection",
)
_LOCKED: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "the user is locked out; an administrator of CipherTrust Manager must unlock it"
)
_PASSWORD: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "the user's password has expired or must be changed; change it and the config"
)
_TOKEN: Final = Meaning(
    Code.KMS_AUTHORIZATION_FAILED, "it refuses a token that was just issued; check `domain` and the user"
)
_DENIED: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID,
    "the user may not use this key; allow its group to encrypt and decrypt with the key",
)
_NO_KEY: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "there is no such key or version in this domain; check keyId and `domain`"
)
_NO_API: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "no API of CipherTrust Manager answers at this address; check serviceUrl"
)
_ELSEWHERE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the address sends us elsewhere, and we do not follow; check serviceUrl"
)
_REQUEST: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key cannot encrypt in GCM mode; use an AES key, and check keyId"
)
_STATE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key is not active; its owner must activate it, or reactivate it"
)
_USAGE: Final = Meaning(
    Code.KMS_CONFIGURATION_INVALID, "the key's usage mask leaves encryption or decryption out; its owner must add both"
)
_ALTERED: Final = Meaning(Code.KMS_UNWRAP_FAILED, "the wrapped key was altered, or another key wrapped it")
_NOT_WRAPPED: Final = Meaning(Code.KMS_WRAP_FAILED, "the key did not encrypt; it must be an AES key")
_LICENCE: Final = Meaning(
    Code.KMS_ACCOUNT_ISSUE, "its licence has ended; whoever runs this CipherTrust Manager must renew it"
)

MEANINGS: Final[Mapping[str, Meaning]] = {
    "NCERRUnauthorizedAccess": _TOKEN,
    "NCERRUnauthorized": _TOKEN,
    "NCERRForbidden": _DENIED,
    "NCERRResourceNotFound": _NO_KEY,
    "NCERRInvalidParamValue": _REQUEST,
    "NCERRBadRequest": _REQUEST,
    "NCERRInternalServerError": SERVICE,
    "NCERRServiceUnavailable": SERVICE,
    "NCERRTooManyRequests": RATE,
}
"""CipherTrust Manager's codes whose meaning does not depend on the phase. The last three are not confirmed."""

MEANINGS_BY_PHASE: Final[Mapping[tuple[Phase, str], Meaning]] = {
    (Phase.TOKEN, "NCERRUnauthorizedAccess"): _LOGIN,
    (Phase.TOKEN, "NCERRUnauthorized"): _LOGIN,
    (Phase.TOKEN, "NCERRForbidden"): _LOGIN,
    (Phase.TOKEN, "NCERRResourceNotFound"): _LOGIN,
    (Phase.TOKEN, "NCERRInvalidParamValue"): _LOGIN,
    (Phase.TOKEN, "NCERRBadRequest"): _LOGIN,
    (Phase.WRAP, "NCERRCryptoOperationFailed"): _NOT_WRAPPED,
    (Phase.UNWRAP, "NCERRCryptoOperationFailed"): _ALTERED,
}
"""Codes that mean something only, or something else, in one phase. Asked before ``MEANINGS``."""

STATUSES: Final[Mapping[int, Meaning]] = {
    301: _ELSEWHERE,
    302: _ELSEWHERE,
    303: _ELSEWHERE,
    307: _ELSEWHERE,
    308: _ELSEWHERE,
    401: _TOKEN,
    402: _LICENCE,
    403: _DENIED,
    404: _NO_API,
    405: _NO_API,
}
"""What an HTTP status means where the reply has no code that we know: perhaps something else answers there."""


class Words(NamedTuple):
    """Words in a refusal's message that say more than its code. ``name`` stands in logs."""

    name: str
    pattern: re.Pattern[str]
    meaning: Meaning
    phases: frozenset[Phase] = frozenset({Phase.WRAP, Phase.UNWRAP})


_EVERY: Final = frozenset(Phase)
_LOGINS: Final = frozenset({Phase.TOKEN})


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


WORDS: Final = (
    Words("UserLocked", _words(r"\b(user|account)\b.{0,60}\block(ed|out)"), _LOCKED, _LOGINS),
    Words("PasswordExpired", _words(r"\bpassword\b.{0,40}\b(expired|must be changed)"), _PASSWORD, _LOGINS),
    Words("LicenceEnded", _words(r"\b(licen[cs]e|trial)\b.{0,60}\b(expired|ended|invalid|exceeded)"), _LICENCE, _EVERY),
    Words("KeyNotActive", _words(r"\bkey\b.{0,60}\b(not (in )?active|deactivated|destroyed|compromised)"), _STATE),
    Words("KeyUsage", _words(r"\busage ?mask\b|\bnot (permitted|allowed) for (encrypt|decrypt)ion"), _USAGE),
)
"""Words that refine a refusal. None of them is confirmed; without them the code decides."""


class _Refusal(msgspec.Struct, rename="camel"):
    """An error reply."""

    code_desc: str = ""
    message: str = ""
    request_id: str = msgspec.field(name="requestID", default="")


def read_refusal(response: Response) -> Refusal:
    """Read an error reply; never fails.

    Shape: ``{"code": 16, "codeDesc": "NCERRResourceNotFound: Resource not found", "message": ..., "requestID": ...}``;
    in ``codeDesc`` the name may stand alone.
    """
    try:
        read = msgspec.json.decode(response.body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        read = _Refusal()
    return Refusal(plain_code(read.code_desc.partition(":")[0]), read.message, plain_request_id(read.request_id))


def classify(phase: Phase, status: int, code: str, message: str) -> tuple[str, Meaning, bool]:
    """Return a name for the log, what a refusal means, and whether a table listed it."""
    if status < refusals.HTTP_SERVER_FAULT and status != refusals.HTTP_TOO_MANY:
        for words in WORDS:
            if phase in words.phases and words.pattern.search(message):
                return words.name, words.meaning, True
    listed = MEANINGS_BY_PHASE.get((phase, code)) or MEANINGS.get(code)
    if listed is not None:
        return code, listed, True
    if status in STATUSES:
        meaning = STATUSES[status]
        return code, (_LOGIN if phase is Phase.TOKEN and meaning in (_TOKEN, _DENIED) else meaning), True
    return code, by_status(phase, status), False


def fault(phase: Phase, response: Response) -> KmsFaultError:
    """Turn an error reply into our fault, in our words."""
    refusal = read_refusal(response)
    name, meaning, listed = classify(phase, response.status, refusal.code, refusal.message)
    return refused(PROVIDER, phase, meaning, refusal._replace(code=name), response, listed=listed)


def unusable(phase: Phase, what: str) -> KmsFaultError:
    """A reply that says success and is none. Code 204, 205 or 206."""
    return refusals.unusable(PROVIDER, phase, what, "")


def invalid(what: str) -> KmsFaultError:
    """Say what is wrong with the configuration itself. Code 207."""
    return refusals.invalid(PROVIDER, what)
