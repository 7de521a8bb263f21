"""Figures of memory, start and refresh. They are absolute: bytes and seconds, not ratios."""

import base64
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.servers import API_KEY, Server, metric_of, proxy, proxy_of
from bench.table import Row
from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.secret import Secret
from tenant_security.wire.service_env import parse_env, render_env

_KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-{:012d}"


def _aws_config(number: int) -> bytes:
    secret = base64.b64encode(os.urandom(30)).decode("ascii")
    return json.dumps(
        {
            "type": "AWS",
            "version": 1,
            "credentials": {"accessKeyId": f"AKIA{number:016d}", "secretAccessKey": secret},
            "keyPath": {"keyID": _KEY_ARN.format(number), "region": "eu-central-1"},
        }
    ).encode()


class ManyTenants:
    """A vendor with many tenants, each with one AWS config, and the settings of a proxy that serves them."""

    def __init__(self, folder: Path, count: int) -> None:
        self.vendor = Vendor.create(folder / "vendor", "bench")
        env = folder / "service.env"
        env.write_text(render_env(self.vendor.add_identity("bench-proxy"), Secret(API_KEY)))
        self.snapshot = folder / "snapshot.jsonl"
        self.roster = Roster(self.vendor)
        for number in range(count):
            self.put(number)
        self.write()
        self.environ = parse_env(env.read_text()) | {
            "TSP_SNAPSHOT_FILE": str(self.snapshot),
            "TSP_TENANT_SECRETS_FILE": str(folder / "tenant-secrets.sqlite"),
        }

    def put(self, number: int) -> None:
        """Set a tenant, with new credentials."""
        config = 1_000 + number
        uses = [assign(config, primary=True, leasing=True)]
        self.roster.put_tenant(f"tenant-{number:06d}", uses, configs={config: _aws_config(number)})

    def write(self) -> None:
        """Publish."""
        write_snapshot(self.vendor, self.snapshot, self.roster)


def _start(tenants: ManyTenants, work: list[float]) -> Iterator[Server]:
    began = time.perf_counter()
    with proxy_of(tenants.environ, core=None) as server:
        work.append(time.perf_counter() - began)
        yield server


def _lag_over(server: Server, bound: str) -> float:
    """How many times the event loop was later than a bucket's bound."""
    count = metric_of(server, "tsp_event_loop_lag_seconds_count")
    return count - metric_of(server, rf'tsp_event_loop_lag_seconds_bucket\{{le="{bound}"\}}')


def memory(rounds: int, _seconds: int) -> Iterator[Row]:
    """Resident memory idle and per tenant, time to ready, and what a refresh does to the event loop."""
    with proxy(core=None) as server:
        yield Row("RSS, idle, all providers loaded", "<= 100 MB", 100, False, [server.rss_mb()], "", "MB")
        idle_mb = server.rss_mb()
    with tempfile.TemporaryDirectory() as folder:
        tenants, starts = ManyTenants(Path(folder), 10_000), list[float]()
        for _ in range(max(3, rounds // 2)):
            for _server in _start(tenants, starts):
                pass
        yield Row("ready after start, 10,000 tenants", "<= 3 s", 3, False, starts, "from a sealed file", "s")
    with tempfile.TemporaryDirectory() as folder:
        tenants, starts = ManyTenants(Path(folder), 100_000), []
        for server in _start(tenants, starts):
            per_tenant = (server.rss_mb() - idle_mb) / 100
            yield Row(
                "memory per tenant, 100,000 tenants", "<= 3 KB", 3, False, [per_tenant], "one AWS config each", "KB"
            )
            yield from _refreshes(server, tenants, starts[0])


def _refreshes(server: Server, tenants: ManyTenants, start_s: float) -> Iterator[Row]:
    def refresh() -> float:
        before = _lag_over(server, "0.05")
        version = metric_of(server, "tsp_directory_version")
        good = metric_of(server, r'tsp_directory_refreshes_total\{outcome="good"\}')
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 120
        while (
            metric_of(server, r'tsp_directory_refreshes_total\{outcome="good"\}') == good
            and time.monotonic() < deadline
        ):
            time.sleep(0.5)
        assert metric_of(server, "tsp_directory_version") >= version
        return _lag_over(server, "0.05") - before

    detail = f"100,000 tenants; first load {start_s:.1f} s"
    yield Row("refresh, nothing changed: stalls over 50 ms", "0", 0, False, [refresh()], detail, "stalls")
    for number in range(50):
        tenants.put(number)
    tenants.write()
    yield Row("refresh, 50 tenants changed: stalls over 50 ms", "0", 0, False, [refresh()], detail, "stalls")
    grown = server.rss_mb()
    yield Row("RSS after both refreshes", "<= 450 MB", 450, False, [grown], "100,000 tenants", "MB")
