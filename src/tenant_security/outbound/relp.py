"""RELP, the Reliable Event Logging Protocol: every message is answered, so what arrived is known.

Shape: a frame is ``<number> <command> <length>[ <content>]`` and a line break; an answer has the number of what it
answers and the command ``rsp``, and its content begins with a status: ``200 OK``.

Source: librelp, "doc/relp.html"; rsyslog, "imrelp".
"""

import asyncio
import contextlib
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tenant_security.outbound.reasons import Reason
from tenant_security.outbound.receivers import Message, Unsent

WINDOW: Final = 128
"""How many messages may be unanswered. Source: librelp."""

_OFFER: Final = b"relp_version=0\nrelp_software=tenant-security\ncommands=syslog"
_OK: Final = "200"
_LAST_NUMBER: Final = 999_999_999
_MOST_CONTENT: Final = 32_768
_HEADER: Final = re.compile(rb"(0|[1-9][0-9]{0,8}) ([a-z]{1,32}) (0|[1-9][0-9]{0,8})")
_LINE_END: Final = b"\n"


class RelpBrokenError(OSError):
    """The receiver does not speak RELP, or not to us."""


class _Frame(NamedTuple):
    number: int
    command: str
    content: bytes


class RelpConnection:
    """One session. Use :meth:`open` first."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._is_open = False

    @property
    def usable(self) -> bool:
        """Whether the session is open and the receiver has not hung up."""
        return self._is_open and not (self._reader.at_eof() or self._writer.is_closing() or self._reader.exception())

    async def open(self) -> None:
        """Begin the session. Raises: RelpBrokenError, OSError."""
        number = self._write("open", _OFFER)
        await self._writer.drain()
        answer = await self._answer()
        if answer.number != number or _status(answer) != _OK:
            raise RelpBrokenError("the receiver refused the session")
        self._is_open = True

    async def send(self, messages: Sequence[Message], within_s: float) -> list[Unsent | None]:  # noqa: ARG002 - the caller's
        """Send messages, at most a window of them unanswered, and return what the receiver said of each.

        When the session breaks, those that were answered before are settled and the rest is Unsent.
        """
        outcomes: list[Unsent | None] = [Unsent(Reason.RESET)] * len(messages)
        waiting: dict[int, int] = {}
        at = 0
        try:
            while at < len(messages) or waiting:
                while at < len(messages) and len(waiting) < WINDOW:
                    waiting[self._write("syslog", messages[at].body)] = at
                    at += 1
                await self._writer.drain()
                answer = await self._answer()
                index = waiting.pop(answer.number, None)
                if index is None:
                    raise RelpBrokenError("the receiver answered what was not asked")
                status = _status(answer)
                outcomes[index] = None if status == _OK else Unsent(None, status)
        except (OSError, EOFError):
            self._is_open = False
        return outcomes

    async def close(self) -> None:
        """End the session."""
        with contextlib.suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(1):
                if self.usable:
                    self._write("close", b"")
                    await self._writer.drain()
                self._writer.close()
                await self._writer.wait_closed()
        self._is_open = False
        self._writer.close()

    def _write(self, command: str, content: bytes) -> int:
        self._number = self._number % _LAST_NUMBER + 1
        head = f"{self._number} {command} {len(content)}".encode()
        self._writer.write(b"%b %b\n" % (head, content) if content else head + _LINE_END)
        return self._number

    async def _answer(self) -> _Frame:
        """Read one answer. Raises: RelpBrokenError, OSError, EOFError."""
        frame = await self._frame()
        if frame.command == "serverclose":
            raise RelpBrokenError("the receiver ended the session")
        if frame.command != "rsp":
            raise RelpBrokenError("the receiver said something else than an answer")
        return frame

    async def _frame(self) -> _Frame:
        # A length of 0 is followed by the line break at once, any other by a space.
        head = bytearray()
        while len(head) < 64:  # noqa: PLR2004 - longer than any header
            byte = await self._reader.readexactly(1)
            if byte == _LINE_END or (byte == b" " and head.count(b" ") == 2):  # noqa: PLR2004 - number, command, length
                break
            head += byte
        found = _HEADER.fullmatch(head)
        if found is None or int(found[3]) > _MOST_CONTENT:
            raise RelpBrokenError("the receiver does not speak RELP")
        content = b""
        if byte != _LINE_END:
            content = await self._reader.readexactly(int(found[3]))
            if await self._reader.readexactly(1) != _LINE_END:
                raise RelpBrokenError("the receiver's frame has another length than it says")
        return _Frame(int(found[1]), found[2].decode(), content)


def _status(answer: _Frame) -> str:
    return answer.content[:3].decode("ascii", "replace")
