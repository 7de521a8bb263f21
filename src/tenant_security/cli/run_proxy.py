"""``tenant-security proxy``: reads the environment, runs the proxy, or a supervisor and its workers."""

import os
import sys
from collections.abc import Mapping

from rich.console import Console

from tenant_security.proxy.settings import ProxySettings, read_proxy_settings, unknown_settings
from tenant_security.proxy.workers import Place, Said, WorkerSignals, place_of, worker_listeners
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon
from tenant_security.wire.service_env import ServiceCredentials


def run(*, check_only: bool, workers: int | None = None) -> None:
    """Run a proxy until it is told to stop. ``workers`` overrides TSP_WORKERS. Raises: SettingsError."""
    environ: Mapping[str, str] = os.environ if workers is None else {**os.environ, "TSP_WORKERS": str(workers)}
    place = place_of(environ)
    for name in unknown_settings(environ) if place is None else ():
        sys.stderr.write(f"warning: {name} is no setting of the proxy; 'tenant-security proxy --settings' lists them\n")
    settings, credentials = read_proxy_settings(environ)
    if check_only:
        Console().print("The settings are valid.")
    elif place is not None:
        _run_worker(place, settings, credentials)
    elif settings.workers > 1:
        _run_supervisor(settings, environ)
    else:
        _run_proxy(settings, credentials)


# What follows imports late: a supervisor needs none of what its workers need.


def _run_proxy(settings: ProxySettings, credentials: ServiceCredentials) -> None:
    from tenant_security.proxy.app import Proxy  # noqa: PLC0415

    log = configure_logs("proxy", settings.log_level)

    async def main() -> None:
        await Proxy(settings, credentials, log, Signals()).run()

    run_daemon(main)


def _run_worker(place: Place, settings: ProxySettings, credentials: ServiceCredentials) -> None:
    from tenant_security.proxy.app import Proxy  # noqa: PLC0415

    log = configure_logs("proxy", settings.log_level, worker=place.number)
    listeners = worker_listeners(place, settings)
    signals = WorkerSignals(place.lifeline, log)

    async def main() -> None:
        proxy = Proxy(settings, credentials, log, signals, listeners)
        signals.tell(Said.OPENED)
        await proxy.run(lambda _ports: signals.tell(Said.READY), lambda: signals.tell(Said.REVOKED))
        signals.tell(Said.DONE, proxy.metrics())

    run_daemon(main)


def _run_supervisor(settings: ProxySettings, environ: Mapping[str, str]) -> None:
    from tenant_security.proxy.supervisor import Supervisor  # noqa: PLC0415

    log = configure_logs("proxy", settings.log_level)

    async def main() -> None:
        await Supervisor(settings, environ, log, Signals()).run()

    run_daemon(main)
