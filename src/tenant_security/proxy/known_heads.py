"""Request heads that a connection has sent before.

An application's keep-alive connection sends the same request line and headers over and over. A head that was parsed
and found hot once need not be parsed again: the same bytes, arriving between two requests, mean the same. Only the
API key is not part of what is compared here; it is checked anew, in constant time, on every request.
"""

from typing import Final, NamedTuple

from tenant_security.proxy.hot_routes import Client, HotRoute

_MOST: Final = 16
"""Heads kept per connection: one for each size of request."""
_END: Final = b"\r\n\r\n"


class KnownHead(NamedTuple):
    """One head, in the pieces around its API key, and what it was found to be. Units: offsets in bytes."""

    before: bytes
    key_end: int
    after: bytes
    body_at: int
    route: HotRoute
    client: Client


class KnownHeads:
    """The heads of one connection, by the size of the whole request."""

    __slots__ = ("_by_size",)

    def __init__(self) -> None:
        self._by_size: dict[int, KnownHead] = {}

    def find(self, request: bytes) -> KnownHead | None:
        """Return the known head that these bytes begin with, if they are one whole request."""
        known = self._by_size.get(len(request))
        if known is None or not request.startswith(known.before) or not request.startswith(known.after, known.key_end):
            return None
        return known

    def remember(self, head: bytes, body_size: int, key: bytes, route: HotRoute, client: Client) -> None:
        """Keep the head of a request that was parsed from exactly these bytes and found hot."""
        at = head.find(key)
        if at < 0 or head.count(key) > 1:
            return
        if len(self._by_size) >= _MOST:
            self._by_size.clear()
        end = at + len(key)
        self._by_size[len(head) + body_size] = KnownHead(head[:at], end, head[end:], len(head), route, client)


def head_of(piece: bytes, body_size: int) -> bytes:
    """Return the head in a piece of the stream that is one whole request with a body of this size; empty if it is not.

    Nothing comes behind such a request in the piece.
    """
    head = piece[: len(piece) - body_size]
    return head if head.startswith(b"POST ") and head.find(_END) == len(head) - len(_END) else b""
