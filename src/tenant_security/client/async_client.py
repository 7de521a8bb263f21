"""The client for asyncio."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from tenant_security.client.cached_keys import CachedKeyLimits, KeyInHand
from tenant_security.client.deterministic import DeterministicFields, EncryptedField, Field
from tenant_security.client.document_keys import DocumentFormat
from tenant_security.client.documents import BatchResult, EncryptedDocument, EncryptedValue
from tenant_security.client.events import SecurityEvent
from tenant_security.client.flows import ATTEMPT_S, CONNECT_S, CONNECTIONS, TIMEOUT_S, AsyncDriver, ClientFlows
from tenant_security.client.keys import Uses
from tenant_security.client.metadata import Metadata
from tenant_security.client.pieces import DocumentDecryptor, DocumentEncryptor
from tenant_security.client.retry import RetryPolicy
from tenant_security.crypto.deterministic import FieldForm
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow

T = TypeVar("T")


class AsyncTenantSecurityClient:
    """Encrypts and decrypts with keys that tenants hold. Make one for an event loop and share it.

    Connections are pooled; long work is done in threads, so that a large document does not hold up the loop.
    Close it, or use it as ``async with AsyncTenantSecurityClient(...)``.

    Every method raises what that of :class:`TenantSecurityClient` does.

    Args:
        url: Where the proxy is, such as ``https://proxy.internal:7777``.
        api_key: The proxy's ``API_KEY``.
        allow_insecure_http: Let ``http://`` pass: the API key and all data keys then travel unencrypted. For a sidecar
            on localhost and for development.
        timeout_s: Bounds one call with all its repetitions. What is encrypted and decrypted here does not count.
        attempt_s: Bounds one request.
        connect_s: Bounds one connect with its TLS handshake.
        connections: How many connections are kept.
        retry: When to ask again. A security event that may have been taken is never repeated.
        tls: From :func:`tls_context`, for an authority of your own or mutual TLS.
        environment_proxies: Go through the HTTP proxy that ``HTTPS_PROXY`` and ``NO_PROXY`` name. Without it the
            environment is not looked at.
        document_format: The form of new documents. All forms are read.
        driver: What carries the requests, in place of HTTP; for tests.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        allow_insecure_http: bool = False,
        timeout_s: float = TIMEOUT_S,
        attempt_s: float = ATTEMPT_S,
        connect_s: float = CONNECT_S,
        connections: int = CONNECTIONS,
        retry: RetryPolicy | None = None,
        tls: ssl.SSLContext | None = None,
        environment_proxies: bool = False,
        document_format: DocumentFormat = DocumentFormat.V3,
        driver: AsyncDriver | None = None,
    ) -> None:
        self._flows = ClientFlows(
            url, api_key, allow_insecure_http=allow_insecure_http, retry=retry, document_format=document_format
        )
        self._timeout_s = timeout_s
        limits = OutboundLimits(connect_s=connect_s, attempt_s=attempt_s, connections=connections)
        self._driver: AsyncDriver = driver or Outbound(limits, ssl_context=tls, environment_proxies=environment_proxies)
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._loop is not None:
            self._loop = None
            await self._driver.__aexit__(None, None, None)

    async def encrypt(
        self, document: Mapping[str, bytes], metadata: Metadata, *, edek: str | None = None
    ) -> EncryptedDocument:
        """Encrypt the fields of a document under a new key, or under the key of an ``edek`` stored before."""
        return await self._run(self._flows.documents.encrypt(document, metadata, edek))

    async def decrypt(self, encrypted: EncryptedDocument, metadata: Metadata) -> dict[str, bytes]:
        """Decrypt a document."""
        return await self._run(self._flows.documents.decrypt(encrypted, metadata))

    async def encrypt_value(self, value: bytes, metadata: Metadata, *, edek: str | None = None) -> EncryptedValue:
        """Encrypt one value; its ciphertext and its EDEK are stored side by side."""
        return await self._run(self._flows.documents.encrypt_value(value, metadata, edek))

    async def decrypt_value(self, encrypted: EncryptedValue, metadata: Metadata) -> bytes:
        """Decrypt one value."""
        return await self._run(self._flows.documents.decrypt_value(encrypted, metadata))

    async def encrypt_attached(self, value: bytes, metadata: Metadata) -> bytes:
        """Encrypt one value into bytes that carry their own EDEK, for a column that has no place for another.

        The form is Alloy's; the Tenant Security Clients for other languages do not read it.
        """
        return await self._run(self._flows.documents.encrypt_attached(value, metadata))

    async def decrypt_attached(self, value: bytes, metadata: Metadata) -> bytes:
        """Decrypt bytes that carry their own EDEK: what :meth:`encrypt_attached` and Alloy write or wrote."""
        return await self._run(self._flows.documents.decrypt_attached(value, metadata))

    async def encrypt_batch(
        self,
        documents: Mapping[str, Mapping[str, bytes]],
        metadata: Metadata,
        *,
        edeks: Mapping[str, str] | None = None,
    ) -> BatchResult[EncryptedDocument]:
        """Encrypt many documents in few requests, each under a key of its own, or that of its EDEK in ``edeks``.

        A document that fails stands in ``failures`` and leaves the others alone.
        """
        return await self._run(self._flows.batches.encrypt(documents, metadata, edeks))

    async def decrypt_batch(
        self, documents: Mapping[str, EncryptedDocument], metadata: Metadata
    ) -> BatchResult[dict[str, bytes]]:
        """Decrypt many documents in few requests; one that fails stands in ``failures``."""
        return await self._run(self._flows.batches.decrypt(documents, metadata))

    async def decrypt_attached_batch(self, values: Mapping[str, bytes], metadata: Metadata) -> BatchResult[bytes]:
        """Decrypt many values that carry their own EDEK; one that fails stands in ``failures``."""
        return await self._run(self._flows.batches.decrypt_attached(values, metadata))

    async def rekey(
        self, edek: str, metadata: Metadata, *, new_tenant_id: str | None = None, verify: bool = False
    ) -> str:
        """Return a new EDEK of the same key: under the tenant's primary KMS configuration, or for another tenant.

        Store it in place of the old one; what the key has encrypted stays as it is. With ``verify`` the new one is
        unwrapped and compared before it is returned.
        """
        return await self._run(
            self._flows.documents.rekey(edek, new_tenant_id or metadata.tenant_id, metadata, verify=verify)
        )

    async def rekey_batch(
        self, edeks: Mapping[str, str], metadata: Metadata, *, new_tenant_id: str | None = None
    ) -> BatchResult[str]:
        """Rekey many EDEKs side by side; one that fails stands in ``failures``."""
        return await self._run(self._flows.batches.rekey(edeks, new_tenant_id or metadata.tenant_id, metadata))

    async def rekey_attached(
        self, value: bytes, metadata: Metadata, *, new_tenant_id: str | None = None, verify: bool = False
    ) -> bytes:
        """Return the same value with a new EDEK; its ciphertext stays as it is."""
        return await self._run(
            self._flows.documents.rekey_attached(value, new_tenant_id or metadata.tenant_id, metadata, verify=verify)
        )

    async def same_key(
        self, edek: str, other: str, metadata: Metadata, *, other_tenant: Metadata | None = None
    ) -> bool:
        """Whether two EDEKs hold the same key, such as before and after a rekey. Unwraps both."""
        return await self._run(self._flows.documents.same_key(edek, metadata, other, other_tenant or metadata))

    async def encrypt_stream(
        self,
        source: BinaryIO,
        sink: BinaryIO,
        metadata: Metadata,
        *,
        edek: str | None = None,
        attached: bool = False,
    ) -> str:
        """Encrypt ``source`` into ``sink`` in constant memory, and return the EDEK to store beside it.

        The bytes are those of :meth:`encrypt_value`, or of :meth:`encrypt_attached` when ``attached``. At most 64 GiB.
        """
        return await self._run(self._flows.streams.encrypt(source, sink, metadata, edek, attached=attached))

    async def decrypt_stream(
        self,
        source: BinaryIO,
        sink: BinaryIO,
        metadata: Metadata,
        *,
        edek: str | None = None,
        release_unverified: bool = False,
    ) -> None:
        """Decrypt from ``source`` into ``sink`` in constant memory. Without ``edek`` the source carries its own.

        The whole is verified before the first byte is written: the source is read twice, so it must be seekable. With
        ``release_unverified`` it is read once and plaintext is written before it was verified; when an error comes,
        everything that was written must be thrown away.
        """
        await self._run(
            self._flows.streams.decrypt(source, sink, edek, metadata, release_unverified=release_unverified)
        )

    async def encrypt_file(
        self,
        source: "str | PathLike[str]",
        into: "str | PathLike[str]",
        metadata: Metadata,
        *,
        edek: str | None = None,
        attached: bool = False,
    ) -> str:
        """Encrypt a file into another and return the EDEK. The new file is there whole or not at all."""
        return await self._run(
            self._flows.streams.encrypt_file(Path(source), Path(into), metadata, edek, attached=attached)
        )

    async def decrypt_file(
        self, source: "str | PathLike[str]", into: "str | PathLike[str]", metadata: Metadata, *, edek: str | None = None
    ) -> None:
        """Decrypt a file into another, there verified or not at all. Without ``edek`` it carries its own."""
        await self._run(self._flows.streams.decrypt_file(Path(source), Path(into), edek, metadata))

    async def start_encryption(
        self, metadata: Metadata, *, edek: str | None = None, attached: bool = False
    ) -> DocumentEncryptor:
        """Begin a document that comes in pieces, whoever carries them: ``update(piece)``, ``finish()``, ``edek``."""
        return await self._run(self._flows.streams.encryptor(metadata, edek, attached=attached))

    async def start_decryption(self, edek: str, metadata: Metadata) -> DocumentDecryptor:
        """Begin to decrypt a document that comes in pieces: ``update_unverified(piece)``, ``finish()``.

        Nothing that it returns is verified before ``finish()`` has returned.
        """
        return await self._run(self._flows.streams.decryptor(edek, metadata))

    async def log_event(self, event: SecurityEvent) -> None:
        """Report a security event to its tenant: ``client.log_event(UserEvent.LOGIN.at(metadata))``."""
        await self._run(event.report(self._flows.keys))

    async def log_events(self, events: Sequence[SecurityEvent]) -> None:
        """Report several security events. All are tried; then the first fault is raised."""
        await self._run(self._flows.log_events(events))

    async def cached_key(
        self, metadata: Metadata, *, edek: str | None = None, limits: CachedKeyLimits | None = None
    ) -> "AsyncCachedKey":
        """Get one key for many documents: ``async with await client.cached_key(metadata) as key: ...``.

        A new key, or that of ``edek``. It lives for at most a minute, and the tenant learns how often it was used.

        Raises:
            KmsError: The tenant's KMS said no.
            ServiceError: The proxy was not reached, or refused.
        """
        return AsyncCachedKey(self, await self._run(self._flows.cached_key(metadata, edek, limits)))

    def deterministic(self, form: FieldForm) -> "AsyncDeterministicClient":
        """Return the operations on deterministic fields, in the form of the one or the other family of clients."""
        return AsyncDeterministicClient(self, self._flows.fields(form))

    async def _run(self, flow: Flow[T]) -> T:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
            await self._driver.__aenter__()
        elif self._loop is not loop:
            raise RuntimeError("this client belongs to another event loop: make one for each")
        return await self._driver.run(flow, deadline_s=self._timeout_s)

    async def _close_key(self, key: KeyInHand) -> None:
        await self._run(key.close(self._flows.keys))


