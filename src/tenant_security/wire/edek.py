"""EDEKs: encrypted data encryption keys, as every SaaS Shield client stores them.

Shape::

    EncryptedDeks { repeated EncryptedDek encryptedDeks = 1 }
    EncryptedDek  { bytes  encryptedDekData       = 1   // what the KMS returned, or the DEK under a leased key
                    int32  kmsConfigId            = 2   // never 0
                    int32  leasedKeyId            = 3   // 0 or absent: not leased
                    bytes  leasedKeyIv            = 4   // 12 bytes when leased
                    bytes  encryptedLeasedKeyData = 5   // EncryptedDeks that wraps the leased key
                    string tenantId               = 6 } // added by some clients, ignored

On the wire an EDEK is the standard, padded base64 of ``EncryptedDeks``. We emit one entry, fields in number order and
without zero values; a wrapped leased key has one for each KMS that wrapped it. Entries are alternatives: each alone
gives the key.

Source: docs/formats.md, "EDEK".
"""

import binascii
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.wire import protobuf

IV_BYTES: Final = 12
TAG_BYTES: Final = 16
DEK_BYTES: Final = 32
_INT32_MAX: Final = 2**31 - 1
MOST_ENTRIES: Final = 8
"""More than a tenant can have KMSs that wrap."""

NOT_AN_EDEK: Final = "Provided EDEK didn't contain IronCore EDEKs"
EMPTY_EDEK: Final = "No encrypted DEKs were provided"


class EncryptedDek(msgspec.Struct, frozen=True, gc=False):
    """One wrapped DEK, or one wrapped leased key.

    ``wrapped_lease`` is kept as the bytes that were read: they are what identifies a lease.
    """

    data: bytes
    config_id: int
    lease_id: int = 0
    lease_iv: bytes = b""
    wrapped_lease: bytes = b""

    @property
    def leased(self) -> bool:
        """Whether a leased key, and not the KMS itself, wrapped the DEK."""
        return self.lease_id != 0


def _invalid(message: str, cause: Exception | None = None) -> TenantSecurityError:
    fault = TenantSecurityError(Code.INVALID_PROVIDED_EDEK, message)
    fault.__cause__ = cause
    return fault


def _int32(value: int | bytes) -> int:
    if isinstance(value, bytes) or value > _INT32_MAX:
        raise _invalid(NOT_AN_EDEK)
    return value


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise _invalid(NOT_AN_EDEK)
    return value


def _decode_entry(message: bytes) -> EncryptedDek:
    data = iv = wrapped_lease = b""
    config_id = lease_id = 0
    for number, value in protobuf.fields(message):
        match number:
            case 1:
                data = _bytes(value)
            case 2:
                config_id = _int32(value)
            case 3:
                lease_id = _int32(value)
            case 4:
                iv = _bytes(value)
            case 5:
                wrapped_lease = _bytes(value)
            case 6:
                _bytes(value)
    if not data or config_id == 0:
        raise _invalid(NOT_AN_EDEK)
    if lease_id and (len(iv) != IV_BYTES or not wrapped_lease or len(data) <= TAG_BYTES):
        raise _invalid(f"{NOT_AN_EDEK}: its leased key is incomplete")
    return EncryptedDek(data, config_id, lease_id, iv, wrapped_lease)


def decode(message: bytes) -> EncryptedDek:
    """Read the first entry of ``EncryptedDeks`` bytes; the others must be good too.

    Raises: TenantSecurityError 203 when the bytes are not an EDEK.
    """
    return decode_all(message)[0]


def decode_all(message: bytes) -> tuple[EncryptedDek, ...]:
    """Read every entry of ``EncryptedDeks`` bytes, at least one, in their order.

    Raises: TenantSecurityError 203 when the bytes are not an EDEK.
    """
    try:
        entries = [_bytes(value) for number, value in protobuf.fields(message) if number == 1]
        if not entries:
            raise _invalid(EMPTY_EDEK)
        if len(entries) > MOST_ENTRIES:
            raise _invalid(f"{NOT_AN_EDEK}: it has more than {MOST_ENTRIES} entries")
        return tuple(map(_decode_entry, entries))
    except protobuf.MalformedMessageError as malformed:
        raise _invalid(NOT_AN_EDEK, malformed) from None


def decode_base64(text: str) -> EncryptedDek:
    """Read the first entry of an EDEK as it stands in a request.

    Raises: TenantSecurityError 203 when it is not strict base64 of an EDEK.
    """
    return decode_all_base64(text)[0]


