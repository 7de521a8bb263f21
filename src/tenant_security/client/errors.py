"""What can go wrong, in classes by code range. Every error says whether asking again helps and who can mend it.

Source: docs/client/errors.md.
"""

from enum import IntEnum
from typing import Final

from tenant_security.errors import FAULTS, Code, Fixer

_MESSAGE_CHARACTERS: Final = 2_000


class ClientCode(IntEnum):
    """Codes that this library makes itself; no proxy sends them."""

    UNABLE_TO_MAKE_REQUEST = 0
    INVALID_ENCRYPTED_DOCUMENT = 900
    DOCUMENT_ENCRYPT_FAILED = 901
    DOCUMENT_DECRYPT_FAILED = 902
    DETERMINISTIC_FIELD_ENCRYPT_FAILED = 903
    DETERMINISTIC_FIELD_DECRYPT_FAILED = 904
    DETERMINISTIC_HEADER_ERROR = 905
    DETERMINISTIC_ROTATE_FAILED = 906
    DETERMINISTIC_GENERATE_SEARCH_TERMS_FAILED = 907


class ClientError(Exception):
    """A fault of the world. ``code`` is the number that every SaaS Shield client knows.

    ``retryable``: whether the same call can succeed later without anybody changing anything; this library has tried
    again already, as often as it was told to. ``fixer``: who can make it go away. ``http_status`` is what the proxy
    answered, None where it did not answer or where the error is one of a batch. ``retry_after_s`` is what it asked for.

    The message never holds a key, a credential or content.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        retryable: bool,
        fixer: Fixer,
        http_status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.fixer = fixer
        self.http_status = http_status
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.message} (code {self.code}; {_WHO[self.fixer]})"

    def __reduce__(self) -> tuple[object, ...]:
        said = {
            "retryable": self.retryable,
            "fixer": self.fixer,
            "http_status": self.http_status,
            "retry_after_s": self.retry_after_s,
        }
        return _again, (type(self), self.code, self.message, said)


def _again(kind: type[ClientError], code: int, message: str, said: dict[str, object]) -> ClientError:
    return kind(code, message, **said)  # type: ignore[arg-type]


_WHO: Final = {
    Fixer.APP: "the application can fix it",
    Fixer.TENANT: "the tenant can fix it, in its KMS or its configuration",
    Fixer.OPERATOR: "whoever runs the proxy can fix it",
}


class ServiceError(ClientError):
    """Codes 0 to 199: the proxy was not reached, refused the request or failed."""


class UnreachableProxyError(ServiceError):
    """Code 0: no answer came from the proxy."""


class KmsError(ClientError):
    """Codes 200 to 299: the tenant's KMS, or its configuration, said no."""


class SecurityEventError(ClientError):
    """Codes 300 to 399: a security event was not taken."""


class TenantSecretError(ClientError):
    """Codes 400 to 499: a tenant secret, from which keys for deterministic fields come, could not be had."""


class DocumentError(ClientError):
    """Codes 900 to 999: the bytes are not what they are taken for, or were changed, or belong to another key."""


class UnverifiedPlaintextError(DocumentError):
    """Plaintext that was released before it was verified turned out to be wrong: throw all of it away."""


class CachedKeyExpiredError(DocumentError):
    """A cached key has reached its age or its number of operations, or was closed: get a new one."""


_RANGES: Final[tuple[tuple[range, type[ClientError]], ...]] = (
    (range(200), ServiceError),
    (range(200, 300), KmsError),
    (range(300, 400), SecurityEventError),
    (range(400, 500), TenantSecretError),
    (range(900, 1000), DocumentError),
)
_NOT_FOUND: Final = 404
_SERVER_FAULT: Final = 500


def error_of(
    code: int, message: str, *, http_status: int | None = None, retry_after_s: float | None = None
) -> ClientError:
    """Return the error of the class that the code's range names. A code that we do not know keeps its number."""
    kind = next((kind for span, kind in _RANGES if code in span), ServiceError)
    try:
        fault = FAULTS[Code(code)]
        retryable, fixer = fault.retryable, fault.fixer
    except ValueError:
        retryable, fixer = (http_status or 0) >= _SERVER_FAULT, Fixer.OPERATOR
    if http_status == _NOT_FOUND:
        retryable = False
    text = message[:_MESSAGE_CHARACTERS] or "The proxy gave no reason"
    return kind(code, text, retryable=retryable, fixer=fixer, http_status=http_status, retry_after_s=retry_after_s)


def unreachable(message: str) -> UnreachableProxyError:
    """The proxy gave no answer."""
    return UnreachableProxyError(ClientCode.UNABLE_TO_MAKE_REQUEST, message, retryable=True, fixer=Fixer.OPERATOR)


def document_error(code: ClientCode, message: str) -> DocumentError:
    """A fault of the bytes at hand."""
    return DocumentError(code, message, retryable=False, fixer=Fixer.APP)
