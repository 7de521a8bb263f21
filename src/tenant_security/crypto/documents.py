"""AES-256-GCM and the header signatures of encrypted documents, under one DEK.

A document is made in place: its bytes are allocated once and the cipher writes between header and tag. For a large one
the work goes in pieces, so that no single call holds the interpreter's lock for long.

Source: NIST SP 800-38D; docs/client/formats.md.
"""

import hashlib
import hmac
import io
from collections.abc import Callable, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenant_security.crypto.aead import IV_BYTES, KEY_BYTES, TAG_BYTES, random_bytes

LARGEST_DOCUMENT_BYTES: Final = 2**36 - 32
"""What one IV may encrypt (SP 800-38D, section 5.2.1.1): 64 GiB less 32 bytes."""
MAX_DOCUMENTS: Final = 2**32
"""How often one DEK may be used with random IVs (section 8.3)."""

PIECE_BYTES: Final = 256 * 1024
_IN_PIECES_FROM: Final = 1024 * 1024

Buffer = bytes | bytearray | memoryview


class TooLongError(ValueError):
    """More bytes than one IV may encrypt."""


class DocumentCipher:
    """Encrypts and signs under one DEK.

    Owner: whoever made it; after :meth:`wipe` it refuses to work. Python offers no way to be sure that no copy of the
    key is left in memory; the copies that we made are overwritten or given back to the library that wipes them.
    """

    __slots__ = ("_gcm", "_key", "_random")

    def __init__(self, dek: bytearray, randomness: Callable[[int], bytes] = random_bytes) -> None:
        if len(dek) != KEY_BYTES:
            raise ValueError("a DEK has 32 bytes")
        self._key = dek
        self._gcm: AESGCM | None = AESGCM(dek)
        self._random = randomness

    def wipe(self) -> None:
        """Overwrite the DEK and forget the cipher."""
        self._key[:] = bytes(len(self._key))
        self._gcm = None

    def same_key(self, dek: bytearray) -> bool:
        """Whether this is the same DEK, found out in constant time."""
        return hmac.compare_digest(self._key, dek)

    def sign_v3(self, payload: bytes) -> bytes:
        """Sign a v3 header. Shape: IV 12, tag 16."""
        iv = self._random(IV_BYTES)
        return iv + self._ready().encrypt(iv, payload, None)[-TAG_BYTES:]

    def signed_v3(self, payload: bytes, signature: bytes) -> bool:
        """Whether a v3 header was signed with this DEK."""
        made = self._ready().encrypt(signature[:IV_BYTES], payload, None)[-TAG_BYTES:]
        return hmac.compare_digest(made, signature[-TAG_BYTES:])

    def sign_v4(self, payload: bytes) -> bytes:
        """Sign a v4 header: HMAC-SHA256."""
        self._ready()
        return hmac.digest(self._key, payload, hashlib.sha256)

    def signed_v4(self, payload: bytes, signature: bytes) -> bool:
        """Whether a v4 header was signed with this DEK."""
        return hmac.compare_digest(self.sign_v4(payload), signature)

    def seal(self, head: bytes, plaintext: Buffer) -> bytes:
        """Return head, IV, ciphertext and tag. Raises: TooLongError."""
        size = memoryview(plaintext).nbytes
        if size > LARGEST_DOCUMENT_BYTES:
            raise TooLongError("a document has at most 64 GiB")
        gcm, iv, at = self._ready(), self._random(IV_BYTES), len(head) + IV_BYTES
        made = _sized(at + size + TAG_BYTES)
        with made.getbuffer() as view:
            view[:at] = head + iv
            if size < _IN_PIECES_FROM:
                gcm.encrypt_into(iv, plaintext, None, view[at:])
            else:
                working = Cipher(algorithms.AES(self._key), modes.GCM(iv)).encryptor()
                for piece in _pieces(memoryview(plaintext)):
                    at += working.update_into(piece, view[at:])
                working.finalize()
                view[at:] = working.tag
        return made.getvalue()

    def open(self, document: Buffer, at: int) -> bytes | None:
        """Return the plaintext of a document whose IV begins ``at``; None when it was not made with this DEK."""
        view = memoryview(document).cast("B")
        gcm, iv, sealed = self._ready(), bytes(view[at : at + IV_BYTES]), view[at + IV_BYTES :]
        size = len(sealed) - TAG_BYTES
        if size < 0:
            return None
        try:
            if size < _IN_PIECES_FROM:
                return gcm.decrypt(iv, sealed, None)
            made, tag = _sized(size), bytes(sealed[-TAG_BYTES:])
            working = Cipher(algorithms.AES(self._key), modes.GCM(iv, tag)).decryptor()
            written = 0
            with made.getbuffer() as out:
                for piece in _pieces(sealed[:-TAG_BYTES]):
                    written += working.update_into(piece, out[written:])
            working.finalize()
            return made.getvalue()
        except InvalidTag:
            return None

    def sealer(self) -> "StreamSealer":
        """Begin to encrypt a document that comes in pieces."""
        self._ready()
        return StreamSealer(self._key, self._random(IV_BYTES))

    def opener(self, iv: bytes) -> "StreamOpener":
        """Begin to decrypt a document that comes in pieces."""
        self._ready()
        return StreamOpener(self._key, iv)

    def _ready(self) -> AESGCM:
        if self._gcm is None:
            raise ValueError("the DEK was wiped")
        return self._gcm


