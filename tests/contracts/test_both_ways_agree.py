"""The fast way and the slow way answer the same bytes and record the same events, whatever arrives however split."""

import asyncio
import itertools
import json
import random
from collections.abc import Callable
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uvicorn.config import Config

from tenant_security.crypto.random_pool import POOL
from tenant_security.proxy.api import ProxyApi
from tenant_security.proxy.app import wanted_in
from tenant_security.proxy.applications import Gate
from tenant_security.proxy.events import EventRecorder
from tenant_security.proxy.fast_protocol import FastProtocol
from tenant_security.proxy.fastpath import FastPath
from tenant_security.proxy.hot_routes import FastEdge
from tenant_security.proxy.keys import Keys
from tenant_security.proxy.leasing import LeaseBook, LeasePolicy
from tenant_security.proxy.observed import FAST, ProxyMetrics
from tenant_security.proxy.operations import BatchLimits, Operations
from tenant_security.proxy.outbox import Outbox
from tenant_security.proxy.secret_store import Rotation, SecretRecord
from tenant_security.proxy.tenant_secrets import SecretPolicy, TenantSecrets
from tenant_security.secret import Secret
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http_protocol import EdgeLimits, EdgeProtocol, EdgeState
from tenant_security.service.logs import configure_logs
from tenant_security.service.metrics import Metrics
from tenant_security.service.ray import RayIds
from tenant_security.testing.clock import SteppingClock
from tenant_security.testing.scripted_kms import ScriptedKms
from tenant_security.testing.tenants import PlainConfig, directory, tenant, use

KEY = "0WUaXesNgbTAuLwn"
PLAIN, LEASED, OTHER, OFF = (PlainConfig(number, owner=name) for number, name in
                             ((510, "plain"), (511, "leased"), (512, "other"), (513, "off")))  # fmt: skip
BODY_BYTES = 20_000
HEAD_BYTES = 1_024


class Memory:
    """Tenant secrets in memory: the file store answers from a thread, and here nothing may take a turn of its own."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str, str], SecretRecord] = {}

    async def live(self, tenant_id: str, secret_type: str, secret_path: str) -> list[SecretRecord]:
        found = self.records.get((tenant_id, secret_type, secret_path))
        return [found] if found else []

    async def create(self, tenant_id: str, secret_type: str, secret_path: str, edek: bytes, **_: bytes) -> SecretRecord:
        made = SecretRecord(len(self.records) + 1, tenant_id, secret_type, secret_path, edek, Rotation.CURRENT)
        return self.records.setdefault((tenant_id, secret_type, secret_path), made)


class Wire(asyncio.Transport):
    """The server's side of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: Any) -> None:
        if not self.closed:
            self.sent += bytes(data)

    def close(self) -> None:
        self.closed = True

    abort = write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Fixed:
    """A refresher whose directory never changes."""

    def __init__(self) -> None:
        self.current = directory(
            tenant("plain", use(PLAIN)),
            tenant("leased", use(LEASED, leasing=True), use(OFF, primary=False, active=False)),
            tenant("other", use(OTHER, primary=False, leasing=True)),
        )


