"""Figures of the logdriver: events made safe on disk, and events delivered. Absolute: events a second on one core."""

import asyncio
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from bench.table import Row
from tenant_security.logdriver.dead_letters import DeadLetters
from tenant_security.logdriver.delivery import Deliverer, Delivery, OpenSink, Pace
from tenant_security.logdriver.lane import STDOUT, LaneKey
from tenant_security.logdriver.observed import LogdriverMetrics
from tenant_security.logdriver.room import Room
from tenant_security.logdriver.spool import Spool
from tenant_security.outbound.driver import Outbound
from tenant_security.service.metrics import Metrics
from tenant_security.service.run import Background
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sink import SinkContext
from tenant_security.wire.events import EventRecord, Operation, native_json
from tenant_security.wire.proxy_api import IclFields
from tenant_security.wire.sink_configs import decode_sink_config
from tenant_security.wire.stored_events import Incoming, read_incoming

_TENANTS = 100
_GROUP = 1_000
_PROXIES = 8


def _events(count: int) -> list[Incoming]:
    made = []
    for serial in range(count):
        fields = IclFields("user-7", data_label="PII", source_ip="192.0.2.7", object_id=f"doc-{serial}")
        operation = Operation("success", kms_config_id=511, kms_config_version=7, leased=True)
        record = EventRecord(
            serial,
            serial,
            1_795_512_600_000,
            "DEK_UNWRAP",
            f"tenant-{serial % _TENANTS}",
            "00000000000000ab",
            "44ec5abb00000008",
            fields,
            {"team": "a"},
            operation,
        )
        event = read_incoming(native_json(record))
        assert event is not None
        made.append(event)
    return made


def _spool(folder: Path) -> Spool:
    spool = Spool(folder / "spool", Room())
    spool.open()
    spool.add_lane(STDOUT, 0, first=False)
    tenants = [f"tenant-{number}" for number in range(_TENANTS)]
    spool.route({tenant: (spool.add_lane(LaneKey(tenant, 1), 0, first=True),) for tenant in tenants})
    return spool


async def _durable(events: Sequence[Incoming]) -> float:
    """Store events in groups as leased batches come; return how many a second of this process's CPU time and wait."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        spool = _spool(Path(folder))
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(spool.run())
            began = time.perf_counter()
            for start in range(0, len(events), _PROXIES * _GROUP):
                await asyncio.gather(
                    *(spool.store(events[at : at + _GROUP]) for at in range(start, start + _PROXIES * _GROUP, _GROUP))
                )
            took = time.perf_counter() - began
            writing.cancel()
        spool.close()
    return len(events) / took


class _Rate(NamedTuple):
    """Events a second: of this process's CPU time, and as the clock on the wall says."""

    cpu: float
    wall: float


async def _delivered(events: Sequence[Incoming], port: int) -> _Rate:
    """Store events and deliver them as webhooks to a receiver in another process."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        async with Outbound() as outbound, asyncio.TaskGroup() as group:
            background = Background(group)
            secret = base64.b64encode(bytes(32)).decode()
            config = {"type": "WEBHOOK", "version": 1, "url": f"http://127.0.0.1:{port}/", "signingSecret": secret}
            sink = open_sink(decode_sink_config(msgspec.json.encode(config)), SinkContext(now=_now, tenant_id="tenant"))
            spool, metrics = _spool(Path(folder)), LogdriverMetrics(Metrics())
            dead, log = DeadLetters(Path(folder), spool.disk), structlog.get_logger()
            deliverer = Deliverer(spool, dead, outbound, background, metrics, lambda _lane: OpenSink(sink), log)
            delivery = Delivery(deliverer, Pace(collect_s=0.5))
            spool.on_waiting = delivery.wake
            background.start(spool.run())
            began, cpu = time.perf_counter(), time.process_time()
            for start in range(0, len(events), _GROUP):
                await spool.store(events[start : start + _GROUP])
            while metrics.delivered.value("webhook") < len(events):
                await asyncio.sleep(0.01)
            rate = _Rate(
                len(events) / (time.process_time() - cpu),
                len(events) / (time.perf_counter() - began),
            )
            background.cancel()
        spool.close()
    return rate


def _now() -> datetime:
    return datetime.now(UTC)


def events(rounds: int, _seconds: int) -> Iterator[Row]:
    """Events made safe, and events delivered, a second."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    many = _events(200_000)
    durable = [asyncio.run(_durable(many)) / 1000 for _ in range(rounds)]
    detail = f"{_PROXIES} proxies, batches of {_GROUP:,}, synced; {_TENANTS} tenants; {len(many[0].line)} bytes each"
    yield Row("logdriver: events durable on disk", ">= 100 k/s", 100, True, durable, detail, "k/s")
    some = many[:100_000]
    with subprocess.Popen([sys.executable, "-m", "bench.siem"], stdout=subprocess.PIPE) as siem:
        assert siem.stdout is not None
        port = int(siem.stdout.readline())
        try:
            rates = [asyncio.run(_delivered(some, port)) for _ in range(rounds)]
        finally:
            siem.kill()
    wall = statistics.median(each.wall for each in rates) / 1000
    detail = f"stored and sent as webhooks of up to {_GROUP:,}; a second of its CPU time; on the wall {wall:.1f} k/s"
    yield Row("logdriver: events delivered", ">= 20 k/s", 20, True, [each.cpu / 1000 for each in rates], detail, "k/s")
