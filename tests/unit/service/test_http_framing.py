"""How requests are told apart: nothing that two servers could read differently is ever served."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenant_security.service.http_protocol import EdgeLimits

from .edge import Answer, Client, Edge, get, post, serving

AMBIGUOUS = {
    "length and chunked": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two different lengths": "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": "Content-Length: 5, 5\r\n\r\nhello",
    "a negative length": "Content-Length: -1\r\n\r\nhello",
    "a signed length": "Content-Length: +5\r\n\r\nhello",
    "a hexadecimal length": "Content-Length: 0x5\r\n\r\nhello",
    "a length that is no number": "Content-Length: five\r\n\r\nhello",
    "an empty length": "Content-Length:\r\n\r\nhello",
    "a length beyond 64 bits": f"Content-Length: {10**30}\r\n\r\nhello",
    "a chunk size that is no number": "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    "a negative chunk size": "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": f"Transfer-Encoding: chunked\r\n\r\n{'f' * 17}\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than its size": "Transfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a space": "Transfer-Encoding: chunked\r\n\r\n5 5\r\nhello\r\n0\r\n\r\n",
    "an unknown transfer coding": "Transfer-Encoding: gzip\r\n\r\nhello",
    "chunked not last": "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a transfer coding that only looks chunked": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a folded header": "X-Folded: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "a NUL in a header": "X-Nul: a\0b\r\n\r\n",
    "a NUL in a name": "X-\0Nul: a\r\n\r\n",
    "a bare CR in a header": "X-Cr: a\rb\r\n\r\n",
    "a control character in a header": "X-Bell: \x07\r\n\r\n",
    "a space before the colon": "Content-Length : 5\r\n\r\nhello",
    "a space in a name": "X Name: a\r\n\r\n",
    "a header without a colon": "X-Header\r\n\r\n",
    "a header without a name": ": a\r\n\r\n",
}
NOT_HTTP = {
    "an unknown method": b"BREW /x HTTP/1.1\r\nHost: t\r\n\r\n",
    "a method in small letters": b"post /x HTTP/1.1\r\nHost: t\r\n\r\n",
    "a long method": b"A" * 5000 + b" /x HTTP/1.1\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\n\r\n",
    "a target with a space": b"GET /a b HTTP/1.1\r\n\r\n",
    "a target with a NUL": b"GET /a\0b HTTP/1.1\r\n\r\n",
    "a target beyond ASCII": "GET /ä HTTP/1.1\r\nHost: t\r\n\r\n".encode(),
    "a target without a slash": b"GET x HTTP/1.1\r\nHost: t\r\n\r\n",
    "a tunnel": b"CONNECT t:443 HTTP/1.1\r\nHost: t\r\n\r\n",
    "an absolute target without a path": b"GET http://t HTTP/1.1\r\nHost: t\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/3": b"GET /x HTTP/3.0\r\nHost: t\r\n\r\n",
    "a TLS handshake": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a response": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
}


async def refused(client: Client) -> None:
    """One answer of 4xx in JSON, or the end of the connection; never 5xx, never two answers."""
    answer = await client.answer()
    assert 400 <= answer.status < 500, answer
    assert answer.headers["connection"] == "close"
    assert set(answer.json()) == {"code", "message"}
    assert await client.ended() == b""


@pytest.mark.parametrize("rest", AMBIGUOUS.values(), ids=AMBIGUOUS)
async def test_an_ambiguous_request_is_refused_and_its_connection_closed(rest: str) -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(f"POST /x HTTP/1.1\r\nHost: t\r\n{rest}".encode("latin-1"), get("/smuggled"))
        await refused(client)
        assert "/smuggled" not in edge.app.seen


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_not_a_request_is_refused_and_its_connection_closed(sent: bytes) -> None:
    async with serving(EdgeLimits(head_bytes=4096, receive_s=0.3)) as edge:
        client = await edge.connect()
        client.send(sent)
        await refused(client)
        assert edge.app.seen == []


@pytest.mark.parametrize("rest", [AMBIGUOUS["length and chunked"], AMBIGUOUS["a chunk size that is no number"]])
async def test_a_bad_request_behind_a_slow_one_takes_nothing_from_it(rest: str) -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(get("/held"), f"POST /x HTTP/1.1\r\nHost: t\r\n{rest}".encode())
        await edge.until(lambda: edge.app.waiting == 1)
        edge.app.gate.set()
        first = await client.answer()
        assert (first.status, first.json()["path"]) == (200, "/held")
        if rest.startswith("Transfer"):
            await client.refusal(400)
        else:
            assert await client.ended() == b"", "the end of the connection is the answer"
        assert edge.app.seen == ["/held"]


async def test_a_large_head_behind_a_slow_request_takes_nothing_from_it() -> None:
    async with serving(EdgeLimits(head_bytes=2048)) as edge:
        client = await edge.connect()
        client.send(get("/held"), get("/x", f"X-Long: {'a' * 3000}"))
        await edge.until(lambda: edge.app.waiting == 1)
        edge.app.gate.set()
        assert (await client.answer()).json()["path"] == "/held"
        assert await client.ended() == b""
        assert edge.app.seen == ["/held"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(
            *(post(b"b" * number, path=f"/{number}") if number % 2 else get(f"/{number}") for number in range(50))
        )
        for number in range(50):
            assert (await client.answer()).json()["path"] == f"/{number}"


async def test_pipelined_requests_wait_for_a_slow_one() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(get("/held"), *(get(f"/{number}") for number in range(5)))
        await edge.until(lambda: edge.app.waiting == 1)
        edge.app.gate.set()
        paths = [(await client.answer()).json()["path"] for _ in range(6)]
        assert paths == ["/held", "/0", "/1", "/2", "/3", "/4"]


SPLIT = {
    "get": get("/path?query=1", "X-One: 1"),
    "post": post(b'{"a": "body"}', "Content-Type: application/json"),
    "chunked": b"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;e=1\r\n world\r\n0\r\nT: t\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", SPLIT.values(), ids=SPLIT)
async def test_a_request_split_at_any_byte_gets_the_same_answer(request_bytes: bytes) -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(request_bytes)
        expected = (await client.answer()).body
        for cut in range(1, len(request_bytes)):
            client.send(request_bytes[:cut])
            await client.writer.drain()
            await asyncio.sleep(0.001)
            client.send(request_bytes[cut:])
            assert (await client.answer()).body == expected


async def test_a_request_sent_byte_by_byte_gets_the_same_answer() -> None:
    async with serving() as edge:
        whole, single = await edge.connect(), await edge.connect()
        whole.send(SPLIT["chunked"])
        for byte in SPLIT["chunked"]:
            single.send(bytes([byte]))
            await asyncio.sleep(0.0005)
        assert (await single.answer()).body == (await whole.answer()).body


async def test_a_client_that_asks_is_told_to_send_its_body() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.answer()).status == 100
        client.send(b"hello")
        answer = await client.answer()
        assert (answer.status, answer.json()["body"]) == (200, "hello")


async def test_a_client_that_asks_with_too_large_a_body_is_refused_instead() -> None:
    async with serving(EdgeLimits(body_bytes=1024)) as edge:
        client = await edge.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.answer()).status == 413


async def test_http_1_0_is_answered_and_closed() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(b"GET /x HTTP/1.0\r\n\r\n")
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert await client.ended() == b""


async def test_a_connection_is_kept_unless_the_client_says_otherwise() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(get())
        assert "connection" not in (await client.answer()).headers
        client.send(get("/x", "Connection: close"))
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.ended() == b""


async def test_an_answer_to_head_has_the_headers_of_get_and_no_body() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(b"HEAD /x HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = await client.answer(head=True)
        assert int(answer.headers["content-length"]) > 0
        client.send(get())
        assert (await client.answer()).json()["method"] == "GET"


async def test_a_proxy_s_absolute_target_is_read_as_its_path() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(b"GET http://elsewhere:1/api//x?q=1 HTTP/1.1\r\nHost: t\r\n\r\n")
        told = (await client.answer()).json()
        assert (told["path"], told["query"]) == ("/api//x", "q=1")


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a%20b", "/a b"),
        ("/a%2Fb", "/a/b"),
        ("/%61", "/a"),
        ("/%FF", "/\N{REPLACEMENT CHARACTER}"),
        ("/a%", "/a%"),
        ("/a%zz", "/a%zz"),
    ],
)
async def test_a_percent_encoded_path_is_decoded_and_never_an_error(target: str, path: str) -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(get(target))
        answer = await client.answer()
        assert (answer.status, answer.json()["path"]) == (200, path)


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
async def test_an_offer_to_upgrade_is_ignored_and_the_connection_goes_on(protocol: str) -> None:
    """Java's own HTTP client offers h2c with every first request."""
    async with serving() as edge:
        client = await edge.connect()
        offer = ("Connection: Upgrade, HTTP2-Settings", f"Upgrade: {protocol}", "HTTP2-Settings: AAEAAEAA")
        client.send(post(b"one", *offer), post(b"two", *offer), get("/three"))
        assert (await client.answer()).json()["body"] == "one"
        assert (await client.answer()).json()["body"] == "two"
        assert (await client.answer()).json()["path"] == "/three"
        client.send(get("/four"))
        assert (await client.answer()).json()["path"] == "/four"


