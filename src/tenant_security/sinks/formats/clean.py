"""Texts that outsiders wrote, made safe to stand in a line or to be taken for an address.

Source: Unicode, general categories Cc, Zl, Zp; the Unicode bidirectional algorithm, explicit formatting characters.
"""

import ipaddress
import re
from typing import Final

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """Put a space for every character that could end a line, drive a terminal or turn the reading direction."""
    return text if text.isprintable() else _UNPRINTABLE.sub(" ", text)


def ip_address(text: str | None) -> str | None:
    """Return the text if it is an IP address, else None. Receivers refuse whole events for an address that is none."""
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else str(address)
