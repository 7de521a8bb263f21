"""What a client may send, how long it may take and how long it may listen: every bound of the edge, over sockets."""

import asyncio
import resource
from typing import cast

import pytest

from tenant_security.service import http_protocol
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.run import allow_open_files

from .edge import get, post, serving

SMALL = EdgeLimits(head_bytes=2048, body_bytes=4096)
HASTY = EdgeLimits(receive_s=0.2, idle_s=0.2, read_s=0.2)
PATIENT = EdgeLimits(receive_s=60.0, idle_s=60.0, read_s=60.0)

LARGE_HEADS = {
    "one long value": get("/x", f"X-Long: {'a' * 3000}"),
    "many headers": get("/x", *(f"X-Many-{number}: {'b' * 20}" for number in range(100))),
    "a long target": get(f"/x?{'q' * 3000}"),
    "a long name": get("/x", f"{'N' * 3000}: v"),
    "far too large": get("/x", f"X-Long: {'a' * 2_000_000}"),
}


@pytest.mark.parametrize("request_bytes", LARGE_HEADS.values(), ids=LARGE_HEADS)
async def test_a_head_over_the_bound_answers_431_in_one_packet(request_bytes: bytes) -> None:
    async with serving(SMALL) as edge:
        client = await edge.connect()
        client.send(request_bytes)
        refusal = await client.refusal(431)
    assert "2048" in refusal.json()["message"]
    assert edge.app.seen == []


@pytest.mark.parametrize("request_bytes", list(LARGE_HEADS.values())[:4], ids=list(LARGE_HEADS)[:4])
async def test_a_head_over_the_bound_answers_431_in_many_packets(request_bytes: bytes) -> None:
    async with serving(SMALL) as edge:
        client = await edge.connect()
        for start in range(0, len(request_bytes), 97):
            client.send(request_bytes[start : start + 97])
            await asyncio.sleep(0)
        await client.refusal(431)
    assert edge.app.seen == []


@pytest.mark.parametrize(
    "opening",
    [b"GET /x HTTP/1.1\r\nX-Endless: ", b"GET /x", b"GET /x HTTP/1.1\r\nX-Endless", b"GET /x HTTP/1.1\r\nA: b\r\n" * 1],
    ids=["value", "target", "name", "next header"],
)
async def test_an_endless_head_is_cut_before_it_ends(opening: bytes) -> None:
    async with serving(SMALL) as edge:
        client = await edge.connect()
        client.send(opening)
        for _ in range(40):
            client.send(b"a" * 100)
            await asyncio.sleep(0.001)
        await client.refusal(431)


async def test_a_head_just_under_the_bound_is_served_whole_and_in_pieces() -> None:
    request = get("/x", *(f"X-Many-{number:03}: {'b' * 20}" for number in range(55)))
    assert 1800 < len(request) < 2000
    async with serving(SMALL) as edge:
        whole, pieces = await edge.connect(), await edge.connect()
        whole.send(request)
        for start in range(0, len(request), 3):
            pieces.send(request[start : start + 3])
            await asyncio.sleep(0)
        first, second = await whole.answer(), await pieces.answer()
    assert first.status == second.status == 200
    assert first.body == second.body


async def test_each_request_of_a_connection_has_a_head_bound_of_its_own() -> None:
    async with serving(SMALL) as edge:
        client = await edge.connect()
        for _ in range(10):
            client.send(get("/x", f"X-Long: {'a' * 1500}"))
            assert (await client.answer()).status == 200


async def test_a_declared_body_over_the_bound_answers_413_before_it_is_sent() -> None:
    async with serving(SMALL) as edge:
        client = await edge.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 4097\r\n\r\n")
        answer = await client.answer()
    assert answer.status == 413
    assert answer.json()["code"] == 102


async def test_a_chunked_body_over_the_bound_answers_413_when_it_passes_it() -> None:
    async with serving(SMALL) as edge:
        client = await edge.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(*[b"400\r\n" + b"c" * 1024 + b"\r\n"] * 5)
        assert (await client.answer()).status == 413


async def test_a_body_of_exactly_the_bound_is_served() -> None:
    async with serving(SMALL) as edge:
        client = await edge.connect()
        client.send(post(b"d" * 4096))
        assert (await client.answer()).status == 200
        client.send(post(b"d" * 4097))
        assert (await client.answer()).status == 413
        client.send(get())
        assert (await client.answer()).status == 200, "the connection lives on once the large body is swallowed"


async def test_a_large_body_that_was_refused_never_gets_a_second_answer() -> None:
    async with serving(EdgeLimits(body_bytes=4096, receive_s=0.2)) as edge:
        client = await edge.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 9999\r\n\r\npart")
        assert (await client.answer()).status == 413
        assert await client.ended() == b"", "it is closed for being late, without another answer"


async def test_a_refused_chunked_body_that_turns_bad_never_gets_a_second_answer() -> None:
    async with serving(SMALL) as edge:
        client = await edge.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n", b"2000\r\n", b"c" * 8192)
        assert (await client.answer()).status == 413
        client.send(b"\r\nnot a size\r\n")
        assert await client.ended() == b""


@pytest.mark.parametrize(
    "part",
    [
        b"G",
        b"GET /x HTTP/1.1\r\nHos",
        b"GET /x HTTP/1.1\r\nHost: t\r\n",
        b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhalf",
        b"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        b"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\nff",
    ],
)
async def test_a_request_that_stops_half_way_answers_408(part: bytes) -> None:
    async with serving(HASTY) as edge:
        client = await edge.connect()
        client.send(part)
        await client.refusal(408)
    assert edge.app.gone == len(edge.app.seen), "an application that waited for the rest is told"
    assert edge.server.state.refused == {"408": 1}


