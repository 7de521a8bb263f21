"""The broker's own key: seals what the broker must be able to read again, and makes codes that only it can make.

Sealed with it are authenticators' secrets, single sign-on's client secrets, and what a browser is given to bring back.
Nothing that a vendor or a tenant sealed can be opened with it.

Shape: the file has one key to a line, base64 of 32 bytes; the first seals, all open. What is sealed is the key's id (4
bytes), an IV (12) and the ciphertext of AES-256-GCM, whose key is derived for one purpose.

Source: docs/broker-people.md, "The broker's own key".
"""

import base64
import contextlib
import hashlib
import hmac
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenant_security.errors import SettingsError
from tenant_security.secret import Secret

KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_IV_BYTES: Final = 12
_CAP_BYTES: Final = 4_096


class ServerKey:
    """Seals and opens, and makes authentication codes."""

    def __init__(self, keys: Sequence[Secret[bytes]]) -> None:
        if not keys or any(len(key.reveal()) != KEY_BYTES for key in keys):
            raise ValueError("the broker's key has 32 bytes")
        self._keys: Final = {_id(key): key for key in reversed(keys)}
        self._first: Final = keys[0]

    def seal(self, purpose: str, plain: bytes, bound: bytes = b"") -> bytes:
        """Seal bytes for one purpose, to be opened with the same ``bound``."""
        iv = os.urandom(_IV_BYTES)
        return _id(self._first) + iv + AESGCM(_derived(self._first, purpose)).encrypt(iv, plain, bound)

    def open(self, purpose: str, sealed: bytes, bound: bytes = b"") -> bytes | None:
        """Return what was sealed, or None when this key did not seal it so."""
        key = self._keys.get(sealed[:_ID_BYTES])
        iv, ciphertext = sealed[_ID_BYTES : _ID_BYTES + _IV_BYTES], sealed[_ID_BYTES + _IV_BYTES :]
        if key is None or len(iv) != _IV_BYTES:
            return None
        try:
            return AESGCM(_derived(key, purpose)).decrypt(iv, ciphertext, bound)
        except InvalidTag:
            return None

    def code(self, purpose: str, what: bytes) -> bytes:
        """Return 32 bytes that nobody without this key can make."""
        return hmac.digest(_derived(self._first, purpose), what, hashlib.sha256)


def new_server_key() -> ServerKey:
    """Make a key that nobody keeps."""
    return ServerKey([Secret(os.urandom(KEY_BYTES))])


def load_server_key(path: Path) -> ServerKey:
    """Read the key's file, and make it when it is not there.

    Raises: SettingsError.
    """
    try:
        with contextlib.suppress(FileExistsError):
            _make(path)
        with path.open("rb") as file:
            lines = file.read(_CAP_BYTES).split()
        return ServerKey([Secret(base64.b64decode(line, validate=True)) for line in lines])
    except OSError as refused:
        raise SettingsError([f"BROKER_KEY_FILE: {path} cannot be read or made: {refused.strerror}"]) from None
    except ValueError:
        raise SettingsError(
            [f"BROKER_KEY_FILE: {path} must hold a key to a line, each 32 bytes in base64 ('openssl rand -base64 32')"]
        ) from None


def _make(path: Path) -> None:
    if path.exists():
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _id(key: Secret[bytes]) -> bytes:
    return hashlib.sha256(b"tenant-security/broker-key-id/v1\n" + key.reveal()).digest()[:_ID_BYTES]


def _derived(key: Secret[bytes], purpose: str) -> bytes:
    info = b"tenant-security/broker/v1\n" + purpose.encode()
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=None, info=info).derive(key.reveal())
