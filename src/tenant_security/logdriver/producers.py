"""Which proxies to fetch events from: addresses as operators write them, and the hosts that a name stands for.

Pure, but for :func:`resolve`.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

EVENTS_PORT: Final = 5555
MOST_PRODUCERS: Final = 256


class Producer(NamedTuple):
    """One place to fetch events from, as it is configured. ``secure``: over TLS."""

    host: str
    port: int
    secure: bool

    @property
    def url(self) -> str:
        """The base of its addresses."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"


class Endpoint(NamedTuple):
    """One proxy: where it is configured, and which of its addresses this is."""

    producer: Producer
    address: str

    def __str__(self) -> str:
        return f"{self.producer.url} at {self.address}"


def read_producers(text: str) -> tuple[Producer, ...]:
    """Read ``LOGDRIVER_EVENT_PRODUCER_URL``: one address, or several divided by commas or spaces.

    ``tcp://`` is how existing deployments write it; the same host and port are asked over HTTP.
    Raises: ValueError with what it wants instead.
    """
    found = [_producer(each) for each in text.replace(",", " ").split()]
    if not found or len(found) > MOST_PRODUCERS:
        raise ValueError(f"1 to {MOST_PRODUCERS} addresses such as tcp://localhost:5555 or https://proxy.internal:5555")
    return tuple(dict.fromkeys(found))


def addresses_of(producers: Sequence[Producer]) -> str:
    """Write producers as they are read."""
    return ",".join(f"{'https' if each.secure else 'tcp'}{each.url[each.url.index(':') :]}" for each in producers)


def _producer(text: str) -> Producer:
    wrong = ValueError("addresses such as tcp://localhost:5555 or https://proxy.internal:5555, divided by commas")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("tcp", "http", "https") or not parts.hostname or not plain:
        raise wrong
    return Producer(parts.hostname, port or EVENTS_PORT, parts.scheme == "https")


async def resolve(producer: Producer) -> list[Endpoint]:
    """Every address that a producer's name stands for now. Raises: OSError when it cannot be resolved."""
    try:
        return [Endpoint(producer, str(ipaddress.ip_address(producer.host)))]
    except ValueError:
        pass
    found = await asyncio.get_running_loop().getaddrinfo(producer.host, producer.port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(each[4][0]) for each in found)
    return [Endpoint(producer, each) for each in _one_family(list(addresses))]


def _one_family(addresses: Sequence[str]) -> Sequence[str]:
    """Leave IPv6 out where there is IPv4 too: a name with both usually stands for the same hosts twice."""
    version_4 = [each for each in addresses if ":" not in each]
    return version_4 or addresses
