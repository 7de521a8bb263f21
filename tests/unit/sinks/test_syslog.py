"""Syslog over TLS and RELP, against a real rsyslog: what it writes is what was said, and it asks who we are."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sinks.conftest import NOW, Stage, event
from tests.unit.sinks.rsyslog import MISSING, Rsyslog, free_port, running

from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.reasons import Reason
from tenant_security.outbound.receivers import Message, Unsent
from tenant_security.outbound.relp import RelpBrokenError, RelpConnection
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Refused, Sink, SinkContext
from tenant_security.wire.events import Operation
from tenant_security.wire.sink_configs import SinkConfigError, decode_sink_config

real = pytest.mark.skipif(
    bool(MISSING) and not os.environ.get("CI"),
    reason=f"rsyslog lacks {MISSING}: apt-get install rsyslog-openssl rsyslog-relp",
)
LIMITS = OutboundLimits(connect_s=5, attempt_s=10)


@pytest.fixture
async def rsyslog(tmp_path: Path) -> AsyncIterator[Rsyslog]:
    async with running(tmp_path) as daemon:
        yield daemon


def sink_of(daemon: Rsyslog, kind: str, **changes: object) -> Sink:
    config = {
        "type": kind,
        "version": 1,
        "host": "localhost",
        "port": daemon.syslog_port if kind == "SYSLOG" else daemon.relp_port,
        "caCertificate": daemon.authority,
        "clientCertificate": {"certificate": daemon.certificate, "privateKey": daemon.key},
        "format": "cef",
    }
    decoded = decode_sink_config(msgspec.json.encode(config | changes))
    return open_sink(decoded, SinkContext(now=lambda: NOW, tenant_id="acme"))


async def deliver(outbound: Outbound, sink: Sink, lines: list[bytes]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for batch in sink.encode(lines).batches:
        outcomes += await outbound.run(sink.deliver(batch), deadline_s=15)
    return outcomes


@real
@pytest.mark.parametrize("kind", ["SYSLOG", "RELP"])
async def test_rsyslog_reads_what_was_said(rsyslog: Rsyslog, kind: str) -> None:
    sink = sink_of(rsyslog, kind, format="native", hostname="acme.example")
    lines = [event(each, name="DEK_UNWRAP", operation=Operation(outcome="success")) for each in range(300)]
    lines.append(event(300, name="DATA_DENY_ACCESS", requesting_id="a\nb\u2028\u00e9\x1b"))
    async with Outbound(LIMITS) as outbound:
        assert await deliver(outbound, sink, lines) == [DELIVERED] * 301
        written = await rsyslog.lines(301)
    assert [json.loads(line["msg"]) for line in written] == [json.loads(line) for line in lines]
    assert written[0] == {
        "msg": written[0]["msg"],
        "hostname": "acme.example",
        "app-name": "tenant-security",
        "msgid": "DEK_UNWRAP",
        "procid": "00000000000000ab",
        "structured-data": written[0]["structured-data"],
        "pri": "109",
    }
    assert written[0]["structured-data"].startswith('[meta sequenceId="1"][origin software="tenant-security"')
    assert written[300]["pri"] == "108"


@real
@pytest.mark.parametrize("kind", ["SYSLOG", "RELP"])
@pytest.mark.parametrize("form", ["cef", "leef", "ocsf", "ecs"])
async def test_every_format_arrives_as_one_message(rsyslog: Rsyslog, kind: str, form: str) -> None:
    sink = sink_of(rsyslog, kind, format=form)
    async with Outbound(LIMITS) as outbound:
        await deliver(outbound, sink, [event(1, requesting_id="x\n<13>1 - - - - - evil"), event(2)])
        written = await rsyslog.lines(2)
    assert len(written) == 2


@real
async def test_a_session_outlives_a_restart_of_the_receiver(rsyslog: Rsyslog) -> None:
    sink = sink_of(rsyslog, "RELP")
    async with Outbound(LIMITS) as outbound:
        assert await deliver(outbound, sink, [event(1)]) == [DELIVERED]
        await rsyslog.lines(1)
        await rsyslog.stop()
        [outcome] = await deliver(outbound, sink, [event(2)])
        assert isinstance(outcome, Later)
        await rsyslog.start()
        assert await deliver(outbound, sink, [event(2)]) == [DELIVERED]
        assert len(await rsyslog.lines(2)) == 2


@real
@pytest.mark.parametrize("kind", ["SYSLOG", "RELP"])
async def test_an_authority_that_is_not_trusted_is_said(rsyslog: Rsyslog, kind: str) -> None:
    sink = sink_of(rsyslog, kind, caCertificate=rsyslog.certificate)
    async with Outbound(LIMITS) as outbound:
        [outcome] = await deliver(outbound, sink, [event(1)])
    assert isinstance(outcome, Later)
    assert outcome.blocked
    assert "certificate" in outcome.why


@real
@pytest.mark.parametrize("kind", ["SYSLOG", "RELP"])
async def test_rsyslog_refuses_a_stranger_and_the_events_are_kept(rsyslog: Rsyslog, kind: str) -> None:
    sink = sink_of(rsyslog, kind, clientCertificate=None)
    async with Outbound(LIMITS) as outbound:
        [outcome] = await deliver(outbound, sink, [event(1)])
    assert isinstance(outcome, Later)


@pytest.mark.parametrize("kind", ["SYSLOG", "RELP"])
async def test_nobody_there_keeps_the_events(kind: str) -> None:
    config = {"type": kind, "version": 1, "host": "127.0.0.1", "port": free_port()}
    sink = open_sink(decode_sink_config(msgspec.json.encode(config)), SinkContext(now=lambda: NOW))
    async with Outbound(LIMITS) as outbound:
        [outcome] = await deliver(outbound, sink, [event(1)])
    assert isinstance(outcome, Later)
    assert "no connection" in outcome.why


def test_a_message_is_never_longer_than_the_receiver_takes(stage: Stage) -> None:
    sink = stage.sink(type="SYSLOG", host="siem.acme.example", maxMessageBytes=2048)
    [batch] = sink.encode([event(1, custom={"x" * 50: "y" * 5000})]).batches
    assert len(batch.pieces[0].body) <= 2048
    assert b'"truncated":true' in batch.pieces[0].body


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "siem acme"}, "host names no host"),
        ({"host": "-evil"}, "host names no host"),
        ({"port": 0}, "port"),
        ({"appName": "a b"}, "appName"),
        ({"hostname": "a\nb"}, "hostname"),
        ({"maxMessageBytes": 100}, "maxMessageBytes"),
        ({"caCertificate": "nonsense"}, "caCertificate must be certificates"),
        ({"clientCertificate": {"certificate": "x", "privateKey": "y"}}, "clientCertificate.certificate"),
    ],
)
def test_a_config_that_cannot_work_says_which_member(stage: Stage, changes: dict[str, object], words: str) -> None:
    with pytest.raises(SinkConfigError, match=words):
        stage.sink(**({"type": "SYSLOG", "host": "siem.acme.example"} | changes))


class Script:
    """A RELP receiver over plain TCP that says what it is told to."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for answer in self._answers:
                await reader.readuntil(b"\n")
                writer.write(answer)
                await writer.drain()
            await reader.read()
        writer.close()


