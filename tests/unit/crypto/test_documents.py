"""AES-GCM over documents: in one go or in pieces, the bytes are the same."""

import os

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenant_security.crypto import documents
from tenant_security.crypto.documents import DocumentCipher, TooLongError

KEY = bytes(range(32))
IV = bytes(range(12))
SIZES = [0, 1, 15, 16, 17, 2**20 - 1, 2**20, 2**20 + 17, 3 * 2**18 + 2**20]


def cipher(iv: bytes = IV) -> DocumentCipher:
    return DocumentCipher(bytearray(KEY), lambda _: iv)


@pytest.mark.parametrize("size", SIZES)
def test_a_document_is_head_iv_ciphertext_and_tag(size):
    plaintext = os.urandom(size)
    sealed = cipher().seal(b"head", plaintext)
    assert sealed == b"head" + IV + AESGCM(KEY).encrypt(IV, plaintext, None)
    assert type(sealed) is bytes
    assert cipher().open(sealed, 4) == plaintext


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_bytes_is_taken(kind):
    for size in (100, 2**20 + 1):
        sealed = cipher().seal(b"", kind(b"x" * size))
        assert cipher().open(kind(sealed), 0) == b"x" * size


@pytest.mark.parametrize("size", SIZES)
def test_one_changed_bit_is_noticed(size):
    sealed = bytearray(cipher().seal(b"", bytes(size)))
    for at in {0, 12, len(sealed) // 2, len(sealed) - 1}:
        changed = bytearray(sealed)
        changed[at] ^= 128
        assert cipher().open(changed, 0) is None
    assert cipher().open(sealed[:-1], 0) is None
    assert cipher().open(sealed[:20], 0) is None


@pytest.mark.parametrize("piece", [1, 7, 16, 100])
def test_pieces_make_the_same_bytes_as_the_whole(piece):
    plaintext = os.urandom(300)
    sealer = cipher().sealer()
    sealed = sealer.iv + b"".join(sealer.update(plaintext[at : at + piece]) for at in range(0, 300, piece))
    sealed += sealer.finish()
    assert sealed == cipher().seal(b"", plaintext)
    opener = cipher().opener(sealed[:12])
    opened = b"".join(opener.update(sealed[at : at + piece]) for at in range(12, len(sealed), piece))
    assert opener.finish()
    assert opened == plaintext


def test_a_stream_that_is_cut_off_or_changed_is_not_finished():
    sealed = cipher().seal(b"", b"plaintext")
    for wrong in (sealed[12:-1], sealed[12:] + b"x", b"", sealed[12:20], bytes(25)):
        opener = cipher().opener(IV)
        opener.update(wrong)
        assert not opener.finish()


def test_no_iv_encrypts_more_than_it_may(monkeypatch):
    monkeypatch.setattr(documents, "LARGEST_DOCUMENT_BYTES", 10)
    with pytest.raises(TooLongError):
        cipher().seal(b"", bytes(11))
    sealer, opener = cipher().sealer(), cipher().opener(IV)
    sealer.update(bytes(10))
    with pytest.raises(TooLongError):
        sealer.update(b"x")
    with pytest.raises(TooLongError):
        opener.update(bytes(27))


def test_ivs_are_fresh():
    working = DocumentCipher(bytearray(KEY))
    assert len({working.seal(b"", b"")[:12] for _ in range(100)}) == 100


def test_a_wiped_key_is_gone_and_refuses_to_work():
    key = bytearray(KEY)
    working = DocumentCipher(key)
    working.wipe()
    assert key == bytes(32)
    for use in (
        lambda: working.seal(b"", b""),
        lambda: working.open(bytes(40), 0),
        lambda: working.sign_v4(b""),
        working.sealer,
    ):
        with pytest.raises(ValueError, match="wiped"):
            use()
