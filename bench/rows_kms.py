"""Figures of unleased work: what the proxy adds to a KMS call, and what slow calls do to fast ones."""

import asyncio
import contextlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import trustme

from bench.fake_kms import KEY_ID
from bench.load import Load, Measured, drive, metadata
from bench.servers import API_KEY, Server, free_port, metric_of, pinned, proxy_of, running
from bench.table import Row
from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.dev_state import prepare_files

_SLOW_TENANTS = 200
_KMS_DELAY_S = 5.0
_HANG_S = 30.0
_SETTLED_S = 10.0
"""By then every call that was accepted has been sent."""
_WANTED = 10_000
# Each holds two descriptors in the proxy, and some systems allow no more than 20,000.
_IN_FLIGHT = min(_WANTED, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200) // 2)
_MIB = 1_048_576


def _slow_body(number: int) -> bytes:
    return json.dumps(metadata() | {"tenantId": f"slow-{number % _SLOW_TENANTS}"}).encode()


@contextlib.contextmanager
def _world(delay_s: float, *, tls: bool, core: int | None = 0, **settings: str) -> Iterator[tuple[Server, str]]:
    """The demo's tenants, 200 more on a fake AWS KMS, that KMS, and the proxy. Yields the proxy and the KMS's URL."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        environ = prepare_files(folder / "state", "demo") | {"API_KEY": API_KEY} | settings
        command = [sys.executable, "-m", "bench.fake_kms", str(port), str(delay_s)]
        if tls:
            authority = trustme.CA()
            certificate = authority.issue_cert("localhost")
            certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "cert.pem"))
            authority.cert_pem.write_to_path(str(folder / "ca.pem"))
            environ["SSL_CERT_FILE"] = str(folder / "ca.pem")
            command += [str(folder / "cert.pem")] * 2
        url = f"{'https' if tls else 'http'}://localhost:{port}/"
        _add_slow_tenants(folder / "state", url)
        with running(command if core is None else pinned(1, *command)), proxy_of(environ, core) as server:
            yield server, url


def _add_slow_tenants(state: Path, url: str) -> None:
    vendor = Vendor.load(state / "vendor")
    roster = Roster.read(vendor, state / "snapshot.jsonl")
    for number in range(_SLOW_TENANTS):
        config = {
            "type": "AWS",
            "version": 1,
            "credentials": {
                "accessKeyId": "AKIDEXAMPLE",
                "secretAccessKey": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            },
            "keyPath": {"keyID": KEY_ID, "region": "eu-central-1"},
            "endpoint": url,
        }
        uses = [assign(5_000 + number, primary=True)]
        roster.put_tenant(f"slow-{number}", uses, configs={5_000 + number: json.dumps(config).encode()})
    write_snapshot(vendor, state / "snapshot.jsonl", roster)


def unleased(rounds: int, seconds: int) -> Iterator[Row]:
    """CPU of an unleased wrap against a bare client's signed call."""
    load = Load("/api/1/document/wrap", _slow_body(0))
    with _world(0, tls=True) as (server, url):
        drive(server, load, seconds=1, connections=16)
        values, raw = [], ""
        for _ in range(rounds):
            bare = subprocess.run(
                pinned(0, sys.executable, "-m", "bench.bare_client", url, "3000", "16"),
                env={**_trusting(server), "PYTHONPATH": "."}, capture_output=True, text=True, check=True,
            )  # fmt: skip
            ours = drive(server, load, seconds=seconds, connections=16)
            values.append(ours.cpu_us / float(bare.stdout))
            raw = f"{ours.cpu_us:,.0f} us; bare aiohttp {float(bare.stdout):,.0f} us"
        goal = "<= 1.5 x aiohttp"
        yield Row("unleased wrap, AWS over TLS: CPU per call", goal, 1.5, False, values, raw)


def _trusting(server: Server) -> dict[str, str]:
    return dict(server.process.environ())