class AsyncCachedKey:
    """One key for many documents; from :meth:`AsyncTenantSecurityClient.cached_key`. For small documents."""

    def __init__(self, client: AsyncTenantSecurityClient, key: KeyInHand) -> None:
        self._client = client
        self._key = key

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def edek(self) -> str:
        """The EDEK of everything that this key encrypts."""
        return self._key.edek

    @property
    def uses(self) -> Uses:
        """How often the key was used."""
        return self._key.uses

    def encrypt(self, document: Mapping[str, bytes]) -> EncryptedDocument:
        """Encrypt a document, without asking the proxy.

        Raises:
            CachedKeyExpiredError: The key is too old, was used too often, or was closed.
            DocumentError: The document is encrypted already.
        """
        return self._key.encrypt(document)

    def decrypt(self, encrypted: EncryptedDocument) -> dict[str, bytes]:
        """Decrypt a document that has this key's EDEK, without asking the proxy.

        Raises:
            CachedKeyExpiredError: The key is too old, was used too often, or was closed.
            DocumentError: The document was changed, or has another EDEK.
        """
        return self._key.decrypt(encrypted)

    async def close(self) -> None:
        """Overwrite the key and report its uses. A report that does not arrive raises nothing."""
        await self._client._close_key(self._key)  # noqa: SLF001 - both are one thing


