"""The real logdriver, complete, inside the current event loop, and a SIEM that takes what webhooks send."""

import asyncio
import base64
import gzip
import io
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from tenant_security.logdriver.app import Logdriver
from tenant_security.logdriver.settings import read_logdriver_settings
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Request, send
from tenant_security.service.logs import configure_logs
from tenant_security.testing.proxies import API_KEY, NoSignals, identity, logging_left_alone

_DEADLINE_S: Final = 60.0
_SETTINGS: Final = {
    "LOGDRIVER_OPS_BIND_ADDRESS": "127.0.0.1:0",
    "LOGDRIVER_BUFFER_POLL_INTERVAL": "0",
    "LOGDRIVER_DRAIN_SECONDS": "2",
    "TSP_EGRESS_ALLOW": "127.0.0.1",
    "API_KEY": API_KEY,
}


class RunningLogdriver:
    """A logdriver that runs. ``stdout`` is what it wrote for tenants without a sink, ``log`` what it logged."""

    def __init__(self, outbound: Outbound, signals: NoSignals) -> None:
        self.ops_port = 0
        self.stdout = io.BytesIO()
        self.log = io.BytesIO()
        self._outbound = outbound
        self._signals = signals

    async def ops(self, path: str) -> tuple[int, bytes]:
        """Ask the ops port, such as for ``/health``."""
        request = Request("GET", f"http://127.0.0.1:{self.ops_port}{path}", cap_bytes=1 << 28)
        response = await self._outbound.run(send(request), deadline_s=_DEADLINE_S)
        return response.status, response.body

    async def check(self, name: str) -> Any:
        """One line of ``/health``."""
        checks = msgspec.json.decode((await self.ops("/health"))[1])["checks"]
        return next(each for each in checks if each["name"] == name)

    async def metric(self, name: str) -> float:
        """The value of a family without labels, 0 where it is not there."""
        for line in (await self.ops("/metrics"))[1].decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        return 0.0

    async def until_metric(self, name: str, least: float) -> None:
        """Wait until a family has reached a value."""
        async with asyncio.timeout(_DEADLINE_S):
            while await self.metric(name) < least:
                await asyncio.sleep(0.01)

    async def reload(self) -> None:
        """Have the snapshot read again, as at SIGHUP."""
        await self._signals.hang_up()


@asynccontextmanager
async def running_logdriver(
    state_dir: Path, producer_url: str, settings: Mapping[str, str] | None = None, *, broker_url: str = ""
) -> AsyncIterator[RunningLogdriver]:
    """Run a logdriver while the block lasts, with the identity and the snapshot of the kit's proxy in ``state_dir``.

    With ``broker_url`` its tenants come from that broker.
    """
    source = {"TSP_SNAPSHOT_FILE": str(state_dir / "snapshot.jsonl")}
    if broker_url:
        source = {"CONFIG_BROKER_URL": broker_url}
    environ = await asyncio.to_thread(identity, state_dir)
    environ |= {
        **source,
        "LOGDRIVER_SPOOL_DIRECTORY": str(state_dir / "logdriver"),
        "LOGDRIVER_EVENT_PRODUCER_URL": producer_url,
        **_SETTINGS,
        **(settings or {}),
    }
    read, credentials = read_logdriver_settings(environ)
    signals, ready = NoSignals(), asyncio.Event()
    async with Outbound() as outbound, asyncio.TaskGroup() as group:
        running = RunningLogdriver(outbound, signals)

        def on_ready(port: int) -> None:
            running.ops_port = port
            ready.set()

        with logging_left_alone():
            log = configure_logs("logdriver", read.log_level, running.log)
        daemon = Logdriver(read, credentials, log, signals, stdout=running.stdout)
        group.create_task(daemon.run(on_ready))
        await ready.wait()
        try:
            yield running
        finally:
            signals.stop.set()


class WebhookReceiver:
    """Takes webhooks and keeps what came, in order. ``answer`` is the HTTP status, or decides by the body."""

    def __init__(self) -> None:
        self.answer: int | Callable[[list[dict[str, Any]]], int] = 204
        self.batches: list[list[dict[str, Any]]] = []
        self.requests = 0
        self.port = 0
        self._changed = asyncio.Event()

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event that was taken."""
        return [event for batch in self.batches for event in batch]

    @property
    def ids(self) -> list[str]:
        """Their ids, in order."""
        return [event["eventId"] for event in self.events]

    def config(self, **members: object) -> dict[str, object]:
        """A sink config that leads here."""
        secret = base64.b64encode(bytes(32)).decode()
        url = f"http://127.0.0.1:{self.port}/"
        return {"type": "WEBHOOK", "version": 1, "url": url, "signingSecret": secret, **members}

    async def until(self, met: Callable[["WebhookReceiver"], bool]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(_DEADLINE_S):
            while not met(self):
                self._changed.clear()
                await self._changed.wait()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        events = msgspec.json.decode(body)["data"]
        status = self.answer if isinstance(self.answer, int) else self.answer(events)
        self.requests += 1
        if status < web.HTTPMultipleChoices.status_code:
            self.batches.append(events)
        self._changed.set()
        return web.Response(status=status)


@asynccontextmanager
async def webhook_receiver() -> AsyncIterator[WebhookReceiver]:
    """Listen on a free port while the block lasts."""
    receiver = WebhookReceiver()
    app = web.Application(client_max_size=1 << 28)
    app.router.add_post("/", receiver._take)  # noqa: SLF001 - one thing in two parts
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        await runner.cleanup()
