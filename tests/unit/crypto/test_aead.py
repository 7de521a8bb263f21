"""DEKs under a leased key."""

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.crypto.aead import MAX_RANDOM_IVS, LeasedKeyCipher, random_bytes

KEY = bytes(range(32))
KEYS = st.binary(min_size=32, max_size=32)
IVS = st.binary(min_size=12, max_size=12)


@given(KEYS, KEYS, IVS)
def test_a_sealed_dek_is_aes_256_gcm_without_associated_data(key, dek, iv):
    sealed = LeasedKeyCipher(key).seal(dek, iv)

    assert len(sealed) == 48
    assert sealed == AESGCM(key).encrypt(iv, dek, None)


@given(KEYS, KEYS, IVS)
def test_what_was_sealed_opens(key, dek, iv):
    cipher = LeasedKeyCipher(key)

    assert cipher.open(cipher.seal(dek, iv), iv) == dek


@given(st.integers(0, 48 * 8 - 1))
def test_no_bit_of_a_sealed_dek_can_change(bit):
    cipher = LeasedKeyCipher(KEY)
    sealed = bytearray(cipher.seal(bytes(32), bytes(12)))
    sealed[bit // 8] ^= 1 << bit % 8

    assert cipher.open(bytes(sealed), bytes(12)) is None


def test_another_key_or_another_iv_opens_nothing():
    sealed = LeasedKeyCipher(KEY).seal(bytes(32), bytes(12))

    assert LeasedKeyCipher(bytes(32)).open(sealed, bytes(12)) is None
    assert LeasedKeyCipher(KEY).open(sealed, b"\x01" + bytes(11)) is None


@given(st.binary(max_size=60))
def test_anything_else_opens_nothing(sealed):
    assert LeasedKeyCipher(KEY).open(sealed, bytes(12)) is None


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_a_key_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match="32 bytes"):
        LeasedKeyCipher(bytes(size))


def test_the_key_cannot_be_read_back():
    cipher = LeasedKeyCipher(KEY)

    assert not hasattr(cipher, "__dict__")
    assert KEY.hex() not in repr(cipher)
    assert str(KEY) not in repr(cipher)


def test_random_bytes_are_as_many_as_asked_and_never_twice_the_same():
    assert len({random_bytes(32) for _ in range(1_000)}) == 1_000
    assert {len(random_bytes(count)) for count in (1, 12, 44)} == {1, 12, 44}


def test_the_bound_on_random_ivs_is_the_standards():
    assert MAX_RANDOM_IVS == 2**32
