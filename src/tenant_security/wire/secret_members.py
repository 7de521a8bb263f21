"""Secrets as members of a config: decoded into :class:`Secret`, never into plain text."""

import binascii
from typing import Any, Final

from tenant_security.secret import Secret

_KEY_BYTES: Final = 32


def decode_secret(kind: type, value: Any) -> Any:
    """Read ``Secret[str]`` from a text, ``Secret[bytes]`` from 32 bytes in base64. A hook for msgspec's decoders.

    Raises: ValueError that does not hold the value.
    """
    if kind != Secret[bytes] and kind != Secret[str]:
        raise TypeError(f"no decoder for {kind}")
    if not isinstance(value, str) or not value:
        raise ValueError("expected a non-empty string")
    if kind == Secret[str]:
        return Secret(value)
    try:
        decoded = binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        raise ValueError("expected base64") from None
    if len(decoded) != _KEY_BYTES:
        raise ValueError("expected 32 bytes of key")
    return Secret(decoded)