class AsyncDeterministicClient:
    """Operations on deterministic fields; from :meth:`AsyncTenantSecurityClient.deterministic`."""

    def __init__(self, client: AsyncTenantSecurityClient, fields: DeterministicFields) -> None:
        self._client = client
        self._fields = fields

    async def encrypt(self, field: Field, metadata: Metadata) -> EncryptedField:
        """Encrypt a field: the same value always gives the same bytes."""
        return await self._run(self._fields.encrypt(field, metadata))

    async def decrypt(self, field: EncryptedField, metadata: Metadata) -> Field:
        """Decrypt a field of either form."""
        return await self._run(self._fields.decrypt(field, metadata))

    async def rotate(self, field: EncryptedField, metadata: Metadata) -> EncryptedField:
        """Write a field anew under the current secret, and in this form; one that already is comes back as it is."""
        return await self._run(self._fields.rotate(field, metadata))

    async def search_terms(self, field: Field, metadata: Metadata) -> list[bytes]:
        """Return every ciphertext that a stored field with this value may have: one, or two while a secret is rotated.

        The current one comes first. Only fields in this form are found.
        """
        return await self._run(self._fields.search_terms(field, metadata))

    async def encrypt_batch(self, fields: Mapping[str, Field], metadata: Metadata) -> BatchResult[EncryptedField]:
        """Encrypt many fields with one request; one that fails stands in ``failures``."""
        return await self._run(self._fields.encrypt_batch(fields, metadata))

    async def decrypt_batch(self, fields: Mapping[str, EncryptedField], metadata: Metadata) -> BatchResult[Field]:
        """Decrypt many fields with one request; one that fails stands in ``failures``."""
        return await self._run(self._fields.decrypt_batch(fields, metadata))

    async def rotate_batch(
        self, fields: Mapping[str, EncryptedField], metadata: Metadata
    ) -> BatchResult[EncryptedField]:
        """Rotate many fields with one request; one that fails stands in ``failures``."""
        return await self._run(self._fields.rotate_batch(fields, metadata))

    async def search_terms_batch(self, fields: Mapping[str, Field], metadata: Metadata) -> BatchResult[list[bytes]]:
        """Return the search terms of many fields with one request; one that fails stands in ``failures``."""
        return await self._run(self._fields.search_terms_batch(fields, metadata))

    async def _run(self, flow: Flow[T]) -> T:
        return await self._client._run(flow)  # noqa: SLF001 - both are one thing
