"""Processes that share a listening socket divide its connections, and none waits for one that does not come."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tenant_security.service.fair_accept import Board, FairAcceptor, Share, make_board


class Peer:
    """A process that accepts, as far as the board and the socket can tell."""

    def __init__(self, listener: socket.socket, board: Board, slot: int) -> None:
        self.open: set[asyncio.Transport] = set()
        self.acceptor = FairAcceptor(listener.dup(), self._connect, Share(board, slot), lambda: len(self.open))

    def _connect(self) -> asyncio.Protocol:
        return Talk(self)


class Talk(asyncio.Protocol):
    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._peer.open.add(transport)
        self._peer.acceptor.opened()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._peer.open.discard(self._transport)
        self._peer.acceptor.counted()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as made:
        made.setblocking(False)
        yield made


@pytest.fixture
async def peer(listener: socket.socket) -> AsyncIterator[Callable[[Board, int], Peer]]:
    made: list[Peer] = []

    def start(board: Board, slot: int) -> Peer:
        made.append(Peer(listener, board, slot))
        return made[-1]

    yield start
    for each in made:
        each.acceptor.close()
        for transport in list(each.open):
            transport.abort()
    await until(lambda: not any(each.open for each in made))


@pytest.fixture
def clients(listener: socket.socket) -> Iterator[Callable[[int], list[socket.socket]]]:
    made: list[socket.socket] = []

    def connect(count: int) -> list[socket.socket]:
        fresh = [socket.create_connection(listener.getsockname()) for _ in range(count)]
        made.extend(fresh)
        return fresh

    yield connect
    for each in made:
        each.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


async def test_a_burst_is_divided_evenly(peer, clients) -> None:
    board = make_board()
    peers = [peer(board, slot) for slot in range(3)]
    clients(60)
    await until(lambda: sum(len(each.open) for each in peers) == 60)
    assert max(len(each.open) for each in peers) - min(len(each.open) for each in peers) <= 1


async def test_whoever_joins_late_catches_up(peer, clients) -> None:
    board = make_board()
    first = peer(board, 0)
    clients(6)
    await until(lambda: len(first.open) == 6)
    second = peer(board, 1)
    clients(6)
    await until(lambda: len(first.open) + len(second.open) == 12)
    assert len(second.open) == 6


async def test_whoever_loses_its_clients_gets_the_next(peer, clients) -> None:
    board = make_board()
    first, second = peer(board, 0), peer(board, 1)
    clients(8)
    await until(lambda: len(first.open) + len(second.open) == 8)
    for transport in list(first.open):
        transport.abort()
    await until(lambda: not first.open)
    clients(4)
    await until(lambda: len(first.open) + len(second.open) == 8)
    assert len(first.open) == 4


async def test_nobody_waits_for_one_that_does_not_come(peer, clients) -> None:
    board = make_board()
    board.write(7, 0)  # a process that has no connection and is stuck
    only = peer(board, 0)
    clients(200)
    await until(lambda: len(only.open) == 200)


async def test_what_waits_when_one_closes_is_left_to_the_others(peer, clients) -> None:
    board = make_board()
    first = peer(board, 0)
    first.acceptor.close()
    first.acceptor.close()
    clients(3)
    second = peer(board, 1)
    await until(lambda: len(second.open) == 3)
    assert not first.open
