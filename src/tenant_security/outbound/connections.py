"""Connections to others: how they are made, how many may lie idle, and whose certificates they believe.

aiohttp bounds open connections and not idle ones: a program whose tenants have a host each would keep one for each.
"""

import socket
import ssl
import sys
from collections import OrderedDict
from typing import Any, Final

import aiohttp

from tenant_security.outbound.names import Names
from tenant_security.outbound.vetted import Resolver, never_connected_to

AddrInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

_KEPT_CONTEXTS: Final = 1_024
_LOOK_EVERY: Final = 32
_UNANSWERED_MS: Final = 5_000
"""How long sent data may go unacknowledged: a peer that vanished is noticed without waiting for TCP's own patience."""


class CappedConnector(aiohttp.TCPConnector):
    """Closes the connections that have been idle for longest when there are more than ``idle`` of them.

    It looks only now and then, so there may be some more for a moment.
    """

    def __init__(self, *, idle: int, **how: Any) -> None:
        super().__init__(**how)
        self._idle_most = idle
        self._released = 0

    @property
    def idle(self) -> int:
        """Connections that wait to be used again."""
        return sum(map(len, self._conns.values()))

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        super()._release(key, protocol, should_close=should_close)
        self._released += 1
        if self._released % _LOOK_EVERY == 0:
            self._close_surplus()

    def _close_surplus(self) -> None:
        surplus = self.idle - self._idle_most
        if surplus <= 0:
            return
        oldest_first = sorted((since, key) for key, pooled in self._conns.items() for _, since in pooled)
        for _, key in oldest_first[:surplus]:
            pooled = self._conns[key]
            protocol, _ = pooled.popleft()
            protocol.close()
            if not pooled:
                del self._conns[key]


def connector(
    names: Names, *, guarded_by: Resolver | None, tls: ssl.SSLContext | None, idle: int, **bounds: Any
) -> CappedConnector:
    """Make what makes connections. ``guarded_by`` resolves under the egress policy; without it nothing is refused."""
    return CappedConnector(
        ssl=tls or True,
        resolver=guarded_by or Resolver(names, None),
        use_dns_cache=False,  # the names have a cache of their own, and the policy looks at every answer
        socket_factory=_open_socket if guarded_by is None else _open_guarded_socket,
        idle=idle,
        **bounds,
    )


def _open_socket(where: AddrInfo) -> socket.socket:
    family, kind, protocol, _, _ = where
    opened = socket.socket(family=family, type=kind, proto=protocol)
    if sys.platform == "linux" and family in {socket.AF_INET, socket.AF_INET6}:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
    return opened


def _open_guarded_socket(where: AddrInfo) -> socket.socket:
    """Look at the address itself once more: it is what will be connected to."""
    never_connected_to(str(where[4][0]))
    return _open_socket(where)


class Authorities:
    """TLS contexts that trust only the given authorities, one for all who name the same ones.

    A context with one authority of its own takes a few kilobytes; one with the system's would take most of a megabyte.
    """

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, ssl.SSLContext] = OrderedDict()

    def context(self, pem: bytes) -> ssl.SSLContext:
        """Return the context for these authorities. Raises: ssl.SSLError when they are none."""
        context = self._kept.get(pem)
        if context is None:
            try:
                context = ssl.create_default_context(cadata=pem.decode("ascii"))
            except ValueError:
                raise ssl.SSLError("these are no certificates") from None
            self._kept[pem] = context
            if len(self._kept) > _KEPT_CONTEXTS:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(pem)
        return context
