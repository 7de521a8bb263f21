"""Streams and files: any size in constant memory, and nothing unverified is taken for true."""

import io
import tracemalloc
from pathlib import Path

import pytest

from tenant_security.client import (
    AsyncTenantSecurityClient,
    DocumentError,
    DocumentFormat,
    EncryptedValue,
    KmsError,
    UnverifiedPlaintextError,
)

SIZES = [0, 1, 16, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 900_000]
FORMATS = list(DocumentFormat)
PLAIN = bytes(range(251)) * 4000


class OnlyOnce(io.RawIOBase):
    """A source like a socket: it gives what it has, a little at a time, and cannot go back."""

    def __init__(self, content: bytes, at_once: int = 1000) -> None:
        self._content = io.BytesIO(content)
        self._at_once = at_once

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(self._at_once, size if size >= 0 else self._at_once))


class Endless(io.RawIOBase):
    """So many bytes, without holding them."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1) -> bytes:
        taken = min(size, self._left)
        self._left -= taken
        return bytes(taken)


class Counting(io.RawIOBase):
    """A sink that keeps nothing."""

    written = 0

    def write(self, piece: object) -> int:
        self.written += len(piece)  # type: ignore[arg-type]
        return len(piece)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("attached", [False, True])
def test_a_stream_comes_back(client, mine, size, attached):
    sealed, opened = io.BytesIO(), io.BytesIO()
    edek = client.encrypt_stream(io.BytesIO(PLAIN[:size]), sealed, mine, attached=attached)
    sealed.seek(0)
    client.decrypt_stream(sealed, opened, mine, edek=None if attached else edek)
    assert opened.getvalue() == PLAIN[:size]


@pytest.mark.parametrize("written", FORMATS)
def test_a_stream_and_a_value_have_the_same_bytes(memory, mine, written):
    client = memory.client(document_format=written)
    sealed = io.BytesIO()
    edek = client.encrypt_stream(OnlyOnce(PLAIN), sealed, mine)
    assert client.decrypt_value(EncryptedValue(sealed.getvalue(), edek), mine) == PLAIN
    value, opened = client.encrypt_value(PLAIN, mine), io.BytesIO()
    client.decrypt_stream(io.BytesIO(value.ciphertext), opened, mine, edek=value.edek)
    assert opened.getvalue() == PLAIN
    attached, opened = client.encrypt_attached(PLAIN, mine), io.BytesIO()
    client.decrypt_stream(io.BytesIO(attached), opened, mine)
    assert opened.getvalue() == PLAIN


def test_a_source_that_can_be_read_twice_releases_nothing_unverified(client, mine):
    sealed = io.BytesIO()
    edek = client.encrypt_stream(io.BytesIO(PLAIN), sealed, mine)
    damaged = bytearray(sealed.getvalue())
    damaged[-1] ^= 1
    sink = Counting()
    with pytest.raises(DocumentError) as caught:
        client.decrypt_stream(io.BytesIO(bytes(damaged)), sink, mine, edek=edek)
    assert not isinstance(caught.value, UnverifiedPlaintextError)
    assert sink.written == 0


def test_a_source_that_can_be_read_only_once_needs_the_callers_word(client, mine):
    sealed = io.BytesIO()
    edek = client.encrypt_stream(io.BytesIO(PLAIN), sealed, mine)
    with pytest.raises(ValueError, match="release_unverified"):
        client.decrypt_stream(OnlyOnce(sealed.getvalue()), io.BytesIO(), mine, edek=edek)
    opened = io.BytesIO()
    client.decrypt_stream(OnlyOnce(sealed.getvalue()), opened, mine, edek=edek, release_unverified=True)
    assert opened.getvalue() == PLAIN


def test_released_plaintext_that_was_wrong_is_told(client, mine):
    sealed, sink = io.BytesIO(), io.BytesIO()
    edek = client.encrypt_stream(io.BytesIO(PLAIN), sealed, mine)
    cut = sealed.getvalue()[:-1]
    with pytest.raises(UnverifiedPlaintextError, match="Throw away"):
        client.decrypt_stream(OnlyOnce(cut), sink, mine, edek=edek, release_unverified=True)
    assert sink.getvalue()


def test_a_wrong_key_is_noticed_before_anything_is_released(client, mine):
    sealed, other, sink = io.BytesIO(), client.encrypt({}, mine), Counting()
    client.encrypt_stream(io.BytesIO(PLAIN), sealed, mine)
    with pytest.raises(DocumentError, match="not signed with this key"):
        client.decrypt_stream(OnlyOnce(sealed.getvalue()), sink, mine, edek=other.edek, release_unverified=True)
    assert sink.written == 0


def test_a_document_of_any_size_takes_little_memory(memory, mine):
    size = 64 * 1024 * 1024
    client, sink = memory.client(), Counting()
    tracemalloc.start()
    try:
        client.encrypt_stream(Endless(size), sink, mine)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < sink.written < size + 200
    assert peak < 4 * 1024 * 1024


@pytest.mark.parametrize("attached", [False, True])
def test_a_file_comes_back(client, mine, tmp_path, attached):
    plain, sealed, opened = (tmp_path / name for name in ("plain", "sealed", "opened"))
    plain.write_bytes(PLAIN)
    edek = client.encrypt_file(plain, sealed, mine, attached=attached)
    client.decrypt_file(str(sealed), str(opened), mine, edek=None if attached else edek)
    assert opened.read_bytes() == PLAIN
    assert opened.stat().st_mode & 0o077 == 0
    assert sorted(tmp_path.iterdir()) == sorted([plain, sealed, opened])


def test_a_file_that_does_not_verify_is_not_there(client, mine, tmp_path):
    plain, sealed, opened = (tmp_path / name for name in ("plain", "sealed", "opened"))
    plain.write_bytes(PLAIN)
    opened.write_bytes(b"what was there before")
    edek = client.encrypt_file(plain, sealed, mine)
    sealed.write_bytes(sealed.read_bytes()[:-1])
    with pytest.raises(DocumentError):
        client.decrypt_file(sealed, opened, mine, edek=edek)
    assert opened.read_bytes() == b"what was there before"
    assert sorted(tmp_path.iterdir()) == sorted([plain, sealed, opened])


def test_without_an_edek_it_says_which_is_missing(client, mine):
    sealed = io.BytesIO()
    client.encrypt_stream(io.BytesIO(b"x"), sealed, mine)
    with pytest.raises(DocumentError, match="give it"):
        client.decrypt_stream(io.BytesIO(sealed.getvalue()), io.BytesIO(), mine)
    for junk in (b"", b"x", b"junk junk junk", b"\x03IRON\xff\xff"):
        with pytest.raises(DocumentError) as caught:
            client.decrypt_stream(io.BytesIO(junk), io.BytesIO(), mine)
        assert caught.value.code == 900


def test_what_is_encrypted_is_not_encrypted_again(client, mine):
    sealed = io.BytesIO()
    client.encrypt_stream(io.BytesIO(b"x"), sealed, mine)
    with pytest.raises(DocumentError, match="Already encrypted"):
        client.encrypt_stream(io.BytesIO(sealed.getvalue()), io.BytesIO(), mine)


@pytest.mark.parametrize("piece", [1, 5, 300])
@pytest.mark.parametrize("written", FORMATS)
def test_pieces_of_any_size_come_back(memory, mine, piece, written):
    client = memory.client(document_format=written)
    plain = PLAIN[:1000]
    encryptor = client.start_encryption(mine)
    sealed = b"".join(encryptor.update(plain[at : at + piece]) for at in range(0, 1000, piece)) + encryptor.finish()
    decryptor = client.start_decryption(encryptor.edek, mine)
    opened = b"".join(decryptor.update_unverified(sealed[at : at + piece]) for at in range(0, len(sealed), piece))
    decryptor.finish()
    assert opened == plain
    assert client.decrypt_value(EncryptedValue(sealed, encryptor.edek), mine) == plain


def test_pieces_that_end_too_soon_are_not_a_document(memory, mine):
    client = memory.client()
    encryptor = client.start_encryption(mine)
    sealed = encryptor.update(b"plaintext") + encryptor.finish()
    for end in range(len(sealed)):
        decryptor = client.start_decryption(encryptor.edek, mine)
        decryptor.update_unverified(sealed[:end])
        with pytest.raises(DocumentError):
            decryptor.finish()


async def test_the_asynchronous_client_does_the_same(real_proxy, mine, tmp_path, theirs):
    plain, sealed, opened = (tmp_path / name for name in ("plain", "sealed", "opened"))
    plain.write_bytes(PLAIN)
    url, key = real_proxy.api_url, real_proxy.api_key
    async with AsyncTenantSecurityClient(url, key, allow_insecure_http=True) as client:
        edek = await client.encrypt_file(plain, sealed, mine)
        await client.decrypt_file(sealed, opened, mine, edek=edek)
        sink = io.BytesIO()
        with Path(sealed).open("rb") as source:
            await client.decrypt_stream(source, sink, mine, edek=edek)
        with pytest.raises(KmsError):
            await client.start_decryption(edek, theirs)
        encryptor = await client.start_encryption(mine, attached=True)
        attached = encryptor.update(b"x") + encryptor.finish()
        assert await client.decrypt_attached(attached, mine) == b"x"
    assert opened.read_bytes() == sink.getvalue() == PLAIN


def test_a_document_of_any_size_is_decrypted_in_little_memory(memory, mine, tmp_path):
    size = 32 * 1024 * 1024
    client, sink = memory.client(), Counting()
    with (tmp_path / "sealed").open("wb") as file:
        edek = client.encrypt_stream(Endless(size), file, mine)
    tracemalloc.start()
    try:
        with (tmp_path / "sealed").open("rb") as file:
            client.decrypt_stream(file, sink, mine, edek=edek)
        client.decrypt_file(tmp_path / "sealed", tmp_path / "opened", mine, edek=edek)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sink.written == (tmp_path / "opened").stat().st_size == size
    assert peak < 4 * 1024 * 1024
