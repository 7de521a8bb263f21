import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.kms.gcp.crc32c import crc32c


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (b"\x00" * 32, 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
    ],
)
def test_the_vectors_of_rfc_3720_hold(data, checksum):
    assert crc32c(data) == checksum


@given(st.binary(min_size=1, max_size=200), st.data())
def test_every_flipped_bit_is_noticed(data, choose):
    bit = choose.draw(st.integers(0, len(data) * 8 - 1))
    altered = bytearray(data)
    altered[bit // 8] ^= 1 << bit % 8

    assert crc32c(bytes(altered)) != crc32c(data)


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_the_checksum_is_linear_as_every_crc_is(left, right):
    """A property that a slip in the table would break."""
    size = min(len(left), len(right))
    left, right = left[:size], right[:size]
    both = bytes(a ^ b for a, b in zip(left, right, strict=True))

    assert crc32c(left) ^ crc32c(right) == crc32c(both) ^ crc32c(bytes(size))
