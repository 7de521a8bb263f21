"""Counts every event from the call that caused it to the SIEM, while processes are killed, SIEMs fail and disks fill.

The proxy and the logdriver are processes of their own, started by their commands; load and SIEM are in this one. The
ledger notes what the proxy answered with success, and what the SIEM stored: what was acknowledged and is not stored is
lost. Kills come in the middle of a batch: the SIEM has stored it and has not answered yet.
"""

import asyncio
import base64
import gzip
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from tenant_security.testing.proxies import API_KEY, Use, identity, publish

_WITHIN_S: Final = 120.0
_FREE: Final = "127.0.0.1:0"


class Plan(msgspec.Struct, frozen=True):
    """What to do. Units: seconds where the name ends in ``_s``."""

    events: int = 20_000
    kills: int = 5
    tenants: int = 4
    batch: int = 500
    connections: int = 16
    outages: int = 2
    outage_s: float = 1.0
    proxy_kills: int = 0
    fills: int = 0
    """Outages that last until everything is full and the proxy refuses operations."""
    seed: int = 1
    logdriver: Mapping[str, str] = {}
    proxy: Mapping[str, str] = {}
    nice: int = 0


class Result(msgspec.Struct):
    """What came of it.

    ``worst_sink``: duplicates of the sink with most. ``reordered``: events that came before an older one of their
    tenant and proxy.
    """

    acknowledged: int = 0
    refused: int = 0
    stored: int = 0
    lost: int = 0
    duplicates: int = 0
    worst_sink: int = 0
    reordered: int = 0
    kills: int = 0
    proxy_kills: int = 0
    outages: int = 0
    fills: int = 0
    seconds: float = 0.0


class _Siem:
    """Takes every tenant's webhooks and remembers each event by the number of the call that caused it."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.duplicates: Counter[str] = Counter()
        self.reordered = 0
        self.failing = False
        self.kill_next: _Daemon | None = None
        self.killed = 0
        self.port = 0
        self._highest: dict[tuple[str, str], int] = {}

    async def take(self, request: web.Request) -> web.Response:
        """Store a batch, and perhaps kill who sent it before it hears of that."""
        body = await request.read()
        if self.failing:
            return web.Response(status=503)
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        for event in msgspec.json.decode(body)["data"]:
            number = int(event["iclFields"]["requestingId"])
            if number in self.counts:
                self.counts[number] += 1
                self.duplicates[event["tenantId"]] += 1
                continue
            self.counts[number] = 1
            where = event["tenantId"], event["instance"]
            if event["sequence"] < self._highest.get(where, 0):
                self.reordered += 1
            self._highest[where] = max(event["sequence"], self._highest.get(where, 0))
        victim, self.kill_next = self.kill_next, None
        if victim is not None:
            victim.kill()
            self.killed += 1
        return web.Response(status=204)


class _Daemon:
    """One of our commands as a process that is started again when it was killed."""

    def __init__(self, command: str, environ: Mapping[str, str], log: Path, nice: int) -> None:
        self._command = command
        self._environ = dict(environ)
        self._log = log
        self._nice = nice
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> dict[str, Any]:
        """Start it and return the first line that it logs with its ports, once it is ready."""
        out = self._log.open("ab")
        begin = self._log.stat().st_size
        nice = ["nice", "-n", str(self._nice)] if self._nice else []
        self.process = await asyncio.create_subprocess_exec(
            *nice, sys.executable, "-m", "tenant_security", self._command, env=self._environ, stdout=out, stderr=out
        )
        out.close()
        starting: dict[str, Any] = {}
        async with asyncio.timeout(_WITHIN_S):
            while True:
                for line in self._log.read_bytes()[begin:].splitlines():
                    said = msgspec.json.decode(line) if line.startswith(b'{"service"') and line.endswith(b"}") else {}
                    if said.get("message") == f"{self._command} starting":
                        starting = said
                    if said.get("message") == f"{self._command} ready":
                        return starting
                if self.process.returncode is not None:
                    raise RuntimeError(f"{self._command} ended: {self._log.read_text()[-2000:]}")
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """Kill it as a crash does."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)

    async def gone(self) -> None:
        """Wait until it has ended."""
        assert self.process is not None
        await self.process.wait()

    async def stop(self) -> None:
        """Let it drain and leave."""
        assert self.process is not None
        if self.process.returncode is None:
            self.process.terminate()
            async with asyncio.timeout(_WITHIN_S):
                await self.process.wait()


