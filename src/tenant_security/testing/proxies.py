"""The real proxy, complete, inside the current event loop: sealed snapshot, local KMS, real sockets on free ports."""

import asyncio
import base64
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.crypto.aead import random_bytes
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.event_feed import acknowledge_events, lease_events
from tenant_security.outbound.flow import Request, send
from tenant_security.proxy.app import OpenOutbound, Proxy
from tenant_security.proxy.listeners import Ports
from tenant_security.proxy.settings import read_proxy_settings
from tenant_security.secret import Secret
from tenant_security.service.logs import configure_logs
from tenant_security.service.run import Signals
from tenant_security.wire.event_feed import LeasedEvents, LeaseRequest
from tenant_security.wire.service_env import parse_env, render_env

API_KEY: Final = "0WUaXesNgbTAuLwn"
"""The API key of every proxy of the kit: the one that the published examples use."""

_DEADLINE_S: Final = 60.0
_CAP_BYTES: Final = 256 * 1_048_576
_FREE: Final = "127.0.0.1:0"
_SETTINGS: Final = {
    "TSP_HTTP_BIND_ADDRESS": _FREE,
    "TSP_OPS_BIND_ADDRESS": _FREE,
    "TSP_EVENTS_BIND_ADDRESS": _FREE,
    "TSP_DRAIN_SECONDS": "0",
    "TSP_STOP_SECONDS": "1",
    "TSP_ALLOW_LOCAL_KMS": "true",
    "TSP_EGRESS_ALLOW": "127.0.0.0/8,::1",
    "API_KEY": API_KEY,
}


class Use(NamedTuple):
    """A config of a tenant's own, and what the tenant may do with it.

    ``key`` names the key of the local KMS, which is made when the name is first used; two configs may name the same
    one. ``kms`` is a config of another KMS instead, as an admin writes it down.
    """

    config: int
    primary: bool = True
    active: bool = True
    leasing: bool = False
    key: str = ""
    kms: bytes = b""
    spare: bool = False
    """Whether it wraps new keys too, beside the primary; then ``primary`` is to be false."""


TENANTS: Final[Mapping[str, tuple[Use, ...]]] = {
    "tenant-gcp": (Use(510),),
    "tenant-gcp-l": (Use(511, leasing=True),),
}
"""Who is in a snapshot when a test does not say: one tenant without leasing and one with it."""


