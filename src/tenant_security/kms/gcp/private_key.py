"""A service account's RSA key, with our fault codes.

Source: outbound/google_key.py has the rules.
"""

from collections.abc import Mapping

from tenant_security.kms.gcp.endpoints import invalid
from tenant_security.outbound import google_key
from tenant_security.secret import Secret


def read_private_key(pem: Secret[str]) -> Secret[bytes]:
    """Read a key from PEM and return it as PKCS #8 in DER, the smallest form to keep: some 1.2 KB.

    Raises: KmsFaultError 207 when it is no RSA key that could work.
    """
    try:
        return google_key.read_private_key(pem)
    except ValueError as wrong:
        raise invalid(str(wrong)) from None


def check(pem: Secret[str]) -> None:
    """Check a key wholly, as whoever writes a config should, once. Takes some 40 ms: never on an event loop.

    Raises: KmsFaultError 207.
    """
    try:
        google_key.check(pem)
    except ValueError as wrong:
        raise invalid(str(wrong)) from None


def sign(key: Secret[bytes], claims: Mapping[str, object]) -> str:
    """Return the claims as a JWT, signed with RS256. About half a millisecond.

    Raises: KmsFaultError 207 when the key cannot sign.
    """
    try:
        return google_key.sign(key, claims)
    except ValueError as wrong:
        raise invalid(str(wrong)) from None