class StreamSealer:
    """Encrypts pieces of one document. What it returns goes behind the head: IV, ciphertext, tag."""

    def __init__(self, key: bytearray, iv: bytes) -> None:
        self._working = Cipher(algorithms.AES(key), modes.GCM(iv)).encryptor()
        self._taken = 0
        self.iv = iv

    def update(self, piece: Buffer) -> bytes:
        """Encrypt the next piece. Raises: TooLongError."""
        self._taken += memoryview(piece).nbytes
        if self._taken > LARGEST_DOCUMENT_BYTES:
            raise TooLongError("a document has at most 64 GiB")
        return self._working.update(piece)

    def finish(self) -> bytes:
        """Return the tag."""
        self._working.finalize()
        return self._working.tag


class StreamOpener:
    """Decrypts pieces of one document. What it returns is **not verified** until :meth:`finish` has returned True.

    The last 16 bytes are the tag, and only the end tells which are the last: so many are always held back.
    """

    def __init__(self, key: bytearray, iv: bytes) -> None:
        self._working = Cipher(algorithms.AES(key), modes.GCM(iv)).decryptor()
        self._taken = 0
        self._held = b""

    def update(self, piece: Buffer) -> bytes:
        """Decrypt the next piece: plaintext that nobody has verified yet. Raises: TooLongError."""
        whole = self._held + bytes(piece)
        ready, self._held = whole[:-TAG_BYTES], whole[-TAG_BYTES:]
        self._taken += len(ready)
        if self._taken > LARGEST_DOCUMENT_BYTES:
            raise TooLongError("a document has at most 64 GiB")
        return self._working.update(ready)

    def finish(self) -> bool:
        """Whether everything that came is what was encrypted."""
        if len(self._held) < TAG_BYTES:
            return False
        try:
            self._working.finalize_with_tag(self._held)
        except InvalidTag:
            return False
        return True


def _sized(count: int) -> io.BytesIO:
    """Room for so many bytes that becomes ``bytes`` without being copied, or touched before it is written to.

    A BytesIO works on the object that it was made of, as long as nobody else holds that.
    """
    return io.BytesIO(bytes(count))


def _pieces(view: memoryview) -> Iterator[memoryview]:
    flat = view.cast("B")
    for at in range(0, len(flat), PIECE_BYTES):
        yield flat[at : at + PIECE_BYTES]
