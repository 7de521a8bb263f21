"""What a service keeps on its own disk, encrypted under a key of its identity: a stolen disk alone opens nothing.

Shape: nonce (12) || ciphertext || tag (16) of AES-256-GCM. The key is HKDF-SHA256 of the identity's encryption seed.

Source: docs/formats.md, "Kept tenant secrets".
"""

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenant_security.crypto.aead import IV_BYTES, KEY_BYTES, random_bytes
from tenant_security.secret import Secret

_NAME_CHARS: Final = 32


class AtRest:
    """Seals and opens for one purpose. What is sealed for one purpose or place opens for no other."""

    def __init__(self, seed: Secret[bytes], purpose: str) -> None:
        info = f"tenant-security/at-rest/{purpose}/v1".encode()
        both = HKDF(SHA256(), 2 * KEY_BYTES, salt=None, info=info).derive(seed.reveal())
        self._gcm: Final = AESGCM(both[:KEY_BYTES])
        self._names: Final = Secret(both[KEY_BYTES:])

    def seal(self, plain: bytes, place: str) -> bytes:
        """Encrypt, bound to a place."""
        nonce = random_bytes(IV_BYTES)
        return nonce + self._gcm.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes | None:
        """Return what was sealed for this place; None when it was not, or was altered."""
        try:
            return self._gcm.decrypt(sealed[:IV_BYTES], sealed[IV_BYTES:], place.encode())
        except (InvalidTag, ValueError):
            return None

    def name(self, place: str) -> str:
        """Return a file name for a place, which tells nobody else what it stands for."""
        return hmac.digest(self._names.reveal(), place.encode(), "sha256").hex()[:_NAME_CHARS]