async def say_relp(script: Script, messages: int) -> list[Unsent | None]:
    server = await asyncio.start_server(script, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = RelpConnection(reader, writer)
    try:
        await connection.open()
        return await connection.send([Message(b"m%d" % each) for each in range(messages)], 5)
    finally:
        await connection.close()
        server.close()


OPENED = b"1 rsp 6 200 OK\n"


async def test_what_a_relp_receiver_refuses_is_told_by_its_message() -> None:
    script = Script(OPENED, b"2 rsp 6 200 OK\n", b"3 rsp 8 500 full\n", b"4 rsp 6 200 OK\n")
    assert await say_relp(script, 3) == [None, Unsent(None, "500"), None]


@pytest.mark.parametrize(
    "said",
    [
        b"2 rsp 6 200 OK\nnonsense\n",
        b"2 rsp 6 200 OK\n99 rsp 6 200 OK\n",
        b"2 rsp 6 200 OK\n3 rsp 99999999 x\n",
        b"2 rsp 6 200 OK\n3 rsp 6 200 OKX\n",
        b"2 rsp 6 200 OK\n0 serverclose 0\n",
        b"2 rsp 6 200 OK\n" + b"9" * 100,
    ],
)
async def test_a_session_that_breaks_settles_what_was_answered_before(said: bytes) -> None:
    assert await say_relp(Script(OPENED, said, b""), 2) == [None, Unsent(Reason.RESET)]


@pytest.mark.parametrize("said", [b"1 rsp 9 500 never\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"2 rsp 6 200 OK\n"])
async def test_a_receiver_that_refuses_the_session_gets_nothing(said: bytes) -> None:
    with pytest.raises(RelpBrokenError):
        await say_relp(Script(said), 1)


@pytest.mark.parametrize(
    ("unsent", "outcome"),
    [
        (None, DELIVERED),
        (Unsent(None, "500"), Refused("The RELP receiver does not take the event (status 500).")),
        (Unsent(Reason.RESET), Later("The RELP receiver could not be reached: the connection broke.")),
    ],
)
def test_what_a_relp_receiver_says_is_told_in_plain_words(
    stage: Stage, unsent: Unsent | None, outcome: Outcome
) -> None:
    stage.unsent = [unsent]
    assert stage.deliver(stage.sink(type="RELP", host="siem.acme.example"), [event(1)]) == [outcome]


@given(
    st.binary(max_size=200) | st.sampled_from([b"1 rsp 6 200 OK\n", b"1 rsp 0\n", b"0 serverclose 0\n"]), st.binary()
)
async def test_no_bytes_of_a_receivers_do_more_than_break_the_session(said: bytes, more: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(said + more)
    reader.feed_eof()
    connection = RelpConnection(reader, Unheard())
    with contextlib.suppress(OSError, EOFError):
        await connection.open()
    outcomes = await connection.send([Message(b"x")], 1)
    assert outcomes == [None] or isinstance(outcomes[0], Unsent)
    assert len(outcomes) == 1


class Unheard(asyncio.StreamWriter):
    """Writes to nobody."""

    def __init__(self) -> None:
        """Needs no transport."""

    def __del__(self, *_: object) -> None:
        """Has nothing to close."""

    def write(self, data: bytes) -> None:
        assert data

    async def drain(self) -> None:
        """Never waits."""

    def is_closing(self) -> bool:
        return False
