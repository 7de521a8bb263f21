"""The DEK of one document at work: which form its fields are written in, what its EDEK looks like, what is believed.

An EDEK is kept as text. It is either the proxy's own, beside v3 fields, or the proxy's inside a signed header, beside
v5 fields; which of them it is shows in its bytes.
"""

import binascii
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from tenant_security.client.errors import ClientCode, document_error
from tenant_security.crypto.documents import DocumentCipher
from tenant_security.errors import TenantSecurityError
from tenant_security.wire import document, edek
from tenant_security.wire.document import Head, MalformedDocumentError, V4Header

_FORGED: Final = "its header was not signed with this key: it was changed, or belongs to another EDEK"


class DocumentFormat(Enum):
    """Which form new documents are written in. Every form is read, whatever this says."""

    V3 = "v3"
    """What the Tenant Security Clients write and all published clients read."""
    V5 = "v5"
    """What Alloy writes, and the Tenant Security Clients do not read: 5 bytes before a field instead of about 50."""


class StoredEdek(NamedTuple):
    """An EDEK as it is stored, and what the proxy is asked with. ``header`` is there for v5."""

    stored: str
    for_proxy: str
    header: V4Header | None = None


def read_edek(stored: str) -> StoredEdek:
    """Find out which form an EDEK has. What is neither goes to the proxy, which says what is wrong with it."""
    try:
        raw = binascii.a2b_base64(stored, strict_mode=True)
    except (binascii.Error, ValueError):
        return StoredEdek(stored, stored)
    try:
        edek.decode(raw)
    except TenantSecurityError:
        pass
    else:
        return StoredEdek(stored, stored)
    try:
        _, header = document.read_v5_edek(raw)
    except MalformedDocumentError:
        return StoredEdek(stored, stored)
    return StoredEdek(stored, edek.to_base64(header.edek), header)


class DocumentKey:
    """A DEK, its EDEK and the form that fields under it are written in. Owner: one operation, which closes it."""

    def __init__(self, cipher: DocumentCipher, stored: str, written: DocumentFormat) -> None:
        self.cipher = cipher
        self.edek = stored
        self._written = written
        self._heads: dict[str, bytes] = {}
        self._believed: set[tuple[bytes, bytes]] = set()

    def close(self) -> None:
        """Overwrite the DEK."""
        self.cipher.wipe()

    def head(self, tenant_id: str) -> bytes:
        """Return what stands before the IV of every field of this document. Raises: DocumentError."""
        if self._written is DocumentFormat.V5:
            return document.V5_MAGIC
        head = self._heads.get(tenant_id)
        if head is None:
            payload = document.v3_payload(tenant_id)
            try:
                head = document.v3_head(payload, self.cipher.sign_v3(payload))
            except MalformedDocumentError as wrong:
                raise document_error(ClientCode.DOCUMENT_ENCRYPT_FAILED, f"Cannot encrypt: {wrong}") from None
            self._heads[tenant_id] = head
        return head

    def encrypt(self, fields: Mapping[str, bytes], tenant_id: str) -> dict[str, bytes]:
        """Encrypt every field. Raises: DocumentError."""
        for name, value in fields.items():
            if not isinstance(value, bytes | bytearray | memoryview):
                raise TypeError(f"field {name!r} is of the type {type(value).__name__}: encode it to bytes")
        twice = [name for name, value in fields.items() if document.is_encrypted(bytes(value[:8]))]
        if twice:
            raise document_error(
                ClientCode.DOCUMENT_ENCRYPT_FAILED, f"Already encrypted: {', '.join(map(repr, sorted(twice)))}"
            )
        head = self.head(tenant_id)
        return {name: self.cipher.seal(head, value) for name, value in fields.items()}

    def decrypt(self, fields: Mapping[str, bytes]) -> dict[str, bytes]:
        """Decrypt every field, of whichever form. Raises: DocumentError."""
        return {name: self._open(name, value) for name, value in fields.items()}

    def believe(self, head: Head, what: str) -> None:
        """Check a head's signature; very old documents have none. Raises: DocumentError."""
        if head.v4 is not None:
            self.believe_v4(head.v4, what)
        if head.v3 is None or not head.v3.signature or not head.v3.signed:
            return
        signed = (head.v3.signature, head.v3.signed)
        if signed not in self._believed:
            if not self.cipher.signed_v3(head.v3.signed, head.v3.signature):
                raise document_error(ClientCode.DOCUMENT_DECRYPT_FAILED, f"Cannot decrypt {what}: {_FORGED}")
            self._believed = {signed}

    def believe_v4(self, header: V4Header, what: str) -> None:
        """Check a v4 header's signature. Raises: DocumentError."""
        if header.is_signed and not self.cipher.signed_v4(header.signed, header.signature):
            raise document_error(ClientCode.DOCUMENT_DECRYPT_FAILED, f"Cannot decrypt {what}: {_FORGED}")

    def _open(self, name: str, value: bytes) -> bytes:
        what = f"field {name!r}"
        head = head_of(value, what)
        if head.attached:
            raise document_error(
                ClientCode.INVALID_ENCRYPTED_DOCUMENT,
                f"Cannot decrypt {what}: it carries its own EDEK; use decrypt_attached",
            )
        self.believe(head, what)
        return opened(self.cipher, value, head, what)


