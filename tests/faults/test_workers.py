"""Several workers behind one supervisor: one proxy to everybody outside, whatever happens to a worker."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tenant_security.testing.brokers import running_broker
from tenant_security.testing.proxies import Use
from tenant_security.wire import broker_api
from tenant_security.wire.service_env import parse_env

from .proxy_process import (
    API_KEY,
    LEASED,
    PLAIN,
    WITHIN_S,
    Got,
    Hammer,
    ProxyProcess,
    World,
    a_world,
    ask,
    derivation,
    fields,
    soon,
    until,
)

WORKERS = 2
ROLLS = 10
AUTHORIZED = {"Authorization": f"cmk {API_KEY}", "Content-Type": "application/json"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made
    until(lambda: not left_behind(tmp_path), "the end of every process", 10)


def left_behind(directory: Path) -> list[psutil.Process]:
    """Processes whose settings name this directory."""
    found = psutil.process_iter(["environ"])
    return [each for each in found if str(directory) in str(each.info["environ"] or "")]


def started(world: World, *arguments: str, **environ: str) -> ProxyProcess:
    """A proxy with two workers that both serve."""
    proxy = world.start("proxy", "--workers", str(WORKERS), *arguments, **environ)
    until(lambda: proxy.is_ready() and ready(proxy) == WORKERS, "two workers")
    return proxy


def workers(proxy: ProxyProcess) -> list[psutil.Process]:
    return psutil.Process(proxy.process.pid).children()


def checks(proxy: ProxyProcess, name: str) -> list[dict[str, Any]]:
    return [each["data"] for each in proxy.health()["checks"] if each["name"] == name]


def ready(proxy: ProxyProcess) -> int:
    return int(checks(proxy, "workers")[0]["ready"])


def events_port(proxy: ProxyProcess) -> int:
    return int(proxy.lines("proxy starting")[0]["events"])


def counted(proxy: ProxyProcess, sample: str, **labels: str) -> float:
    """What the metrics say, summed over the labels that are not named."""
    text = ask(proxy.ops, "/metrics").body.decode()
    families = text_string_to_metric_families(text)
    found = [each for family in families for each in family.samples if each.name == sample]
    return sum(each.value for each in found if labels.items() <= each.labels.items())


def wraps(proxy: ProxyProcess) -> float:
    return counted(proxy, "tsp_requests_total", code="ok", route="document/wrap")


class Connection:
    """One connection that is kept; it never tries again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, proxy: ProxyProcess) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", proxy.api))

    def worker(self, proxy: ProxyProcess) -> int:
        """The process at the other end."""
        ours = self._writer.get_extra_info("sockname")[1]
        found = [
            each.pid
            for each in workers(proxy)
            if any(end.raddr and end.raddr.port == ours for end in each.net_connections("tcp"))
        ]
        assert len(found) == 1
        return found[0]

    async def call(self, route: str, body: object) -> Got:
        raw = json.dumps(body).encode()
        head = [f"POST /api/1/{route} HTTP/1.1", "Host: t", f"Content-Length: {len(raw)}"]
        head += [f"{name}: {value}" for name, value in AUTHORIZED.items()]
        self._writer.write("\r\n".join([*head, "", ""]).encode() + raw)
        async with asyncio.timeout(WITHIN_S):
            answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in answer[1:] if line)
            return Got(
                int(answer[0].split()[1]), headers, await self._reader.readexactly(int(headers["content-length"]))
            )

    def close(self) -> None:
        self._writer.close()


@contextlib.asynccontextmanager
async def one_to_each(proxy: ProxyProcess) -> AsyncIterator[list[Connection]]:
    """A connection to each worker, both used already."""
    opened: list[Connection] = []
    by_worker: dict[int, Connection] = {}
    try:
        async with asyncio.timeout(WITHIN_S):
            while len(by_worker) < WORKERS:
                made = await Connection.open(proxy)
                opened.append(made)
                assert (await made.call("document/wrap", fields(PLAIN))).status == 200
                by_worker.setdefault(made.worker(proxy), made)
        yield list(by_worker.values())
    finally:
        for each in opened:
            each.close()


