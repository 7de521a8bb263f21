"""Texts that outsiders wrote, made safe to stand in a line or to be taken for an address.

Source: Unicode, general categories Cc, Zl, Zp; the Unicode bidirectional algorithm, explicit formatting characters.
"""

import ipaddress
import re
from functools import lru_cache
from typing import Final

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_UNPRINTABLE_BYTES: Final = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""The same characters but for those that JSON writes as escapes anyway, in UTF-8."""


def one_line(text: str) -> str:
    """Put a space for every character that could end a line, drive a terminal or turn the reading direction."""
    return text if text.isprintable() else _UNPRINTABLE.sub(" ", text)


def json_line(text: bytes) -> bytes:
    """Write as escapes what in a line of JSON could end it for some readers, drive a terminal or turn the direction.

    It is the same JSON: outside of its texts such characters cannot stand.
    """
    if text.isascii() and b"\x7f" not in text:
        return text
    return _UNPRINTABLE_BYTES.sub(_escaped, text)


def _escaped(found: re.Match[bytes]) -> bytes:
    return f"\\u{ord(found[0].decode()):04x}".encode()


@lru_cache(maxsize=4_096)
def ip_address(text: str | None) -> str | None:
    """Return the text if it is an IP address, else None. Receivers refuse whole events for an address that is none."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else str(address)
