"""Ten minutes of leased wraps at full load: memory must stay flat. Run as ``python -m bench.soak [--minutes 10]``."""

import argparse
import sys
import time

from bench.load import drive, post, unwrap_load, wrap_load
from bench.servers import proxy

_TOLERANCE = 0.05


def main() -> None:
    """Run and print the memory once a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with proxy(TSP_SEND_HIGH_WATER_MARK="5000", TSP_EVENT_LOG_CHANNEL_SIZE="5000") as server:
        post(server.port, wrap_load())
        loads = [wrap_load(), unwrap_load(server.port)]
        drive(server, loads[0], seconds=10)
        first = last = server.rss_mb()
        served, began = 0.0, time.monotonic()
        while time.monotonic() - began < minutes * 60:
            for load in loads:
                measured = drive(server, load, seconds=15)
                served += measured.rps * 15
                if measured.errors:
                    sys.exit(f"error: {measured.errors} requests failed")
            last = server.rss_mb()
            print(
                f"{(time.monotonic() - began) / 60:5.1f} min  {served:14,.0f} requests  RSS {last:6.1f} MB", flush=True
            )
    grown = last / first - 1
    verdict = "flat" if abs(grown) <= _TOLERANCE else "NOT flat"
    print(
        f"{verdict}: {first:.1f} MB after the warm-up, {last:.1f} MB at the end ({grown:+.1%}), {served:,.0f} requests"
    )


if __name__ == "__main__":
    main()
