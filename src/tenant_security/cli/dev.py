"""``tenant-security dev``: a complete system in one process, through the same code as production.

Broker, proxy, logdriver and bridge run in one event loop. The demo's configs are sealed and signed here, handed in at
the broker, and fetched by the proxy, as in production; only the KMS is one that lives in the config itself.
"""

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from tenant_security.authoring.keyfiles import KeyFileError
from tenant_security.bridge.app import BridgeDaemon
from tenant_security.bridge.settings import read_bridge_settings
from tenant_security.broker.app import BrokerDaemon
from tenant_security.broker.pages import Pages
from tenant_security.broker.settings import BrokerSettings, read_broker_settings
from tenant_security.cli.demo_kms import DemoKms, demo_kms, read_kms_option
from tenant_security.cli.dev_history import fill_history
from tenant_security.cli.dev_logdriver import demo_logdriver
from tenant_security.cli.dev_owner import invite_owner, let_owner_in
from tenant_security.cli.dev_seed import demo_admin, seed_broker
from tenant_security.cli.dev_state import DEV_SETTINGS, FAKES_DIRECTORY, VENDOR, DevState, empty, open_state
from tenant_security.errors import SettingsError
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.proxy.app import Proxy
from tenant_security.proxy.listeners import Ports
from tenant_security.proxy.settings import read_proxy_settings
from tenant_security.secret import Secret
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon

_REQUEST_S: Final = 30.0
_OPTIONS: Final = {
    "TSP_HTTP_BIND_ADDRESS": "--proxy-port (make run PROXY_PORT=...)",
    "TSP_OPS_BIND_ADDRESS": "--ops-port (make run OPS_PORT=...)",
    "TSP_EVENTS_BIND_ADDRESS": "--events-port (make run EVENTS_PORT=...)",
    "BROKER_PORT": "--broker-port (make run BROKER_PORT=...)",
    "LOGDRIVER_OPS_BIND_ADDRESS": "--logdriver-port (make run LOGDRIVER_PORT=...)",
    "BRIDGE_PORT": "--bridge-port (make run BRIDGE_PORT=...)",
}
_PASSED_ON: Final = ("TSP_", "BROKER_", "LOGDRIVER_", "RUST_LOG", "API_KEY")


class DevOptions(msgspec.Struct, frozen=True):
    """The options of the command, as it documents them."""

    proxy_port: int
    ops_port: int
    events_port: int
    broker_port: int
    bridge_port: int
    logdriver_port: int
    state_dir: str
    host: str
    seed: str
    reset: bool
    kms: str = "local"


class _Addresses(msgspec.Struct):
    """Where everything listens, once it does."""

    broker: str = ""
    bridge: str = ""
    web: str = ""
    """What to say of the web app."""


def run(options: DevOptions) -> None:
    """Make what is missing in the state directory, then run everything until Ctrl-C. Raises: SettingsError."""
    if os.environ.get("TENANT_SECURITY_ENV", "").lower() == "production":
        raise SettingsError(["TENANT_SECURITY_ENV is production: the development mode does not start there"])
    providers = read_kms_option(options.kms)
    directory = Path(options.state_dir).resolve()
    if providers:
        directory /= FAKES_DIRECTORY
    if options.reset or providers:
        empty(directory)
    with demo_kms(providers) as kms:
        try:
            state = open_state(directory, options.seed, kms)
        except (KeyFileError, OSError) as broken:
            raise _unusable(directory, broken) from broken
        run_daemon(lambda: _main(options, state, kms))


async def _main(options: DevOptions, state: DevState, kms: DemoKms) -> None:
    signals, addresses = Signals(), _Addresses()
    given = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    setup_token = secrets.token_urlsafe(24)
    broker_settings = read_broker_settings(
        {
            "BROKER_DATABASE_URL": f"sqlite:///{state.directory / 'broker.db'}",
            "BROKER_KEY_FILE": str(state.directory / "broker.key"),
            "BROKER_BIND_ADDRESS": options.host,
            "BROKER_OPS_BIND_ADDRESS": f"{options.host}:0",
            **given,
            "BROKER_PORT": str(options.broker_port),
            "BROKER_SETUP_TOKEN": setup_token,
        }
    )
    # What the environment says wins: development mode is also how one tries a setting out.
    console = Console(stderr=True, highlight=False)
    with _in_options():
        broker = BrokerDaemon(broker_settings, configure_logs("broker", broker_settings.log_level), signals)
    background: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:
        addresses.broker = f"http://{options.host}:{await _started(group, broker.run, signals)}"
        await _seed(addresses.broker, state, options, setup_token)
        if options.seed == "demo":
            await fill_history(broker_settings.database_url, VENDOR, list(state.tenants))
        addresses.web = await _web(group, background, addresses.broker, state, broker_settings)
        bridge_settings, bridge_identity = read_bridge_settings(
            {
                "BRIDGE_BIND_ADDRESS": options.host,
                **state.bridge,
                "RUST_LOG": given.get("RUST_LOG", ""),
                "API_KEY": os.environ.get("BRIDGE_API_KEY", "") or state.bridge["API_KEY"],
                "BRIDGE_PORT": str(options.bridge_port),
                "CONFIG_BROKER_URL": addresses.broker,
            }
        )
        environ = {
            "TSP_HTTP_BIND_ADDRESS": f"{options.host}:{options.proxy_port}",
            "TSP_OPS_BIND_ADDRESS": f"{options.host}:{options.ops_port}",
            "TSP_EVENTS_BIND_ADDRESS": f"{options.host}:{options.events_port}",
            "TSP_CONFIG_CACHE_DIR": str(state.directory / "config-cache"),
            "TSP_DRAIN_SECONDS": "0",
            **DEV_SETTINGS,
            **state.proxy,
            **given,
            "CONFIG_BROKER_URL": addresses.broker,
        }
        settings, identity = read_proxy_settings(environ)
        with _in_options():
            log = configure_logs("bridge", bridge_settings.log_level)
            bridge = BridgeDaemon(bridge_settings, bridge_identity, log, signals)
            proxy = Proxy(
                settings, identity, configure_logs("proxy", settings.log_level), signals, outbound=kms.outbound
            )
        addresses.bridge = f"http://{options.host}:{await _started(group, bridge.run, signals)}"

        async def deliver(events_port: int) -> None:
            with _in_options():
                logdriver = demo_logdriver(
                    environ,
                    state.directory,
                    signals,
                    host=options.host,
                    events_port=events_port,
                    ops_port=options.logdriver_port,
                )
            await logdriver.run(lambda _port: None)

        def ready(ports: Ports) -> None:
            keys = settings.api_key, bridge_settings.api_key
            console.print(_hello(options.host, ports, addresses, state, kms, keys), soft_wrap=True)
            if ports.events is not None:
                group.create_task(deliver(ports.events))  # it ends by itself when it is told to stop

        try:
            await proxy.run(ready)
        finally:
            signals.stop.set()
        for task in background:
            task.cancel()


