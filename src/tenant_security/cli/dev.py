"""``tenant-security dev``: a complete system in one process, through the same code as production.

Shape of the state directory: ``vendor/`` the demo vendor's keys, ``service.env`` the proxy's identity and API key,
``demo-kms.json`` the key of each demo config, ``snapshot.jsonl`` the sealed tenants, ``tenant-secrets.sqlite``.
"""

import asyncio
import base64
import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console

from tenant_security.authoring.keyfiles import KeyFileError, write_whole
from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.demo_kms import LOCAL_ONLY, DemoKms, demo_kms, read_kms_option
from tenant_security.cli.demo_tenants import SECRETS, demo_tenants, provider_of
from tenant_security.crypto.aead import random_bytes
from tenant_security.errors import SettingsError, TenantSecurityError
from tenant_security.kms.local import LocalKmsKey
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.event_feed import acknowledge_events, lease_events
from tenant_security.outbound.flow import UnreachableError, finished
from tenant_security.proxy.app import Proxy
from tenant_security.proxy.listeners import Ports
from tenant_security.proxy.secret_store import Rotation, SecretFile
from tenant_security.proxy.settings import read_proxy_settings
from tenant_security.secret import Secret
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals, run_daemon
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek
from tenant_security.wire.kms.local import LocalKmsConfig
from tenant_security.wire.kms_configs import decode_kms_config
from tenant_security.wire.service_env import parse_env, render_env

_VENDOR: Final = "demo-vendor"
_IDENTITY: Final = "demo-proxy"
_KEY_BYTES: Final = 32
_API_KEY_BYTES: Final = 12
_LEASE_S: Final = 30.0
_FAKES_DIRECTORY: Final = "fake-kms"
_OPTIONS: Final = {
    "TSP_HTTP_BIND_ADDRESS": "--proxy-port (make run PROXY_PORT=...)",
    "TSP_OPS_BIND_ADDRESS": "--ops-port (make run OPS_PORT=...)",
    "TSP_EVENTS_BIND_ADDRESS": "--events-port (make run EVENTS_PORT=...)",
}


class DevOptions(msgspec.Struct, frozen=True):
    """The options of the command, as it documents them."""

    proxy_port: int
    ops_port: int
    events_port: int
    state_dir: str
    host: str
    seed: str
    reset: bool
    kms: str = "local"


def run(options: DevOptions) -> None:
    """Make what is missing in the state directory, then run everything until Ctrl-C. Raises: SettingsError."""
    if os.environ.get("TENANT_SECURITY_ENV", "").lower() == "production":
        raise SettingsError(["TENANT_SECURITY_ENV is production: the development mode does not start there"])
    providers = read_kms_option(options.kms)
    state = _state_of(options)
    if options.reset or providers:
        _empty(state)
    with demo_kms(providers) as kms:
        _run(options, state, kms)


def _run(options: DevOptions, state: Path, kms: DemoKms) -> None:
    environ = prepare(state, options.seed, kms)
    environ |= {
        "TSP_HTTP_BIND_ADDRESS": f"{options.host}:{options.proxy_port}",
        "TSP_OPS_BIND_ADDRESS": f"{options.host}:{options.ops_port}",
        "TSP_EVENTS_BIND_ADDRESS": f"{options.host}:{options.events_port}",
        "TSP_DRAIN_SECONDS": "0",
    }
    # What the environment says wins: development mode is also how one tries a setting out.
    environ |= {name: value for name, value in os.environ.items() if name.startswith(("TSP_", "RUST_LOG", "API_KEY"))}
    settings, credentials = read_proxy_settings(environ)
    log = configure_logs("proxy", settings.log_level)
    console = Console(stderr=True, highlight=False)

    async def main() -> None:
        try:
            proxy = Proxy(settings, credentials, log, Signals(), outbound=kms.outbound)
        except SettingsError as refused:
            raise SettingsError([_in_options(problem) for problem in refused.problems]) from None
        async with asyncio.TaskGroup() as group:
            shown: list[asyncio.Task[None]] = []

            def ready(ports: Ports) -> None:
                _say_hello(console, options, ports, settings.api_key, kms)
                if ports.events is not None:
                    shown.append(group.create_task(_show_events(options.host, ports.events, settings.api_key)))

            await proxy.run(ready)
            for task in shown:
                task.cancel()

    run_daemon(main)


def prepare(state: Path, seed: str, kms: DemoKms = LOCAL_ONLY) -> dict[str, str]:
    """Make the vendor, tenants and identity that are missing; return the proxy's settings."""
    tenants = demo_tenants(seed, kms.configs)
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        configs = _demo_configs(state / "demo-kms.json", [use.config for uses in tenants.values() for use in uses])
        configs |= {
            use.config: kms.configs[provider]
            for tenant, uses in tenants.items()
            if (provider := provider_of(tenant)) in kms.configs
            for use in uses
        }
        environ = _identity(state)
        vendor = Vendor.load(state / "vendor")
        roster = Roster(vendor)
        snapshot = state / "snapshot.jsonl"
        if snapshot.exists():
            roster = Roster.read(vendor, snapshot)
        for tenant, uses in tenants.items():
            roster.put_tenant(
                tenant,
                [assign(use.config, active=use.active, primary=use.primary, leasing=use.leasing) for use in uses],
                configs={use.config: configs[use.config] for use in uses},
            )
        write_snapshot(vendor, snapshot, roster)
        secrets_file = state / "tenant-secrets.sqlite"
        if seed == "conformance":
            _seed_secrets(secrets_file, configs)
    except (KeyFileError, OSError) as broken:
        raise SettingsError([f"the state in {state} cannot be used: {broken}; --reset makes it anew"]) from broken
    return environ | {
        "TSP_SNAPSHOT_FILE": str(snapshot),
        "TSP_TENANT_SECRETS_FILE": str(secrets_file),
        "TSP_ALLOW_LOCAL_KMS": "true",
        "TSP_EGRESS_ALLOW": "127.0.0.0/8,::1",
    }


