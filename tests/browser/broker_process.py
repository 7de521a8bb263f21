"""The broker as a process of its own, by its settings in the environment. Prints one line of JSON when it serves.

``CLOCK_FILE`` names a file with the milliseconds by which its clock is ahead.
"""

import json
import os
import sys
from pathlib import Path

from tenant_security.broker.app import BrokerDaemon, now_ms
from tenant_security.broker.settings import read_broker_settings
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon


def stepped_ms() -> int:
    """The time, as far ahead as the file says."""
    file = os.environ.get("CLOCK_FILE")
    return now_ms() + (int(Path(file).read_text()) if file else 0)


def main() -> None:
    settings = read_broker_settings(os.environ)
    signals = Signals()
    daemon = BrokerDaemon(settings, configure_logs("broker", settings.log_level), signals, stepped_ms)

    def ready(port: int) -> None:
        sys.stdout.write(json.dumps({"serving": port}) + "\n")
        sys.stdout.flush()

    run_daemon(lambda: daemon.run(ready))


if __name__ == "__main__":
    main()
