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

from tenant_security.kms.refusals import Provider, invalid

_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")


def origin(provider: Provider, address: str, member: str, *, paths: Collection[str] = ("", "/")) -> str:
    """Return the scheme, host and port of an address, such as ``https://kms.acme.example:8443``.

    ``paths``: what may stand after them; it is dropped.

    Raises: KmsFaultError 207 that names the member.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise invalid(provider, f"{member} is not an address") from None
    # urlsplit drops tabs and line breaks silently, hence the look at the text itself.
    if (
        not address.isascii()
        or not address.isprintable()
        or " " in address
        or parts.username is not None
        or "?" in address
        or "#" in address
        or parts.path not in paths
    ):
        raise invalid(provider, f"{member} must have the form https://host or https://host:port")
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    if not _HOST.fullmatch(host):
        raise invalid(provider, f"{member} names no host")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(host)):
        raise invalid(provider, f"{member} must begin with https://")
    return f"{parts.scheme}://{host}" if port is None else f"{parts.scheme}://{host}:{port}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
