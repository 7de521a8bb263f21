"""Sealing: the half of public-key encryption that needs no secret. ``unseal`` is the other half.

Whoever must stay blind imports this module and never ``unseal``; the import rules hold them to it.

Shape of ``seal``: HPKE base mode, one shot: ``enc || ciphertext || tag``. All context goes into ``info``.

====== ============================================ ============ ======== =========
suite  algorithms                                   public key   enc      overhead
====== ============================================ ============ ======== =========
1      X-Wing (0x647A), HKDF-SHA256, AES-256-GCM    1,216 bytes  1,120    1,136
2      DHKEM(P-256) (0x0010), the same KDF and AEAD 65 bytes     65       81
====== ============================================ ============ ======== =========

Shape of ``seal_payload``: ``nonce 12 || ciphertext || tag 16``, AES-256-GCM under a fresh DEK, associated data = the
header. The commitment is HKDF-SHA256(DEK, salt empty, info = ``COMMIT_INFO``), 32 bytes: AES-GCM alone lets one
ciphertext open under two keys, each to its own plaintext.

Source: RFC 9180; draft-connolly-cfrg-xwing-kem; docs/formats-trust.md, "Sealing".
"""

import os
from collections.abc import Callable
from enum import IntEnum
from typing import Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SEED_BYTES: Final = 32
DEK_BYTES: Final = 32
NONCE_BYTES: Final = 12
COMMIT_BYTES: Final = 32
COMMIT_INFO: Final = b"tenant-security/commit/v1"

XWING_PUBLIC_BYTES: Final = 1216
P256_PUBLIC_BYTES: Final = 65
_MLKEM_PUBLIC_BYTES: Final = 1184


class Suite(IntEnum):
    """Which HPKE algorithms a key is for. The key's owner decides; there is no negotiation."""

    XWING = 1
    """ML-KEM-768 with X25519: holds if either holds. The default."""
    P256 = 2
    """For those who must stay within FIPS-approved algorithms or hold keys in an HSM."""


HPKE: Final = {
    Suite.XWING: hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
    Suite.P256: hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM),
}


class SealingKey:
    """A public key that things are sealed to.

    Shape: ``public`` is ML-KEM-768 encapsulation key (1,184) || X25519 (32), or an uncompressed P-256 point.
    Raises: ValueError when ``public`` is not a key of this suite.
    """

    __slots__ = ("_key", "public", "suite")

    def __init__(self, suite: Suite, public: bytes) -> None:
        self.suite: Final = suite
        self.public: Final = public
        self._key: Final = _load(suite, public)

    def seal(self, info: bytes, plaintext: bytes) -> bytes:
        """Encrypt to the holder of the private key; opening needs the same ``info``."""
        return HPKE[self.suite].encrypt(plaintext, self._key, info)


def _load(suite: Suite, public: bytes) -> EllipticCurvePublicKey | hpke.MLKEM768X25519PublicKey:
    try:
        match suite:
            case Suite.XWING if len(public) == XWING_PUBLIC_BYTES:
                return hpke.MLKEM768X25519PublicKey(
                    MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
                    X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
                )
            case Suite.P256 if len(public) == P256_PUBLIC_BYTES:
                return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), public)
    except (ValueError, UnsupportedAlgorithm) as malformed:
        raise ValueError(f"not a public key of suite {suite}") from malformed
    raise ValueError(f"a public key of suite {suite} does not have {len(public)} bytes")


class SealedPayload(NamedTuple):
    """A plaintext under its own fresh DEK. The DEK is secret; the other two travel."""

    dek: bytes
    payload: bytes
    commit: bytes


def seal_payload(header: bytes, plaintext: bytes, randomness: Callable[[int], bytes] = os.urandom) -> SealedPayload:
    """Encrypt ``plaintext`` under a fresh DEK, bound to ``header``."""
    dek, nonce = randomness(DEK_BYTES), randomness(NONCE_BYTES)
    return SealedPayload(dek, nonce + AESGCM(dek).encrypt(nonce, plaintext, header), commitment(dek))


def commitment(dek: bytes) -> bytes:
    """Return the one value that only this DEK has, and that says nothing about it."""
    return HKDF(SHA256(), COMMIT_BYTES, b"", COMMIT_INFO).derive(dek)
