"""Syslog over TLS: frames with their length in front. Nobody answers, so what arrived is not known.

Source: RFC 5425, section 4.3.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from tenant_security.outbound.receivers import Message, Unsent

_MOMENT_S: Final = 0.25


class FrameConnection:
    """One connection. The receiver never speaks: that it hangs up is all that it can say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def usable(self) -> bool:
        """Whether the receiver has not hung up."""
        return not (self._reader.at_eof() or self._writer.is_closing() or self._reader.exception())

    async def open(self) -> None:
        """Give the receiver a moment to hang up: with TLS 1.3 it judges our certificate after the handshake.

        Raises: ConnectionResetError, ssl.SSLError.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT_S):
                if not await self._reader.read(1):
                    raise ConnectionResetError("the receiver hung up")

    async def send(self, messages: Sequence[Message], within_s: float) -> list[Unsent | None]:  # noqa: ARG002 - the caller's
        """Write all frames and wait until the system has taken them. Raises: OSError."""
        await asyncio.sleep(0)  # a hang-up that has come is seen now, and not after this batch has gone nowhere
        if not self.usable:
            raise ConnectionResetError("the receiver hung up")
        for message in messages:
            self._writer.write(b"%d %b" % (len(message.body), message.body))
            await self._writer.drain()
        await asyncio.sleep(0)
        if not self.usable:
            raise ConnectionResetError("the receiver hung up")
        return [None] * len(messages)

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
