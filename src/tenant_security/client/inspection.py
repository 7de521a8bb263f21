"""Says what bytes are: EDEKs and documents of every form, without a key, and without printing anything secret."""

import binascii
from enum import Enum
from typing import Any, Final

import msgspec

from tenant_security.errors import TenantSecurityError
from tenant_security.wire import document, edek
from tenant_security.wire.document import IV_BYTES, TAG_BYTES, Form, MalformedDocumentError, V4Header

ENOUGH_BYTES: Final = 1024 * 1024
"""So much of a longer whole shows what it is."""

_DETERMINISTIC: Final = 0
_VECTOR: Final = 1
_SIV_BYTES: Final = 16


class Kind(Enum):
    """What bytes can be."""

    EDEK = "EDEK"
    EDEK_V5 = "EDEK in a v5 header"
    FIELD_V3 = "encrypted document or field, v3"
    FIELD_V5 = "encrypted document or field, v5"
    ATTACHED = "encrypted document with its own EDEK"
    DETERMINISTIC = "deterministic field"
    VECTOR = "metadata of an encrypted vector"
    FOREIGN = "key of another product"
    UNKNOWN = "unknown"


class Description(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was found; members that do not apply are None. Units: bytes where the name ends in ``_bytes``."""

    kind: Kind
    total_bytes: int
    was_base64: bool = False
    form: str | None = None
    tenant_id: str | None = None
    """What the writer noted; nobody vouches for it."""
    header_signed: bool | None = None
    plaintext_bytes: int | None = None
    kms_config_id: int | None = None
    wrapped_bytes: int | None = None
    leased: bool | None = None
    lease_id: int | None = None
    lease_config_id: int | None = None
    tenant_secret_id: int | None = None
    problem: str | None = None


def describe(given: bytes, total_bytes: int | None = None) -> Description:
    """Say what bytes are: raw, or in base64 as they are stored in text.

    The first :data:`ENOUGH_BYTES` of a longer whole will do, with its length as ``total_bytes``.
    """
    found = _describe(given, len(given) if total_bytes is None else total_bytes)
    if found.kind is not Kind.UNKNOWN:
        return found
    try:
        raw = binascii.a2b_base64(b"".join(given.split()), strict_mode=True)
    except (binascii.Error, ValueError):
        return found
    inner = _describe(raw, len(raw)) if raw else found
    return msgspec.structs.replace(inner, was_base64=True)


def _describe(raw: bytes, size: int) -> Description:
    try:
        entry = edek.decode(raw)
    except TenantSecurityError:
        pass
    else:
        return Description(kind=Kind.EDEK, total_bytes=size, **_entry(entry))
    key_id = document.read_key_id(raw)
    try:
        if key_id is not None and key_id.payload_type == _DETERMINISTIC and key_id.number:
            return _deterministic(size, key_id.number)
        if key_id is not None and key_id.payload_type == _VECTOR:
            return Description(kind=Kind.VECTOR, total_bytes=size, tenant_secret_id=key_id.number)
        if key_id is not None and key_id.edek_type_name != "SaaS Shield":
            return Description(kind=Kind.FOREIGN, total_bytes=size, form=key_id.edek_type_name)
        return _document(raw, size)
    except MalformedDocumentError as wrong:
        return Description(kind=Kind.UNKNOWN, total_bytes=size, problem=str(wrong))


def _document(raw: bytes, size: int) -> Description:
    try:
        _, header = document.read_v5_edek(raw)
    except MalformedDocumentError:
        pass
    else:
        return Description(kind=Kind.EDEK_V5, total_bytes=size, form="v5", **_header(header))
    head = document.read_head(raw)
    plaintext_bytes = size - head.size - IV_BYTES - TAG_BYTES
    if plaintext_bytes < 0:
        raise MalformedDocumentError("it is cut off before its end")
    if head.v4 is not None:
        return Description(
            kind=Kind.ATTACHED,
            total_bytes=size,
            form=head.form.value,
            plaintext_bytes=plaintext_bytes,
            **_header(head.v4),
        )
    v3 = head.v3
    return Description(
        kind=Kind.FIELD_V3 if head.form is Form.V3 else Kind.FIELD_V5,
        total_bytes=size,
        form=head.form.value,
        plaintext_bytes=plaintext_bytes,
        tenant_id=None if v3 is None else v3.tenant_id,
        header_signed=None if v3 is None else bool(v3.signature),
    )


def _deterministic(size: int, secret_id: int) -> Description:
    plaintext_bytes = size - document.KEY_ID_BYTES - _SIV_BYTES
    if plaintext_bytes < 0:
        raise MalformedDocumentError("it is too short to be a deterministic field")
    return Description(
        kind=Kind.DETERMINISTIC, total_bytes=size, tenant_secret_id=secret_id, plaintext_bytes=plaintext_bytes
    )


def _header(header: V4Header) -> dict[str, Any]:
    told: dict[str, Any] = {"tenant_id": header.tenant_id, "header_signed": header.is_signed}
    try:
        return told | _entry(edek.decode(header.edek))
    except TenantSecurityError:
        return told | {"problem": "the EDEK in its header is malformed"}


def _entry(entry: edek.EncryptedDek) -> dict[str, Any]:
    told: dict[str, Any] = {
        "kms_config_id": entry.config_id,
        "wrapped_bytes": len(entry.data),
        "leased": entry.leased,
    }
    if entry.leased:
        told["lease_id"] = entry.lease_id
        try:
            told["lease_config_id"] = edek.decode(entry.wrapped_lease).config_id
        except TenantSecurityError:
            told["problem"] = "the leased key in it is malformed"
    return told
