"""The little of protobuf that the EDEK and document formats use, read strictly.

The formats hold only varints and length-delimited fields. A reader of untrusted EDEKs must refuse what a tolerant
library lets pass (groups, field number 0, a cut-off fixed32), because "not an EDEK" is an answer that clients test
for; and the hot path must build a message from prepared pieces. Tests hold this file against Google's library.

Source: the protobuf encoding specification; docs/formats.md, "EDEK".
"""

from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
DELIMITED: Final = 2
FIXED32: Final = 5

_MAX_VARINT_BYTES: Final = 10
_FIXED_SIZES: Final = {FIXED64: 8, FIXED32: 4}


class MalformedMessageError(ValueError):
    """The bytes are not a protobuf message."""


def varint(value: int) -> bytes:
    """Encode an unsigned integer, 7 bits a byte, least significant first."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - the low seven bits
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(number: int, value: bytes) -> bytes:
    """Encode a bytes, string or message field."""
    return varint(number << 3 | DELIMITED) + varint(len(value)) + value


def integer(number: int, value: int) -> bytes:
    """Encode an integer field."""
    return varint(number << 3 | VARINT) + varint(value)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(len(message), at + _MAX_VARINT_BYTES)):
        byte = message[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position + 1
        shift += 7
    raise MalformedMessageError("a varint is cut off or longer than ten bytes")


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield each field's number and value in the order they stand.

    Shape: a varint gives ``int``; every other wire type gives its ``bytes``.
    Raises: MalformedMessageError for field number 0, groups, unknown wire types and anything cut off.
    """
    at, end = 0, len(message)
    while at < end:
        tag, at = _read_varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise MalformedMessageError("a field number is out of range")
        if wire_type == VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if wire_type == DELIMITED:
            size, at = _read_varint(message, at)
        elif wire_type in _FIXED_SIZES:
            size = _FIXED_SIZES[wire_type]
        else:
            raise MalformedMessageError(f"wire type {wire_type} is not used here")
        if size > end - at:
            raise MalformedMessageError("a field is longer than the message")
        yield number, message[at : at + size]
        at += size
