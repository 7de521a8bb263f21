import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.kms.azure.blob import Blob, NotOursError, is_version, read_blob, write_blob
from tenant_security.wire.kms.azure import AzureAlgorithm
from tenant_security.wire.protobuf import delimited, integer

versions = st.from_regex(r"[0-9A-Za-z]{1,64}", fullmatch=True)
RSA = [AzureAlgorithm.RSA_OAEP_256, AzureAlgorithm.RSA_OAEP]
AES = [AzureAlgorithm.A128KW, AzureAlgorithm.A192KW, AzureAlgorithm.A256KW]


@given(st.sampled_from([256, 384, 512]), versions, st.sampled_from(RSA))
def test_what_is_written_is_read(length, version, algorithm):
    ciphertext = bytes(length)

    assert read_blob(write_blob(ciphertext, version, algorithm)) == Blob(ciphertext, version, algorithm)


@given(versions, st.sampled_from(AES))
def test_what_an_aes_key_wrapped_is_read(version, algorithm):
    assert read_blob(write_blob(bytes(40), version, algorithm)) == Blob(bytes(40), version, algorithm)


@given(st.sampled_from([256, 384, 512]), versions)
def test_the_original_products_message_is_read(length, version):
    blob = delimited(1, bytes(length)) + delimited(2, version.encode())

    assert read_blob(blob) == Blob(bytes(length), version, None)
    assert len(blob) not in (256, 384, 512)


@pytest.mark.parametrize("length", [256, 384, 512])
def test_a_bare_ciphertext_is_told_by_its_length_whatever_is_in_it(length):
    looks_like_a_message = (delimited(1, bytes(40)) + delimited(2, b"v")).ljust(length, b"\0")

    for bare in (bytes(length), b"\x0a" * length, looks_like_a_message):
        assert read_blob(bare) == Blob(bare, None, None)


@given(st.sampled_from([256, 384, 512]), versions, st.sampled_from(RSA))
def test_no_blob_of_ours_has_the_length_of_a_bare_one(length, version, algorithm):
    assert len(write_blob(bytes(length), version, algorithm)) not in (256, 384, 512)


GOOD = (delimited(1, bytes(256)), delimited(2, b"v1"), integer(3, 1), delimited(4, b"RSA-OAEP-256"))


@pytest.mark.parametrize(
    "parts",
    [
        GOOD[1:],
        GOOD[:1] + GOOD[2:],
        (*GOOD, GOOD[0]),
        (*GOOD, delimited(5, b"x")),
        (delimited(1, bytes(255)), *GOOD[1:]),
        (delimited(1, bytes(40)), *GOOD[1:]),
        (GOOD[0], delimited(2, b"../x"), *GOOD[2:]),
        (GOOD[0], delimited(2, b""), *GOOD[2:]),
        (*GOOD[:2], integer(3, 2), GOOD[3]),
        (*GOOD[:3], delimited(4, b"RSA1_5")),
        (*GOOD[:3], delimited(4, b"A256KW")),
        GOOD[:3],
        (*GOOD[:2], GOOD[3]),
        (integer(1, 7), *GOOD[1:]),
    ],
)
def test_what_azure_never_made_is_refused(parts):
    assert read_blob(b"".join(GOOD)).version == "v1"
    with pytest.raises(NotOursError):
        read_blob(b"".join(parts))


@given(st.binary(max_size=700))
def test_no_bytes_crash_the_reader(blob):
    try:
        read = read_blob(blob)
    except NotOursError:
        return
    assert read.version is None or is_version(read.version)
