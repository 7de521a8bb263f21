"""``tenant-security top``: what proxies and logdrivers do now, live in the terminal, from their metrics."""

import asyncio
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tenant_security.cli.explain import fail
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Request, Response, UnreachableError, send

_DEADLINE_S: Final = 3.0
_CAP_BYTES: Final = 16 * 1_048_576
_OK: Final = 200
_LEAST_WIDE: Final = 110

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


class Reading(NamedTuple):
    """One daemon's metrics at one time. ``samples`` is None when it did not answer, and ``why`` says why."""

    at_s: float
    samples: Samples | None
    why: str = ""


class Row(msgspec.Struct, frozen=True):
    """One daemon in the last interval. Units: rates per second, times in seconds."""

    address: str
    state: str
    requests: float | None = None
    errors: float | None = None
    p99_s: float | None = None
    hot: float | None = None
    kms_calls: float | None = None
    kms_p99_s: float | None = None
    tenants: float | None = None
    config_age_s: float | None = None
    events_waiting: float | None = None
    events_lost: float | None = None


def top(*addresses: str, interval: float = 2.0, once: bool = False, json: bool = False) -> None:
    """Show what daemons do now: requests, errors, latency, KMS calls, tenants, events. Ctrl-C ends it.

    Example:  tenant-security top http://proxy-1:9000 http://proxy-2:9000

    Parameters
    ----------
    addresses
        The addresses of health and metrics; default: http://127.0.0.1:9000.
    interval
        Seconds between two looks; rates are over this time.
    once
        Print one table and end.
    json
        Print one JSON array and end.
    """
    wanted = addresses or ("http://127.0.0.1:9000",)
    if interval <= 0:
        fail("the interval must be more than 0 seconds")
    try:
        asyncio.run(_watch(wanted, interval, once=once or json, json=json))
    except KeyboardInterrupt:
        return


