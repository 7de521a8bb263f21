"""Where requests may go whose address a tenant wrote: the egress policy. Pure rules.

Tenants write the addresses of their KMSs and of where their events go. Without rules such an address would be a way
to have this program talk to the inside of the vendor's network, or to a cloud's metadata service. So: https only,
no spelling of an address but the plain one, and every address that a name resolves to must be public, unless the
operator allows it. ``vetted`` obeys these rules when it resolves, and connections go to the very addresses it vetted.

Source: docs/egress.md; RFC 3986; OWASP, "Server-Side Request Forgery Prevention".
"""

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from tenant_security.outbound.special_addresses import Address, Kind, Network, kind_of, plain

HTTPS_PORT: Final = 443
_HTTP_PORT: Final = 80
_FIRST_FREE_PORT: Final = 1024
_LABEL: Final = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*\.?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


class NotAllowedError(OSError):
    """Where a request would go is not allowed. The words are for the operator; they may name addresses inside."""


class Target(NamedTuple):
    """Where a URL leads. ``host`` is a name in lower case, or an IP address without brackets."""

    host: str
    port: int
    address: Address | None


class EgressPolicy(msgspec.Struct, frozen=True):
    """What the operator allows beyond the public internet, and what not of it.

    Shape: ``hosts`` are names in lower case, ``suffixes`` begin with a dot. A name that is listed may resolve to
    private addresses; a network that is listed may be reached under any name. ``ports`` below 1024 are those beside
    443 that may be asked for.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()
    suffixes: tuple[str, ...] = ()
    denied: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({HTTPS_PORT})

    def __bool__(self) -> bool:
        """Whether anything beyond the public internet is allowed."""
        return bool(self.networks or self.hosts or self.suffixes)

    def target_of(self, url: str) -> Target:
        """Read a URL that a tenant wrote, and say where it leads. Names are not resolved here.

        Raises: NotAllowedError.
        """
        try:
            parts = urlsplit(url)
            port, host = parts.port, (parts.hostname or "").lower()
        except ValueError:
            raise NotAllowedError("this is no address") from None
        # urlsplit drops tabs and line breaks silently, hence the look at the text itself.
        if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
            raise NotAllowedError("the address has characters that do not belong into one")
        if parts.username is not None or parts.password is not None:
            raise NotAllowedError("the address has a user name in it")
        if parts.scheme not in {"https", "http"}:
            raise NotAllowedError("the address must begin with https://")
        usual = HTTPS_PORT if parts.scheme == "https" else _HTTP_PORT
        target = self.target(host, usual if port is None else port)
        if parts.scheme == "http" and not _is_this_machine(target):
            raise NotAllowedError("the address must begin with https://")
        return target

    def target(self, host: str, port: int) -> Target:
        """Judge a host, without brackets, and a port, for protocols that have no URLs.

        Raises: NotAllowedError.
        """
        host = host.lower()
        address = _literal(host)
        if address is not None:
            self.check(address)
        elif not _NAME.fullmatch(host) or _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            # A last label that is a number makes libraries read an IPv4 address in one of its old spellings.
            raise NotAllowedError("the address names no host")
        if not 0 < port < 2**16 or not (port >= _FIRST_FREE_PORT or port in self.ports or self._named(host, address)):
            raise NotAllowedError(f"port {port} is not allowed")
        return Target(host, port, address)

    def check(self, address: Address, name: str = "") -> None:
        """Judge an address, which ``name`` resolved to.

        Raises: NotAllowedError.
        """
        kind, meant = kind_of(address), plain(address)
        of = f"{name} resolves to {address}: " if name else f"{address}: "
        if any(meant in network for network in self.denied):
            raise NotAllowedError(of + "the operator has denied it")
        if kind is Kind.PUBLIC or (kind is Kind.PRIVATE and self._named(name, meant)):
            return
        raise NotAllowedError(of + kind.value)

    def _named(self, name: str, address: Address | None) -> bool:
        """Whether the operator's list has the name or the address."""
        name = name.rstrip(".")
        if address is not None and any(plain(address) in network for network in self.networks):
            return True
        return bool(name) and (name in self.hosts or name.endswith(self.suffixes))


def read_allowed(text: str) -> EgressPolicy:
    """Read an operator's list: networks, addresses, names and ``*.`` suffixes, divided by commas or spaces.

    Raises: ValueError with what it wants instead.
    """
    networks: list[Network] = []
    hosts: set[str] = set()
    suffixes: list[str] = []
    for item in re.split(r"[,\s]+", text.strip().lower()):
        if not item:
            continue
        try:
            networks.append(ipaddress.ip_network(item, strict=False))
            continue
        except ValueError:
            name = item.removeprefix("*.")
        if not _NAME.fullmatch(name) or _NUMBER.fullmatch(name.rpartition(".")[2]) or name.endswith("."):
            raise ValueError(f"networks, addresses and host names such as 10.20.0.0/16, *.corp.example; not {item!r}")
        if name == item:
            hosts.add(item)
        else:
            suffixes.append(f".{name}")
    return EgressPolicy(tuple(networks), frozenset(hosts), tuple(suffixes))


def read_denied(text: str) -> tuple[Network, ...]:
    """Read an operator's list of networks and addresses that no tenant may reach.

    Raises: ValueError with what it wants instead.
    """
    read = read_allowed(text)
    if read.hosts or read.suffixes:
        raise ValueError("networks and addresses such as 198.51.100.0/24; names can be written in many ways")
    return read.networks


def _literal(host: str) -> Address | None:
    """Read an IP address in its one plain spelling."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_this_machine(target: Target) -> bool:
    if target.address is not None:
        return plain(target.address).is_loopback
    return target.host == "localhost"
