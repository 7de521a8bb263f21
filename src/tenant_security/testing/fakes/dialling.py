"""The real driver, but for the addresses of the fakes' names and the authorities that vouch for them."""

import socket
import ssl
import time
from collections.abc import Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from tenant_security.outbound.connections import CappedConnector
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import EgressPolicy
from tenant_security.outbound.vetted import Resolver
from tenant_security.testing.fakes.server import FakeServer


class Dialled(AbstractResolver):
    """Finds the fakes' names on this machine, and every other name in the usual way, or not at all.

    ``elsewhere``: what resolves other names; None: they do not exist.
    """

    def __init__(self, fakes: Sequence[FakeServer], elsewhere: AbstractResolver | None = None) -> None:
        self._fakes = fakes
        self._elsewhere = elsewhere

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return where a name is."""
        for fake in self._fakes:
            found = fake.found(host)
            if found is not None:
                address, port = found
                return [ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)]
        if self._elsewhere is None:
            raise OSError(f"{host} is none of the fakes' names")
        return await self._elsewhere.resolve(host, port, family)

    async def close(self) -> None:
        """Release what resolves the other names."""
        if self._elsewhere is not None:
            await self._elsewhere.close()


class DiallingOutbound(Outbound):
    """The real driver, for these fakes and, where ``online``, for everybody else too, under the egress policy."""

    def __init__(
        self,
        fakes: Sequence[FakeServer],
        limits: OutboundLimits | None = None,
        *,
        online: bool = False,
        egress: EgressPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(limits, egress=egress, clock=clock)
        self._fakes = fakes
        self._online = online

    def _tcp(self, guarded_by: Resolver | None) -> CappedConnector:
        trusted = ssl.create_default_context()
        for fake in self._fakes:
            if fake.is_public:
                trusted.load_verify_locations(cadata=fake.authority_pem.decode())
        elsewhere = guarded_by or Resolver(self._names, None)
        resolver = Dialled(self._fakes, elsewhere if self._online else None)
        return CappedConnector(ssl=trusted, resolver=resolver, use_dns_cache=False, idle=self._limits.idle)
