"""Opening: the half of public-key encryption that holds secrets. See ``seal`` for suites and shapes.

A private key is a 32-byte seed, for both suites, from which the pair is derived:

* suite 1: the seed is the X-Wing decapsulation key: SHAKE256(seed, 96) = ML-KEM-768 seed d || z (64) || X25519 (32).
* suite 2: DeriveKeyPair of DHKEM(P-256, HKDF-SHA256) with the seed as ``ikm``.

Source: draft-connolly-cfrg-xwing-kem, section 5.2; RFC 9180, section 7.1.3.
"""

import hashlib
import hmac
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tenant_security.crypto.seal import (
    DEK_BYTES,
    HPKE,
    NONCE_BYTES,
    SEED_BYTES,
    SealingKey,
    Suite,
    commitment,
)
from tenant_security.secret import Secret

_MLKEM_SEED_BYTES: Final = 64
_X25519_BYTES: Final = 32
_TAG_BYTES: Final = 16

# RFC 9180: the order of P-256's group, and the suite id "KEM" || I2OSP(0x0010, 2) of DHKEM(P-256, HKDF-SHA256).
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_LABEL: Final = b"HPKE-v1" + b"KEM\x00\x10"
_SCALAR_BYTES: Final = 32


class CannotOpenError(Exception):
    """The sealed bytes do not open: another key, another context, or altered on the way."""


class OpeningKey:
    """A private key: opens what was sealed to its public half.

    Shape: made from a 32-byte seed; ``sealing_key`` is the public half.
    Raises: ValueError when the seed has another length.
    """

    __slots__ = ("_key", "sealing_key", "suite")

    def __init__(self, suite: Suite, seed: Secret[bytes]) -> None:
        self.suite: Final = suite
        key, public = _derive(suite, seed.reveal())
        self._key: Final = key
        self.sealing_key: Final = SealingKey(suite, public)

    @property
    def public(self) -> bytes:
        """The public half, raw."""
        return self.sealing_key.public

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """Decrypt what was sealed to this key with the same ``info``.

        Raises: CannotOpenError.
        """
        try:
            return HPKE[self.suite].decrypt(sealed, self._key, info)
        except (InvalidTag, ValueError):
            raise CannotOpenError("it was sealed to another key or for another place, or was altered") from None


_PrivateKey = EllipticCurvePrivateKey | hpke.MLKEM768X25519PrivateKey


def _derive(suite: Suite, seed: bytes) -> tuple[_PrivateKey, bytes]:
    if len(seed) != SEED_BYTES:
        raise ValueError("a private key's seed has 32 bytes")
    match suite:
        case Suite.XWING:
            expanded = hashlib.shake_256(seed).digest(_MLKEM_SEED_BYTES + _X25519_BYTES)
            mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
            x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
            public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
            return hpke.MLKEM768X25519PrivateKey(mlkem, x25519), public
        case Suite.P256:
            key = derive_private_key(_p256_scalar(seed), SECP256R1())
            return key, key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _p256_scalar(seed: bytes) -> int:
    """RFC 9180 DeriveKeyPair: LabeledExtract, then LabeledExpand until the candidate is in range."""
    extracted = HKDF.extract(SHA256(), b"", _P256_LABEL + b"dkp_prk" + seed)
    for counter in range(256):
        info = _SCALAR_BYTES.to_bytes(2, "big") + _P256_LABEL + b"candidate" + bytes([counter])
        scalar = int.from_bytes(HKDFExpand(SHA256(), _SCALAR_BYTES, info).derive(extracted), "big")
        if 0 < scalar < _P256_ORDER:
            return scalar
    raise ValueError("this seed yields no key; take another")  # chance 2^-8192


def new_seed() -> Secret[bytes]:
    """Make a private key of either suite."""
    return Secret(os.urandom(SEED_BYTES))


def open_payload(dek: bytes, header: bytes, payload: bytes, commit: bytes) -> bytes:
    """Check that ``commit`` is this DEK's, then decrypt.

    Raises: CannotOpenError.
    """
    if len(dek) != DEK_BYTES or not hmac.compare_digest(commitment(dek), commit):
        raise CannotOpenError("the key is not the one its author committed to")
    if len(payload) < NONCE_BYTES + _TAG_BYTES:
        raise CannotOpenError("the payload is cut short")
    try:
        return AESGCM(dek).decrypt(payload[:NONCE_BYTES], payload[NONCE_BYTES:], header)
    except InvalidTag:
        raise CannotOpenError("the payload or its header was altered") from None
