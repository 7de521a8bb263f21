"""The local KMS: an AES-256-GCM key that travels in the config itself, for development, tests and rehearsals.

Shape: a blob of 113 bytes for 32 bytes of key, the size of Google Cloud KMS's, so that EDEKs keep the lengths that
clients and their tests know::

    magic 4c 4b | format 01 | key version u32 BE | SHA-256(key id)[:14] | salt 32 | nonce 12 | ciphertext 32 | tag 16

The magic is chosen so that bytes 4 and 5 of an unleased EDEK never look like the key-id header by which Alloy tells
its own EDEKs apart. Each blob is sealed under its own key, HKDF-SHA256(key, salt), so the number of wraps is not
bounded by the 96-bit nonce; everything before the nonce is authenticated.

Source: docs/formats.md, "Local KMS blob".
"""

import hashlib
import struct
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenant_security.crypto.aead import random_bytes
from tenant_security.errors import Code
from tenant_security.kms.provider import KEY_BYTES, KmsFaultError
from tenant_security.outbound.flow import Flow
from tenant_security.wire.kms.local import LocalKmsConfig

PROVIDER: Final = "local"
BLOB_BYTES: Final = 113

_MAGIC: Final = b"LK\x01"
_SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_FINGERPRINT_BYTES: Final = 14
_HEADER_BYTES: Final = len(_MAGIC) + 4 + _FINGERPRINT_BYTES + _SALT_BYTES
_INFO: Final = b"tenant-security local kms v1"


def _unwrap_failed(why: str) -> KmsFaultError:
    return KmsFaultError(Code.KMS_UNWRAP_FAILED, f"The local KMS could not unwrap the key: {why}.", provider=PROVIDER)


class LocalKmsKey:
    """One key of the local KMS. Its flows ask for nothing."""

    provider = PROVIDER

    def __init__(self, config: LocalKmsConfig, randomness: Callable[[int], bytes] = random_bytes) -> None:
        if not config.credentials.keys:
            raise KmsFaultError(
                Code.KMS_CONFIGURATION_INVALID, "The local KMS configuration holds no key.", provider=PROVIDER
            )
        self._keys = config.credentials.keys
        self._current = max(self._keys)
        self._fingerprint = hashlib.sha256(config.key_path.key_id.encode()).digest()[:_FINGERPRINT_BYTES]
        self._random = randomness

    def _cipher(self, version: int, salt: bytes) -> AESGCM:
        derived = HKDF(SHA256(), KEY_BYTES, salt, _INFO).derive(self._keys[version].reveal())
        return AESGCM(derived)

    def wrap(self, key: bytes) -> Flow[bytes]:
        """Wrap 32 bytes under the newest version."""
        yield from ()
        salt, nonce = self._random(_SALT_BYTES), self._random(_NONCE_BYTES)
        header = b"".join((_MAGIC, struct.pack(">I", self._current), self._fingerprint, salt))
        return header + nonce + self._cipher(self._current, salt).encrypt(nonce, key, header)

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        """Unwrap under the version that the blob names."""
        yield from ()
        if len(blob) != BLOB_BYTES or not blob.startswith(_MAGIC):
            raise _unwrap_failed("it did not come from a local KMS. Code: BadParameter, The parameter is incorrect")
        header, nonce = blob[:_HEADER_BYTES], blob[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
        (version,) = struct.unpack_from(">I", header, len(_MAGIC))
        if header[7 : 7 + _FINGERPRINT_BYTES] != self._fingerprint:
            raise _unwrap_failed("another key wrapped it")
        if version not in self._keys:
            raise _unwrap_failed(f"the configuration lacks key version {version}")
        try:
            return self._cipher(version, header[-_SALT_BYTES:]).decrypt(nonce, blob[len(header) + len(nonce) :], header)
        except InvalidTag:
            raise _unwrap_failed("the wrapped key was altered") from None
