"""One key for many documents, for at most a minute: no call to the proxy within a database transaction.

The proxy, and with it the tenant's audit trail, learns at the end how often the key was used. A tenant that withdraws
its key is obeyed no later than the key's age allows.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from tenant_security.client.document_keys import DocumentKey, read_edek
from tenant_security.client.documents import EncryptedDocument
from tenant_security.client.errors import CachedKeyExpiredError, ClientCode, ClientError, document_error
from tenant_security.client.keys import Keys, Uses
from tenant_security.client.metadata import Metadata
from tenant_security.errors import Fixer
from tenant_security.outbound.flow import Flow

LONGEST_AGE_S: Final = 60.0
MOST_OPERATIONS: Final = 2**24


class CachedKeyLimits(msgspec.Struct, frozen=True, kw_only=True):
    """For how long, and how often, a cached key may be used.

    Units: ``age_s`` is seconds, at most 60; ``operations`` counts documents encrypted and decrypted.
    """

    age_s: float = LONGEST_AGE_S
    operations: int = 100_000

    def __post_init__(self) -> None:
        if not 0 < self.age_s <= LONGEST_AGE_S:
            raise ValueError("a key is cached for more than 0 and at most 60 seconds")
        if not 0 < self.operations <= MOST_OPERATIONS:
            raise ValueError(f"a cached key is used at least once and at most {MOST_OPERATIONS} times")


class KeyInHand:
    """A cached key and its counts. Thread-safe. Owner: the object that the application holds."""

    def __init__(
        self, key: DocumentKey, metadata: Metadata, limits: CachedKeyLimits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._key = key
        self._metadata = metadata
        self._limits = limits
        self._clock = clock
        self._until = clock() + limits.age_s
        self._lock = threading.Lock()
        self._uses = Uses(0, 0)
        self._closed = False

    @property
    def edek(self) -> str:
        """The EDEK of everything that this key encrypts."""
        return self._key.edek

    @property
    def uses(self) -> Uses:
        """How often it was used."""
        return self._uses

    def encrypt(self, fields: Mapping[str, bytes]) -> EncryptedDocument:
        """Encrypt a document. Raises: DocumentError, CachedKeyExpiredError."""
        with self._lock:
            self._check()
            encrypted = self._key.encrypt(fields, self._metadata.tenant_id)
            self._uses = Uses(self._uses.encrypted + 1, self._uses.decrypted)
        return EncryptedDocument(encrypted, self._key.edek)

    def decrypt(self, encrypted: EncryptedDocument) -> dict[str, bytes]:
        """Decrypt a document that has this key. Raises: DocumentError, CachedKeyExpiredError."""
        if encrypted.edek != self._key.edek:
            raise document_error(
                ClientCode.DOCUMENT_DECRYPT_FAILED,
                "Cannot decrypt the document: its EDEK is not that of the cached key",
            )
        with self._lock:
            self._check()
            fields = self._key.decrypt(encrypted.fields)
            self._uses = Uses(self._uses.encrypted, self._uses.decrypted + 1)
        return fields

    def close(self, keys: Keys) -> Flow[None]:
        """Overwrite the key and report its uses; a report that does not arrive is nobody's error."""
        with self._lock:
            first, self._closed = not self._closed, True
            self._key.close()
        if not first or not sum(self._uses):
            return
        try:
            yield from keys.report_operations({read_edek(self.edek).for_proxy: self._uses}, self._metadata)
        except ClientError:
            return

    def _check(self) -> None:
        why = None
        if self._closed:
            why = "it was closed"
        elif self._clock() >= self._until:
            why = f"it is older than {self._limits.age_s:g} seconds"
        elif sum(self._uses) >= self._limits.operations:
            why = f"it was used {self._limits.operations} times"
        if why is not None:
            self._key.close()
            raise CachedKeyExpiredError(
                ClientCode.DOCUMENT_ENCRYPT_FAILED,
                f"The cached key cannot be used any more: {why}. Get a new one",
                retryable=False,
                fixer=Fixer.APP,
            )
