"""The proxy's HTTP API in types: what SaaS Shield clients send to ``/api/1/...`` and what they must get back.

Lenient where the published clients differ: unknown members are ignored, ``null`` means absent, an empty PHP map may
arrive as ``[]`` and a PHP map with the keys 0..n-1 as an array. Strict in everything else.

Source: docs/proxy-api.md.
"""

from typing import Annotated, Final, TypeVar

import msgspec

from tenant_security.errors import Code, TenantSecurityError

BASE_PATH: Final = "/api/1/"

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Millis = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799_999)]
"""Unix milliseconds up to the end of the year 9999, the last that RFC 3339 can write."""


class IclFields(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """Who asks, and what about. Free text: ``sourceIp`` is never parsed as an address."""

    requesting_id: Annotated[str, msgspec.Meta(min_length=1)]
    data_label: str | None = None
    source_ip: str | None = None
    object_id: str | None = None
    request_id: str | None = None
    event: str | None = None


class RequestBody(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True, omit_defaults=True):
    """What every request holds. Absent members are written as absent, which every proxy understands."""

    tenant_id: str
    icl_fields: IclFields
    custom_fields: dict[str, str] | None = None
    timestamp_millis: Millis | None = None


class WrapRequest(RequestBody, frozen=True, gc=False):
    """``document/wrap``."""


class UnwrapRequest(RequestBody, frozen=True, gc=False, rename="camel", kw_only=True):
    """``document/unwrap``: ``encryptedDocumentKey`` is a base64 EDEK."""

    encrypted_document_key: str


class BatchWrapRequest(RequestBody, frozen=True, gc=False, rename="camel", kw_only=True):
    """``document/batch-wrap``: ids are the caller's text; repeated ids collapse to one."""

    document_ids: list[str]


class BatchUnwrapRequest(RequestBody, frozen=True, gc=False, rename="camel", kw_only=True):
    """``document/batch-unwrap``: base64 EDEKs by id, or an array whose indexes are the ids."""

    edeks: dict[str, str] | list[str]

    def by_id(self) -> dict[str, str]:
        """Return the EDEKs by id, whichever form they came in."""
        if isinstance(self.edeks, dict):
            return self.edeks
        return {str(index): edek for index, edek in enumerate(self.edeks)}


class RekeyRequest(RequestBody, frozen=True, gc=False, rename="camel", kw_only=True):
    """``document/rekey``: from ``tenantId``, which can unwrap now, to ``newTenantId``."""

    encrypted_document_key: str
    new_tenant_id: str


class DeriveRequest(RequestBody, frozen=True, gc=False, rename="camel", kw_only=True):
    """``key/derive-with-secret-path``: secret path to derivation paths; both may be empty strings."""

    paths: dict[str, list[str]]
    derivation_type: str
    secret_type: str


class SecurityEventRequest(RequestBody, frozen=True, gc=False, rename="camel", kw_only=True):
    """``event/security-event``: the name stands in ``iclFields.event`` or, from Alloy, beside it."""

    event: str | None = None

    @property
    def name(self) -> str | None:
        """The event's name; ``iclFields`` wins where both are given."""
        return self.icl_fields.event or self.event


class OperationCounts(msgspec.Struct, frozen=True, gc=False):
    """How often a cached DEK was used."""

    wraps: Count = 0
    unwraps: Count = 0


class ReportOperationsRequest(RequestBody, frozen=True, gc=False, rename="camel", kw_only=True):
    """``document/report-operations``: counts by the base64 EDEK whose DEK the client cached."""

    tenant_id: Annotated[str, msgspec.Meta(min_length=1)]
    operations: dict[str, OperationCounts]


class UnwrapResponse(msgspec.Struct, frozen=True, gc=False):
    """``dek``: base64 of 32 bytes."""

    dek: str


class WrapResponse(msgspec.Struct, frozen=True, gc=False):
    """``dek``: base64 of 32 bytes; ``edek``: base64 EDEK."""

    dek: str
    edek: str


class ErrorResponse(msgspec.Struct, frozen=True, gc=False):
    """Every failure. ``code`` is one of ``errors.Code``; ``message`` is never empty."""

    code: int
    message: str


class BatchWrapResponse(msgspec.Struct, frozen=True, gc=False):
    """Every requested id stands in exactly one of the two maps, and both are always objects."""

    keys: dict[str, WrapResponse]
    failures: dict[str, ErrorResponse]


class BatchUnwrapResponse(msgspec.Struct, frozen=True, gc=False):
    """Every requested id stands in exactly one of the two maps, and both are always objects."""

    keys: dict[str, UnwrapResponse]
    failures: dict[str, ErrorResponse]


class DerivedKey(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """``derivedKey``: base64; ``tenantSecretId``: unsigned 32 bits, at least 1, never reused."""

    derived_key: str
    tenant_secret_id: int
    current: bool


class DeriveResponse(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Secret path to derivation path to keys, the current secret's first."""

    has_primary_config: bool
    derived_keys: dict[str, dict[str, list[DerivedKey]]]


NULL: Final = b"null"
"""The whole body of a success without content; PHP compares it byte for byte."""

R = TypeVar("R", bound=RequestBody)

_encoder: Final = msgspec.json.Encoder()


def decoder(kind: type[R]) -> msgspec.json.Decoder[R]:
    """Return a decoder to keep for one endpoint."""
    return msgspec.json.Decoder(kind)


def decode(decoder: msgspec.json.Decoder[R], body: bytes) -> R:
    """Read a request body.

    Raises: TenantSecurityError 102 that says which member is wrong, never its value.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as invalid:
        message = f"The request body is not valid: {invalid}"
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = "The request body is not JSON"
    except RecursionError:
        message = "The request body is nested too deeply"
    raise TenantSecurityError(Code.INVALID_REQUEST_BODY, message)


def encode(response: msgspec.Struct) -> bytes:
    """Write a response body."""
    return _encoder.encode(response)


def wrap_body(dek_base64: bytes, edek_base64: bytes) -> bytes:
    """Write a :class:`WrapResponse` from pieces that need no escaping."""
    return b'{"dek":"%b","edek":"%b"}' % (dek_base64, edek_base64)


def unwrap_body(dek_base64: bytes) -> bytes:
    """Write an :class:`UnwrapResponse` from a piece that needs no escaping."""
    return b'{"dek":"%b"}' % dek_base64


def error_of(fault: TenantSecurityError) -> ErrorResponse:
    """Say a fault as clients read it."""
    return ErrorResponse(int(fault.code), fault.message)
