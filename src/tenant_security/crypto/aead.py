"""AES-256-GCM as the EDEK format uses it: a DEK sealed under a leased key, without associated data.

Source: NIST SP 800-38D; docs/formats.md, "Leased EDEKs".
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
IV_BYTES: Final = 12
TAG_BYTES: Final = 16

MAX_RANDOM_IVS: Final = 2**32
"""How often one key may be used with random 96-bit IVs: at 2^32 the chance of a repeated IV is still below 2^-32
(SP 800-38D, section 8.3). A repeated IV would reveal the XOR of two DEKs and the authentication key."""


class LeasedKeyCipher:
    """Wraps and unwraps DEKs under one leased key.

    The key lives inside the library's object; it cannot be read back.
    """

    __slots__ = ("_gcm",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a leased key has 32 bytes")
        self._gcm = AESGCM(key)

    def seal(self, dek: bytes, iv: bytes) -> bytes:
        """Return ciphertext and tag: 48 bytes for a DEK. The IV must be fresh."""
        return self._gcm.encrypt(iv, dek, None)

    def open(self, sealed: bytes, iv: bytes) -> bytes | None:
        """Return the DEK, or None when the tag does not match."""
        try:
            return self._gcm.decrypt(iv, sealed, None)
        except InvalidTag:
            return None


def random_bytes(count: int) -> bytes:
    """Fresh bytes of the operating system's generator, for keys and IVs."""
    return os.urandom(count)
