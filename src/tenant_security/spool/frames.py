"""The bytes of a record on disk, and how records are found again among damage.

Shape of a frame: magic ``F5 54 53 31`` | length, 4 bytes | CRC-32, 4 bytes | position, 8 bytes | payload; integers are
big-endian. The CRC covers the payload and is seeded with the position. The magic's first byte occurs in no UTF-8 text,
so that no payload of ours can look like a frame.

Source: docs/formats.md, "Spool".
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

MAGIC: Final = b"\xf5TS1"
_HEADER: Final = struct.Struct(">4sIIQ")
HEADER_BYTES: Final = _HEADER.size
MOST_PAYLOAD_BYTES: Final = 16 * 1_048_576
"""A longer length is damage: it bounds what a reader believes before it has seen the CRC."""


class Frame(NamedTuple):
    """A record that was read: where it stands in its log, what it holds, and where in the bytes it ends."""

    position: int
    payload: bytes
    end: int


class Damage:
    """What a reader met that is no record. Units: bytes, places where records were missing or unreadable."""

    __slots__ = ("places", "skipped_bytes", "torn_bytes")

    def __init__(self) -> None:
        self.places = 0
        self.skipped_bytes = 0
        """Between two good records."""
        self.torn_bytes = 0
        """After the last good one: most likely a write that a crash cut."""


def encode_frames(records: Iterable[tuple[int, bytes]]) -> bytes:
    """Write records, position and payload, one after the other. Raises: ValueError when one is too long."""
    pack, crc32 = _HEADER.pack, zlib.crc32
    parts: list[bytes] = []
    for position, payload in records:
        size = len(payload)
        if size > MOST_PAYLOAD_BYTES:
            raise ValueError(f"a record of {size} bytes is longer than {MOST_PAYLOAD_BYTES}")
        parts.append(pack(MAGIC, size, crc32(payload, _seed(position)), position))
        parts.append(payload)
    return b"".join(parts)


def framed_bytes(payloads: Iterable[bytes]) -> int:
    """How many bytes :func:`encode_frames` makes of them."""
    return sum(HEADER_BYTES + len(each) for each in payloads)


def read_frames(data: bytes, damage: Damage, *, at: int = 0) -> Iterator[Frame]:
    """Yield every good record from an offset on, in order; skip what is damaged and say how much in ``damage``.

    A record never goes back: one whose position is not beyond its predecessor's is damage too.
    """
    good = at
    last = -1
    while at < len(data):
        frame = _frame_at(data, at)
        if frame is not None and frame.position > last:
            if at > good:
                damage.places += 1
                damage.skipped_bytes += at - good
            at = good = frame.end
            last = frame.position
            yield frame
            continue
        at = data.find(MAGIC, at + 1)
        if at < 0:
            break
    if good < len(data):
        damage.places += 1
        damage.torn_bytes += len(data) - good


def resume_at(data: bytes, end: int) -> int:
    """Return where to read on when these bytes are a portion of more, and the last good record ends at ``end``.

    That is the first place behind it where a frame may begin that is not all here.
    """
    at = end
    while at < len(data):
        if len(data) - at < HEADER_BYTES:
            if MAGIC.startswith(data[at : at + len(MAGIC)]) or data.startswith(MAGIC, at):
                return at
        elif data.startswith(MAGIC, at):
            size = _HEADER.unpack_from(data, at)[1]
            if size <= MOST_PAYLOAD_BYTES and at + HEADER_BYTES + size > len(data):
                return at
        found = data.find(MAGIC, at + 1)
        at = found if found >= 0 else max(at + 1, len(data) - len(MAGIC) + 1)
    return len(data)


def _frame_at(data: bytes, at: int) -> Frame | None:
    start = at + HEADER_BYTES
    if start > len(data):
        return None
    magic, size, crc, position = _HEADER.unpack_from(data, at)
    end = start + size
    if magic != MAGIC or size > MOST_PAYLOAD_BYTES or end > len(data):
        return None
    payload = data[start:end]
    if zlib.crc32(payload, _seed(position)) != crc:
        return None
    return Frame(position, payload, end)


def _seed(position: int) -> int:
    return (position ^ position >> 32) & 0xFFFF_FFFF
