"""Encrypted documents, fields and self-contained values: the bytes before the ciphertext.

Shape, ``IV`` is 12 bytes, ``TAG`` 16, the cipher AES-256-GCM without associated data::

    v3           03 "IRON" | u16 BE size | V3 header        | IV | ciphertext | TAG     the EDEK lies beside it
    v5           00 "IRON"                                  | IV | ciphertext | TAG     the EDEK lies beside it
    v4 attached  04 "IRON" | u16 BE size | V4 header        | IV | ciphertext | TAG     the EDEK is in the header
    v5 attached  key id 6  | u16 BE size | V4 header        | IV | ciphertext | TAG     the EDEK is in the header

    V3 header { bytes signature = 1; SaaSShield { string tenant_id = 1 } = 3 }
    V4 header { Signature { bytes signature = 1; int type = 2 } = 1; Payload = 2 }
    Payload   { Edek { EncryptedDek cmk = 2 } = 2, repeated; other members are kept and not used }
    key id    u32 BE number | edek type, high nibble, and payload type, low nibble | 00

An EDEK that lies beside v5 fields is ``key id | V4 header``; one that lies beside v3 fields is ``EncryptedDeks`` as the
proxy returned it (``wire/edek.py``).

Source: docs/client/formats.md.
"""

import struct
from enum import Enum
from typing import Final, NamedTuple

from tenant_security.wire import protobuf

IV_BYTES: Final = 12
TAG_BYTES: Final = 16
KEY_ID_BYTES: Final = 6
LARGEST_HEADER_BYTES: Final = 0xFFFF
HEAD_PEEK_BYTES: Final = 8
"""So many first bytes tell how long a head is; no encrypted document is shorter."""

V3_MAGIC: Final = b"\x03IRON"
V4_MAGIC: Final = b"\x04IRON"
V5_MAGIC: Final = b"\x00IRON"
V3_SIGNATURE_BYTES: Final = IV_BYTES + TAG_BYTES

_SAAS_SHIELD: Final = 0x00
_EDEK_TYPES: Final = {_SAAS_SHIELD: "SaaS Shield", 0x40: "Data Control Platform", 0x80: "standalone"}
_PAYLOAD_TYPES: Final = {0: "deterministic field", 1: "vector", 2: "standard EDEK"}
_STANDARD: Final = 2
_HS256: Final = 1


class MalformedDocumentError(ValueError):
    """The bytes are not what they are taken for; the message says what is wrong with them."""


class Form(Enum):
    """How a document's bytes are laid out."""

    V3 = "v3"
    V5 = "v5"
    V4_ATTACHED = "v4 attached"
    V5_ATTACHED = "v5 attached"


class KeyId(NamedTuple):
    """The six bytes that name a key: a KMS config, or a tenant secret in deterministic fields."""

    number: int
    edek_type: int
    payload_type: int

    @property
    def edek_type_name(self) -> str:
        """Which product wrapped the key."""
        return _EDEK_TYPES[self.edek_type]

    @property
    def payload_name(self) -> str:
        """What follows the six bytes."""
        return _PAYLOAD_TYPES[self.payload_type]


class V3Header(NamedTuple):
    """``signed`` is what the signature covers, as it was read; ``signature`` is empty in very old documents."""

    signature: bytes
    signed: bytes
    tenant_id: str | None


class V4Header(NamedTuple):
    """``signed`` is what the signature covers, as it was read. ``edek`` is ``EncryptedDeks``, ready for the proxy.

    ``tenant_id`` is what the writer noted beside the EDEK: nobody vouches for it.
    """

    signature: bytes
    signature_type: int
    signed: bytes
    edek: bytes
    tenant_id: str | None

    @property
    def is_signed(self) -> bool:
        """Whether it carries a signature that must be checked."""
        return self.signature_type == _HS256


class Head(NamedTuple):
    """Everything before the IV. Units: ``size`` is in bytes."""

    form: Form
    size: int
    v3: V3Header | None = None
    v4: V4Header | None = None
    key_id: KeyId | None = None

    @property
    def attached(self) -> bool:
        """Whether the document carries its own EDEK."""
        return self.v4 is not None