def lease(proxy: ProxyProcess, wait_millis: int = 0, most: int = 7) -> Any:
    body = json.dumps({"most": most, "waitMillis": wait_millis}).encode()
    return ask(events_port(proxy), "/1/events/lease", body, headers=AUTHORIZED).json()


def acknowledge(proxy: ProxyProcess, leased: dict[str, Any]) -> int:
    body = json.dumps({"instance": leased["instance"], "batch": leased["batch"]}).encode()
    return ask(events_port(proxy), "/1/events/acknowledge", body, headers=AUTHORIZED).status


async def test_what_one_worker_wraps_the_other_unwraps(world: World) -> None:
    proxy = started(world)
    async with one_to_each(proxy) as (one, other):
        for tenant in (LEASED, PLAIN):
            wrapped = (await one.call("document/wrap", fields(tenant))).json()
            unwrapped = await other.call("document/unwrap", fields(tenant, encryptedDocumentKey=wrapped["edek"]))
            assert unwrapped.json()["dek"] == wrapped["dek"]
    assert {line["worker"] for line in proxy.lines("proxy ready") if "worker" in line} == {1, 2}
    proxy.stop()


async def test_the_metrics_are_the_sum_and_survive_their_workers(world: World) -> None:
    proxy = started(world)
    async with one_to_each(proxy) as (one, other):
        joined = wraps(proxy)
        for number in range(60):
            assert (await (one, other)[number % 3 == 0].call("document/wrap", fields(LEASED))).status == 200
        assert wraps(proxy) == joined + 60
        assert counted(proxy, "tsp_request_seconds_count", route="document/wrap") == joined + 60
        assert counted(proxy, "tsp_connections") >= 2
        assert counted(proxy, "tsp_workers_ready") == 2
        assert counted(proxy, "tsp_ready") == 1
    proxy.signal(signal.SIGUSR2)
    await soon(lambda: bool(proxy.lines("rolling restart done")), "a rolling restart")
    assert wraps(proxy) == joined + 60
    assert counted(proxy, "tsp_worker_restarts_total", reason="asked") == 2


@pytest.mark.slow
async def test_ten_rolling_restarts_fail_no_request_and_lose_no_count(world: World) -> None:
    proxy = started(world, TSP_DRAIN_SECONDS="5")
    first = {each.pid for each in workers(proxy)}
    probes: Counter[int] = Counter()
    hammer = Hammer(proxy.api, clients=16)
    for roll in range(1, ROLLS + 1):
        proxy.signal(signal.SIGUSR2)
        while len(proxy.lines("rolling restart done")) < roll:
            probes[(await asyncio.to_thread(ask, proxy.ops, "/ready")).status] += 1
            assert proxy.process.poll() is None, proxy.output
            assert not proxy.lines("worker died; it is replaced"), proxy.output
            await asyncio.sleep(0.02)
    await hammer.stop()
    assert hammer.failures == []
    assert hammer.closed >= ROLLS, "the clients were never asked to move, so nothing was tested"
    assert set(probes) == {200}
    assert not first & {each.pid for each in workers(proxy)}
    assert [each["requests_cut"] for each in proxy.lines("proxy stopped")] == [0] * (ROLLS * WORKERS)
    assert wraps(proxy) == hammer.served
    proxy.stop()


async def test_a_killed_worker_is_replaced_and_nothing_else_breaks(world: World) -> None:
    proxy = started(world)
    async with one_to_each(proxy) as (one, other):
        victim = one.worker(proxy)
        seen = wraps(proxy)
        psutil.Process(victim).kill()
        with pytest.raises((OSError, EOFError)):
            await one.call("document/wrap", fields(LEASED))
        for _ in range(20):
            assert (await other.call("document/wrap", fields(LEASED))).status == 200
            assert await asyncio.to_thread(proxy.is_ready)
            assert (await asyncio.to_thread(proxy.call, "document/wrap", fields(LEASED))).status == 200
        # Its death takes the supervisor a moment to notice; until then there seem to be as many as there should be.
        await soon(lambda: victim not in {each.pid for each in workers(proxy)}, "the end of the killed one")
        await soon(lambda: ready(proxy) == WORKERS, "the replacement")
        assert wraps(proxy) == seen + 40
    assert counted(proxy, "tsp_worker_restarts_total", reason="died") == 1
    (line,) = proxy.lines("worker died; it is replaced")
    assert line["exit"] == -signal.SIGKILL


