"""Deterministic encryption of fields: AES-256-SIV under a derived key, in the two forms that exist.

The same value under the same key always gives the same bytes, which is what makes it searchable; it also shows which
records hold the same value.

Shape: ``u32 BE tenant secret id | 00 00 | SIV 16 | ciphertext``.

Source: RFC 5297; docs/client/formats.md, "Deterministic fields".
"""

import struct
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

KEY_BYTES: Final = 64
HEADER_BYTES: Final = 6
_SHORTEST: Final = HEADER_BYTES + 16


class FieldForm(Enum):
    """Which of two associated-data forms a deterministic field is written in.

    S2V tells no associated data from one that is empty, so the two forms' bytes differ and neither family of clients
    can read the other's.
    """

    TSC = "tsc"
    """No associated data: the Tenant Security Clients for Node and Java."""
    ALLOY = "alloy"
    """One, empty: Alloy."""

    @property
    def associated(self) -> list[bytes] | None:
        """What AES-SIV is given."""
        return None if self is FieldForm.TSC else [b""]


class MalformedFieldError(ValueError):
    """The bytes are no deterministic field."""


def seal_field(key: bytes | bytearray, secret_id: int, value: bytes, form: FieldForm) -> bytes:
    """Encrypt a value under a derived key. The same arguments always give the same bytes."""
    return struct.pack(">IH", secret_id, 0) + AESSIV(key).encrypt(value, form.associated)


def open_field(key: bytes | bytearray, field: bytes, form: FieldForm) -> bytes | None:
    """Return the value, or None when this key and form did not write it."""
    try:
        return AESSIV(key).decrypt(field[HEADER_BYTES:], form.associated)
    except InvalidTag:
        return None


def secret_id_of(field: bytes) -> int:
    """Which tenant secret wrote a field. Raises: MalformedFieldError."""
    if len(field) < _SHORTEST:
        raise MalformedFieldError("it is too short to be a deterministic field")
    number, padding = struct.unpack_from(">IH", field)
    if padding:
        raise MalformedFieldError("its header is not that of a deterministic field")
    return int(number)
