"""The broker as a process of its own, by its settings in the environment. Prints one line of JSON when it serves."""

import json
import os
import sys

from tenant_security.broker.app import BrokerDaemon
from tenant_security.broker.settings import read_broker_settings
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon


def main() -> None:
    settings = read_broker_settings(os.environ)
    signals = Signals()
    daemon = BrokerDaemon(settings, configure_logs("broker", settings.log_level), signals)

    def ready(port: int) -> None:
        sys.stdout.write(json.dumps({"serving": port}) + "\n")
        sys.stdout.flush()

    run_daemon(lambda: daemon.run(ready))


if __name__ == "__main__":
    main()