async def test_a_connection_that_never_sends_anything_is_closed_without_a_word() -> None:
    async with serving(HASTY) as edge:
        client = await edge.connect()
        assert await client.ended() == b""
        await edge.until(lambda: edge.server.connections == 0)


@pytest.mark.parametrize("request_bytes", [get("/x", "A: b"), post(b"0123456789" * 3)], ids=["head", "body"])
async def test_a_request_that_trickles_is_cut_although_every_byte_is_in_time(request_bytes: bytes) -> None:
    async with serving(HASTY) as edge:
        client = await edge.connect()

        async def trickle() -> None:
            for byte in request_bytes[:-1]:
                client.send(bytes([byte]))
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        await client.refusal(408)
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)


async def test_a_second_request_that_stops_half_way_answers_408_too() -> None:
    async with serving(HASTY) as edge:
        client = await edge.connect()
        client.send(get(), get()[:10])
        assert (await client.answer()).status == 200
        await client.refusal(408)


async def test_a_request_that_waits_for_an_earlier_answer_is_not_late() -> None:
    async with serving(HASTY) as edge:
        client = await edge.connect()
        second = post(b"e" * 300_000)
        client.send(get("/held"), second)
        await edge.until(lambda: edge.app.waiting == 1)
        await asyncio.sleep(0.5)  # longer than a request may take to arrive: the second is held back by us
        edge.app.gate.set()
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 200


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with serving(HASTY) as edge:
        client = await edge.connect()
        client.send(get())
        assert (await client.answer()).status == 200
        assert await client.ended() == b""


@pytest.mark.parametrize("path", ["/held", "/x"])
async def test_a_slow_answer_is_not_an_idle_connection(path: str) -> None:
    async with serving(HASTY) as edge:
        client = await edge.connect()
        client.send(get(path), get("/held"))
        await edge.until(lambda: edge.app.waiting >= 1)
        await asyncio.sleep(0.5)  # longer than every bound
        edge.app.gate.set()
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 200


async def test_a_client_that_does_not_read_is_cut() -> None:
    async with serving(HASTY) as edge:
        client = await edge.connect(receive_buffer=4096)
        client.send(get("/big"))
        await edge.until(lambda: edge.server.state.refused.get("slow_reader") == 1)
        await edge.until(lambda: edge.server.connections == 0)


async def test_a_client_that_reads_slowly_but_steadily_gets_everything() -> None:
    async with serving(PATIENT) as edge:
        client = await edge.connect(receive_buffer=65536)
        client.send(get("/big"))
        head = await client.reader.readuntil(b"\r\n\r\n")
        got = 0
        while got < 4_000_000:
            got += len(await client.reader.read(200_000))
            await asyncio.sleep(0.001)
    assert head.startswith(b"HTTP/1.1 200")
    assert got == 4_000_000


async def test_connections_above_the_bound_are_told_and_closed() -> None:
    async with serving(EdgeLimits(connections=3)) as edge:
        good = [await edge.connect() for _ in range(3)]
        for each in good:
            each.send(get())
            assert (await each.answer()).status == 200
        above = await edge.connect()
        above.send(get())
        refusal = await above.refusal(503)
        for each in good:
            each.send(get())
            assert (await each.answer()).status == 200
        assert edge.server.state.refused == {"503": 1}
        await good.pop().close()
        await above.close()
        await edge.until(lambda: edge.server.connections == 2)
        after = await edge.connect()
        after.send(get())
        assert (await after.answer()).status == 200
    assert refusal.json()["code"] == 100


async def test_connections_far_above_the_bound_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "_TOLD", 2)
    async with serving(EdgeLimits(connections=1)) as edge:
        clients = [await edge.connect() for _ in range(6)]
        await edge.until(lambda: edge.server.state.refused == {"503": 2, "cut": 3})
        clients[0].send(get())
        assert (await clients[0].answer()).status == 200


async def test_a_refused_client_that_never_closes_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "_LINGER_S", 0.1)
    async with serving(SMALL) as edge:
        client = await edge.connect()
        client.send(b"not http at all\r\n\r\n" + get())
        assert (await client.answer()).status == 400
        client.send(get())
        await edge.until(lambda: edge.server.connections == 0)
    assert edge.app.seen == []


async def test_five_thousand_half_open_clients_do_not_keep_a_good_one_waiting() -> None:
    """Every third sends nothing, half a head or half a body; all of them are gone after the deadline."""
    allow_open_files()
    # Both ends of every connection need a descriptor: where the system allows fewer, there are fewer clients.
    rounds = min(50, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500) // 200)
    async with serving(EdgeLimits(receive_s=2.0)) as edge:
        parts = [b"", b"POST /x HTTP/1.1\r\nHo", b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"]
        loop = asyncio.get_running_loop()
        opened = 0

        class Half(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                nonlocal opened
                cast("asyncio.Transport", transport).write(parts[opened % 3])
                opened += 1

        for _ in range(rounds):
            await asyncio.gather(*(loop.create_connection(Half, "127.0.0.1", edge.server.port) for _ in range(100)))
        assert opened == rounds * 100
        good = await edge.connect()
        served = 0
        while edge.server.connections > 1:
            good.send(get())
            assert (await good.answer()).status == 200
            served += 1
            await asyncio.sleep(0.01)
        assert served > 10
        assert edge.server.state.refused["408"] > opened * 0.6
