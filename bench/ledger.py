"""``python -m bench.ledger``: count a million events from the call to the SIEM, through a hundred kills.

The proxy refuses operations whose event it cannot record, so every call that was answered with success must have its
event in the SIEM. Prints the figures; exits with 1 when an event is lost.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import msgspec

from tenant_security.testing.ledger import Plan, run_ledger


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=100, help="kills of the logdriver, each in the middle of a batch")
    parser.add_argument("--outages", type=int, default=10, help="outages of the SIEM")
    parser.add_argument("--outage-seconds", type=float, default=3.0)
    parser.add_argument("--fills", type=int, default=2, help="outages that last until every disk and queue is full")
    parser.add_argument("--tenants", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--spool-megabytes", type=int, default=64)
    parser.add_argument("--outbox-events", type=int, default=20_000)
    parser.add_argument("--nice", type=int, default=0)
    options = parser.parse_args()
    plan = Plan(
        events=options.events,
        kills=options.kills,
        outages=options.outages,
        outage_s=options.outage_seconds,
        fills=options.fills,
        tenants=options.tenants,
        batch=options.batch,
        nice=options.nice,
        logdriver={"LOGDRIVER_SPOOL_BYTES": str(options.spool_megabytes << 20)},
        proxy={"TSP_SEND_HIGH_WATER_MARK": "0", "TSP_EVENT_LOG_CHANNEL_SIZE": str(options.outbox_events)},
    )
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(run_ledger(Path(folder), plan))
    for name, value in msgspec.structs.asdict(result).items():
        sys.stdout.write(f"{name:14} {value:,}\n" if isinstance(value, int) else f"{name:14} {value:,.0f}\n")
    bound = plan.batch * plan.kills
    sys.stdout.write(f"lost 0: {result.lost == 0}; duplicates of a sink <= {bound:,}: {result.worst_sink <= bound}\n")
    sys.exit(1 if result.lost else 0)


if __name__ == "__main__":
    main()
