"""``make bench``: measure every figure, or those named, and print one table."""

import argparse
from pathlib import Path

from rich.progress import track

from bench.rows import hot_path, workers
from bench.rows_client import client
from bench.rows_events import events
from bench.rows_kms import hanging, unleased
from bench.rows_memory import memory
from bench.rows_providers import providers
from bench.rows_sinks import sinks
from bench.table import print_rows, save_rows

GROUPS = {
    "hot-path": hot_path,
    "workers": workers,
    "unleased": unleased,
    "hanging": hanging,
    "memory": memory,
    "providers": providers,
    "client": client,
    "sinks": sinks,
    "events": events,
}


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], help="which groups to measure; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the median counts (default 5)")
    parser.add_argument("--seconds", type=int, default=3, help="length of one measurement (default 3)")
    parser.add_argument("--save", type=Path, help="also write the figures to this JSON file")
    options = parser.parse_args()
    rows = []
    for name in track(options.groups or list(GROUPS), description="Measuring"):
        rows += GROUPS[name](options.rounds, options.seconds)
    print_rows(rows)
    if options.save:
        save_rows(rows, options.save)


if __name__ == "__main__":
    main()