async def test_empty_lines_before_a_request_are_ignored() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(b"\r\n\r\n", get())
        assert (await client.answer()).status == 200


async def test_what_stands_behind_a_chunked_body_is_no_header() -> None:
    async with serving() as edge:
        client = await edge.connect()
        client.send(
            b"POST /x HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\na\r\n0\r\nAuthorization: cmk stolen\r\n\r\n"
        )
        assert "authorization" not in (await client.answer()).body.decode()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    noise=st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [
                    b"GET /x HTTP/1.1\r\n",
                    b"POST /x HTTP/1.1\r\n",
                    b"Host: t\r\n",
                    b"\r\n",
                    b"Content-Length: 3\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"3\r\nabc\r\n",
                    b"0\r\n\r\n",
                    b"Connection: close\r\n",
                    b"Expect: 100-continue\r\n",
                    b"Upgrade: x\r\nConnection: upgrade\r\n",
                ]
            ),
        ),
        max_size=12,
    )
)
def test_no_stream_of_bytes_makes_an_error_of_ours(noise: list[bytes]) -> None:
    """Every answer is whole and none is 5xx, whatever is sent; afterwards the listener still serves."""

    async def one(edge: Edge) -> list[Answer]:
        client = await edge.connect()
        client.send(*noise)
        client.writer.write_eof()
        answers, torn = [], b""
        while not client.reader.at_eof():
            try:
                answers.append(await client.answer())
            except (asyncio.IncompleteReadError, ConnectionError) as ended:
                torn = getattr(ended, "partial", b"")
                break
        assert torn == b"", "a torn answer"
        good = await edge.connect()
        good.send(get("/good"))
        assert (await good.answer()).json()["path"] == "/good"
        return answers

    async def run() -> list[Answer]:
        async with serving() as edge:
            return await one(edge)

    for each in asyncio.run(run()):
        assert each.status < 500
        if each.status != 100:
            json.loads(each.body)