def decode_all_base64(text: str) -> tuple[EncryptedDek, ...]:
    """Read every entry of an EDEK as it stands in a request.

    Raises: TenantSecurityError 203 when it is not strict base64 of an EDEK.
    """
    try:
        message = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
        raise _invalid(f"{NOT_AN_EDEK}: it is not standard base64") from None
    return decode_all(message)


_LEASED: Final = re.compile(
    rb"\x0a([\x80-\xff][\x00-\x7f])\x0a\x30(.{48})\x10([\x80-\xff]{0,4}[\x00-\x7f])\x18[\x80-\xff]{0,3}[\x01-\x7f]\x22\x0c(.{12})\x2a"
    rb"([\x80-\xff]?[\x00-\x7f])(.+)",
    re.DOTALL,
)


class LeasedParts(NamedTuple):
    """What unwrapping a leased EDEK needs."""

    config_id: int
    data: bytes
    iv: bytes
    wrapped_lease: bytes


def leased_parts(message: bytes) -> LeasedParts | None:
    """Read a leased EDEK that stands exactly as we write them; None for everything else, right or wrong.

    It never says more than :func:`decode` would: what it reads, ``decode`` reads the same way.
    """
    found = _LEASED.fullmatch(message)
    if found is None:
        return None
    size, data, config_id, iv, wrapped_size, wrapped = found.groups()
    if _small(size) != len(message) - 3 or _small(wrapped_size) != len(wrapped):
        return None
    number = _small(config_id)
    return None if not 0 < number <= _INT32_MAX else LeasedParts(number, data, iv, wrapped)


def _small(encoded: bytes) -> int:
    """Decode a varint that is known to be whole. -1 where its last byte says that it goes on."""
    value = 0
    for shift, byte in enumerate(encoded):
        value |= (byte & 0x7F) << 7 * shift
    return value if encoded[-1] < 0x80 else -1  # noqa: PLR2004 - the continuation bit


def encode_all(entries: Iterable[EncryptedDek]) -> bytes:
    """Write ``EncryptedDeks`` with these entries, in their order."""
    return b"".join(map(encode, entries))


def encode(entry: EncryptedDek) -> bytes:
    """Write ``EncryptedDeks`` with this one entry."""
    if not 0 < entry.config_id <= _INT32_MAX:
        raise ValueError("a KMS config id is between 1 and 2^31-1")
    parts = [protobuf.delimited(1, entry.data), protobuf.integer(2, entry.config_id)]
    if entry.leased:
        parts.append(protobuf.integer(3, entry.lease_id))
        parts.append(protobuf.delimited(4, entry.lease_iv))
        parts.append(protobuf.delimited(5, entry.wrapped_lease))
    return protobuf.delimited(1, b"".join(parts))


def encode_base64(entry: EncryptedDek) -> str:
    """Write an EDEK as it stands in a response."""
    return to_base64(encode(entry))


def to_base64(value: bytes) -> str:
    """Standard base64 with padding, without a line break."""
    return binascii.b2a_base64(value, newline=False).decode("ascii")


class LeasedEdekTemplate:
    """Builds the EDEKs of one leased key from pieces prepared once.

    Every EDEK of a lease has the same length and differs only in the 48 bytes of ciphertext and the 12 of IV.
    """

    __slots__ = ("_base64_tail", "_encoded_tail", "_head", "_middle", "_tail")

    def __init__(self, *, config_id: int, lease_id: int, wrapped_lease: bytes) -> None:
        blank_data, blank_iv = bytes(DEK_BYTES + TAG_BYTES), bytes(IV_BYTES)
        whole = encode(EncryptedDek(blank_data, config_id, lease_id, blank_iv, wrapped_lease))
        tail = protobuf.delimited(5, wrapped_lease)
        data_at = whole.index(blank_data)
        iv_at = len(whole) - len(tail) - IV_BYTES
        self._head = whole[:data_at]
        self._middle = whole[data_at + len(blank_data) : iv_at]
        self._tail = tail
        # Base64 goes by three bytes: what stands behind the first whole group of the tail never changes either.
        odd = -iv_at % 3
        self._encoded_tail = tail[:odd]
        self._base64_tail = binascii.b2a_base64(tail[odd:], newline=False)

    def fill(self, data: bytes, iv: bytes) -> bytes:
        """Return ``EncryptedDeks`` bytes for this ciphertext (48 bytes) and IV (12 bytes)."""
        return b"".join((self._head, data, self._middle, iv, self._tail))

    def fill_base64(self, data: bytes, iv: bytes) -> bytes:
        """Return the same as it stands in a response, in base64."""
        front = b"".join((self._head, data, self._middle, iv, self._encoded_tail))
        return binascii.b2a_base64(front, newline=False) + self._base64_tail
