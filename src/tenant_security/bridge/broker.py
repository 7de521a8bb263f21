"""The broker as the bridge asks it: every request signed with the bridge's own key, within one deadline."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from tenant_security.outbound.broker import BrokerAccount, ask
from tenant_security.outbound.flow import Flow
from tenant_security.wire.broker_api import VendorDocuments

T = TypeVar("T")
Run = Callable[[Flow[Any]], Awaitable[Any]]


class Broker:
    """Which broker, and how to reach it. ``run`` runs a flow within the time that a request may take."""

    def __init__(self, account: BrokerAccount, run: Run) -> None:
        self._account: Final = account
        self._run: Final = run

    async def own_vendor(self) -> VendorDocuments:
        """Get the keys of the vendor that this bridge is of. Raises: BrokerRefusedError; UnreachableError."""
        return await self.ask("GET", "/service/1/vendor", VendorDocuments)

    async def ask(
        self, method: str, target: str, kind: type[T], *, body: msgspec.Struct | None = None, requestor: str = ""
    ) -> T:
        """Ask anything. Raises: BrokerRefusedError; UnreachableError."""
        answer: T = await self._run(ask(self._account, method, target, kind, body=body, requestor=requestor))
        return answer


class Vendor(NamedTuple):
    """The broker's endpoints of one vendor, asked on behalf of somebody."""

    broker: Broker
    id: str
    requestor: str

    async def get(self, path: str, kind: type[T], query: Mapping[str, object] | None = None) -> T:
        """Read something. What is None in ``query`` is left out; lists are repeated."""
        return await self.broker.ask("GET", self._target(path, query), kind, requestor=self.requestor)

    async def change(self, method: str, path: str, kind: type[T], body: msgspec.Struct | None = None) -> T:
        """Change something."""
        return await self.broker.ask(method, self._target(path), kind, body=body, requestor=self.requestor)

    def _target(self, path: str, query: Mapping[str, object] | None = None) -> str:
        wanted = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        return f"/api/1/vendors/{self.id}{path}" + (f"?{urlencode(wanted, doseq=True)}" if wanted else "")


def segment(text: object) -> str:
    """Write something into a path."""
    return quote(str(text), safe="")


async def side_by_side(work: Sequence[Awaitable[T]], at_once: int = 8) -> list[T | BaseException]:
    """Do many things, so many at a time, and return each one's value or fault in their order."""
    places = asyncio.Semaphore(at_once)

    async def one(each: Awaitable[T]) -> T:
        async with places:
            return await each

    return await asyncio.gather(*(one(each) for each in work), return_exceptions=True)


def _text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return list(value) if isinstance(value, tuple) else value
