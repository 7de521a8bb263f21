"""The figures of the hot path, each measured against its yardstick, A B A B."""

from collections.abc import Callable, Iterator

from bench.load import (
    Load,
    Measured,
    batch_unwrap_load,
    batch_wrap_load,
    drive,
    post,
    unwrap_load,
    wrap_load,
)
from bench.servers import Server, go_proxy, nginx, proxy
from bench.table import Row

_STATIC_BYTES = 324
"""The size of a leased wrap's answer."""


def _static_body(size: int) -> str:
    return '{"dek":"' + "A" * (size - 10) + '"}'


def _check(measured: Measured) -> Measured:
    if measured.errors:
        raise SystemExit(f"error: {measured.errors} requests failed; the figure would mean nothing")
    return measured


def _rounds(count: int, *runs: Callable[[], Measured]) -> list[tuple[Measured, ...]]:
    return [tuple(_check(run()) for run in runs) for _ in range(count)]


def _middle(rounds: list[tuple[Measured, ...]], which: int) -> Measured:
    ordered = sorted(rounds, key=lambda each: each[which].rps)
    return ordered[len(ordered) // 2][which]


def _against_nginx(name: str, server: Server, load: Load, rounds: int, seconds: float) -> Iterator[Row]:
    size = _STATIC_BYTES if name == "wrap" else 54
    with nginx(_static_body(size)) as yardstick:
        results = _rounds(
            rounds,
            lambda: drive(yardstick, load, seconds=seconds),
            lambda: drive(server, load, seconds=seconds),
        )
        single = _rounds(
            max(3, rounds // 2),
            lambda: drive(yardstick, load, seconds=seconds / 2, connections=1),
            lambda: drive(server, load, seconds=seconds / 2, connections=1),
        )
    theirs, ours = _middle(results, 0), _middle(results, 1)
    raw = f"{ours.rps:,.0f}/s, {ours.cpu_us:.1f} us CPU; nginx {theirs.rps:,.0f}/s, {theirs.cpu_us:.1f} us CPU"
    yield Row(f"leased {name}, requests/s", ">= 0.45 x nginx", 0.45, True, [b.rps / a.rps for a, b in results], raw)
    latency = f"{ours.p99_us:,.0f} us; nginx {theirs.p99_us:,.0f} us"
    yield Row(f"leased {name}, p99", "<= 3 x nginx", 3.0, False, [b.p99_us / a.p99_us for a, b in results], latency)
    alone = f"{_middle(single, 1).p50_us:,.0f} us; nginx {_middle(single, 0).p50_us:,.0f} us"
    ratios = [b.p50_us / a.p50_us for a, b in single]
    yield Row(f"leased {name}, one at a time, p50", "<= 2.5 x nginx", 2.5, False, ratios, alone)


def hot_path(rounds: int, seconds: float) -> Iterator[Row]:
    """Leased wraps and unwraps against nginx and Go, and batches against single requests."""
    with proxy() as server:
        post(server.port, wrap_load())
        yield from _against_nginx("wrap", server, wrap_load(), rounds, seconds)
        yield from _against_nginx("unwrap", server, unwrap_load(server.port), rounds, seconds)
        with go_proxy() as yardstick:
            results = _rounds(
                rounds,
                lambda: drive(yardstick, wrap_load(), seconds=seconds),
                lambda: drive(server, wrap_load(), seconds=seconds),
            )
        raw = f"{_middle(results, 1).rps:,.0f}/s; Go {_middle(results, 0).rps:,.0f}/s"
        yield Row("leased wrap, requests/s", ">= 1.5 x Go", 1.5, True, [b.rps / a.rps for a, b in results], raw)
        yield from _batches(server, rounds, seconds)


def _batches(server: Server, rounds: int, seconds: float) -> Iterator[Row]:
    count = 1_000
    singles = {"wrap": wrap_load(), "unwrap": unwrap_load(server.port)}
    batches = {"wrap": batch_wrap_load(count), "unwrap": batch_unwrap_load(server.port, count)}
    for name, single in singles.items():
        batch = batches[name]
        results = _rounds(
            rounds,
            lambda single=single: drive(server, single, seconds=seconds),  # type: ignore[misc]
            lambda batch=batch: drive(server, batch, seconds=seconds, connections=4),  # type: ignore[misc]
        )
        raw = f"{_middle(results, 1).rps * count:,.0f} DEKs/s; single {_middle(results, 0).rps:,.0f}/s"
        ratios = [b.rps * count / a.rps for a, b in results]
        yield Row(f"batch-{name} of 1,000, DEKs/s", ">= 3 x single", 3.0, True, ratios, raw)


def workers(rounds: int, seconds: float) -> Iterator[Row]:
    """Two workers against one, with the load generator's share of the cores allowed for.

    The load takes the CPU that a second worker wants, so what is compared is how many requests each serves for a second
    of CPU of its own, its supervisor included: that is what it would serve on cores that it has to itself.
    """
    with proxy(core=None, TSP_WORKERS="1") as one, proxy(core=None, TSP_WORKERS="2") as two:
        for server in (one, two):
            drive(server, wrap_load(), seconds=1, core=None)
        results = _rounds(
            rounds,
            lambda: drive(one, wrap_load(), seconds=seconds, core=None),
            lambda: drive(two, wrap_load(), seconds=seconds, core=None),
        )
    alone, pair = _middle(results, 0), _middle(results, 1)
    raw = f"{pair.cpu_us:.1f} us CPU; one worker {alone.cpu_us:.1f} us; {pair.rps:,.0f}/s beside the load on two cores"
    ratios = [2 * first.cpu_us / second.cpu_us for first, second in results]
    yield Row("two workers on two cores of their own", ">= 1.7 x one", 1.7, True, ratios, raw)
