"""One document that comes and goes in pieces, whoever carries them: constant memory, no file and no socket."""

from tenant_security.client.document_keys import DocumentKey, head_of
from tenant_security.client.errors import ClientCode, UnverifiedPlaintextError, document_error
from tenant_security.crypto.documents import StreamOpener, TooLongError
from tenant_security.errors import Fixer
from tenant_security.wire import document
from tenant_security.wire.document import HEAD_PEEK_BYTES, IV_BYTES, Head

WHAT = "the document"


class DocumentEncryptor:
    """Encrypts pieces. Whatever it returns is to be stored, in order; :meth:`finish` returns the last of it.

    ``edek`` is to be stored beside it. One that is not finished leaves a document that cannot be decrypted.
    """

    def __init__(self, key: DocumentKey, head: bytes) -> None:
        self._key = key
        self._sealer = key.cipher.sealer()
        self._ahead = head + self._sealer.iv
        self._first = True
        self.edek = key.edek

    def update(self, piece: bytes) -> bytes:
        """Encrypt the next piece. Raises: DocumentError."""
        if self._first and document.is_encrypted(piece):
            raise document_error(ClientCode.DOCUMENT_ENCRYPT_FAILED, f"Already encrypted: {WHAT}")
        self._first = self._first and not piece
        ahead, self._ahead = self._ahead, b""
        try:
            return ahead + self._sealer.update(piece)
        except TooLongError as wrong:
            raise document_error(ClientCode.DOCUMENT_ENCRYPT_FAILED, f"Cannot encrypt: {wrong}") from None

    def finish(self) -> bytes:
        """Return the rest, and overwrite the key."""
        ahead, self._ahead = self._ahead, b""
        try:
            return ahead + self._sealer.finish()
        finally:
            self._key.close()

    def abandon(self) -> None:
        """Overwrite the key of a document that will not be finished."""
        self._key.close()


class DocumentDecryptor:
    """Decrypts pieces.

    Trust: what :meth:`update_unverified` returns may have been changed by anybody who could write where the ciphertext
    lay, until :meth:`finish` has returned. Keep it where nobody takes it for true, and throw it away when
    :meth:`finish` raises: that is what a transaction, a temporary file or a second pass is for.
    """

    def __init__(self, key: DocumentKey, *, closes: bool = True, seen: bool = True) -> None:
        self._key = key
        self._closes = closes
        self._seen = seen
        self._start = b""
        self._opener: StreamOpener | None = None
        self._released = False

    def update_unverified(self, piece: bytes) -> bytes:
        """Decrypt the next piece: plaintext that is not verified yet. Raises: DocumentError."""
        if self._opener is None:
            self._start += piece
            begun = self._begin()
            if begun is None:
                return b""
            piece = begun
        assert self._opener is not None
        try:
            plaintext = self._opener.update(piece)
        except TooLongError as wrong:
            raise self._wrong(f"Cannot decrypt {WHAT}: {wrong}") from None
        self._released = self._released or (self._seen and bool(plaintext))
        return plaintext

    def finish(self) -> None:
        """Verify the whole, and overwrite the key. Raises: DocumentError; UnverifiedPlaintextError."""
        try:
            if self._opener is None:
                head_of(self._start, WHAT)
            if self._opener is None or not self._opener.finish():
                raise self._wrong(f"Cannot decrypt {WHAT}: it was changed, cut off, or belongs to another EDEK")
        finally:
            if self._closes:
                self._key.close()

    def abandon(self) -> None:
        """Overwrite the key of a document that will not be read to its end."""
        self._key.close()

    def _begin(self) -> bytes | None:
        """Read and check the head once it is there; return what came behind the IV."""
        need = HEAD_PEEK_BYTES
        if len(self._start) >= need:
            need = size_of_head(self._start) + IV_BYTES
        if len(self._start) < need:
            return None
        head = head_of(self._start, WHAT)
        start_decryption(self._key, head)
        self._opener = self._key.cipher.opener(self._start[head.size : head.size + IV_BYTES])
        rest, self._start = self._start[head.size + IV_BYTES :], b""
        return rest

    def _wrong(self, message: str) -> Exception:
        code = ClientCode.DOCUMENT_DECRYPT_FAILED
        if not self._released:
            return document_error(code, message)
        return UnverifiedPlaintextError(
            code,
            f"{message}. Throw away the plaintext that was released before it was verified",
            retryable=False,
            fixer=Fixer.APP,
        )


def size_of_head(start: bytes) -> int:
    """How long a head is. Raises: DocumentError 900."""
    try:
        return document.head_bytes(start)
    except document.MalformedDocumentError as wrong:
        raise document_error(ClientCode.INVALID_ENCRYPTED_DOCUMENT, f"Cannot decrypt {WHAT}: {wrong}") from None


def start_decryption(key: DocumentKey, head: Head) -> None:
    """Check that a head was signed with this key, before anything behind it is decrypted. Raises: DocumentError."""
    key.believe(head, WHAT)