def _state_of(options: DevOptions) -> Path:
    """Fakes forget their keys when they end: what they wrapped is never kept among what can be opened again."""
    state = Path(options.state_dir).resolve()
    return state / _FAKES_DIRECTORY if read_kms_option(options.kms) else state


def _in_options(problem: str) -> str:
    """Name what this command calls a setting."""
    for name, option in _OPTIONS.items():
        problem = problem.replace(name, option)
    return problem


def _empty(state: Path) -> None:
    """Remove a state directory, but never a directory that holds something else."""
    known = {"vendor", "service.env", "demo-kms.json", "snapshot.jsonl", _FAKES_DIRECTORY}
    if not state.exists():
        return
    names = {each.name for each in state.iterdir()}
    if foreign := sorted(each for each in names - known if not each.startswith("tenant-secrets.sqlite")):
        raise SettingsError([f"{state} holds {foreign[0]!r}, which is not ours; choose another --state-dir"])
    shutil.rmtree(state)


def _identity(state: Path) -> dict[str, str]:
    path = state / "service.env"
    if not path.exists():
        if (state / "vendor").exists():
            shutil.rmtree(state / "vendor")  # left half made by a start that was interrupted
        vendor = Vendor.create(state / "vendor", _VENDOR)
        credentials = vendor.add_identity(_IDENTITY)
        key = Secret(base64.b64encode(random_bytes(_API_KEY_BYTES)).decode("ascii"))
        write_whole(path, [render_env(credentials, key).encode()])
    return parse_env(path.read_text())


def _demo_configs(path: Path, wanted: list[int]) -> dict[int, bytes]:
    keys: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    missing = [str(each) for each in wanted if str(each) not in keys]
    if missing:
        keys |= {each: base64.b64encode(random_bytes(_KEY_BYTES)).decode("ascii") for each in missing}
        write_whole(path, [json.dumps(keys, indent=1).encode()])
    return {each: _local_config(each, keys[str(each)]) for each in wanted}


def _local_config(config_id: int, key: str) -> bytes:
    config: dict[str, Any] = {
        "type": "LOCAL",
        "version": 1,
        "credentials": {"keys": {"1": key}},
        "keyPath": {"keyId": f"demo-{config_id}"},
    }
    return json.dumps(config).encode()


def _seed_secrets(path: Path, configs: dict[int, bytes]) -> None:
    store = SecretFile(path)
    try:
        for each in SECRETS:
            config = decode_kms_config(configs[each.config])
            assert isinstance(config, LocalKmsConfig)
            blob = finished(LocalKmsKey(config).wrap(random_bytes(_KEY_BYTES)))
            wrapped = edek.encode(EncryptedDek(blob, each.config))
            store.put(each.tenant, "deterministic", each.path, wrapped, Rotation(each.rotation))
    finally:
        store.close()


def _say_hello(console: Console, options: DevOptions, ports: Ports, api_key: Secret[str], kms: DemoKms) -> None:
    key = api_key.reveal()
    state = _state_of(options)
    tenants = demo_tenants(options.seed, kms.configs)
    fakes = ", ".join(f"fake-{provider}" for provider in kms.configs) or "local"
    base = f"http://{options.host}:{ports.api}"
    body = '{"tenantId": "tenant-gcp-l", "iclFields": {"requestingId": "me"}, "customFields": {}}'
    console.print(
        f"""
[bold green]The Tenant Security Proxy is ready.[/] Development mode: never for real data.

  API      {base}   (OpenAPI: {base}/openapi.json)
  Ops      http://{options.host}:{ports.ops}/health, /metrics, /live, /ready
  Events   http://{options.host}:{ports.events}
  API key  {key}
  State    {state}   (empty it with --reset)
  KMSs     {fakes}{"   (their keys end with this process)" if kms.configs else ""}
  Tenants  {", ".join(tenants)}

Try it:

  curl -s {base}/api/1/document/wrap -H 'Authorization: cmk {key}' -H 'Content-Type: application/json' \\
    -d '{body}'

Ctrl-C stops it. Security events follow as log lines:
""",
        soft_wrap=True,
    )


async def _show_events(host: str, port: int, api_key: Secret[str]) -> None:
    """Do a logdriver's part until there is one: fetch the events over HTTP and print each as a line."""
    base = f"http://{host}:{port}"
    async with Outbound(OutboundLimits(attempt_s=_LEASE_S, shared_s=_LEASE_S)) as outbound:
        while True:
            try:
                leased = await outbound.run(lease_events(base, api_key), deadline_s=_LEASE_S)
                with suppress(OSError, ValueError):  # nobody reads them: the proxy serves on
                    for event in leased.events:
                        sys.stdout.buffer.write(bytes(event) + b"\n")
                    sys.stdout.buffer.flush()
                if leased.batch is not None:
                    await outbound.run(acknowledge_events(base, api_key, leased), deadline_s=_LEASE_S)
            except (UnreachableError, TenantSecurityError):
                await asyncio.sleep(1)
