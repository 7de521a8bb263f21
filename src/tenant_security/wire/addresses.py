"""Addresses that a tenant writes: https, or http to this very machine, and nothing in them that is not an address.

Such an address ends up in a request that carries the tenant's own credentials, so it is held to one shape and put
together again from its parts. Which hosts may be reached at all is the egress policy's business, at the time of the
call.

Source: RFC 3986, section 3.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_MOST_CHARACTERS: Final = 2048


def origin(address: str, member: str, *, paths: Collection[str] = ("", "/")) -> str:
    """Return the scheme, host and port of an address, such as ``https://kms.acme.example:8443``.

    ``paths``: what may stand after them; it is dropped.

    Raises: ValueError that names the member.
    """
    start, rest = _split(address, member)
    if rest not in paths:
        raise ValueError(f"{member} must have the form https://host or https://host:port")
    return start


def address_with_path(address: str, member: str) -> str:
    """Return an address with its path and query, such as ``https://hooks.acme.example/events?team=7``.

    Raises: ValueError that names the member.
    """
    start, rest = _split(address, member)
    return start + rest if rest.startswith("/") else f"{start}/{rest}"


def host_name(host: str, member: str) -> str:
    """Return a host's name or address in lower case, an IPv6 address without its brackets.

    Raises: ValueError that names the member.
    """
    lower = host.lower()
    bracketed = f"[{lower}]" if ":" in lower and not lower.startswith("[") else lower
    if not host.isascii() or not _HOST.fullmatch(bracketed):
        raise ValueError(f"{member} names no host")
    return bracketed.strip("[]")


def _split(address: str, member: str) -> tuple[str, str]:
    """The checked scheme, host and port; then path and query as they stand."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError(f"{member} is not an address") from None
    # urlsplit drops tabs and line breaks silently, hence the look at the text itself.
    if (
        not address.isascii()
        or not address.isprintable()
        or " " in address
        or len(address) > _MOST_CHARACTERS
        or parts.username is not None
        or "#" in address
    ):
        raise ValueError(f"{member} must have the form https://host or https://host:port")
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    if not _HOST.fullmatch(host):
        raise ValueError(f"{member} names no host")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(host)):
        raise ValueError(f"{member} must begin with https://")
    start = f"{parts.scheme}://{host}" if port is None else f"{parts.scheme}://{host}:{port}"
    return start, parts.path + (f"?{parts.query}" if "?" in address else "")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
