"""Which IP addresses are no ordinary public hosts: an explicit table, because every gap in it is a way inside.

Python's ``is_global`` is not enough: it calls NAT64 and 6to4 forms of 127.0.0.1 global, and multicast, site-local
and IPv4-compatible addresses, and Azure's 168.63.129.16.

Source: IANA, "IPv4 Special-Purpose Address Registry" and "IPv6 Special-Purpose Address Registry"; RFC 6052 (NAT64),
RFC 8215 (local NAT64), RFC 4291 (IPv4-mapped and -compatible); the clouds' pages on their metadata services.
"""

import ipaddress
from collections.abc import Iterable
from enum import Enum
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Kind(Enum):
    """What an address is to us."""

    PUBLIC = "a public address"
    PRIVATE = "a private address"
    """Of a private network or of this machine: good where the operator allows it."""
    NEVER = "an address that is never allowed"
    """Metadata services, link-local, multicast, reserved: no tenant's KMS lives there, whatever anybody allows."""


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NEVER: Final = _networks(
    (
        "0.0.0.0/8",  # this network: 0.0.0.0 connects to this machine
        "100.100.100.200/32",  # Alibaba Cloud's metadata
        "168.63.129.16/32",  # Azure's wire server
        "169.254.0.0/16",  # link-local: metadata of AWS, Azure, Google, and of containers at AWS
        "192.0.0.0/24",  # IETF protocol assignments: metadata of Oracle Cloud
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "::/128",  # unspecified: connects to this machine
        "64:ff9b:1::/48",  # NAT64 of a local network: says nothing of where it leads
        "100::/64",  # discard
        "2001::/23",  # IETF protocol assignments: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "fd00:ec2::254/128",  # AWS's metadata
        "fd20:ce::254/128",  # Google's metadata
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)

_PRIVATE: Final = _networks(
    (
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by a carrier's customers; used inside clouds and clusters
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking; used inside by some
        "::1/128",
        "fc00::/7",
    )
)

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_LOW_32_BITS: Final = 0xFFFF_FFFF


def plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one stands for, where connecting to the one reaches the other."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & _LOW_32_BITS)
    return address


def kind_of(address: Address) -> Kind:
    """Say what an address is."""
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return Kind.NEVER
    address = plain(address)
    if any(address in network for network in _NEVER):
        return Kind.NEVER
    if any(address in network for network in _PRIVATE):
        return Kind.PRIVATE
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return Kind.NEVER
    return Kind.PUBLIC
