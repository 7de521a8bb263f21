"""Objects in S3, encrypted before they leave: any size, in constant memory, over a boto3 client of yours.

    objects = EncryptedObjects(boto3.client("s3"), client, "my-bucket")
    objects.upload("report.pdf", "reports/1", metadata)
    objects.download("reports/1", "report.pdf", metadata)

The object is an encrypted document of the form that all clients read; its EDEK lies in the object's user metadata.
"""

import io
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Final

from tenant_security.client.errors import ClientCode, document_error
from tenant_security.client.metadata import Metadata
from tenant_security.client.pieces import DocumentEncryptor
from tenant_security.client.streams import whole_file
from tenant_security.client.sync_client import TenantSecurityClient

EDEK_METADATA: Final = "tenant-security-edek"
"""The name of the user metadata that holds the EDEK; over HTTP it is ``x-amz-meta-tenant-security-edek``."""
_PIECE_BYTES: Final = 256 * 1024
_LARGEST_EDEK: Final = 1_900  # S3 keeps 2 KB of user metadata


class EncryptedObjects:
    """The objects of one bucket. ``s3`` is a boto3 S3 client. Thread-safe, as boto3's clients are."""

    def __init__(self, s3: Any, client: TenantSecurityClient, bucket: str) -> None:
        self._s3 = s3
        self._client = client
        self._bucket = bucket

    def put(
        self, key: str, source: BinaryIO | bytes, metadata: Metadata, extra: Mapping[str, Any] | None = None
    ) -> str:
        """Encrypt what ``source`` holds into an object, while it is uploaded, and return its EDEK.

        ``extra`` is boto3's ``ExtraArgs``, such as ``ContentType``. An upload that fails leaves no object.
        """
        plain = io.BytesIO(source) if isinstance(source, bytes) else source
        encryptor = self._client.start_encryption(metadata)
        try:
            if len(encryptor.edek) > _LARGEST_EDEK:
                raise document_error(
                    ClientCode.DOCUMENT_ENCRYPT_FAILED, "The EDEK is too long for an object's metadata"
                )
            arguments = dict(extra or {})
            arguments["Metadata"] = {**arguments.get("Metadata", {}), EDEK_METADATA: encryptor.edek}
            self._s3.upload_fileobj(_Encrypting(plain, encryptor), self._bucket, key, ExtraArgs=arguments)
        finally:
            encryptor.abandon()
        return encryptor.edek

    def get(self, key: str, metadata: Metadata) -> bytes:
        """Decrypt an object into memory. Raises: DocumentError when it was changed or has no EDEK."""
        sink = io.BytesIO()
        self._fetch(key, sink, metadata)
        return sink.getvalue()

    def upload(
        self, path: "str | PathLike[str]", key: str, metadata: Metadata, extra: Mapping[str, Any] | None = None
    ) -> str:
        """Encrypt a file into an object and return its EDEK."""
        with Path(path).open("rb") as file:
            return self.put(key, file, metadata, extra)

    def download(self, key: str, into: "str | PathLike[str]", metadata: Metadata) -> None:
        """Decrypt an object into a file, which is there verified or not at all."""
        with whole_file(Path(into)) as file:
            self._fetch(key, file, metadata)

    def rekey(self, key: str, metadata: Metadata, *, new_tenant_id: str | None = None) -> str:
        """Give an object a new EDEK of the same key, by a copy within S3 (up to 5 GB), and return it."""
        found = self._s3.head_object(Bucket=self._bucket, Key=key)
        edek = self._client.rekey(_edek(found, key), metadata, new_tenant_id=new_tenant_id, verify=True)
        kept = {
            name: found[name]
            for name in ("ContentType", "ContentEncoding", "ContentDisposition", "ContentLanguage", "CacheControl")
            if found.get(name)
        }
        self._s3.copy_object(
            Bucket=self._bucket,
            Key=key,
            CopySource={"Bucket": self._bucket, "Key": key},
            CopySourceIfMatch=found["ETag"],
            MetadataDirective="REPLACE",
            Metadata={**found["Metadata"], EDEK_METADATA: edek},
            **kept,
        )
        return edek

    def _fetch(self, key: str, sink: BinaryIO, metadata: Metadata) -> None:
        """Decrypt into a sink that nobody sees before this returns."""
        found = self._s3.get_object(Bucket=self._bucket, Key=key)
        with found["Body"] as body:
            decryptor = self._client.start_decryption(_edek(found, key), metadata)
            try:
                while piece := body.read(_PIECE_BYTES):
                    sink.write(decryptor.update_unverified(piece))
                decryptor.finish()
            finally:
                decryptor.abandon()


class _Encrypting(io.RawIOBase):
    """A source that encrypts while it is read."""

    def __init__(self, plain: BinaryIO, encryptor: DocumentEncryptor) -> None:
        self._plain = plain
        self._encryptor = encryptor
        self._ready = bytearray()
        self._ended = False

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._ended and (size < 0 or len(self._ready) < size):
            piece = self._plain.read(_PIECE_BYTES)
            if piece:
                self._ready += self._encryptor.update(piece)
            else:
                self._ready += self._encryptor.finish()
                self._ended = True
        taken = bytes(self._ready if size < 0 else self._ready[:size])
        del self._ready[: len(taken)]
        return taken


def _edek(found: Mapping[str, Any], key: str) -> str:
    edek = found["Metadata"].get(EDEK_METADATA)
    if not edek:
        raise document_error(
            ClientCode.INVALID_ENCRYPTED_DOCUMENT,
            f"The object {key!r} has no {EDEK_METADATA}: it was not encrypted here",
        )
    return str(edek)