async def _watch(addresses: Iterable[str], interval: float, *, once: bool, json: bool) -> None:
    async with Outbound() as outbound:
        before = await _read_all(outbound, addresses)
        await asyncio.sleep(interval)
        if once:
            after = await _read_all(outbound, addresses)
            rows = [row(address, before[address], after[address]) for address in addresses]
            if json:
                sys.stdout.write(msgspec.json.encode(rows).decode() + "\n")
            else:
                console = Console()
                console.width = max(console.width, _LEAST_WIDE)
                console.print(table(rows))
            return
        with Live(console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                after = await _read_all(outbound, addresses)
                live.update(
                    table([row(address, before[address], after[address]) for address in addresses]), refresh=True
                )
                before = after
                await asyncio.sleep(interval)


async def _read_all(outbound: Outbound, addresses: Iterable[str]) -> dict[str, Reading]:
    named = list(addresses)
    return dict(zip(named, await asyncio.gather(*(_read(outbound, each) for each in named)), strict=True))


async def _read(outbound: Outbound, address: str) -> Reading:
    request = Request("GET", address.rstrip("/") + "/metrics", (), b"", _CAP_BYTES, of_operator=True)
    try:
        response: Response = await outbound.run(send(request), deadline_s=_DEADLINE_S)
    except UnreachableError as failure:
        return Reading(time.monotonic(), None, failure.reason.value)
    if response.status != _OK:
        return Reading(time.monotonic(), None, f"HTTP {response.status}")
    return Reading(time.monotonic(), samples_of(response.body.decode("utf-8", "replace")))


def samples_of(text: str) -> Samples:
    """Read Prometheus' text format. What cannot be read counts as nothing."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    except ValueError:
        return {}
    return found


def row(address: str, before: Reading, after: Reading) -> Row:
    """Say what a daemon did between two looks."""
    if after.samples is None:
        return Row(address, after.why)
    now, then = after.samples, before.samples or {}
    seconds = max(1e-9, after.at_s - before.at_s)

    def rate(name: str, **labels: str) -> float:
        return max(0.0, total(now, name, **labels) - total(then, name, **labels)) / seconds

    requests = rate("tsp_requests_total")
    ready = total(now, "tsp_ready") or total(now, "tsl_ready")
    return Row(
        address,
        "ready" if ready else "not ready",
        requests=requests,
        errors=requests - rate("tsp_requests_total", code="ok"),
        p99_s=quantile(now, then, "tsp_request_seconds", 0.99),
        hot=rate("tsp_requests_total", path="fast") / requests if requests else None,
        kms_calls=rate("tsp_kms_calls_total"),
        kms_p99_s=quantile(now, then, "tsp_kms_call_seconds", 0.99),
        tenants=gauge(now, "tsp_directory_tenants"),
        config_age_s=gauge(now, "tsp_directory_age_seconds"),
        events_waiting=gauge(now, "tsp_outbox_events"),
        events_lost=rate("tsp_events_total", outcome="dropped"),
    )


def total(samples: Samples, name: str, **labels: str) -> float:
    """Add up the samples of a name that have these labels."""
    return sum(
        value
        for (sample, own), value in samples.items()
        if sample == name and all((label, wanted) in own for label, wanted in labels.items())
    )


def gauge(samples: Samples, name: str) -> float | None:
    """Return the sum of a gauge, or None where there is none."""
    found = [value for (sample, _), value in samples.items() if sample == name]
    return sum(found) if found else None


def quantile(now: Samples, then: Samples, name: str, q: float) -> float | None:
    """Return the upper end of the bucket in which a quantile of the last interval lies. Units: seconds."""
    counts: defaultdict[float, float] = defaultdict(float)
    for (sample, labels), value in now.items():
        if sample == f"{name}_bucket":
            counts[float(dict(labels)["le"])] += value - then.get((sample, labels), 0.0)
    ends = sorted(counts)
    if not ends or counts[ends[-1]] <= 0:
        return None
    return next(end for end in ends if counts[end] >= q * counts[ends[-1]])


COLUMNS: Final[tuple[tuple[str, Callable[[Row], str]], ...]] = (
    ("req/s", lambda row: number(row.requests)),
    ("err/s", lambda row: number(row.errors, bad=bool(row.errors))),
    ("p99", lambda row: seconds(row.p99_s)),
    ("hot", lambda row: "" if row.hot is None else f"{row.hot:.0%}"),
    ("KMS/s", lambda row: number(row.kms_calls)),
    ("KMS p99", lambda row: seconds(row.kms_p99_s)),
    ("tenants", lambda row: number(row.tenants)),
    ("age", lambda row: seconds(row.config_age_s)),
    ("events", lambda row: number(row.events_waiting)),
    ("lost/s", lambda row: number(row.events_lost, bad=bool(row.events_lost))),
)
"""What stands in the table beside a daemon and its state."""


def table(rows: Sequence[Row]) -> Table:
    """Draw it. A column that says nothing of anybody is left out."""
    drawn = Table(box=box.SIMPLE_HEAD, title=f"tenant-security top   {time.strftime('%H:%M:%S')}", title_justify="left")
    shown = [(title, write) for title, write in COLUMNS if any(write(each) for each in rows)]
    for title in ("daemon", "state"):
        drawn.add_column(title, no_wrap=True)
    for title, _ in shown:
        drawn.add_column(title, justify="right", no_wrap=True)
    for each in rows:
        state = f"[green]{each.state}[/]" if each.state == "ready" else f"[red]{each.state}[/]"
        drawn.add_row(each.address.partition("://")[2], state, *(write(each) for _, write in shown))
    return drawn


def number(value: float | None, *, bad: bool = False) -> str:
    """Write a number as people read it."""
    if value is None:
        return ""
    text = f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"  # noqa: PLR2004
    return f"[red]{text}[/]" if bad else text


def seconds(value: float | None) -> str:
    """Write a time as people read it."""
    if value is None or value < 0:
        return "" if value is None else "never"
    if value == float("inf"):
        return "> 10 s"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:,.0f} s"
