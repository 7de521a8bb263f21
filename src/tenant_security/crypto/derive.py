"""Keys derived from tenant secrets, for deterministic encryption and search.

Shape: ``HMAC(tenant secret, "<tenant id>-<derivation path>")``; the secret path and the secret's type only select
the secret and never enter the hash.

Source: docs/formats.md, "Derived keys".
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HASHES: Final[dict[str, Callable[..., Any]]] = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
"""Derivation types that we serve. Units: 32 and 64 bytes of key."""


def derive_key(secret: bytes, tenant_id: str, derivation_path: str, derivation_type: str) -> bytes:
    """Derive one key. The type is one of :data:`HASHES`."""
    message = f"{tenant_id}-{derivation_path}".encode()
    return hmac.digest(secret, message, HASHES[derivation_type])


def bound_fingerprint(secret: bytes, place: bytes) -> bytes:
    """Return 32 bytes that only a holder of the secret can make, for one place: they say where the secret belongs.

    They say nothing about the secret or about any derived key. Shape of ``place``: docs/formats.md, "Tenant secrets".
    """
    return HKDF(SHA256(), 32, salt=None, info=b"tenant-security/tenant-secret-fingerprint/v2\n" + place).derive(secret)


def secret_fingerprint(secret: bytes) -> bytes:
    """Return the fingerprint that secrets had before they were bound to a place: it only tells one from others."""
    return HKDF(SHA256(), 32, salt=None, info=b"tenant-security/tenant-secret-fingerprint/v1").derive(secret)
