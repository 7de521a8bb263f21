"""A connection that the peer closed while it was idle is not used again: what cannot be repeated is not lost to it."""

import asyncio

import pytest

from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Request, send
from tenant_security.outbound.sync_driver import SyncOutbound

AMPLE_S = 20.0
REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def closing(peer):
    """A peer that answers as if it kept the connection, and closes it."""
    closed = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(REPLY)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        closed.set()

    peer.answer = answer
    return peer, closed


async def test_without_an_event_loop(closing):
    peer, closed = closing
    with SyncOutbound() as outbound:
        for _ in range(5):
            closed.clear()
            flow = send(Request("POST", peer.url, body=b"x"))
            assert (await asyncio.to_thread(outbound.run, flow, deadline_s=AMPLE_S)).body == b"ok"
            await closed.wait()
    assert peer.connections == 5


async def test_with_an_event_loop(closing):
    peer, closed = closing
    async with Outbound() as outbound:
        for _ in range(5):
            closed.clear()
            flow = send(Request("POST", peer.url, body=b"x"))
            assert (await outbound.run(flow, deadline_s=AMPLE_S)).body == b"ok"
            await closed.wait()
            for _ in range(5):  # the end of the connection is there; the loop takes it in at its next turns
                await asyncio.sleep(0)
    assert peer.connections == 5
