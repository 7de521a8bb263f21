"""What every provider's table of refusals is made of, and how a refusal becomes our fault.

A provider keeps its own table as data, from its codes to :class:`Meaning`; this module holds what is the same for all:
the phases, what an unlisted code means, and that nothing a peer wrote reaches our caller.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from tenant_security.errors import Code
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Response

HTTP_TOO_MANY: Final = 429
HTTP_SERVER_FAULT: Final = 500
_RETRY_AFTER_CAP_S: Final = 60.0
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_./:=+-]{1,64}")


class Provider(NamedTuple):
    """A kind of KMS: ``id`` in metrics and logs, ``name`` in sentences."""

    id: str
    name: str


class Phase(Enum):
    """What we were asking for when the provider refused."""

    TOKEN = "sign us in"  # noqa: S105 - a name, no token
    WRAP = "wrap the key"
    UNWRAP = "unwrap the key"


class Meaning(NamedTuple):
    """Our code for a refusal, and what its reader should know or do."""

    code: Code
    words: str


class Refusal(NamedTuple):
    """An error reply as the provider wrote it. Trust: the message may name resources of the tenant; it goes nowhere."""

    code: str
    message: str
    request_id: str


UNLISTED: Final[Mapping[Phase, Meaning]] = {
    Phase.TOKEN: Meaning(Code.KMS_AUTHORIZATION_FAILED, "the credentials are refused"),
    Phase.WRAP: Meaning(Code.KMS_WRAP_FAILED, "the request was refused"),
    Phase.UNWRAP: Meaning(Code.KMS_UNWRAP_FAILED, "the request was refused"),
}
"""What a refusal means that no table lists and that is not the service's own fault."""

SERVICE: Final = Meaning(Code.KMS_UNREACHABLE, "the service failed on its side")
RATE: Final = Meaning(Code.KMS_THROTTLED, "the account's request quota is used up")


def by_status(phase: Phase, status: int) -> Meaning:
    """Say what a refusal means by its HTTP status alone, for a code that no table lists."""
    if status == HTTP_TOO_MANY:
        return RATE
    if status >= HTTP_SERVER_FAULT:
        return SERVICE
    return UNLISTED[phase]


def refused(
    provider: Provider, phase: Phase, meaning: Meaning, refusal: Refusal, response: Response, *, listed: bool
) -> KmsFaultError:
    """Make the fault that the caller sees, in our words, and what the log needs beside it.

    ``listed``: whether a table knew the code.
    """
    return KmsFaultError(
        meaning.code,
        f"{provider.name} did not {phase.value}: {meaning.words}.",
        provider=provider.id,
        provider_code=refusal.code or f"HTTP{response.status}",
        request_id=refusal.request_id,
        retry_after_s=retry_after_s(response) if meaning.code is Code.KMS_THROTTLED else None,
        once_more=meaning.code is Code.KMS_UNREACHABLE,
        listed=listed,
    )


def unusable(provider: Provider, phase: Phase, what: str, request_id: str) -> KmsFaultError:
    """A reply that says success and is none. Code 204, 205 or 206."""
    return KmsFaultError(
        UNLISTED[phase].code,
        f"{provider.name} did not {phase.value}: {what}.",
        provider=provider.id,
        provider_code="UnusableAnswer",
        request_id=request_id,
    )


def our_clock(provider: Provider, refusal: Refusal) -> KmsFaultError:
    """The provider refused the time of our request: the operator's fault and not the tenant's. Code 100."""
    return KmsFaultError(
        Code.UNKNOWN_ERROR,
        f"{provider.name} refused the time of our request: the clock of this proxy is wrong. Its operator must set it.",
        provider=provider.id,
        provider_code=refusal.code,
        request_id=refusal.request_id,
    )


def invalid(provider: Provider, what: str) -> KmsFaultError:
    """Say what is wrong with the configuration itself. Code 207."""
    message = f"The {provider.name} KMS configuration cannot work: {what}."
    return KmsFaultError(Code.KMS_CONFIGURATION_INVALID, message, provider=provider.id)


def retry_after_s(response: Response) -> float | None:
    """How long the provider asks us to wait, in seconds, at most a minute. None when it does not say."""
    text = response.headers.get("retry-after", "")
    return min(float(text), _RETRY_AFTER_CAP_S) if text.isascii() and text.isdigit() else None


def plain_code(text: object) -> str:
    """A peer's error code, if it looks like one: it goes to logs and metrics."""
    return text if isinstance(text, str) and _CODE.fullmatch(text) else ""


def plain_request_id(text: object) -> str:
    """A peer's request id, if it looks like one: it goes to logs."""
    return text if isinstance(text, str) and _REQUEST_ID.fullmatch(text) else ""
