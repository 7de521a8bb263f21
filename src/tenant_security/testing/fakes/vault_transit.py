"""The keys of the fake Transit engine: real AES-256-GCM and RSA-OAEP, versions, derivation."""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenant_security.testing.fakes.rsa_keys import rsa_key
from tenant_security.testing.fakes.server import Answered, answered

AES: Final = "aes256-gcm96"
RSA: Final = "rsa-2048"

_FIRST_RSA: Final = 9_000
_NONCE: Final = 12
_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
_CIPHERTEXT: Final = re.compile(r"vault:v([^:]*):(.*)", re.DOTALL)
_NEEDS_CONTEXT: Final = (
    "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request"
    " information must be included in order to perform operations with the key"
)


class RefusedError(Exception):
    """Ends an answer with a refusal: a status and texts, as Vault has them."""

    def __init__(self, status: int, *texts: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(*texts)
        self.answer: Answered = answered(status, {"errors": list(texts)}, *headers)


class TransitKey:
    """A Transit key with its first version."""

    def __init__(self, name: str, kind: str = AES, *, derived: bool = False) -> None:
        self.name = name
        self.kind = kind
        self.derived = derived
        self.soft_deleted = False
        self.min_decryption_version = 1
        self.min_encryption_version = 0
        """0: the newest one."""
        self._versions: dict[int, bytes | RSAPrivateKey] = {}
        self.rotate()

    @property
    def latest(self) -> int:
        """The version that encrypts."""
        return max(self._versions)

    def rotate(self) -> int:
        """Make a new version, which encrypts from now on."""
        version = len(self._versions) + 1
        self._versions[version] = rsa_key(_FIRST_RSA + version) if self.kind == RSA else os.urandom(32)
        return version

    def trim(self, below: int) -> None:
        """Remove old versions for good. It is allowed only below ``min_decryption_version``."""
        self.min_decryption_version = max(self.min_decryption_version, below)
        self.lose(*[each for each in self._versions if each < below])

    def lose(self, *versions: int) -> None:
        """Lose versions, as damaged storage does."""
        for version in versions:
            del self._versions[version]

    def forget_newest(self) -> None:
        """Lose the newest version, as a restore from an old backup does."""
        del self._versions[self.latest]

    def described(self) -> dict[str, object]:
        """Answer a read of the key itself."""
        return {
            "name": self.name,
            "type": self.kind,
            "derived": self.derived,
            "latest_version": self.latest,
            "min_decryption_version": self.min_decryption_version,
            "min_encryption_version": self.min_encryption_version,
            "supports_encryption": self.kind in (AES, RSA),
            "supports_decryption": self.kind in (AES, RSA),
            "keys": {str(version): 1_700_000_000 for version in self._versions},
        }

    def encrypt(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Answer encrypt. Raises RefusedError."""
        if not asked.get("plaintext"):
            raise RefusedError(400, "missing plaintext to encrypt")
        plaintext, context, associated = _read(asked, "plaintext"), _read(asked, "context"), self._associated(asked)
        self._check("encryption")
        version = asked.get("key_version") or self.latest
        if not isinstance(version, int) or version > self.latest:
            raise RefusedError(400, "requested version for encryption is higher than the latest key version")
        if version < self.min_encryption_version:
            raise RefusedError(400, "requested version for encryption is less than the minimum encryption key version")
        material = self._material(version)
        if isinstance(material, RSAPrivateKey):
            sealed = material.public_key().encrypt(plaintext, _OAEP)
        else:
            nonce = os.urandom(_NONCE)
            sealed = nonce + AESGCM(self._derived(material, context)).encrypt(nonce, plaintext, associated)
        return {"ciphertext": f"vault:v{version}:{base64.b64encode(sealed).decode()}", "key_version": version}

    def decrypt(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Answer decrypt. Raises RefusedError."""
        text, context, associated = asked.get("ciphertext"), _read(asked, "context"), self._associated(asked)
        if not text:
            raise RefusedError(400, "missing ciphertext to decrypt")
        self._check("decryption")
        if not isinstance(text, str) or not text.startswith("vault:v"):
            raise RefusedError(400, "invalid ciphertext: no prefix")
        parts = _CIPHERTEXT.fullmatch(text)
        if parts is None:
            raise RefusedError(400, "invalid ciphertext: wrong number of fields")
        if not parts[1].isdecimal():
            raise RefusedError(400, "invalid ciphertext: version number could not be decoded")
        # In its first days Transit counted from 0.
        version = int(parts[1]) or 1
        if version > self.latest:
            raise RefusedError(400, "invalid ciphertext: version is too new")
        if version < self.min_decryption_version:
            raise RefusedError(400, "ciphertext or signature version is disallowed by policy (too old)")
        try:
            sealed = binascii.a2b_base64(parts[2], strict_mode=True)
        except binascii.Error:
            raise RefusedError(400, "invalid ciphertext: could not decode base64") from None
        return {"plaintext": base64.b64encode(self._opened(version, sealed, context, associated)).decode()}

    def _opened(self, version: int, sealed: bytes, context: bytes, associated: bytes) -> bytes:
        material = self._material(version)
        if isinstance(material, RSAPrivateKey):
            try:
                return material.decrypt(sealed, _OAEP)
            except ValueError:
                raise RefusedError(500, "failed to RSA decrypt the ciphertext: crypto/rsa: decryption error") from None
        if len(sealed) < _NONCE:
            raise RefusedError(400, "invalid ciphertext length")
        try:
            return AESGCM(self._derived(material, context)).decrypt(sealed[:_NONCE], sealed[_NONCE:], associated)
        except InvalidTag:
            raise RefusedError(400, "cipher: message authentication failed") from None

    def _material(self, version: int) -> bytes | RSAPrivateKey:
        material = self._versions.get(version)
        if material is None:
            raise RefusedError(400, "no such key version")
        return material

    def _derived(self, material: bytes, context: bytes) -> bytes:
        if not self.derived:
            return material
        if not context:
            raise RefusedError(400, _NEEDS_CONTEXT)
        return HKDF(hashes.SHA256(), 32, None, context).derive(material)

    def _check(self, operation: str) -> None:
        if self.soft_deleted:
            raise RefusedError(400, "refusing to use soft-deleted key")
        if self.kind not in (AES, RSA):
            raise RefusedError(400, f"message {operation} not supported for key type {self.kind}")

    def _associated(self, asked: Mapping[str, object]) -> bytes:
        associated = _read(asked, "associated_data")
        if associated and self.kind != AES:
            raise RefusedError(400, f"'[0].associated_data' provided for non-AEAD cipher suite {self.kind}")
        return associated


def _read(asked: Mapping[str, object], member: str) -> bytes:
    text = asked.get(member, "")
    try:
        return binascii.a2b_base64(text, strict_mode=True) if isinstance(text, str) else b""
    except binascii.Error:
        raise RefusedError(400, "illegal base64 data at input byte 0") from None
