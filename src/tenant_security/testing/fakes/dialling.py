"""The real driver, but for the addresses of the fakes' names and the authorities that vouch for them."""

import ssl
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.testing.fakes.server import FakeServer


class Dialled(AbstractResolver):
    """Finds the fakes' names on this machine, and every other name in the usual way, or not at all.

    ``elsewhere``: what resolves other names; None: they do not exist.
    """

    def __init__(self, fakes: Sequence[FakeServer], elsewhere: AbstractResolver | None = None) -> None:
        self._fakes = fakes
        self._elsewhere = elsewhere

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Return where a name is."""
        for fake in self._fakes:
            found = fake.found(host)
            if found is not None:
                address, port = found
                return [ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)]
        if self._elsewhere is None:
            raise OSError(f"{host} is none of the fakes' names")
        return await self._elsewhere.resolve(host, port, family)  # type: ignore[arg-type]  # aiohttp narrows it

    async def close(self) -> None:
        """Release what resolves the other names."""
        if self._elsewhere is not None:
            await self._elsewhere.close()


class DiallingOutbound(Outbound):
    """The real driver, for these fakes and, where ``online``, for everybody else too."""

    def __init__(
        self, fakes: Sequence[FakeServer], limits: OutboundLimits | None = None, *, online: bool = False
    ) -> None:
        super().__init__(limits)
        self._fakes = fakes
        self._online = online

    def _connector(self) -> aiohttp.BaseConnector:
        trusted = ssl.create_default_context()
        for fake in self._fakes:
            if fake.is_public:
                trusted.load_verify_locations(cadata=fake.authority_pem.decode())
        resolver = Dialled(self._fakes, aiohttp.ThreadedResolver() if self._online else None)
        return aiohttp.TCPConnector(ssl=trusted, resolver=resolver, use_dns_cache=False)
