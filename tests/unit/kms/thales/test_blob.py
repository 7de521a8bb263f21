import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.kms.thales.blob import Blob, NotOursError, read_blob, write_blob
from tenant_security.wire.protobuf import delimited, integer

CIPHERTEXT, IV, TAG = bytes(range(32)), bytes(range(12)), bytes(range(16))
PARTS = (delimited(1, CIPHERTEXT), delimited(2, IV), delimited(3, TAG), delimited(4, b"gcm"))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**31 - 1))
def test_what_is_written_is_read(ciphertext, version):
    blob = Blob(ciphertext, IV, TAG, version)

    assert read_blob(write_blob(blob)) == blob


def test_the_bytes_are_these():
    assert write_blob(Blob(CIPHERTEXT, IV, TAG, 3)) == b"".join(PARTS) + b"\x28\x03\x38\x01"
    assert write_blob(Blob(CIPHERTEXT, IV, TAG, 0)) == b"".join(PARTS) + b"\x38\x01"


@pytest.mark.parametrize("mode", [b"gcm", b"GCM"])
@pytest.mark.parametrize("more", [b"", delimited(6, b"id"), integer(5, 2) + delimited(6, b"name")])
def test_the_original_products_message_is_read(mode, more):
    blob = b"".join(PARTS[:3]) + delimited(4, mode) + more

    assert read_blob(blob)[:3] == (CIPHERTEXT, IV, TAG)


@pytest.mark.parametrize(
    "parts",
    [
        *[PARTS[:gone] + PARTS[gone + 1 :] for gone in range(4)],
        (*PARTS, PARTS[0]),
        (*PARTS, integer(7, 2)),
        (*PARTS, integer(8, 1)),
        (*PARTS, delimited(5, b"1")),
        (*PARTS, integer(5, 2**31)),
        (delimited(1, CIPHERTEXT[1:]), *PARTS[1:]),
        (PARTS[0], delimited(2, IV + b"x"), *PARTS[2:]),
        (*PARTS[:2], delimited(3, b""), PARTS[3]),
        (*PARTS[:3], delimited(4, b"cbc")),
        (*PARTS[:3], integer(4, 1)),
        (*PARTS, delimited(6, bytes(200))),
    ],
)
def test_what_ciphertrust_never_made_is_refused(parts):
    assert read_blob(b"".join(PARTS)).version == 0
    with pytest.raises(NotOursError):
        read_blob(b"".join(parts))


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(blob):
    try:
        read = read_blob(blob)
    except NotOursError:
        return
    assert read.is_whole