async def _started(group: asyncio.TaskGroup, run_it: Callable[[Callable[[int], None]], Any], signals: Signals) -> int:
    """Start a daemon and return its port once it serves."""
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = group.create_task(run_it(port.set_result))
    stopped = asyncio.ensure_future(signals.stop.wait())
    await asyncio.wait([port, task, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not port.done():
        await task
        raise SettingsError(["it was stopped while it started"])
    return port.result()


async def _seed(url: str, state: DevState, options: DevOptions, setup_token: str) -> None:
    async with Outbound(OutboundLimits(attempt_s=_REQUEST_S)) as outbound:

        async def talk(flow: Flow[Any]) -> Any:
            return await outbound.run(flow, deadline_s=_REQUEST_S)

        try:
            await seed_broker(url, state, options.seed, setup_token, talk)
        except BrokerRefusedError as broken:
            raise _unusable(state.directory, broken) from broken
        except UnreachableError as broken:
            raise SettingsError([f"the broker at {url} does not answer: {broken}"]) from broken


async def _web(
    group: asyncio.TaskGroup, background: list[asyncio.Task[None]], url: str, state: DevState, settings: BrokerSettings
) -> str:
    """Say where the web app is: with a link to sign up by, once, or what is missing."""
    if not Pages().built:
        return f"{url}   (the web app is not built: install Node 20.19 or newer with npm, then make run again)"
    outbound = OutboundLimits(attempt_s=_REQUEST_S)
    admin = demo_admin(url, state)
    async with Outbound(outbound) as first:
        link = await invite_owner(admin, partial(first.run, deadline_s=_REQUEST_S), settings.public.origin)
    if link is None:
        return f"{settings.public.origin}   (sign in as you did before)"

    async def wait() -> None:
        async with Outbound(outbound) as later:
            await let_owner_in(admin, partial(later.run, deadline_s=_REQUEST_S))

    background.append(group.create_task(wait()))
    return f"{settings.public.origin}   (open this link once to become its owner)\n           {link}"


def _unusable(directory: Path, broken: Exception) -> SettingsError:
    return SettingsError([f"the state in {directory} cannot be used: {broken}; --reset makes it anew"])


class _in_options:  # noqa: N801 - reads like a function
    """Name in refused settings what this command calls them."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, fault: BaseException | None, _trace: object) -> None:
        if isinstance(fault, SettingsError):
            problems = fault.problems
            for name, option in _OPTIONS.items():
                problems = [problem.replace(name, option) for problem in problems]
            raise SettingsError(problems) from None


def _this_command() -> str:
    """How this command is typed where it was started: by its name, or by where it lies."""
    here, name = Path(sys.argv[0]), "tenant-security"
    return name if here.name != name or shutil.which(name) else os.path.relpath(here)


def _hello(  # noqa: PLR0917 - all that there is to say
    host: str,
    ports: Ports,
    addresses: _Addresses,
    state: DevState,
    kms: DemoKms,
    keys: tuple[Secret[str], Secret[str]],
) -> str:
    key, bridge_key = keys[0].reveal(), keys[1].reveal()
    base = f"http://{host}:{ports.api}"
    body = '{"tenantId": "tenant-gcp-l", "iclFields": {"requestingId": "me"}, "customFields": {}}'
    fakes = ", ".join(f"fake-{provider}" for provider in kms.configs) or "local"
    return f"""
[bold green]The Tenant Security Proxy is ready.[/] Development mode: never for real data.

  API      {base}   (OpenAPI: {base}/openapi.json)
  API key  {key}
  Ops      http://{host}:{ports.ops}/health, /metrics, /live, /ready
  Events   http://{host}:{ports.events}   (where the logdriver fetches them)
  Broker   {addresses.broker}   (where the tenants come from)
  Web app  {addresses.web}
  Bridge   {addresses.bridge}   (the vendor's REST API; its API key: {bridge_key})
  State    {state.directory}   (empty it with --reset)
  KMSs     {fakes}{"   (their keys end with this process)" if kms.configs else ""}
  Tenants  {", ".join(state.tenants)}

Try it:

  curl -s {base}/api/1/document/wrap -H 'Authorization: cmk {key}' -H 'Content-Type: application/json' \\
    -d '{body}'

The vendor's command line works on this broker:

  {_this_command()} tenant list --vendor {state.directory / "vendor"} --broker {addresses.broker}

Ctrl-C stops it. Events of tenants without a sink follow as lines of JSON:
"""
