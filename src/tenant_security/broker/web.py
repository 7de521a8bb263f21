"""What the broker needs for people in browsers, beside its database. Built once, by whoever composes the broker."""

import ipaddress
from typing import Final, NamedTuple

from tenant_security.broker.pages import Pages
from tenant_security.broker.people.mail import Mail
from tenant_security.broker.people.passphrases import Passphrases
from tenant_security.broker.people.sessions import Lives
from tenant_security.broker.public_address import PublicAddress
from tenant_security.broker.server_key import ServerKey, new_server_key
from tenant_security.outbound.driver import Outbound

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_V6_BITS_OF_ONE: Final = 64
"""Who has one IPv6 address usually has all of its /64."""


class Web(NamedTuple):
    """What people's browsers find here. ``trusted`` are the load balancers whose X-Forwarded-For is believed."""

    public: PublicAddress
    key: ServerKey
    pages: Pages
    passphrases: Passphrases
    mail: Mail | None = None
    """How mail goes out, if it does."""
    outbound: Outbound | None = None
    """How single sign-on's providers are reached."""
    set_up_token: str = ""
    trusted: tuple[Network, ...] = ()
    lives: Lives = Lives()


def plain_web() -> Web:
    """Return what serves when nothing was set: this machine only, with a key that nobody keeps."""
    return Web(PublicAddress.parse("http://localhost:8080"), new_server_key(), Pages(), Passphrases())


def client_address(peer: str, forwarded: str, trusted: tuple[Network, ...]) -> str:
    """Return who sent a request: the last address in X-Forwarded-For that is none of our own load balancers.

    Trust: the header is looked at only as far as load balancers that we trust wrote it.
    """
    address = peer
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    while hops and _is_trusted(address, trusted):
        address = hops.pop()
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return peer


def counted_together(address: str) -> str:
    """Return what failures of an address are counted under: itself, or its /64."""
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return address
    if read.version == 4:  # noqa: PLR2004 - its name
        return str(read)
    return str(ipaddress.ip_network((int(read), _V6_BITS_OF_ONE), strict=False))


def _is_trusted(address: str, trusted: tuple[Network, ...]) -> bool:
    try:
        read = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(read in network for network in trusted)
