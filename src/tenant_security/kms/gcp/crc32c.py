"""CRC32C, by which Cloud KMS notices that a key was damaged on its way.

It guards against accidents, not against attackers, so it is no cryptography; 32 bytes and a blob of some hundred are
checked in microseconds, which is not worth a compiled dependency.

Source: RFC 3720, section 12.1 and appendix B.4; Cloud KMS, "Verifying end-to-end data integrity".
"""

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, bits reversed
_ALL_ONES: Final = 0xFFFFFFFF


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE: Final = tuple(_entry(byte) for byte in range(256))


def crc32c(data: bytes) -> int:
    """Return the checksum, an unsigned number of 32 bits."""
    crc = _ALL_ONES
    table = _TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ _ALL_ONES
