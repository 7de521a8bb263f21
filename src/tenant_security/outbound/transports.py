"""Connections to receivers that do not speak HTTP: kept open, one for each receiver, and used by one sender at a time.

Under an egress policy a host's addresses are vetted before they are connected to, as for HTTP.
"""

import asyncio
import contextlib
import ssl
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol, assert_never

from tenant_security.outbound.client_identity import tls_context
from tenant_security.outbound.egress import NotAllowedError
from tenant_security.outbound.flow import UnreachableError
from tenant_security.outbound.frames import FrameConnection
from tenant_security.outbound.reasons import Reason
from tenant_security.outbound.receivers import KafkaCluster, LineReceiver, Message, Receiver, Unsent
from tenant_security.outbound.relp import RelpConnection
from tenant_security.outbound.vetted import VettedNames

IDLE_S: Final = 60.0
"""How long an unused connection stays open."""
MOST: Final = 1_000
"""Connections kept; the least recently used goes first."""
_STREAM_BYTES: Final = 65_536


class Connection(Protocol):
    """What can send messages to one receiver."""

    @property
    def usable(self) -> bool:
        """Whether it may be used again."""

    async def send(self, messages: Sequence[Message], within_s: float) -> list[Unsent | None]:
        """Send messages. Raises OSError when nothing is known of any of them."""

    async def close(self) -> None:
        """Close it. Never raises."""


class _Place:
    """One receiver's connection, and who may use it."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.connection: Connection | None = None
        self.used_at = 0.0
        self.users = 0
        """Senders that use it or wait for it."""


class Transports:
    """All connections that are no HTTP. Owner: the driver."""

    def __init__(
        self,
        *,
        connect_s: float,
        names: Callable[[], VettedNames | None],
        tls: ssl.SSLContext | None,
        clock: Callable[[], float],
    ) -> None:
        self._connect_s = connect_s
        self._names = names
        self._tls = tls
        self._clock = clock
        self._places: OrderedDict[Receiver, _Place] = OrderedDict()

    def __len__(self) -> int:
        return sum(place.connection is not None for place in self._places.values())

    async def send(self, to: Receiver, messages: Sequence[Message], within_s: float) -> list[Unsent | None]:
        """Send messages over the receiver's connection; open one where there is none.

        Raises: OSError, UnreachableError when nothing is known of any message.
        """
        place = self._places.setdefault(to, _Place())
        self._places.move_to_end(to)
        place.users += 1
        try:
            return await self._send(place, to, messages, within_s)
        finally:
            place.users -= 1
            await self._sweep()

    async def _send(
        self, place: _Place, to: Receiver, messages: Sequence[Message], within_s: float
    ) -> list[Unsent | None]:
        async with place.lock:
            try:
                if place.connection is not None and not place.connection.usable:
                    await self._drop(place)
                if place.connection is None:
                    place.connection = await self._open(to)
                sent = await place.connection.send(messages, within_s)
            except BaseException:
                # What was under way on it is unknown, also when the deadline came: never go on in the midst of a frame.
                await self._drop(place)
                raise
            place.used_at = self._clock()
        return sent

    async def close(self) -> None:
        """Close all connections."""
        for place in self._places.values():
            await self._drop(place)
        self._places.clear()

    async def _sweep(self) -> None:
        """Close connections that nobody uses; the order of places is that of their use."""
        now = self._clock()
        for to, place in list(self._places.items()):
            if len(self._places) <= MOST and now - place.used_at < IDLE_S:
                break
            if not place.users:
                del self._places[to]
                await self._drop(place)

    async def _drop(self, place: _Place) -> None:
        connection, place.connection = place.connection, None
        if connection is not None:
            await connection.close()

    async def _open(self, to: Receiver) -> Connection:
        match to:
            case LineReceiver():
                reader, writer = await self._connect(to)
                connection = (FrameConnection if to.protocol == "syslog" else RelpConnection)(reader, writer)
                try:
                    await connection.open()
                except BaseException:
                    await connection.close()
                    raise
                return connection
            case KafkaCluster():
                from tenant_security.outbound.kafka import KafkaConnection  # noqa: PLC0415 - a large library

                await self._vet(to)
                return KafkaConnection(to)
            case _:
                assert_never(to)

    async def _connect(self, to: LineReceiver) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first of the host's addresses that answers."""
        context = tls_context(to.authorities, to.identity, self._tls)
        names = self._names()
        addresses = (to.host,) if names is None else await names.addresses(to.host, to.port)
        for address in addresses:
            try:
                async with asyncio.timeout(self._connect_s):
                    return await asyncio.open_connection(
                        address, to.port, ssl=context, server_hostname=to.host, limit=_STREAM_BYTES
                    )
            except (ssl.SSLError, NotAllowedError):
                raise
            except OSError:
                continue
        raise UnreachableError(Reason.CONNECT)

    async def _vet(self, to: KafkaCluster) -> None:
        """Vet the brokers that the config names. Those that a broker names afterwards are beyond our reach."""
        names = self._names()
        if names is not None:
            for broker in to.brokers:
                host, _, port = broker.rpartition(":")
                with contextlib.suppress(ValueError):
                    await names.addresses(host.strip("[]"), int(port))