def head_bytes(start: bytes) -> int:
    """How long the head is, told from the first 8 bytes. Raises: MalformedDocumentError."""
    if len(start) < HEAD_PEEK_BYTES:
        raise MalformedDocumentError("it is too short to be an encrypted document")
    if start.startswith(V5_MAGIC):
        return len(V5_MAGIC)
    if start.startswith((V3_MAGIC, V4_MAGIC)):
        return 7 + int(struct.unpack_from(">H", start, 5)[0])
    if read_key_id(start) is not None:
        return KEY_ID_BYTES + 2 + int(struct.unpack_from(">H", start, KEY_ID_BYTES)[0])
    raise MalformedDocumentError("it does not begin like an encrypted document")


def read_head(document: bytes | memoryview) -> Head:
    """Read everything before the IV; what follows is not looked at. Raises: MalformedDocumentError."""
    peek = bytes(document[:HEAD_PEEK_BYTES])
    size = head_bytes(peek)
    start = bytes(document[:size])
    if len(start) < size:
        raise MalformedDocumentError("its header is cut off")
    if start.startswith(V5_MAGIC):
        return Head(Form.V5, size)
    if start.startswith(V3_MAGIC):
        return Head(Form.V3, size, v3=_read_v3(start[7:]))
    if start.startswith(V4_MAGIC):
        return Head(Form.V4_ATTACHED, size, v4=read_v4(start[7:]))
    return Head(Form.V5_ATTACHED, size, v4=read_v4(start[KEY_ID_BYTES + 2 :]), key_id=_standard(start))


def is_encrypted(value: bytes) -> bool:
    """Whether a value already looks like a v3 field: encrypting it again is refused by every client."""
    return len(value) >= 7 and value.startswith(V3_MAGIC)  # noqa: PLR2004 - magic and size


def v3_payload(tenant_id: str) -> bytes:
    """What the signature of a v3 header covers."""
    return protobuf.delimited(1, tenant_id.encode())


def v3_head(payload: bytes, signature: bytes) -> bytes:
    """Write everything before the IV of a v3 field. Raises: MalformedDocumentError when the tenant id is too long."""
    header = protobuf.delimited(1, signature) + protobuf.delimited(3, payload)
    return V3_MAGIC + _sized(header)


def v4_payload(edek: bytes, tenant_id: str) -> bytes:
    """What the signature of a v4 header covers: the proxy's EDEK and whose it is. ``edek`` is ``EncryptedDeks``."""
    entry = _entry(edek)
    kept = b"".join(_again(number, value) for number, value in protobuf.fields(entry) if number != 6)  # noqa: PLR2004 - tenantId
    cmk = protobuf.delimited(2, kept + protobuf.delimited(6, tenant_id.encode()))
    return protobuf.delimited(2, cmk)


def v4_header(payload: bytes, signature: bytes) -> bytes:
    """Write a V4 header with an HMAC-SHA256 signature."""
    signed = protobuf.delimited(1, signature) + protobuf.integer(2, _HS256)
    return protobuf.delimited(1, signed) + protobuf.delimited(2, payload)


def v5_edek(config_id: int, header: bytes) -> bytes:
    """Write an EDEK as it lies beside v5 fields."""
    return key_id(config_id, _STANDARD) + header


def v5_attached_head(config_id: int, header: bytes) -> bytes:
    """Write everything before the IV of a v5 attached document. Raises: MalformedDocumentError when it is too long."""
    return key_id(config_id, _STANDARD) + _sized(header)


def read_v5_edek(edek: bytes) -> tuple[KeyId, V4Header]:
    """Read an EDEK that lies beside v5 fields. Raises: MalformedDocumentError."""
    return _standard(edek), read_v4(edek[KEY_ID_BYTES:])


def key_id(number: int, payload_type: int) -> bytes:
    """Write the six bytes that name a key of ours."""
    return struct.pack(">IBB", number, _SAAS_SHIELD | payload_type, 0)


