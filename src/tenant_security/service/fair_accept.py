"""How processes that share one listening socket divide its connections: whoever has the fewest takes the next.

Left to themselves, the process that happens to be awake takes all connections of a burst, and a client with a small
pool keeps one core busy while the others idle. So each process writes how many connections it has on a board that all
of them see, and one that has more than another lets that one go first, for a moment.
"""

import asyncio
import mmap
import os
import socket
import ssl
import tempfile
from collections.abc import Callable
from typing import Final, NamedTuple

_NOBODY: Final = 0xFFFF_FFFF
_SLOT_BYTES: Final = 4
SLOTS: Final = 256

_HANDSHAKE_S: Final = 10.0
_PATIENCE_S: Final = 0.005
"""How long the process with fewer may take to wake up. Measured: 1 ms is too short on a busy machine."""
_AT_ONCE: Final = 4
"""How many connections are taken after having waited: whoever had fewer did not come for them."""
_MOST_WAITS: Final = 20
"""How often a process waits in one second. Where so many connections come, they also go, and fairness mends itself."""
_FULL_S: Final = 1.0
"""How long nothing is accepted when the process has no descriptor left."""


class Board:
    """The number of connections of each process, in memory that they share.

    Shape: ``SLOTS`` numbers of 4 bytes in the machine's order, all ones where nobody accepts. Each slot has one writer
    at a time, and a number that is read while it changes only costs evenness.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._slots = memoryview(mmap.mmap(descriptor, SLOTS * _SLOT_BYTES)).cast("I")

    def write(self, slot: int, count: int) -> None:
        """Say how many connections a process has."""
        self._slots[slot] = count

    def clear(self, slot: int) -> None:
        """Say that a process accepts no longer."""
        self._slots[slot] = _NOBODY

    def fewest(self) -> int:
        """The fewest connections that any process has."""
        return min(self._slots)


def make_board() -> Board:
    """Make an empty board, for the processes to be started. Raises: OSError."""
    with tempfile.TemporaryFile(prefix="tsp-board-", buffering=0) as file:
        file.write(b"\xff" * (SLOTS * _SLOT_BYTES))
        return Board(os.dup(file.fileno()))


class Share(NamedTuple):
    """One process's place on the board."""

    board: Board
    slot: int


class FairAcceptor:
    """Accepts from a shared socket, in turn with the processes of the same board.

    ``count`` says how many connections this process has; call :meth:`opened` when an accepted one has been added to
    them, and :meth:`counted` when one is gone.
    """

    def __init__(
        self,
        listener: socket.socket,
        connect: Callable[[], asyncio.BaseProtocol],
        share: Share,
        count: Callable[[], int],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._connect = connect
        self._board, self._slot = share
        self._count = count
        self.tls = tls
        self._beginnings: set[asyncio.Task[None]] = set()
        self._beginning = 0
        self._closed = False
        self._waits, self._second = 0, 0.0
        self.counted()
        self._loop.add_reader(listener, self._some_wait)

    def counted(self) -> None:
        """Bring the board up to date."""
        if not self._closed:
            self._board.write(self._slot, self._mine)

    def opened(self) -> None:
        """Note that an accepted connection is open."""
        self._beginning -= 1
        self.counted()

    def close(self) -> None:
        """Accept no longer; connections that wait are left to the others."""
        if not self._closed:
            self._closed = True
            self._board.clear(self._slot)
            self._loop.remove_reader(self._listener)
            self._listener.close()

    @property
    def _mine(self) -> int:
        return self._count() + self._beginning

    def _some_wait(self) -> None:
        """Take one connection, if nobody has fewer; the loop calls again while more wait."""
        now = self._loop.time()
        if now - self._second >= 1.0:
            self._waits, self._second = 0, now
        if self._mine <= self._board.fewest() or self._waits >= _MOST_WAITS:
            self._take(1)
        else:
            self._waits += 1
            self._pause(_PATIENCE_S)

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._some_wait)
            self._take(_AT_ONCE)

    def _take(self, most: int) -> None:
        for _ in range(most):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor or memory is left; trying again at once would only burn the core
                self._pause(_FULL_S)
                return
            connection.setblocking(False)
            beginning = self._loop.create_task(self._begin(connection))
            self._beginnings.add(beginning)
            beginning.add_done_callback(self._beginnings.discard)
            self._beginning += 1
            self.counted()

    async def _begin(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            within_s = _HANDSHAKE_S if self.tls is not None else None
            await self._loop.connect_accepted_socket(
                self._connect, connection, ssl=self.tls, ssl_handshake_timeout=within_s
            )
        except OSError:  # its client has left already, or does not speak TLS as it must
            connection.close()
            self.opened()