class _Load:
    """Sends one wrap after the other over some connections, each with a number of its own."""

    def __init__(self, plan: Plan, tenants: list[str]) -> None:
        self.acknowledged: set[int] = set()
        self.refused = 0
        self.port = 0
        self._plan = plan
        self._tenants = tenants
        self._next = 0

    async def run(self) -> None:
        """Go on until so many were answered with success."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._plan.connections):
                group.create_task(self._connection())

    async def _connection(self) -> None:
        writer: asyncio.StreamWriter | None = None
        while len(self.acknowledged) < self._plan.events:
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                number = self._next
                self._next += 1
                writer.write(self._request(number))
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                if head.startswith(b"HTTP/1.1 200"):
                    self.acknowledged.add(number)
                else:
                    self.refused += 1
                    await asyncio.sleep(0.05)
            except (OSError, EOFError):
                if writer is not None:
                    writer.close()
                writer = None
                await asyncio.sleep(0.05)
        if writer is not None:
            writer.close()

    def _request(self, number: int) -> bytes:
        tenant = self._tenants[number % len(self._tenants)]
        body = b'{"tenantId":"%b","iclFields":{"requestingId":"%d"},"customFields":{}}' % (tenant.encode(), number)
        return (
            b"POST /api/1/document/wrap HTTP/1.1\r\nHost: t\r\nAuthorization: cmk %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        ) % (API_KEY.encode(), len(body), body)


async def run_ledger(directory: Path, plan: Plan) -> Result:
    """Do it all, and wait until everything that was acknowledged is stored, or clearly will not be."""
    began = time.monotonic()
    chance = random.Random(plan.seed)
    siem = _Siem()
    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/", siem.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    siem.port = runner.addresses[0][1]
    tenants = [f"tenant-{number}" for number in range(plan.tenants)]
    proxy_environ, logdriver_environ = _environments(directory, plan, tenants, siem.port)
    proxy = _Daemon("proxy", proxy_environ, directory / "proxy.log", plan.nice)
    logdriver = _Daemon("logdriver", logdriver_environ, directory / "logdriver.log", plan.nice)
    load, result = _Load(plan, tenants), Result()
    try:
        load.port = (await proxy.start())["api"]
        await logdriver.start()
        loading = asyncio.create_task(load.run())
        await _disturb(plan, chance, _Stage(siem, proxy, logdriver, load), result)
        await loading
        async with asyncio.timeout(_WITHIN_S * 5):
            stored = -1
            while load.acknowledged - siem.counts.keys() and stored != len(siem.counts):
                stored = len(siem.counts)
                for _ in range(40):
                    await asyncio.sleep(0.5)
                    if len(siem.counts) != stored:
                        break
    finally:
        for daemon in (logdriver, proxy):
            if daemon.process is not None:
                await daemon.stop()
        await runner.cleanup()
    result.acknowledged, result.refused = len(load.acknowledged), load.refused
    result.stored, result.reordered = len(siem.counts), siem.reordered
    result.duplicates, result.worst_sink = siem.duplicates.total(), max(siem.duplicates.values(), default=0)
    result.lost = len(load.acknowledged - siem.counts.keys())
    result.seconds = time.monotonic() - began
    return result


class _Stage(NamedTuple):
    """Who plays."""

    siem: _Siem
    proxy: _Daemon
    logdriver: _Daemon
    load: _Load


async def _disturb(plan: Plan, chance: random.Random, stage: _Stage, result: Result) -> None:
    """Kill and fail, spread over the run: what happens when so many events were acknowledged."""
    kinds = ["kill"] * plan.kills + ["outage"] * plan.outages + ["proxy"] * plan.proxy_kills + ["fill"] * plan.fills
    chance.shuffle(kinds)
    step = plan.events / (len(kinds) + 1)
    siem, load = stage.siem, stage.load
    for count, kind in enumerate(kinds, start=1):
        await _until(lambda reached=step * count: len(load.acknowledged) >= reached)  # type: ignore[misc]
        match kind:
            case "kill":
                await _kill_in_a_batch(siem, stage.logdriver, chance)
                result.kills += 1
            case "proxy":
                stage.proxy.kill()
                await stage.proxy.gone()
                await stage.proxy.start()
                result.proxy_kills += 1
            case "fill":
                refused = load.refused
                siem.failing = True
                await _until(lambda before=refused: load.refused > before)  # type: ignore[misc]
                siem.failing = False
                result.fills += 1
            case _:
                siem.failing = True
                await asyncio.sleep(plan.outage_s)
                siem.failing = False
                result.outages += 1


async def _until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(_WITHIN_S * 5):
        while not met():
            await asyncio.sleep(0.01)


async def _kill_in_a_batch(siem: _Siem, logdriver: _Daemon, chance: random.Random) -> None:
    """Kill the logdriver while it waits for an answer; where nothing is sent for a while, at whatever it does."""
    killed = siem.killed
    siem.kill_next = logdriver
    for _ in range(chance.randrange(20, 60)):
        await asyncio.sleep(0.05)
        if siem.killed > killed:
            break
    else:
        siem.kill_next = None
        logdriver.kill()
    await logdriver.gone()
    await logdriver.start()


def _environments(
    directory: Path, plan: Plan, tenants: list[str], siem_port: int
) -> tuple[dict[str, str], dict[str, str]]:
    common = identity(directory)
    sink = {
        "type": "WEBHOOK",
        "version": 1,
        "url": f"http://127.0.0.1:{siem_port}/",
        "signingSecret": base64.b64encode(bytes(32)).decode(),
    }
    uses = {tenant: (Use(100 + number, leasing=True),) for number, tenant in enumerate(tenants)}
    publish(directory, uses, sinks={tenant: {500 + number: sink} for number, tenant in enumerate(tenants)})
    common |= {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": os.pathsep.join(each for each in sys.path if each),
        "API_KEY": API_KEY,
        "TSP_SNAPSHOT_FILE": str(directory / "snapshot.jsonl"),
        "TSP_EGRESS_ALLOW": "127.0.0.1",
    }
    ports = {name: _free_port() for name in ("api", "events")}
    proxy = common | {
        "TSP_HTTP_BIND_ADDRESS": f"127.0.0.1:{ports['api']}",
        "TSP_OPS_BIND_ADDRESS": _FREE,
        "TSP_EVENTS_BIND_ADDRESS": f"127.0.0.1:{ports['events']}",
        "TSP_ALLOW_LOCAL_KMS": "true",
        "TSP_DRAIN_SECONDS": "0",
        "TSP_EVENTS_WHEN_FULL": "refuse",
        **plan.proxy,
    }
    logdriver = common | {
        "LOGDRIVER_OPS_BIND_ADDRESS": _FREE,
        "LOGDRIVER_EVENT_PRODUCER_URL": f"tcp://127.0.0.1:{ports['events']}",
        "LOGDRIVER_SPOOL_DIRECTORY": str(directory / "spool"),
        "LOGDRIVER_SPOOL_FULL": "block",
        "LOGDRIVER_SINK_BATCH_SIZE": str(plan.batch),
        "LOGDRIVER_BUFFER_POLL_INTERVAL": "100",
        **plan.logdriver,
    }
    return proxy, logdriver


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