def new_key(dek: bytearray, proxy_edek: str, tenant_id: str, written: DocumentFormat) -> DocumentKey:
    """Begin a document with a key that the proxy has just made. Raises: DocumentError."""
    cipher = DocumentCipher(dek)
    if written is DocumentFormat.V3:
        return DocumentKey(cipher, proxy_edek, written)
    number, header = signed_header(cipher, proxy_edek, tenant_id)
    return DocumentKey(cipher, edek.to_base64(document.v5_edek(number, header)), written)


def known_key(dek: bytearray, stored: StoredEdek) -> DocumentKey:
    """Go on with a document whose EDEK was unwrapped. Fields follow its EDEK's form. Raises: DocumentError."""
    key = DocumentKey(
        DocumentCipher(dek), stored.stored, DocumentFormat.V3 if stored.header is None else DocumentFormat.V5
    )
    if stored.header is not None:
        key.believe_v4(stored.header, "the document")
    return key


def signed_header(cipher: DocumentCipher, proxy_edek: str, tenant_id: str) -> tuple[int, bytes]:
    """Return the number of the KMS config and a signed v4 header around the proxy's EDEK. Raises: DocumentError."""
    try:
        raw = binascii.a2b_base64(proxy_edek, strict_mode=True)
        payload, number = document.v4_payload(raw, tenant_id), edek.decode(raw).config_id
    except (binascii.Error, ValueError, TenantSecurityError):
        raise document_error(
            ClientCode.DOCUMENT_ENCRYPT_FAILED, "Cannot encrypt: the proxy's EDEK is not one that this format can hold"
        ) from None
    return number, document.v4_header(payload, cipher.sign_v4(payload))


def head_of(value: bytes | memoryview, what: str) -> Head:
    """Read a head. Raises: DocumentError 900."""
    try:
        return document.read_head(value)
    except MalformedDocumentError as wrong:
        raise document_error(ClientCode.INVALID_ENCRYPTED_DOCUMENT, f"Cannot decrypt {what}: {wrong}") from None


def opened(cipher: DocumentCipher, value: bytes, head: Head, what: str) -> bytes:
    """Return the plaintext behind a head. Raises: DocumentError 902."""
    plaintext = cipher.open(value, head.size)
    if plaintext is None:
        raise document_error(
            ClientCode.DOCUMENT_DECRYPT_FAILED,
            f"Cannot decrypt {what}: it was changed, cut off, or belongs to another EDEK",
        )
    return plaintext