class RunningProxy:
    """A proxy that serves. Made by :func:`running_proxy`.

    ``tenants`` is who is in the snapshot now, ``log`` what the proxy has logged so far.
    """

    def __init__(self, state_dir: Path, outbound: Outbound, signals: "NoSignals", log: io.BytesIO) -> None:
        self.state_dir = state_dir
        self.api_key = API_KEY
        self.tenants: dict[str, tuple[Use, ...]] = {}
        self.ports = Ports(0, 0, None)
        self.log = log
        self._outbound = outbound
        self._signals = signals

    @property
    def api_url(self) -> str:
        """Where applications call."""
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def ops_url(self) -> str:
        """Where probes and operators look."""
        return f"http://127.0.0.1:{self.ports.ops}"

    @property
    def events_url(self) -> str:
        """Where logdrivers fetch events."""
        return f"http://127.0.0.1:{self.ports.events}"

    async def post(self, path: str, body: object, *, api_key: str | None = None) -> tuple[int, Any]:
        """Send a request to ``/api/1/<path>`` and return status and decoded body. ``bytes`` are sent as they are."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = (
            ("Authorization", f"cmk {self.api_key if api_key is None else api_key}"),
            ("Content-Type", "application/json"),
        )
        request = Request("POST", f"{self.api_url}/api/1/{path}", headers, raw, cap_bytes=_CAP_BYTES)
        response = await self._outbound.run(send(request), deadline_s=_DEADLINE_S)
        return response.status, msgspec.json.decode(response.body)

    async def call(self, path: str, tenant_id: str, **members: object) -> tuple[int, Any]:
        """Send a request of this tenant, with the members that every request needs."""
        body = {"tenantId": tenant_id, "iclFields": {"requestingId": "kit"}, "customFields": {}}
        return await self.post(path, body | members)

    async def ops(self, path: str) -> tuple[int, bytes]:
        """Ask the ops port, such as for ``/health``."""
        request = Request("GET", self.ops_url + path, cap_bytes=_CAP_BYTES)
        response = await self._outbound.run(send(request), deadline_s=_DEADLINE_S)
        return response.status, response.body

    async def lease_events(self, most: int = 1_000, wait_millis: int = 0) -> LeasedEvents:
        """Lease a batch of events, as a logdriver does."""
        flow = lease_events(self.events_url, Secret(self.api_key), LeaseRequest(most, wait_millis))
        return await self._outbound.run(flow, deadline_s=_DEADLINE_S)

    async def acknowledge_events(self, leased: LeasedEvents) -> None:
        """Say that a batch is safe. Raises: TenantSecurityError when it was too late."""
        flow = acknowledge_events(self.events_url, Secret(self.api_key), leased)
        await self._outbound.run(flow, deadline_s=_DEADLINE_S)

    async def fetch_events(self) -> list[dict[str, Any]]:
        """Fetch and acknowledge every event that waits, decoded."""
        found: list[dict[str, Any]] = []
        while (leased := await self.lease_events()).batch is not None:
            found += [msgspec.json.decode(each) for each in leased.events]
            await self.acknowledge_events(leased)
        return found

    async def reload(self) -> None:
        """Have the snapshot file read again, as at SIGHUP, whatever comes of it."""
        await self._signals.hang_up()

    async def republish(
        self, *, remove: tuple[str, ...] = (), leasing_required: tuple[str, ...] = (), **tenants: tuple[Use, ...]
    ) -> None:
        """Change, add or remove tenants, write the next snapshot, and have it read as at SIGHUP.

        Tenant ids that are no Python names go through ``**{"tenant-gcp": (...)}``.
        Raises: RuntimeError when the proxy refused the snapshot.
        """
        self.tenants |= tenants
        for each in remove:
            self.tenants.pop(each)
        version = await asyncio.to_thread(publish, self.state_dir, self.tenants, leasing_required)
        await self.reload()
        health = msgspec.json.decode((await self.ops("/health"))[1])
        state = next(each["data"] for each in health["checks"] if each["name"] == "tenants")
        if state["snapshotVersion"] != version:
            raise RuntimeError(f"the proxy refused the snapshot: {state['lastError']}")


@asynccontextmanager
async def running_proxy(
    state_dir: Path,
    tenants: Mapping[str, tuple[Use, ...]] = TENANTS,
    settings: Mapping[str, str] | None = None,
    *,
    broker_url: str = "",
    to_kms: OpenOutbound = Outbound,
) -> AsyncIterator[RunningProxy]:
    """Run a proxy while the block lasts; ``settings`` are environment names and override the kit's.

    With ``broker_url`` its tenants come from that broker, where ``state_dir`` holds the identity's ``service.env``.
    ``to_kms`` makes the proxy's way to the KMSs, such as to fakes.

    Start it again with the same ``state_dir`` and it is the same vendor, the same keys and the same tenant secrets in
    a new process's memory.
    """
    environ = await asyncio.to_thread(identity, state_dir)
    if broker_url:
        source = {"CONFIG_BROKER_URL": broker_url}
    else:
        await asyncio.to_thread(publish, state_dir, tenants)
        source = {
            "TSP_SNAPSHOT_FILE": str(state_dir / "snapshot.jsonl"),
            "TSP_TENANT_SECRETS_FILE": str(state_dir / "tenant-secrets.sqlite"),
        }
    environ |= {
        **source,
        **_SETTINGS,
        **(settings or {}),
    }
    read, credentials = read_proxy_settings(environ)
    signals, lines, ready = NoSignals(), io.BytesIO(), asyncio.Event()
    limits = OutboundLimits(connect_s=10.0, attempt_s=_DEADLINE_S)  # a busy machine is no fault of the proxy
    async with Outbound(limits) as outbound, asyncio.TaskGroup() as group:
        running = RunningProxy(state_dir, outbound, signals, lines)
        running.api_key = read.api_key.reveal()
        running.tenants = dict(tenants)

        def on_ready(ports: Ports) -> None:
            running.ports = ports
            ready.set()

        with logging_left_alone():
            log = configure_logs("proxy", read.log_level, lines)
        group.create_task(Proxy(read, credentials, log, signals, outbound=to_kms).run(on_ready))
        await ready.wait()
        failed: Exception | None = None
        try:
            yield running
        except Exception as fault:  # noqa: BLE001 - raised below, once the proxy has stopped in good order
            failed = fault
        finally:
            if running.ports.events is not None:
                await running.fetch_events()  # a proxy that stops waits for its last events to be fetched
            signals.stop.set()
    if failed is not None:
        raise failed


def publish(
    state_dir: Path,
    tenants: Mapping[str, tuple[Use, ...]],
    leasing_required: tuple[str, ...] = (),
    sinks: Mapping[str, Mapping[int, Mapping[str, object]]] | None = None,
) -> int:
    """Write a sealed snapshot of exactly these tenants, with these sink configs, and return its version."""
    vendor, snapshot = Vendor.load(state_dir / "vendor"), state_dir / "snapshot.jsonl"
    roster = Roster.read(vendor, snapshot) if snapshot.exists() else Roster(vendor)
    for gone in roster.tenants.keys() - tenants.keys():
        roster.remove_tenant(gone)
    for tenant_id, uses in tenants.items():
        roster.put_tenant(
            tenant_id,
            [assign(use.config, active=use.active, primary=use.primary, leasing=use.leasing) for use in uses],
            configs={use.config: use.kms or local_config(state_dir, use) for use in uses},
            sinks={number: msgspec.json.encode(each) for number, each in (sinks or {}).get(tenant_id, {}).items()},
            leasing_required=tenant_id in leasing_required,
            spares=tuple(use.config for use in uses if use.spare),
        )
    return write_snapshot(vendor, snapshot, roster).version


def identity(state_dir: Path) -> dict[str, str]:
    """The environment of the kit's service in this directory; vendor and identity are made when they are missing."""
    state_dir.mkdir(parents=True, exist_ok=True)
    path = state_dir / "service.env"
    if not path.exists():
        vendor = Vendor.create(state_dir / "vendor", "kit-vendor")
        path.write_text(render_env(vendor.add_identity("kit-proxy"), Secret(API_KEY)))
    return parse_env(path.read_text())