async def test_a_connection_made_while_no_worker_lives_is_served_by_a_replacement(world: World) -> None:
    proxy = started(world)
    for each in workers(proxy):
        each.kill()
    connection = await Connection.open(proxy)
    assert (await connection.call("document/wrap", fields(LEASED))).status == 200
    connection.close()
    await soon(lambda: ready(proxy) == WORKERS, "both replacements")


async def test_every_event_of_every_worker_arrives_once(world: World) -> None:
    proxy = started(world)
    async with one_to_each(proxy) as both:
        for number in range(30):
            assert (await both[number % 2].call("document/wrap", fields(LEASED))).status == 200
    arrived: list[str] = []
    instances: list[str] = []
    while (leased := lease(proxy))["batch"] is not None:
        arrived += [each["eventId"] for each in leased["events"]]
        instances.append(leased["instance"])
        assert acknowledge(proxy, leased) == 200
        assert acknowledge(proxy, leased) == 409
    assert len(arrived) == len(set(arrived)) == wraps(proxy)
    assert len(set(instances)) == WORKERS
    assert len(set(instances[:2])) == WORKERS, "a worker was asked twice before the other once"
    assert acknowledge(proxy, {"instance": "nobody", "batch": 1}) == 409
    began = time.monotonic()
    waiting = asyncio.create_task(asyncio.to_thread(lease, proxy, 20_000))
    await asyncio.sleep(0.2)  # so that it does wait; without it the test would still hold
    assert not waiting.done()
    assert (await asyncio.to_thread(proxy.call, "document/wrap", fields(LEASED))).status == 200
    assert len((await waiting)["events"]) == 1
    assert time.monotonic() - began < 10


async def test_events_that_are_not_acknowledged_stay_lent_and_leave_with_a_rolling_restart(world: World) -> None:
    proxy = started(world)
    async with one_to_each(proxy) as both:
        for connection in both:
            await connection.call("document/wrap", fields(LEASED))
    total = wraps(proxy)
    held = [lease(proxy), lease(proxy)]
    assert {each["batch"] for each in held} != {None}
    assert lease(proxy)["batch"] is None
    proxy.signal(signal.SIGUSR2)
    await soon(lambda: counted(proxy, "tsp_worker_restarts_total", reason="asked") == 1, "the first replacement")
    assert [acknowledge(proxy, each) for each in held] == [200, 200]
    await soon(lambda: bool(proxy.lines("rolling restart done")), "the rolling restart")
    assert sum(len(each["events"]) for each in held) == total
    assert [each["events_left"] for each in proxy.lines("proxy stopped")] == [0, 0]


async def test_first_derivations_on_two_workers_at_once_make_one_secret(world: World) -> None:
    proxy = started(world)
    paths = [f"path-{number}" for number in range(15)]
    async with one_to_each(proxy) as both:
        for path in paths:
            asked = [each.call("key/derive-with-secret-path", derivation(PLAIN, path)) for each in both]
            one, other = [each.json()["derivedKeys"] for each in await asyncio.gather(*asked)]
            assert one == other
    with contextlib.closing(sqlite3.connect(world.state / "tenant-secrets.sqlite")) as database:
        rows = database.execute("SELECT secret_path, count(*) FROM tenant_secret GROUP BY 1").fetchall()
    assert {path: count for path, count in rows if path in paths} == dict.fromkeys(paths, 1)


