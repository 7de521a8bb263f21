"""Reads Google's error replies and says what they mean. The tables are in ``meanings``.

Shape: Cloud KMS and IAM answer ``{"error": {"code", "status", "message", "details": [...]}}``; the token services
answer ``{"error": "invalid_grant", "error_description": ...}``.

Source: AIP-193, "Errors"; RFC 6749, section 5.2.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

import msgspec

from tenant_security.errors import Code
from tenant_security.kms import refusals
from tenant_security.kms.gcp.endpoints import PROVIDER
from tenant_security.kms.gcp.meanings import BY_HTTP, BY_PHASE, EXTERNAL, OAUTH, PHRASES, REASONS, STATUSES, VIOLATIONS
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import (
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
from tenant_security.outbound.flow import Response

CLOCK_OFF_S: Final = 300.0
"""How far our clock and the peer's may be apart before a refusal of who we are is laid to our clock."""

_RETRY_CAP_S: Final = 60.0
_DELAY: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,9})?)s", re.ASCII)
_EXTERNAL_TYPES: Final = ("EXTERNAL_", "EKM_")
_CLOCK_PHRASES: Final = ("short-lived token", "reasonable timeframe", "token used too early", "issued in the future")
_CHECKSUM_PHRASES: Final = ("crc32c", "checksum")


class Reply(NamedTuple):
    """An error reply, read. Trust: the message may name resources of the tenant; it goes nowhere.

    Shape: ``codes`` from the most telling to the least: reasons, violations, the canonical or OAuth code.
    """

    codes: tuple[str, ...]
    message: str
    request_id: str
    retry_delay_s: float | None


class Judged(NamedTuple):
    """What a reply means, by which of its codes, and whether the most telling one is in a table."""

    meaning: Meaning
    code: str
    listed: bool


def read_reply(response: Response) -> Reply:
    """Read an error reply; never fails."""
    try:
        body = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    error = _member(body, "error")
    if isinstance(error, str):
        return Reply(_codes([error]), _text(_member(body, "error_description")), "", None)
    details = [_of_type(each) for each in _list(_member(error, "details"))]
    reasons = [_member(each, "reason") for kind, each in details if kind == "google.rpc.ErrorInfo"]
    violations = [
        _member(violation, "type")
        for kind, each in details
        if kind == "google.rpc.PreconditionFailure"
        for violation in _list(_member(each, "violations"))
    ]
    # Of an external key's two violations the second tells what its manager said.
    violations.sort(key=lambda kind: not _text(kind).startswith(_EXTERNAL_TYPES))
    delays = [_text(_member(each, "retryDelay")) for kind, each in details if kind == "google.rpc.RetryInfo"]
    delay = next((match for text in delays if (match := _DELAY.fullmatch(text))), None)
    ids = [_member(each, "requestId") for kind, each in details if kind == "google.rpc.RequestInfo"]
    return Reply(
        _codes([*reasons, *violations, _member(error, "status")]),
        _text(_member(error, "message")),
        plain_request_id(next(iter(ids), response.headers.get("x-request-id", ""))),
        None if delay is None else min(float(delay[1]), _RETRY_CAP_S),
    )


def classify(phase: Phase, status: int, codes: tuple[str, ...], message: str = "") -> Judged:
    """Say what a refusal means: by its most telling code that a table lists, else by its HTTP status."""
    words = message.lower()
    canonical = BY_HTTP.get(status, "")
    for code in (*codes, canonical):
        meaning = _meaning(phase, code, words)
        if meaning is not None:
            return Judged(meaning, codes[0] if codes else "", listed=bool(codes) and code == codes[0])
    return Judged(by_status(phase, status), codes[0] if codes else "", listed=False)


def fault(phase: Phase, response: Response, now: datetime) -> KmsFaultError:
    """Turn an error reply into our fault, in our words."""
    reply = read_reply(response)
    judged = classify(phase, response.status, reply.codes, reply.message)
    refusal = Refusal(judged.code, reply.message, reply.request_id)
    words = reply.message.lower()
    if judged.meaning.code is Code.KMS_AUTHORIZATION_FAILED and (
        any(phrase in words for phrase in _CLOCK_PHRASES) or _clock_is_off(response, now)
    ):
        return our_clock(PROVIDER, refusal)
    if "INVALID_ARGUMENT" in reply.codes and any(phrase in words for phrase in _CHECKSUM_PHRASES):
        return damaged(phase, "what we sent was damaged on its way", reply.request_id)
    made = refused(PROVIDER, phase, judged.meaning, refusal, response, listed=judged.listed)
    if made.code is Code.KMS_THROTTLED and made.retry_after_s is None:
        made.retry_after_s = reply.retry_delay_s
    return made


def unusable(phase: Phase, what: str) -> KmsFaultError:
    """A reply that says success and is none; Google gives such replies no id. Code 204, 205 or 206."""
    return refusals.unusable(PROVIDER, phase, what, "")


def damaged(phase: Phase, what: str, request_id: str = "") -> KmsFaultError:
    """Bytes whose checksum is wrong. Code 204 or 205, once more.

    Source: Cloud KMS, "Verifying end-to-end data integrity": the call is to be repeated a limited number of times.
    """
    return KmsFaultError(
        UNLISTED[phase].code,
        f"{PROVIDER.name} did not {phase.value}: {what}.",
        provider=PROVIDER.id,
        provider_code="ChecksumMismatch",
        request_id=request_id,
        once_more=True,
    )


def _meaning(phase: Phase, code: str, words: str) -> Meaning | None:
    if phase is not Phase.TOKEN or code in OAUTH:
        for of_code, phrase, meaning in PHRASES:
            if code == of_code and phrase in words:
                return meaning
    listed = BY_PHASE.get((phase, code)) or REASONS.get(code) or VIOLATIONS.get(code) or STATUSES.get(code)
    if listed is None and phase is Phase.TOKEN:
        listed = OAUTH.get(code)
    if listed is None and code.startswith(_EXTERNAL_TYPES):
        return next(meaning for word, meaning in EXTERNAL if word in code)
    return listed


def _clock_is_off(response: Response, now: datetime) -> bool:
    """Whether the peer's clock says so; what is no date says nothing."""
    try:
        theirs = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return False
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    return abs((theirs - now).total_seconds()) > CLOCK_OFF_S


def _codes(found: Iterable[object]) -> tuple[str, ...]:
    plain = (plain_code(code) for code in found)
    return tuple(dict.fromkeys(code for code in plain if code and code != "ERROR_REASON_UNSPECIFIED"))


def _of_type(detail: object) -> tuple[str, object]:
    return _text(_member(detail, "@type")).rpartition("/")[2], detail


def _member(of: object, name: str) -> object:
    return of.get(name) if isinstance(of, Mapping) else None


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""