def local_config(state_dir: Path, use: Use) -> bytes:
    """Describe a config of the local KMS, whose key is kept in the directory."""
    name = use.key or f"key-{use.config}"
    path = state_dir / f"{name}.kms"
    if not path.exists():
        path.write_bytes(random_bytes(32))
    key = base64.b64encode(path.read_bytes()).decode("ascii")
    return msgspec.json.encode(
        {"type": "LOCAL", "version": 1, "credentials": {"keys": {"1": key}}, "keyPath": {"keyId": name}}
    )


class NoSignals(Signals):
    """Leaves the process's signals alone: the test stops and reloads the proxy itself."""

    def __init__(self) -> None:
        super().__init__()
        self._on_hangup: Callable[[], object] | None = None

    def install(self, on_hangup: Callable[[], object] | None = None) -> None:
        """Remember what SIGHUP would do."""
        self._on_hangup = on_hangup

    async def hang_up(self) -> None:
        """Do what SIGHUP does, to its end."""
        assert self._on_hangup is not None
        reading = self._on_hangup()
        assert isinstance(reading, asyncio.Task)
        await reading


@contextmanager
def logging_left_alone() -> Iterator[None]:
    """Put the root logger back as it was: a proxy owns its process's, a test does not."""
    root = logging.getLogger()
    handlers, level, root.handlers = root.handlers, root.level, []
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)
