"""Lets the head of a response leave with the first piece of its body, in one packet and one system call.

uvicorn writes them one after the other, and the loop sends each at once.
"""

import asyncio
from typing import Final

_INTERIM: Final = b"HTTP/1.1 1"


class WholeReplies:
    """What the answers of one connection are written to, one after the other. Owner: its protocol.

    The first thing that an answer writes is its head, and interim answers before it. ``finish`` says that it ended.
    """

    __slots__ = ("_head", "_in_body", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._in_body = False
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send, or keep a head until there is something behind it."""
        if self._in_body:
            self._transport.write(data)
        elif self._head:
            head, self._head, self._in_body = self._head, b"", True
            self._transport.write(head + data)
        elif data.startswith(_INTERIM):
            self._transport.write(data)
        else:
            self._head = data

    def finish(self) -> None:
        """Send what is kept: the answer has no body, or broke off."""
        head, self._head, self._in_body = self._head, b"", False
        if head:
            self._transport.write(head)

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self.finish()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection ends."""
        return self._transport.is_closing()
