"""Documents, single values and self-contained values: what the proxy is asked, and what is done with the key."""

from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from tenant_security.client.document_keys import (
    DocumentFormat,
    DocumentKey,
    StoredEdek,
    head_of,
    known_key,
    new_key,
    opened,
    read_edek,
    signed_header,
)
from tenant_security.client.errors import ClientCode, ClientError, document_error
from tenant_security.client.keys import Keys
from tenant_security.client.metadata import Metadata
from tenant_security.crypto.documents import DocumentCipher
from tenant_security.outbound.flow import Flow, compute
from tenant_security.wire import document as wire
from tenant_security.wire import edek as wire_edek
from tenant_security.wire.document import Head, V4Header

T = TypeVar("T")

LONG_WORK_BYTES: Final = 128 * 1024
"""From so many bytes on an asynchronous client encrypts in a thread, so that others are not held up."""
_VALUE: Final = "value"


class EncryptedDocument(msgspec.Struct, frozen=True):
    """The fields of one document, encrypted under one key, and that key wrapped. Store both.

    ``edek`` is base64 text. Nothing of it is secret.
    """

    fields: dict[str, bytes]
    edek: str

    def __repr__(self) -> str:
        return f"<EncryptedDocument of {len(self.fields)} fields>"

    def to_json(self) -> bytes:
        """Write it as one JSON object, in the members that the Go client uses."""
        return msgspec.json.encode({"encryptedFields": self.fields, "edek": self.edek})

    @classmethod
    def from_json(cls, text: bytes | str) -> "EncryptedDocument":
        """Read what :meth:`to_json` wrote. Raises: DocumentError."""
        try:
            told = msgspec.json.decode(text, type=_Json)
        except (msgspec.DecodeError, UnicodeError):
            raise document_error(
                ClientCode.INVALID_ENCRYPTED_DOCUMENT, "This is not the JSON form of an encrypted document"
            ) from None
        return cls(told.fields, told.edek)


class _Json(msgspec.Struct):
    fields: dict[str, bytes] = msgspec.field(name="encryptedFields")
    edek: str


class EncryptedValue(msgspec.Struct, frozen=True):
    """One value, encrypted, and its key wrapped. Store both."""

    ciphertext: bytes
    edek: str

    def __repr__(self) -> str:
        return f"<EncryptedValue of {len(self.ciphertext)} bytes>"


class BatchResult(msgspec.Struct, Generic[T], frozen=True):
    """What came of each item of a batch; every id stands in exactly one of the two."""

    successes: dict[str, T]
    failures: dict[str, ClientError]

    def all_or_raise(self) -> dict[str, T]:
        """Return the successes. Raises: the first failure, where there is one."""
        for failure in self.failures.values():
            raise failure
        return self.successes


class Attached(NamedTuple):
    """A self-contained value, read as far as it can be without a key."""

    head: Head
    header: V4Header

    @property
    def edek(self) -> str:
        """What the proxy is asked with."""
        return wire_edek.to_base64(self.header.edek)