class World:
    """One proxy's core with both ways in front of it."""

    def __init__(self) -> None:
        self.kms, self.clock, self.tasks = ScriptedKms(), SteppingClock(), set[asyncio.Task[Any]]()
        self.directory = Fixed()
        reach = self.kms.as_proxy_calls_it()
        self.leases = LeaseBook(reach, LeasePolicy(), self.start, clock=self.clock)
        self.keys = Keys(lambda: self.directory.current, self.leases, reach)
        self.secrets = TenantSecrets(
            self.keys, reach, Memory(), SecretPolicy(most_derivations=3), self.start, clock=self.clock
        )
        self.outbox = Outbox(1_000_000)
        self.metrics = ProxyMetrics(Metrics())
        recorder = EventRecorder(
            self.outbox, lambda: self.directory.current, counter=self.metrics.events, now_ms=lambda: 1
        )
        operations = Operations(self.keys, self.secrets, recorder, BatchLimits(most_documents=50))
        api_keys, rays, log = ApiKeys([Secret(KEY)]), RayIds(), configure_logs("proxy", 60)
        refresher: Any = self.directory
        answers = FastPath(refresher, self.leases, self.secrets, recorder, most_documents=50).answers()
        self.api = ProxyApi(operations, Gate(api_keys, Metrics()), self.metrics, log, rays, body_bytes=BODY_BYTES)
        self.edge = FastEdge(answers, api_keys, rays, self.metrics, later=self.api.later, body_bytes=BODY_BYTES)
        self.config = Config(self.api, lifespan="off", log_config=None, access_log=False, interface="asgi3", ws="none")
        self.config.load()

    def start(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def state(self) -> EdgeState:
        state = EdgeState(EdgeLimits(head_bytes=HEAD_BYTES))
        state.default_headers = [(b"date", b"Tue, 24 Nov 2026 09:30:00 GMT")]
        state.success_head = (
            b"HTTP/1.1 200 OK\r\ndate: Tue, 24 Nov 2026 09:30:00 GMT\r\n"
            b"content-type: application/json\r\ncontent-length: "
        )
        return state

    async def exchange(self, chunks: list[bytes], *, fast: bool) -> tuple[bytes, bool, list[Any]]:
        """Send the chunks over one connection; what came back, whether it was closed, what was recorded.

        Randomness begins the same way each time, so that the same keys come out.
        """
        randomness = random.Random(1)
        with mock.patch("os.urandom", randomness.randbytes), mock.patch.object(POOL, "_read", randomness.randbytes):
            POOL._empty()
            found = await self._exchange(chunks, fast=fast)
        POOL._empty()
        return found

    async def _exchange(self, chunks: list[bytes], *, fast: bool) -> tuple[bytes, bool, list[Any]]:
        loop, state, wire = asyncio.get_running_loop(), self.state(), Wire()
        if fast:
            protocol: EdgeProtocol = FastProtocol(self.edge, self.config, state, {}, loop)
        else:
            protocol = EdgeProtocol(self.config, state, {}, loop)
        protocol.connection_made(wire)
        for chunk in chunks:
            if wire.closed:
                break
            protocol.data_received(chunk)
            await self.settled()
        protocol.connection_lost(None)
        await self.settled()
        recorded = await self.recorded()
        return wire.sent, wire.closed, recorded

    async def settled(self) -> None:
        for _ in range(40):
            await asyncio.sleep(0)

    async def recorded(self) -> list[Any]:
        if not len(self.outbox):
            return []
        batch = await self.outbox.lend(1_000_000)
        self.outbox.acknowledge(batch.number)
        return [msgspec.structs.replace(each, serial=0, sequence=0, ray_id="") for each in batch.events]

    async def warmed(self) -> dict[str, str]:
        """Make what the fast way needs, and EDEKs to unwrap."""
        leased = self.keys.tenant("leased")
        edeks = {
            "known": _text((await self.keys.wrap(leased)).edek),
            "plain": _text((await self.keys.wrap(self.keys.tenant("plain"))).edek),
        }
        raw = bytearray((await self.keys.wrap(leased)).edek)
        edeks["with a tenant"] = _text(_with_tenant(bytes(raw)))
        raw[20] ^= 1
        edeks["altered"] = _text(bytes(raw))
        edeks["cut"] = edeks["known"][:-8]
        edeks["junk"] = "d2hhdCBhIHdhc3RlIG9mIHRpbWUK"
        edeks["no base64"] = "%%%"
        await self.keys.unwrap(leased, edeks["known"])
        await self.recorded()
        return edeks


def _text(raw: bytes) -> str:
    from tenant_security.wire.edek import to_base64

    return to_base64(raw)


def _with_tenant(raw: bytes) -> bytes:
    """Add field 6 as Alloy does."""
    from tenant_security.wire import protobuf

    (_, inner), *_rest = list(protobuf.fields(raw))
    assert isinstance(inner, bytes)
    return protobuf.delimited(1, inner + protobuf.delimited(6, b"leased"))


ROUTES = ["document/wrap", "document/unwrap", "document/batch-wrap", "document/batch-unwrap",
          "key/derive-with-secret-path", "document/rekey", "event/security-event", "nowhere"]  # fmt: skip
EDEKS = ["known", "plain", "with a tenant", "altered", "cut", "junk", "no base64"]


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any] | bytes:
    """A body that some endpoint takes, or nearly."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from([b"", b"{", b"null", b"\xff\xfe", b"[" * 3000, b'{"tenantId":"leased"}']))
    body: dict[str, Any] = {
        "tenantId": draw(st.sampled_from(["leased"] * 6 + ["plain", "other", "nobody", 5, ""])),
        "iclFields": {"requestingId": draw(st.sampled_from(["me"] * 8 + ["", '\u00fc \U0001f511 " \\']))},
    }
    if draw(st.booleans()):
        body["customFields"] = draw(st.sampled_from([None, {}, {"a": "b"}, {"a": 1}]))
    if draw(st.booleans()):
        body["iclFields"]["dataLabel"] = draw(st.sampled_from([None, "label"]))
    body["encryptedDocumentKey"] = draw(st.sampled_from(["known"] * 4 + EDEKS))
    body["documentIds"] = draw(st.sampled_from([[], ["a"], ["b", "a", "b"], [str(n) for n in range(51)], ['\u00e9"']]))
    some = draw(st.sampled_from([{}, {"b": "known", "a": "known"}, {"a": "known", "x": "plain", "y": "altered"},
                                 {"0": "with a tenant"}]))  # fmt: skip
    body["edeks"] = draw(st.sampled_from([some, list(some.values())]))
    body["newTenantId"] = draw(st.sampled_from(["leased", "plain", "nobody"]))
    body["paths"] = draw(
        st.sampled_from(
            [{}, {"": ["x", "y/z"]}, {"p": []}, {"p": ["d"], "q": ["d", "d"]}, {str(n): [] for n in range(4)}]
        )
    )
    body["derivationType"] = draw(st.sampled_from(["sha512"] * 3 + ["sha256", "argon2", "md5"]))
    body["secretType"] = draw(st.sampled_from(["deterministic"] * 3 + ["vector", "other"]))
    body["event"] = "USER_LOGIN"
    return body


@st.composite
def heads(draw: st.DrawFn) -> dict[str, Any]:
    """Everything before the body that may differ between clients, or go wrong."""
    return {
        "method": draw(st.sampled_from(["POST"] * 12 + ["GET", "PUT"])),
        "route": draw(st.sampled_from(ROUTES[:5] * 3 + ROUTES)),
        "prefix": draw(st.sampled_from(["/api/1/"] * 12 + ["//api/1/", "/api/2/", "http://t/api/1/"])),
        "suffix": draw(st.sampled_from([""] * 12 + ["?x=1", "/"])),
        "version": draw(st.sampled_from(["1.1"] * 12 + ["1.0"])),
        "keys": draw(st.sampled_from([[f"cmk {KEY}"]] * 12 + [[], ["cmk wrong"], [KEY], [f"cmk {KEY}"] * 2])),
        "connection": draw(st.sampled_from([None] * 8 + ["keep-alive", "close"])),
        "chunked": draw(st.integers(0, 5)) == 0,
        "language": draw(st.sampled_from([None, "node", "Java", "x" * 40])),
        "padding": draw(st.sampled_from([0] * 12 + [2_000])),
        "order": draw(st.randoms(use_true_random=False)),
        "case": draw(st.sampled_from(["lower", "upper", "title"])),
    }


def render(head: dict[str, Any], body: dict[str, Any] | bytes, edeks: dict[str, str]) -> bytes:
    """Write one request."""
    if isinstance(body, dict):
        body = {**body, "encryptedDocumentKey": edeks[body["encryptedDocumentKey"]]}
        named = body["edeks"]
        body["edeks"] = (
            [edeks[e] for e in named] if isinstance(named, list) else {k: edeks[v] for k, v in named.items()}
        )
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = [("host", "t"), ("content-type", "application/json"), *(("authorization", key) for key in head["keys"])]
    if head["connection"]:
        headers.append(("connection", head["connection"]))
    if head["language"]:
        headers += [("x-icl-tsc-language", head["language"]), ("x-icl-tsc-version", "4.1.3")]
    if head["padding"]:
        headers.append(("x-padding", "p" * head["padding"]))
    if head["chunked"] and head["version"] == "1.1":
        headers.append(("transfer-encoding", "chunked"))
        raw = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (raw[:7], raw[7:]) if part) + b"0\r\n\r\n"
    else:
        headers.append(("content-length", str(len(raw))))
    head["order"].shuffle(headers)
    lines = "".join(f"{getattr(name, head['case'])()}: {value}\r\n" for name, value in headers)
    target = head["prefix"] + head["route"] + head["suffix"]
    return f"{head['method']} {target} HTTP/{head['version']}\r\n{lines}\r\n".encode() + raw


def split(stream: bytes, cuts: list[float]) -> list[bytes]:
    """Cut a stream at these fractions of its length."""
    places = sorted({0, len(stream), *(int(cut * len(stream)) for cut in cuts)})
    return [stream[a:b] for a, b in itertools.pairwise(places)]


async def agree(chunks: Callable[[dict[str, str]], list[bytes]]) -> tuple[World, bytes]:
    """Run both ways and hold them to each other."""
    world = World()
    edeks = await world.warmed()
    stream = chunks(edeks)
    # Lazily made secrets are made before, so that neither way is the one that makes them.
    for _ in range(2):
        await world.exchange(stream, fast=False)
    slow = await world.exchange(stream, fast=False)
    fast = await world.exchange(stream, fast=True)
    assert fast[0] == slow[0]
    assert fast[1:] == slow[1:]
    assert world.metrics.fast_faults.value() == 0
    return world, fast[0]


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    requests=st.lists(st.tuples(heads(), bodies()), min_size=1, max_size=3),
    cuts=st.lists(st.floats(0, 1), max_size=6),
    times=st.integers(1, 3),
)
def test_both_ways_answer_the_same_bytes(requests: Any, cuts: list[float], times: int) -> None:
    for head, _ in requests[1 if times == 1 else 0 :]:
        # Whether a head that is refused behind a request finds that one answered already is a matter of time.
        head["padding"] = 0
    asyncio.run(_run(lambda edeks: split(b"".join(render(head, body, edeks) for head, body in requests), cuts) * times))


async def _run(chunks: Callable[[dict[str, str]], list[bytes]]) -> None:
    await agree(chunks)


PLAIN_HEAD = {
    "method": "POST", "prefix": "/api/1/", "suffix": "", "version": "1.1", "keys": [f"cmk {KEY}"],
    "connection": None, "chunked": False, "language": "node", "padding": 0, "case": "title",
}  # fmt: skip
METADATA = {"tenantId": "leased", "iclFields": {"requestingId": "me"}, "customFields": {}}
HOT = {
    "document/wrap": {},
    "document/unwrap": {"encryptedDocumentKey": "known"},
    "document/batch-wrap": {"documentIds": ["b", "a"]},
    "document/batch-unwrap": {"edeks": {"b": "known", "a": "known"}},
    "key/derive-with-secret-path": {
        "paths": {"": ["x"], "p": ["d", "e"]}, "derivationType": "sha512", "secretType": "deterministic"
    },
}  # fmt: skip


def hot(route: str, edeks: dict[str, str]) -> bytes:
    """A request that the fast way must serve."""
    body = {"encryptedDocumentKey": "known", "edeks": {}, **METADATA, **HOT[route]}
    return render({**PLAIN_HEAD, "route": route, "order": random.Random(1)}, body, edeks)


@pytest.mark.parametrize("route", HOT)
async def test_every_hot_endpoint_really_takes_the_fast_way(route: str) -> None:
    world, sent = await agree(lambda edeks: [hot(route, edeks)])
    assert sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert world.metrics.requests.value(route, "ok", FAST) == 1


@pytest.mark.parametrize("route", HOT)
async def test_a_request_split_at_any_byte_is_answered_the_same(route: str) -> None:
    world = World()
    edeks = await world.warmed()
    request = hot(route, edeks)
    whole = [await world.exchange([request], fast=False) for _ in range(3)][-1]
    for at in range(1, len(request)):
        assert await world.exchange([request[:at], request[at:]], fast=True) == whole
    assert world.metrics.requests.value(route, "ok", FAST) == len(request) - 1


async def test_pipelined_requests_are_answered_in_order_by_whichever_way() -> None:
    def three(edeks: dict[str, str]) -> list[bytes]:
        head = {**PLAIN_HEAD, "route": "document/rekey", "order": random.Random(1)}
        body = {**METADATA, "encryptedDocumentKey": "known", "edeks": {}, "newTenantId": "plain"}
        slow = render(head, body, edeks)
        return [hot("document/wrap", edeks) + slow + hot("document/unwrap", edeks)]

    _, sent = await agree(three)
    assert sent.count(b"HTTP/1.1 200 OK") == 3


async def test_a_fault_of_the_fast_way_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    edeks = await world.warmed()

    def broken(_tenant: Any) -> Any:
        raise RuntimeError("scripted")

    monkeypatch.setattr(world.leases, "pinned_to_wrap", broken)
    sent, _, events = await world.exchange([hot("document/wrap", edeks)], fast=True)
    assert sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert world.metrics.fast_faults.value() == 1
    assert len(events) == 1


async def test_a_lease_that_only_unwraps_does_not_wrap_fast() -> None:
    world = World()
    edeks = await world.warmed()
    world.directory.current = directory(tenant("leased", use(LEASED, leasing=False)))
    world.leases.retain(wanted_in(world.directory.current))
    before = world.kms.count("wrap")
    for request in (hot("document/unwrap", edeks), hot("document/unwrap", edeks), hot("document/wrap", edeks)):
        sent, _, _ = await world.exchange([request], fast=True)
        assert sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert world.kms.count("wrap") == before + 1


@pytest.mark.parametrize("route", HOT)
async def test_the_same_request_again_is_answered_the_same(route: str) -> None:
    world, sent = await agree(lambda edeks: [hot(route, edeks)] * 3)
    assert sent.count(b"HTTP/1.1 200 OK") == 3
    assert world.metrics.requests.value(route, "ok", FAST) == 3


@pytest.mark.parametrize(
    "change",
    [
        (KEY.encode(), b"1" + KEY.encode()[1:]),
        (KEY.encode(), KEY.encode()[:-1] + b"m"),
        (b"POST", b"BEST"),
        (b"/1/document/wrap", b"/1/document/warp"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"Authorization", b"Authorisation"),
        (b'"leased"', b'"nobody"'),
        (b'"leased"', b'"lease\xff"'),
    ],
)
async def test_almost_the_same_request_again_is_looked_at_anew(change: tuple[bytes, bytes]) -> None:
    def twice(edeks: dict[str, str]) -> list[bytes]:
        request = hot("document/wrap", edeks)
        assert change[0] in request
        return [request, request, request.replace(*change)]

    _, sent = await agree(twice)
    assert sent.count(b"HTTP/1.1 200 OK") == (3 if change[1] == b"HTTP/1.0" else 2)


async def test_a_known_head_with_more_or_less_behind_it_is_read_by_the_parser() -> None:
    def pieces(edeks: dict[str, str]) -> list[bytes]:
        request = hot("document/wrap", edeks)
        return [request, request, request + request[:40], request[40:], request[:-5], request[-5:] + request]

    world, sent = await agree(pieces)
    assert sent.count(b"HTTP/1.1 200 OK") == 6
    assert world.metrics.requests.value("document/wrap", "ok", FAST) >= 5
