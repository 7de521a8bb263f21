"""Connections that are no HTTP: kept, vetted, one sender at a time, and never used again in the midst of a frame."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
import trustme

from tenant_security.outbound.client_identity import tls_context
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import EgressPolicy, read_allowed
from tenant_security.outbound.flow import UnreachableError, transmit
from tenant_security.outbound.reasons import Reason
from tenant_security.outbound.receivers import ClientIdentity, KafkaCluster, LineReceiver, Message
from tenant_security.outbound.transports import IDLE_S
from tenant_security.secret import Secret

AUTHORITY = trustme.CA()
LIMITS = OutboundLimits(connect_s=5)


class Receiver:
    """Takes frames over TLS and keeps what it was sent; reads nothing while it is ``held``."""

    def __init__(self) -> None:
        self.got = bytearray()
        self.connections = 0
        self.open = 0
        self.held = asyncio.Event()
        self.held.set()
        self.changed = asyncio.Condition()
        self.port = 0
        self._talks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        AUTHORITY.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls, limit=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self._talks.add(talk)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while await self.held.wait() and (piece := await reader.read(4096)):
                    self.got += piece
                    await self._tell()
        finally:
            writer.transport.abort()
            self.open -= 1
            with contextlib.suppress(asyncio.CancelledError):
                await self._tell()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(true)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.start()
    try:
        yield made
    finally:
        made.held.set()
        await made.stop()


def to(receiver: Receiver, host: str = "localhost", **changes: object) -> LineReceiver:
    members = {"protocol": "syslog", "host": host, "port": receiver.port, "authorities": AUTHORITY.cert_pem.bytes()}
    return LineReceiver(**(members | changes))


async def send(outbound: Outbound, where: LineReceiver | KafkaCluster, *bodies: bytes, deadline_s: float = 10) -> None:
    flow = transmit(where, [Message(body) for body in bodies])
    assert await outbound.run(flow, deadline_s=deadline_s) == [None] * len(bodies)


async def test_frames_say_their_length_in_bytes(receiver: Receiver) -> None:
    async with Outbound(LIMITS) as outbound:
        await send(outbound, to(receiver), b"one", "\u00e9".encode(), b"")
        await receiver.until(lambda: len(receiver.got) >= 11)
    assert bytes(receiver.got) == b"3 one2 \xc3\xa90 "


async def test_a_connection_is_used_again_by_one_sender_at_a_time(receiver: Receiver) -> None:
    async with Outbound(LIMITS) as outbound:
        where = to(receiver)
        await asyncio.gather(*(send(outbound, where, b"a" * 999, b"b" * 999) for _ in range(20)))
        whole = (b"999 " + b"a" * 999 + b"999 " + b"b" * 999) * 20
        await receiver.until(lambda: len(receiver.got) >= len(whole))
    assert bytes(receiver.got) == whole
    assert receiver.connections == 1


async def test_an_idle_connection_is_closed_when_another_is_used(receiver: Receiver) -> None:
    now = [0.0]
    async with Outbound(LIMITS, clock=lambda: now[0]) as outbound:
        await send(outbound, to(receiver), b"x")
        now[0] = IDLE_S + 1
        await send(outbound, to(receiver, "127.0.0.1"), b"y")
        await receiver.until(lambda: receiver.open == 1)
    assert receiver.connections == 2


async def test_closing_the_driver_closes_the_connections(receiver: Receiver) -> None:
    async with Outbound(LIMITS) as outbound:
        await send(outbound, to(receiver), b"x")
    await receiver.until(lambda: receiver.open == 0)


async def test_a_connection_that_was_given_up_in_the_midst_of_a_frame_is_not_used_again(receiver: Receiver) -> None:
    async with Outbound(LIMITS) as outbound:
        await send(outbound, to(receiver), b"first")
        receiver.held.clear()
        with pytest.raises(UnreachableError) as caught:
            await send(outbound, to(receiver), *[b"x" * 60_000] * 400, deadline_s=1)
        assert caught.value.reason is Reason.TIMEOUT
        receiver.held.set()
        await send(outbound, to(receiver), b"last")
        await receiver.until(lambda: receiver.got.endswith(b"4 last"))
    assert receiver.connections == 2


async def test_a_receiver_that_hung_up_in_between_is_connected_to_again(receiver: Receiver) -> None:
    async with Outbound(LIMITS) as outbound:
        await send(outbound, to(receiver), b"x")
        for talk in receiver._talks:
            talk.cancel()
        await receiver.until(lambda: receiver.open == 0)
        await asyncio.sleep(0)
        with contextlib.suppress(UnreachableError):
            await send(outbound, to(receiver), b"perhaps")
        await send(outbound, to(receiver), b"y")
        await receiver.until(lambda: receiver.got.endswith(b"1 y"))
    assert receiver.connections >= 2


@pytest.mark.parametrize(
    ("allowed", "host", "reason"),
    [
        ("", "localhost", Reason.REFUSED),
        ("", "127.0.0.1", Reason.REFUSED),
        ("", "127.1", Reason.REFUSED),
        ("", "[::ffff:127.0.0.1]", Reason.REFUSED),
        ("127.0.0.0/8,::1", "localhost", None),
        ("127.0.0.0/8", "127.0.0.1", None),
    ],
)
async def test_hosts_are_held_to_the_egress_policy(
    receiver: Receiver, allowed: str, host: str, reason: Reason | None
) -> None:
    policy = read_allowed(allowed) if allowed else EgressPolicy()
    async with Outbound(LIMITS, egress=policy) as outbound:
        if reason is None:
            await send(outbound, to(receiver, host), b"x")
            return
        with pytest.raises(UnreachableError) as caught:
            await send(outbound, to(receiver, host), b"x")
    assert caught.value.reason is reason
    assert receiver.connections == 0


async def test_brokers_that_the_config_names_are_held_to_it_too() -> None:
    async with Outbound(LIMITS, egress=EgressPolicy()) as outbound:
        with pytest.raises(UnreachableError) as caught:
            await send(outbound, KafkaCluster(("10.0.0.1:9093",)), b"x")
    assert caught.value.reason is Reason.REFUSED


async def test_a_name_that_is_not_in_the_certificate_is_refused(receiver: Receiver) -> None:
    async with Outbound(LIMITS, look_up=lambda _: ("127.0.0.1",), egress=read_allowed("127.0.0.0/8")) as outbound:
        with pytest.raises(UnreachableError) as caught:
            await send(outbound, to(receiver, "siem.acme.example"), b"x")
    assert caught.value.reason is Reason.TLS


def test_a_key_that_does_not_belong_to_the_certificate_is_refused() -> None:
    one, other = AUTHORITY.issue_cert("a.example"), AUTHORITY.issue_cert("b.example")
    identity = ClientIdentity(one.cert_chain_pems[0].bytes(), Secret(other.private_key_pem.bytes()))
    with pytest.raises(ssl.SSLError):
        tls_context(b"", identity, None)


def test_receivers_print_nothing_that_is_secret() -> None:
    identity = ClientIdentity(b"certificate", Secret(b"key"))
    where = LineReceiver("relp", "host", 1, b"", identity)
    cluster = KafkaCluster(("b:1",), password=Secret("word"))
    assert "b'key'" not in f"{where!r}{identity!r}"
    assert "word" not in repr(cluster)
