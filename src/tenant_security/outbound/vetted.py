"""Resolves names under the egress policy: what it returns may be connected to, and nothing else should be."""

import ipaddress
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from tenant_security.outbound.egress import EgressPolicy, NotAllowedError
from tenant_security.outbound.names import NameNotFoundError, Names
from tenant_security.outbound.special_addresses import Kind, kind_of


class VettedNames:
    """Looks up where tenants' addresses lead, for connections of any protocol.

    Connect to one of the returned addresses and to no other: looking the name up a second time could lead elsewhere.
    TLS names and verifies the host's name as ever. Create it in an event loop, and use it in that one.
    """

    def __init__(self, policy: EgressPolicy, names: Names) -> None:
        self.policy = policy
        self._names = names

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Return the IP addresses of a host, all of them allowed: one that is not fails them all.

        The caller bounds the wait.
        Raises: NotAllowedError; NameNotFoundError.
        """
        target = self.policy.target(host, port)
        if target.address is not None:
            return (str(target.address),)
        found = await self._names.addresses(target.host)
        for each in found:
            try:
                address = ipaddress.ip_address(each)
            except ValueError:
                raise NameNotFoundError(f"no address was found for {host}") from None
            self.policy.check(address, target.host)
        return found


class Resolver(AbstractResolver):
    """Resolves for aiohttp: under a policy, or without one for the operator's own addresses."""

    def __init__(self, names: Names, policy: EgressPolicy | None) -> None:
        self._names = names
        self._vetted = None if policy is None else VettedNames(policy, names)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return where to connect to. Raises: NotAllowedError; NameNotFoundError."""
        if self._vetted is None:
            addresses = await self._names.addresses(host)
        else:
            addresses = await self._vetted.addresses(host, port)
        families = {each: socket.AF_INET6 if ":" in each else socket.AF_INET for each in addresses}
        return [
            ResolveResult(
                hostname=host,
                host=each,
                port=port,
                family=families[each],
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for each in addresses
            if family in {socket.AF_UNSPEC, families[each]}
        ]

    async def close(self) -> None:
        """Nothing is held."""


def never_connected_to(address: str) -> None:
    """Refuse what no policy allows, at the last moment before a connection.

    Raises: NotAllowedError.
    """
    if kind_of(ipaddress.ip_address(address.partition("%")[0])) is Kind.NEVER:
        raise NotAllowedError(f"{address}: {Kind.NEVER.value}")
