r"""Ed25519 signatures that cannot be taken for one another, and the names of keys.

Shape: a signature covers ``tenant-security/<kind>/v1\n`` followed by the body, so that a signature on one kind of
document says nothing about another. A key's fingerprint is SHA-256(``tenant-security/key/v1\n`` || raw public key);
people read it as base32 in lower case, 13 groups of four joined by ``-``. A key id is its first six groups (120 bits).

Source: RFC 8032; docs/formats-trust.md, "Signatures" and "Fingerprints".
"""

import base64
import hashlib
from enum import Enum
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tenant_security.secret import Secret

SIGNATURE_BYTES: Final = 64
PUBLIC_BYTES: Final = 32

_GROUP: Final = 4
_KEY_ID_CHARS: Final = 24
_FINGERPRINT_CHARS: Final = 52


class Kind(Enum):
    """What a signature is on."""

    ROOT = "root"
    MANIFEST = "manifest"
    HEAD = "head"
    RECORD = "tenant-record"
    AUTHORS = "tenant-authors"
    CONFIG = "config"
    KEY_CLAIM = "key-claim"
    INVITATION = "invitation"
    ENROLMENT = "enrolment"
    SECRET = "tenant-secret"  # noqa: S105 - a kind of document


_PREFIX: Final = {kind: b"tenant-security/" + kind.value.encode() + b"/v1\n" for kind in Kind}


class SigningKey:
    """A private signing key, from its 32-byte seed (RFC 8032's private key).

    Raises: ValueError when the seed has another length.
    """

    __slots__ = ("_key", "key_id", "public")

    def __init__(self, seed: Secret[bytes]) -> None:
        self._key: Final = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self.public: Final = self._key.public_key().public_bytes_raw()
        self.key_id: Final = key_id(self.public)

    def sign(self, kind: Kind, body: bytes) -> bytes:
        """Return 64 bytes."""
        return self._key.sign(_PREFIX[kind] + body)

    def sign_token(self, claims: dict[str, Any], kind: str) -> str:
        """Return a JWT of this type (``typ``) that names this key."""
        import jwt  # noqa: PLC0415 - an application that only encrypts has no JWT library

        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"typ": kind, "kid": self.key_id})


class VerifyingKey:
    """A public signing key.

    Raises: ValueError when it does not have 32 bytes.
    """

    __slots__ = ("_key", "key_id", "public")

    def __init__(self, public: bytes) -> None:
        self._key: Final = Ed25519PublicKey.from_public_bytes(public)
        self.public: Final = public
        self.key_id: Final = key_id(public)

    def verifies(self, kind: Kind, body: bytes, signature: bytes) -> bool:
        """Whether this key signed this body as this kind of document."""
        try:
            self._key.verify(signature, _PREFIX[kind] + body)
        except (InvalidSignature, ValueError):
            return False
        return True

    def read_token(self, token: str) -> dict[str, Any]:
        """Return the claims of a JWT that this key signed; nothing but the signature is checked.

        Raises: jwt.PyJWTError.
        """
        import jwt  # noqa: PLC0415 - an application that only encrypts has no JWT library

        read: dict[str, Any] = jwt.decode(
            token,
            self._key,
            algorithms=["EdDSA"],
            options={"verify_exp": False, "verify_iat": False, "verify_aud": False},
        )
        return read


def fingerprint(public: bytes) -> str:
    """Return the name by which people compare a whole key: 13 groups of four characters."""
    digest = hashlib.sha256(b"tenant-security/key/v1\n" + public).digest()
    return _grouped(base64.b32encode(digest).decode("ascii").lower()[:_FINGERPRINT_CHARS])


def key_id(public: bytes) -> str:
    """Return the first six groups of the fingerprint: how documents name the key that signed them."""
    return fingerprint(public)[: _KEY_ID_CHARS + _KEY_ID_CHARS // _GROUP - 1]


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint in its fixed form from what a person copied, with any grouping or letter case.

    Raises: ValueError that says what a fingerprint looks like.
    """
    plain = "".join(text.split()).replace("-", "").lower()
    try:
        digest = base64.b32decode(plain.upper() + "====")
    except ValueError:
        digest = b""
    if len(plain) != _FINGERPRINT_CHARS or base64.b32encode(digest).decode("ascii").lower()[:52] != plain:
        raise ValueError("a fingerprint is 52 letters a-z and digits 2-7, usually in 13 groups of four")
    return _grouped(plain)


def _grouped(plain: str) -> str:
    return "-".join(plain[at : at + _GROUP] for at in range(0, len(plain), _GROUP))
