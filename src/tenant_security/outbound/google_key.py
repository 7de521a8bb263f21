"""A service account's RSA key: read from PEM without the costly check, and made safe to use all the same.

OpenSSL's own check of an RSA key proves that two numbers are prime: some 40 ms, during which Python runs nothing else,
not even in other threads. Thousands of tenants cannot pay that at their first call, and one tenant must not make the
others wait. But a key that is not checked at all, and was made by an enemy, may crash or hang the process. So we check
what the arithmetic of signing rests on, in microseconds: all numbers fit together, and both moduli are odd. Whether
they are prime only decides whether the signature is worth anything, and that is the tenant's own affair; :func:`check`
tells whoever writes the config.

Source: RFC 8017, section 3.2; cryptography, "unsafe_skip_rsa_key_validation".
"""

from collections.abc import Mapping
from typing import Final

import jwt
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
)

from tenant_security.secret import Secret

MIN_BITS: Final = 2048
MAX_BITS: Final = 4096
"""Google makes keys of 2048 bits and takes none of more than 4096; a longer one would only cost us time."""

_MAX_PEM: Final = 16_384
_MAX_EXPONENT: Final = 1 << 32


def read_private_key(pem: Secret[str]) -> Secret[bytes]:
    """Read a key from PEM and return it as PKCS #8 in DER, the smallest form to keep: some 1.2 KB.

    Raises: ValueError when it is no RSA key that could work.
    """
    key = _load(pem, skip_check=True)
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        raise ValueError(f"credentials.private_key must have {MIN_BITS} to {MAX_BITS} bits")
    if not _fits_together(key.private_numbers()):
        raise ValueError("credentials.private_key is damaged: its numbers do not fit together")
    return Secret(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def check(pem: Secret[str]) -> None:
    """Check a key wholly, as whoever writes a config should, once. Takes some 40 ms: never on an event loop.

    Raises: ValueError.
    """
    read_private_key(pem)
    _load(pem, skip_check=False)


def sign(key: Secret[bytes], claims: Mapping[str, object]) -> str:
    """Return the claims as a JWT, signed with RS256. About half a millisecond.

    Raises: ValueError when the key cannot sign.
    """
    try:
        loaded = load_der_private_key(key.reveal(), None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(loaded, RSAPrivateKey)  # as read_private_key found it
        return jwt.encode(dict(claims), loaded, algorithm="RS256")
    except (ValueError, InternalError):
        raise ValueError("credentials.private_key cannot sign: it is damaged") from None


def _load(pem: Secret[str], *, skip_check: bool) -> RSAPrivateKey:
    text = pem.reveal()
    # Whoever copies the member out of Google's key file by hand keeps its escaped line ends.
    text = text.replace("\\n", "\n")
    if len(text) > _MAX_PEM or not text.isascii():
        raise ValueError("credentials.private_key is not in PEM")
    try:
        key = load_pem_private_key(text.encode(), None, unsafe_skip_rsa_key_validation=skip_check)
    except TypeError:
        raise ValueError("credentials.private_key is encrypted with a passphrase; give it without one") from None
    except (ValueError, UnsupportedAlgorithm, InternalError):
        raise ValueError("credentials.private_key is not a valid private key in PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("credentials.private_key is no RSA key; Google signs service accounts in with RSA only")  # noqa: TRY004 - the config is wrong, and not our types
    return key


def _fits_together(key: RSAPrivateNumbers) -> bool:
    p, q, e = key.p, key.q, key.public_numbers.e
    return (
        bool(p & q & e & 1)
        and 1 < e < _MAX_EXPONENT
        and min(p, q) > 1
        and p != q
        and p * q == key.public_numbers.n
        and key.dmp1 == key.d % (p - 1)
        and key.dmq1 == key.d % (q - 1)
        and e * key.dmp1 % (p - 1) == 1
        and e * key.dmq1 % (q - 1) == 1
        and 0 < key.iqmp < p
        and key.iqmp * q % p == 1
    )