class Documents:
    """Flows over documents."""

    def __init__(self, keys: Keys, written: DocumentFormat) -> None:
        self._keys = keys
        self._written = written

    def encrypt(
        self, fields: Mapping[str, bytes], metadata: Metadata, edek: str | None = None
    ) -> Flow[EncryptedDocument]:
        """Encrypt a document under a new key, or under the key of ``edek``."""
        key = yield from self.key(metadata, edek)
        try:
            work = _Work(key, fields, metadata.tenant_id)
            return EncryptedDocument((yield from at_length(_size(fields), work.encrypt)), key.edek)
        finally:
            key.close()

    def decrypt(self, encrypted: EncryptedDocument, metadata: Metadata) -> Flow[dict[str, bytes]]:
        """Decrypt a document."""
        key = yield from self.key(metadata, encrypted.edek)
        try:
            work = _Work(key, encrypted.fields, metadata.tenant_id)
            return (yield from at_length(_size(encrypted.fields), work.decrypt))
        finally:
            key.close()

    def encrypt_value(self, value: bytes, metadata: Metadata, edek: str | None = None) -> Flow[EncryptedValue]:
        """Encrypt one value."""
        encrypted = yield from self.encrypt({_VALUE: value}, metadata, edek)
        return EncryptedValue(encrypted.fields[_VALUE], encrypted.edek)

    def decrypt_value(self, encrypted: EncryptedValue, metadata: Metadata) -> Flow[bytes]:
        """Decrypt one value."""
        document = EncryptedDocument({_VALUE: encrypted.ciphertext}, encrypted.edek)
        return (yield from self.decrypt(document, metadata))[_VALUE]

    def encrypt_attached(self, value: bytes, metadata: Metadata) -> Flow[bytes]:
        """Encrypt one value into bytes that carry their own EDEK: v5 attached."""
        wrapped = yield from self._keys.wrap(metadata)
        cipher = DocumentCipher(wrapped.dek)
        try:
            head = attached_head(cipher, wrapped.edek, metadata.tenant_id)
            return (yield from at_length(len(value), lambda: cipher.seal(head, value)))
        finally:
            cipher.wipe()

    def decrypt_attached(self, value: bytes, metadata: Metadata) -> Flow[bytes]:
        """Decrypt bytes that carry their own EDEK: v5 attached and v4."""
        attached = read_attached(value)
        unwrapped = yield from self._keys.unwrap(attached.edek, metadata)
        cipher = DocumentCipher(unwrapped.dek)
        try:
            return (yield from at_length(len(value), lambda: open_attached(cipher, value, attached)))
        finally:
            cipher.wipe()

    def rekey(self, edek: str, new_tenant_id: str, metadata: Metadata, *, verify: bool = False) -> Flow[str]:
        """Return an EDEK of the same key for ``new_tenant_id``, in the form that the given one has.

        With ``verify`` the new one is unwrapped and its key compared before it is returned.
        """
        stored = read_edek(edek)
        wrapped = yield from self._keys.rekey(stored.for_proxy, new_tenant_id, metadata)
        key = known_key(wrapped.dek, stored)
        try:
            if verify:
                yield from self._verified(wrapped.edek, new_tenant_id, metadata, key.cipher)
            if stored.header is None:
                return wrapped.edek
            number, header = signed_header(key.cipher, wrapped.edek, new_tenant_id)
            return wire_edek.to_base64(wire.v5_edek(number, header))
        finally:
            key.close()

    def rekey_attached(
        self, value: bytes, new_tenant_id: str, metadata: Metadata, *, verify: bool = False
    ) -> Flow[bytes]:
        """Return the same value with an EDEK for ``new_tenant_id``; its ciphertext stays what it is."""
        attached = read_attached(value)
        wrapped = yield from self._keys.rekey(attached.edek, new_tenant_id, metadata)
        cipher = DocumentCipher(wrapped.dek)
        try:
            _believe_attached(cipher, attached)
            if verify:
                yield from self._verified(wrapped.edek, new_tenant_id, metadata, cipher)
            return attached_head(cipher, wrapped.edek, new_tenant_id) + value[attached.head.size :]
        finally:
            cipher.wipe()

    def _verified(self, proxy_edek: str, tenant_id: str, metadata: Metadata, cipher: DocumentCipher) -> Flow[None]:
        """Unwrap what a rekey returned. Raises: ClientError when it does not hold the same key."""
        unwrapped = yield from self._keys.unwrap(proxy_edek, msgspec.structs.replace(metadata, tenant_id=tenant_id))
        same = cipher.same_key(unwrapped.dek)
        unwrapped.dek[:] = bytes(len(unwrapped.dek))
        if not same:
            raise document_error(
                ClientCode.DOCUMENT_DECRYPT_FAILED, "The new EDEK does not hold the same key: keep the old one"
            )

    def same_key(self, edek: str, metadata: Metadata, other: str, other_metadata: Metadata) -> Flow[bool]:
        """Whether two EDEKs hold the same key, found out by unwrapping both."""
        first = yield from self.key(metadata, edek)
        try:
            second = yield from self._keys.unwrap(read_edek(other).for_proxy, other_metadata)
            same = first.cipher.same_key(second.dek)
            second.dek[:] = bytes(len(second.dek))
            return same
        finally:
            first.close()

    def key(self, metadata: Metadata, edek: str | None) -> Flow[DocumentKey]:
        """Get a new key, or the key of an EDEK. Whoever asked closes it."""
        if edek is None:
            wrapped = yield from self._keys.wrap(metadata)
            return new_key(wrapped.dek, wrapped.edek, metadata.tenant_id, self._written)
        stored: StoredEdek = read_edek(edek)
        unwrapped = yield from self._keys.unwrap(stored.for_proxy, metadata)
        return known_key(unwrapped.dek, stored)


class _Work:
    """Encrypts or decrypts one document; a plain callable, so that a thread can do it."""

    def __init__(self, key: DocumentKey, fields: Mapping[str, bytes], tenant_id: str) -> None:
        self._key = key
        self._fields = fields
        self._tenant_id = tenant_id

    def encrypt(self) -> dict[str, bytes]:
        return self._key.encrypt(self._fields, self._tenant_id)

    def decrypt(self) -> dict[str, bytes]:
        return self._key.decrypt(self._fields)


def attached_head(cipher: DocumentCipher, proxy_edek: str, tenant_id: str) -> bytes:
    """Write everything before the IV of a self-contained value. Raises: DocumentError."""
    number, header = signed_header(cipher, proxy_edek, tenant_id)
    try:
        return wire.v5_attached_head(number, header)
    except wire.MalformedDocumentError as wrong:
        raise document_error(ClientCode.DOCUMENT_ENCRYPT_FAILED, f"Cannot encrypt: {wrong}") from None


def read_attached(value: bytes) -> Attached:
    """Read a self-contained value up to its IV. Raises: DocumentError."""
    head = head_of(value, "the value")
    if head.v4 is None:
        raise document_error(
            ClientCode.INVALID_ENCRYPTED_DOCUMENT, "Cannot decrypt the value: it does not carry its own EDEK"
        )
    return Attached(head, head.v4)


def open_attached(cipher: DocumentCipher, value: bytes, attached: Attached) -> bytes:
    """Verify and decrypt a self-contained value. Raises: DocumentError."""
    _believe_attached(cipher, attached)
    return opened(cipher, value, attached.head, "the value")


def at_length(size: int, work: Callable[[], T]) -> Flow[T]:
    """Do work at once, or in a thread when so many bytes make it long."""
    if size < LONG_WORK_BYTES:
        return work()
    return (yield from compute(work))


def _believe_attached(cipher: DocumentCipher, attached: Attached) -> None:
    DocumentKey(cipher, "", DocumentFormat.V5).believe_v4(attached.header, "the value")


def _size(fields: Mapping[str, bytes]) -> int:
    return sum(map(len, fields.values()))
