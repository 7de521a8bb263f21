"""RSA keys for fakes: made once per process, because making one is slow and nobody here needs a fresh one."""

import functools

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key


@functools.cache
def rsa_key(number: int, bits: int = 2048) -> RSAPrivateKey:
    """Return the key of this number. Two numbers are two keys."""
    del number
    return generate_private_key(65537, bits)