async def _hold(port: int, count: int, started: asyncio.Event) -> list[int]:
    """Send so many unleased wraps at once and return their HTTP statuses."""
    headers = {"Authorization": f"cmk {API_KEY}", "Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/api/1/document/wrap"
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:

        async def one(number: int) -> int:
            async with session.post(url, data=_slow_body(number), headers=headers) as answer:
                await answer.read()
                return answer.status

        tasks = [asyncio.create_task(one(number)) for number in range(count)]
        started.set()
        return await asyncio.gather(*tasks)


def _live_ms(ops_port: int) -> float:
    began = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{ops_port}/live", timeout=30) as answer:
        answer.read()
    return (time.perf_counter() - began) * 1e3


async def _held(server: Server) -> tuple[list[int], list[float], float]:
    started = asyncio.Event()
    holding = asyncio.create_task(_hold(server.port, _IN_FLIGHT, started))
    await started.wait()
    lives, rss_mb = [], 0.0
    while not holding.done():
        await asyncio.sleep(0.2)
        lives.append(await asyncio.to_thread(_live_ms, server.ops_port))
        rss_mb = max(rss_mb, server.rss_mb())
    return await holding, lives, rss_mb


_PATIENT = {
    "TSP_KMS_DEADLINE_SECONDS": "60",
    "TSP_KMS_ATTEMPT_SECONDS": "60",
    "TSP_KMS_CONNECT_SECONDS": "60",
    "TSP_KMS_CONCURRENCY_PER_TENANT": "100",
    "TSP_KMS_CONCURRENCY": "20000",
}


def hanging(rounds: int, seconds: int) -> Iterator[Row]:
    """Ten thousand calls to a KMS that takes 5 s, and leased wraps beside them."""
    with _world(_KMS_DELAY_S, tls=False, **_PATIENT) as (server, _):
        statuses, lives, rss_mb = asyncio.run(_held(server))
        good = statuses.count(200)
        name = f"{_IN_FLIGHT:,} unleased wraps on a 5 s KMS: answered"
        yield Row(name, f"{_IN_FLIGHT:,}", _IN_FLIGHT, True, [good], "", "")
        worst = f"worst of {len(lives)}: {max(lives):,.0f} ms"
        yield Row("  /live meanwhile, median", "< 100 ms", 100, False, [statistics.median(lives)], worst, "ms")
        yield Row("  RSS, peak", "<= 400 MiB", 400, False, [rss_mb * 1e6 / _MIB], "", "MiB")
    with _world(_HANG_S, tls=False, **_PATIENT) as (server, _):
        yield from _beside(server, rounds, seconds)


async def _until_connections(server: Server, enough: Callable[[float], bool]) -> None:
    while not enough(await asyncio.to_thread(metric_of, server, "tsp_connections")):
        await asyncio.sleep(0.2)
    await asyncio.sleep(_SETTLED_S)


def _beside(server: Server, rounds: int, seconds: int) -> Iterator[Row]:
    """One hot connection, alone and while the calls hang: not while they begin, nor while they end."""
    fast = Load("/api/1/document/wrap", json.dumps(metadata()).encode())

    async def both() -> tuple[Measured, Measured]:
        await _until_connections(server, lambda count: count < 10)
        alone = await asyncio.to_thread(lambda: drive(server, fast, seconds=seconds, connections=1))
        started = asyncio.Event()
        holding = asyncio.create_task(_hold(server.port, _IN_FLIGHT, started))
        await _until_connections(server, lambda count: count >= _IN_FLIGHT)
        beside = await asyncio.to_thread(lambda: drive(server, fast, seconds=seconds, connections=1))
        assert not holding.done(), "the calls ended before the measurement did"
        await holding
        return alone, beside

    pairs = [asyncio.run(both()) for _ in range(max(3, rounds // 2))]
    for name, limit, which in (("p90", 1.3, "p90_us"), ("p99", 5.0, "p99_us")):
        values = [getattr(beside, which) / getattr(alone, which) for alone, beside in pairs]
        raw = f"{getattr(pairs[-1][1], which):,.0f} us; alone {getattr(pairs[-1][0], which):,.0f} us"
        yield Row(
            f"leased wrap beside {_IN_FLIGHT:,} hanging calls, {name}", f"<= {limit} x alone", limit, False, values, raw
        )
