import hashlib
from typing import Final

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.errors import Code
from tenant_security.kms.local import BLOB_BYTES, LocalKmsKey
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import finished
from tenant_security.secret import Secret
from tenant_security.wire.edek import EncryptedDek, encode
from tenant_security.wire.kms.local import LocalCredentials, LocalKeyPath, LocalKmsConfig

DEK = bytes(range(32))
SEALED_DEK: Final = "aabb3eb6a84d6b5869f4ab2e52d0d02c0da528605bae4c942dcc3e6e5f594ab610d753b807a44a53c897749d4c6e3c67"
KEYS: Final = {version: bytes([version]) * 32 for version in (1, 2, 7)}


def config(*versions: int, key_id: str = "key", keys: dict[int, bytes] = KEYS) -> LocalKmsConfig:
    secrets = {version: Secret(keys[version]) for version in versions}
    return LocalKmsConfig(1, LocalCredentials(secrets), LocalKeyPath(key_id))


def counting(count: int) -> bytes:
    return bytes(range(count))


def refused(key: LocalKmsKey, blob: bytes) -> KmsFaultError:
    with pytest.raises(KmsFaultError) as caught:
        finished(key.unwrap(blob))
    assert caught.value.code is Code.KMS_UNWRAP_FAILED
    return caught.value


def test_a_blob_has_the_documented_layout():
    """Opened by hand, from the documentation alone."""
    blob = finished(LocalKmsKey(config(1, 7), counting).wrap(DEK))

    assert len(blob) == BLOB_BYTES == 113
    assert blob[:3] == b"LK\x01"
    assert blob[3:7] == (7).to_bytes(4, "big")
    assert blob[7:21] == hashlib.sha256(b"key").digest()[:14]
    assert blob[21:53] == bytes(range(32))
    assert blob[53:65] == bytes(range(12))
    sealing_key = HKDF(SHA256(), 32, blob[21:53], b"tenant-security local kms v1").derive(KEYS[7])
    assert AESGCM(sealing_key).decrypt(blob[53:65], blob[65:], blob[:53]) == DEK


def test_blobs_of_today_can_be_read_tomorrow():
    """A blob as it was written when the format was fixed."""
    blob = bytes.fromhex(
        "4c4b0100000007" + hashlib.sha256(b"key").hexdigest()[:28] + bytes(range(32)).hex() + bytes(range(12)).hex()
    ) + bytes.fromhex(SEALED_DEK)

    assert finished(LocalKmsKey(config(7)).unwrap(blob)) == DEK
    assert finished(LocalKmsKey(config(7), counting).wrap(DEK)) == blob


@given(st.binary(min_size=32, max_size=32))
def test_what_was_wrapped_is_unwrapped(dek):
    key = LocalKmsKey(config(1))

    assert finished(key.unwrap(finished(key.wrap(dek)))) == dek


@given(st.integers(0, BLOB_BYTES * 8 - 1))
def test_no_bit_of_a_blob_can_change(bit):
    key = LocalKmsKey(config(1, 2))
    blob = bytearray(finished(key.wrap(DEK)))
    blob[bit // 8] ^= 1 << bit % 8

    refused(key, bytes(blob))


@given(st.binary(max_size=200))
def test_anything_else_is_refused_and_nothing_crashes(blob):
    refused(LocalKmsKey(config(1)), blob)


@given(st.binary(min_size=BLOB_BYTES - 3, max_size=BLOB_BYTES - 3))
def test_what_only_looks_like_a_blob_is_refused(rest):
    refused(LocalKmsKey(config(1)), b"LK\x01" + rest)


def test_two_wraps_of_one_key_have_nothing_secret_in_common():
    key = LocalKmsKey(config(1))
    one, other = finished(key.wrap(DEK)), finished(key.wrap(DEK))

    assert one[:21] == other[:21]
    assert one[21:53] != other[21:53]
    assert one[53:65] != other[53:65]
    assert one[65:] != other[65:]


def test_the_newest_version_wraps_and_every_version_unwraps():
    old = finished(LocalKmsKey(config(1)).wrap(DEK))
    both = LocalKmsKey(config(1, 2))

    assert finished(both.unwrap(old)) == DEK
    assert "version 2" in refused(LocalKmsKey(config(1)), finished(both.wrap(DEK))).message


def test_a_key_of_another_name_is_told_apart():
    blob = finished(LocalKmsKey(config(1)).wrap(DEK))

    assert "another key" in refused(LocalKmsKey(config(1, key_id="other")), blob).message


def test_a_key_of_another_value_is_refused():
    blob = finished(LocalKmsKey(config(1)).wrap(DEK))

    assert "altered" in refused(LocalKmsKey(config(1, keys={1: bytes(32)})), blob).message


def test_a_configuration_without_a_key_is_refused():
    with pytest.raises(KmsFaultError) as caught:
        LocalKmsKey(config())
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID


@given(st.integers(1, 2**31 - 1))
def test_an_edek_never_looks_like_alloys_own(config_id):
    """Alloy takes an EDEK for its own when byte 5 is 0 and byte 4's nibbles name kinds that it knows."""
    blob = finished(LocalKmsKey(config(1)).wrap(DEK))
    edek = encode(EncryptedDek(blob, config_id))

    assert edek[4:6] == blob[:2] == b"LK"
    own = edek[5] == 0 and edek[4] >> 4 in (0, 4, 8) and edek[4] & 15 in (0, 1, 2)
    assert not own