def read_key_id(start: bytes) -> KeyId | None:
    """Read six bytes that name a key; None when they do not."""
    if len(start) < KEY_ID_BYTES:
        return None
    number, kinds, zero = struct.unpack_from(">IBB", start)
    edek_type, payload_type = kinds & 0xF0, kinds & 0x0F
    if zero or edek_type not in _EDEK_TYPES or payload_type not in _PAYLOAD_TYPES:
        return None
    return KeyId(number, edek_type, payload_type)


def read_v4(header: bytes) -> V4Header:
    """Read a V4 header. Raises: MalformedDocumentError."""
    try:
        parts = dict(protobuf.fields(header))
        signature, kind = b"", 0
        for number, value in protobuf.fields(_message(parts.get(1, b""))):
            if number == 1:
                signature = _message(value)
            elif number == 2:  # noqa: PLR2004 - signature_type
                kind = _number(value)
        signed = _message(parts.get(2, b""))
        wrappers = [_message(value) for number, value in protobuf.fields(signed) if number == 2]  # noqa: PLR2004 - edeks
        cmk = [_message(value) for each in wrappers for number, value in protobuf.fields(each) if number == 2]  # noqa: PLR2004 - cmk_edek
        if not cmk:
            raise MalformedDocumentError("its header holds no EDEK of a tenant's KMS")
        edek, tenant_id = _edek(cmk[-1])
    except (protobuf.MalformedMessageError, UnicodeDecodeError):
        raise MalformedDocumentError("its header is malformed") from None
    if kind not in {0, _HS256}:
        raise MalformedDocumentError("its header is signed in a way that is not known here")
    return V4Header(signature, kind, signed, edek, tenant_id)


def _read_v3(header: bytes) -> V3Header:
    signature = signed = b""
    tenant_id = None
    try:
        for number, value in protobuf.fields(header):
            if number == 1:
                signature = _message(value)
            elif number == 3:  # noqa: PLR2004 - saas_shield
                signed = _message(value)
                told = [_message(each) for field, each in protobuf.fields(signed) if field == 1]
                tenant_id = told[-1].decode() if told else None
    except (protobuf.MalformedMessageError, UnicodeDecodeError):
        raise MalformedDocumentError("its header is malformed") from None
    if signature and len(signature) < V3_SIGNATURE_BYTES:
        raise MalformedDocumentError("the signature in its header is too short")
    return V3Header(signature, signed, tenant_id)


def _edek(cmk: bytes) -> tuple[bytes, str | None]:
    """Return ``EncryptedDeks`` and the tenant that was noted.

    Writers of one historic version put the whole ``EncryptedDeks`` where one entry belongs: it has no config id then.
    """
    parts = dict(protobuf.fields(cmk))
    noted = parts.get(6)
    tenant_id = noted.decode() if isinstance(noted, bytes) else None
    if parts.get(2):
        return protobuf.delimited(1, cmk), tenant_id
    return b"".join(_again(number, value) for number, value in protobuf.fields(cmk) if number == 1), tenant_id


def _entry(edek: bytes) -> bytes:
    try:
        entries = [_message(value) for number, value in protobuf.fields(edek) if number == 1]
    except protobuf.MalformedMessageError:
        entries = []
    if not entries:
        raise MalformedDocumentError("the EDEK is malformed")
    return entries[-1]


def _standard(start: bytes) -> KeyId:
    found = read_key_id(start)
    if found is None or found.payload_type != _STANDARD:
        raise MalformedDocumentError("it does not begin with the id of a KMS config")
    if found.edek_type != _SAAS_SHIELD:
        raise MalformedDocumentError(f"its key is of another product: {found.edek_type_name}")
    return found


def _sized(header: bytes) -> bytes:
    if len(header) > LARGEST_HEADER_BYTES:
        raise MalformedDocumentError("the tenant id is too long for a document's header")
    return struct.pack(">H", len(header)) + header


def _again(number: int, value: int | bytes) -> bytes:
    return protobuf.integer(number, value) if isinstance(value, int) else protobuf.delimited(number, value)


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise protobuf.MalformedMessageError("an integer stands where a message belongs")
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise protobuf.MalformedMessageError("a message stands where an integer belongs")
    return value
