"""Sinks: how many events a second are made ready to send, in each format, against Python's own ``json``."""

import base64
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from bench.table import Row
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sink import SinkContext
from tenant_security.wire.events import EventRecord, Operation, native_json
from tenant_security.wire.proxy_api import IclFields
from tenant_security.wire.sink_configs import decode_sink_config

_EVENTS = 1_000
_FORMATS = ("native", "ocsf", "ecs", "cef", "leef")


def _events() -> list[bytes]:
    """A thousand unwraps of a tenant, as a proxy records them."""
    now_ms = round(time.time() * 1000)
    return [
        native_json(
            EventRecord(
                serial,
                serial + 1,
                now_ms + serial,
                "DEK_UNWRAP",
                "tenant-a",
                "8d38a43cd33d3553",
                f"{serial:016x}",
                IclFields(requesting_id=f"user-{serial % 50}", source_ip="203.0.113.9", request_id=f"req-{serial}"),
                {"team": "billing"},
                Operation(outcome="success", kms_config_id=511, kms_config_version=3, leased=True),
            )
        )
        for serial in range(_EVENTS)
    ]


def _rate(work: Callable[[], object], seconds: float) -> float:
    """Events per second."""
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        work()
        done += _EVENTS
    return done / (time.perf_counter() - began)


def sinks(rounds: int, seconds: float) -> Iterator[Row]:
    """Each format: read, filter, render, put into batches. The yardstick reads and writes the same JSON."""
    events = _events()
    context = SinkContext(now=lambda: datetime.now(UTC), tenant_id="tenant-a")
    config = {"type": "SYSLOG", "version": 1, "host": "siem.example", "maxMessageBytes": 65_536}
    for name in _FORMATS:
        sink = open_sink(decode_sink_config(msgspec.json.encode(config | {"format": name})), context)
        yield _row(f"syslog, {name}", lambda sink=sink: sink.encode(events), events, rounds, seconds)
    webhook = {
        "type": "WEBHOOK",
        "version": 1,
        "url": "https://hooks.example/",
        "signingSecret": base64.b64encode(bytes(32)).decode(),
    }
    sink = open_sink(decode_sink_config(msgspec.json.encode(webhook)), context)
    yield _row("webhook, native", lambda: sink.encode(events), events, rounds, seconds)


def _row(name: str, work: Callable[[], object], events: list[bytes], rounds: int, seconds: float) -> Row:
    def yardstick() -> None:
        for line in events:
            json.dumps(json.loads(line))

    results = [(_rate(yardstick, seconds / 4), _rate(work, seconds / 4)) for _ in range(rounds)]
    theirs, ours = sorted(results, key=lambda each: each[1])[rounds // 2]
    raw = f"{ours:,.0f}/s; json {theirs:,.0f}/s"
    ratios = [each[1] / each[0] for each in results]
    return Row(f"sinks: events/s made ready, {name}", ">= 0.25 x json", 0.25, True, ratios, raw)
