"""Files and streams of any size, in constant memory.

What is decrypted is released only when it is verified: a file is written under another name and renamed at its end; a
source that can be read twice is read once to verify it and once to release it. For a source that can be read only
once, the caller has to say that unverified plaintext may be released.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from tenant_security.client.document_keys import DocumentFormat, DocumentKey, head_of
from tenant_security.client.documents import Documents, attached_head
from tenant_security.client.errors import ClientCode, document_error
from tenant_security.client.keys import Keys
from tenant_security.client.metadata import Metadata
from tenant_security.client.pieces import WHAT, DocumentDecryptor, DocumentEncryptor, size_of_head
from tenant_security.crypto.documents import DocumentCipher
from tenant_security.outbound.flow import Flow, compute
from tenant_security.wire import edek as wire_edek
from tenant_security.wire.document import HEAD_PEEK_BYTES

PIECE_BYTES: Final = 256 * 1024


class _Begun(NamedTuple):
    """The head of an encrypted stream, and the EDEK that is in it."""

    head: bytes
    edek: str | None


class Streams:
    """Flows over streams and files. Reading and writing is done in the flow's computations."""

    def __init__(self, keys: Keys, documents: Documents) -> None:
        self._keys = keys
        self._documents = documents

    def encryptor(
        self, metadata: Metadata, edek: str | None = None, *, attached: bool = False
    ) -> Flow[DocumentEncryptor]:
        """Get a key and begin a document that comes in pieces."""
        if not attached:
            key = yield from self._documents.key(metadata, edek)
            return DocumentEncryptor(key, key.head(metadata.tenant_id))
        if edek is not None:
            raise ValueError("an attached document gets a key of its own; it takes no EDEK")
        wrapped = yield from self._keys.wrap(metadata)
        cipher = DocumentCipher(wrapped.dek)
        head = attached_head(cipher, wrapped.edek, metadata.tenant_id)
        return DocumentEncryptor(DocumentKey(cipher, wrapped.edek, DocumentFormat.V5), head)

    def decryptor(self, edek: str, metadata: Metadata) -> Flow[DocumentDecryptor]:
        """Get the key of a document that comes in pieces."""
        return DocumentDecryptor((yield from self._documents.key(metadata, edek)))

    def encrypt(
        self, source: BinaryIO, sink: BinaryIO, metadata: Metadata, edek: str | None = None, *, attached: bool = False
    ) -> Flow[str]:
        """Encrypt from one stream to another and return the EDEK."""
        encryptor = yield from self.encryptor(metadata, edek, attached=attached)
        try:
            yield from compute(lambda: _encrypt(source, sink, encryptor))
        finally:
            encryptor.abandon()
        return encryptor.edek

    def decrypt(
        self,
        source: BinaryIO,
        sink: BinaryIO,
        edek: str | None,
        metadata: Metadata,
        *,
        release_unverified: bool = False,
        seen: bool = True,
    ) -> Flow[None]:
        """Decrypt from one stream to another. ``edek`` is None for a document that carries its own.

        ``seen`` is False when nobody sees the sink before this ends well.
        """
        if not release_unverified and not source.seekable():
            raise ValueError(
                "this source can be read only once, so what it holds cannot be verified before it is released: "
                "decrypt to a file, or say release_unverified=True and undo everything when an error comes"
            )
        begun = yield from compute(lambda: _begin(source))
        given = edek if edek is not None else begun.edek
        if given is None:
            raise document_error(
                ClientCode.INVALID_ENCRYPTED_DOCUMENT, f"Cannot decrypt {WHAT}: it does not carry its own EDEK; give it"
            )
        key = yield from self._documents.key(metadata, given)
        try:
            if not release_unverified:
                at = source.tell()
                first = DocumentDecryptor(key, closes=False, seen=False)
                yield from compute(lambda: _decrypt(source, None, begun.head, first))
                source.seek(at)
            last = DocumentDecryptor(key, closes=False, seen=seen)
            yield from compute(lambda: _decrypt(source, sink, begun.head, last))
        finally:
            key.close()

    def encrypt_file(
        self, source: Path, into: Path, metadata: Metadata, edek: str | None = None, *, attached: bool = False
    ) -> Flow[str]:
        """Encrypt a file into another, which is there whole or not at all; return the EDEK."""
        with source.open("rb") as plain, whole_file(into) as file:
            made = yield from self.encrypt(plain, file, metadata, edek, attached=attached)
            yield from compute(lambda: _synced(file))
            return made

    def decrypt_file(self, source: Path, into: Path, edek: str | None, metadata: Metadata) -> Flow[None]:
        """Decrypt a file into another, which is there verified or not at all."""
        with source.open("rb") as sealed, whole_file(into) as file:
            # Nobody sees the file before it is renamed, and it is renamed only when everything was verified.
            yield from self.decrypt(sealed, file, edek, metadata, release_unverified=True, seen=False)
            yield from compute(lambda: _synced(file))


def _synced(file: BinaryIO) -> None:
    """Wait for the disk here, in a computation, and not where the file is closed."""
    file.flush()
    os.fsync(file.fileno())


def _encrypt(source: BinaryIO, sink: BinaryIO, encryptor: DocumentEncryptor) -> None:
    sink.writelines(encryptor.update(piece) for piece in _pieces(source))
    sink.write(encryptor.finish())


def _decrypt(source: BinaryIO, sink: BinaryIO | None, head: bytes, decryptor: DocumentDecryptor) -> None:
    decryptor.update_unverified(head)
    for piece in _pieces(source):
        plaintext = decryptor.update_unverified(piece)
        if sink is not None:
            sink.write(plaintext)
    decryptor.finish()


def _begin(source: BinaryIO) -> _Begun:
    start = _exactly(source, HEAD_PEEK_BYTES)
    size = size_of_head(start)
    start += _exactly(source, max(0, size - len(start)))
    head = head_of(start, WHAT)
    return _Begun(start, None if head.v4 is None else wire_edek.to_base64(head.v4.edek))


def _exactly(source: BinaryIO, count: int) -> bytes:
    """Read so many bytes, or all that there are."""
    read = bytearray()
    while len(read) < count:
        piece = source.read(count - len(read))
        if not piece:
            break
        read += piece
    return bytes(read)


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    while True:
        piece = source.read(PIECE_BYTES)
        if piece is None:
            raise ValueError("the source must be one that waits for its bytes")
        if not piece:
            return
        yield piece


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file under another name beside ``path``, readable by nobody else, and rename it when all went well."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