async def test_workers_that_a_broker_feeds_serve_refresh_and_stop_when_they_are_revoked(world: World) -> None:
    local = ("TSP_SNAPSHOT_FILE", "TSP_TENANT_SECRETS_FILE")
    async with running_broker(world.directory / "broker", {PLAIN: (Use(1),)}) as broker:
        identity = parse_env((broker.state_dir / "service.env").read_text())
        environ = {**identity, "CONFIG_BROKER_URL": broker.url, "API_KEY": API_KEY}
        environ |= {"TSP_CONFIG_CACHE_DIR": str(world.directory / "cache"), "TSP_TENANT_SECRET_CACHE_SECONDS": "0"}
        proxy = world.start("proxy", "--workers", str(WORKERS), without=local, **environ)
        await soon(lambda: proxy.is_ready() and ready(proxy) == WORKERS, "two workers")
        async with one_to_each(proxy) as both:

            async def derived() -> Any:
                asked = [each.call("key/derive-with-secret-path", derivation(PLAIN, "p")) for each in both]
                one, other = [each.json()["derivedKeys"] for each in await asyncio.gather(*asked)]
                assert one == other
                return one

            async def everywhere(tenant: str, status: int) -> None:
                async with asyncio.timeout(WITHIN_S):
                    for each in both:
                        while (await each.call("document/wrap", fields(tenant))).status != status:
                            await asyncio.sleep(0.05)

            before = await derived()
            assert len(await broker.run(broker.admin.every("/secrets", broker_api.TenantSecret))) == 1
            await everywhere("new", 422)
            await broker.put({"new": (Use(2),), PLAIN: (Use(1, primary=False), Use(3))})
            await everywhere("new", 200)
            async with asyncio.timeout(WITHIN_S):
                while (
                    await broker.run(broker.admin.ask("GET", "/secret-renewals", broker_api.SecretRenewals))
                ).migrations:
                    await asyncio.sleep(0.05)
            assert await derived() == before
            assert counted(proxy, "tsp_tenant_secret_renewals_total", outcome="renewed") == 1

            await broker.revoke("kit-proxy")
            await everywhere(PLAIN, 503)
            assert ask(proxy.ops, "/ready").status == 503
            assert counted(proxy, "tsp_revoked") >= 1


async def test_sighup_reaches_every_worker(world: World) -> None:
    proxy = started(world)
    version = world.write_snapshot()
    assert version not in {each["snapshotVersion"] for each in checks(proxy, "tenants")}
    proxy.signal(signal.SIGHUP)
    await soon(lambda: [each["snapshotVersion"] for each in checks(proxy, "tenants")] == [version] * 2, "the snapshot")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_leaves_no_process(world: World, number: signal.Signals) -> None:
    proxy = started(world, TSP_DRAIN_SECONDS="0.2")
    children = workers(proxy)
    assert len(children) == WORKERS
    assert not [each for each in children if any(API_KEY in part for part in each.cmdline())]
    proxy.signal(number)
    assert proxy.wait() == 0, proxy.output
    assert not [each for each in children if each.is_running()]
    proxy.assert_quiet()


def test_a_service_manager_may_signal_workers_too(world: World) -> None:
    proxy = started(world, TSP_DRAIN_SECONDS="1")
    began = time.monotonic()
    for each in [psutil.Process(proxy.process.pid), *workers(proxy)]:
        each.terminate()
    assert proxy.wait() == 0, proxy.output
    assert time.monotonic() - began >= 1, "a worker took two signals for haste"
    proxy.assert_quiet()


def test_a_second_signal_stops_all_at_once(world: World) -> None:
    proxy = started(world, TSP_DRAIN_SECONDS="60")
    proxy.signal(signal.SIGTERM)
    until(lambda: len(proxy.lines("proxy draining")) == WORKERS, "draining")
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(10) == 0, proxy.output


def test_no_worker_outlives_a_killed_supervisor(world: World) -> None:
    proxy = started(world)
    children = workers(proxy)
    proxy.signal(signal.SIGKILL)
    proxy.wait()
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert len(gone) == WORKERS
    assert not alive


def test_a_wrong_setting_is_told_once(world: World) -> None:
    proxy = world.start("proxy", "--workers", "2", TSP_TENANT_SECRETS_FILE=str(world.directory / "none" / "file"))
    assert proxy.wait() == 78, proxy.output
    assert proxy.output.count("TSP_TENANT_SECRETS_FILE") == 1


def test_one_worker_is_one_process(world: World) -> None:
    proxy = world.start(TSP_WORKERS="1").ready()
    assert workers(proxy) == []
    proxy.stop()
