"""The real broker, complete, inside the current event loop: SQLite in a directory, real sockets on a free port."""

import asyncio
import io
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from tenant_security.authoring.at_broker import AtBroker, Labels
from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.vendor import Vendor
from tenant_security.broker.app import BrokerDaemon
from tenant_security.broker.settings import read_broker_settings
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow
from tenant_security.secret import Secret
from tenant_security.service.logs import configure_logs
from tenant_security.testing.proxies import API_KEY, TENANTS, NoSignals, Use, local_config, logging_left_alone
from tenant_security.wire import broker_api as api
from tenant_security.wire.service_env import render_env

T = TypeVar("T")

SETUP_TOKEN: Final = "the-kit's-setup-token"
_DEADLINE_S: Final = 60.0
_LIMITS: Final = OutboundLimits(connect_s=10.0, attempt_s=_DEADLINE_S)
"""A test may ask the broker to wait for something."""
_CONFLICT: Final = 409


class RunningBroker:
    """A broker that serves, with one vendor. Made by :func:`running_broker`."""

    def __init__(self, state_dir: Path, outbound: Outbound, url: str) -> None:
        self.state_dir = state_dir
        self.url = url
        self._outbound = outbound
        self.vendor = self._vendor()
        account = BrokerAccount(url, self.vendor.admin, lambda: int(time.time()), lambda: uuid.uuid4().hex)
        self.admin = AtBroker(self.vendor, account)

    def _vendor(self) -> Vendor:
        directory, env = self.state_dir / "vendor", self.state_dir / "service.env"
        if env.exists():
            return Vendor.load(directory)
        vendor = Vendor.create(directory, "kit-vendor")
        env.write_text(render_env(vendor.add_identity("kit-proxy"), Secret(API_KEY)))
        return vendor

    async def run(self, flow: Flow[T]) -> T:
        """Run a talk with the broker."""
        return await self._outbound.run(flow, deadline_s=_DEADLINE_S)

    async def begin(self) -> None:
        """Have the vendor kept, if it is not yet."""
        try:
            await self.run(self.admin.register("Kit", SETUP_TOKEN))
        except BrokerRefusedError as refused:
            if refused.status != _CONFLICT:
                raise

    async def put(self, tenants: Mapping[str, tuple[Use, ...]]) -> None:
        """Make tenants what they should be, with configs of their own of the local KMS."""
        known = {each.id for each in await self.run(self.admin.every("/tenants", api.Tenant))}
        highest = max((use.config for uses in tenants.values() for use in uses), default=0)
        if highest:
            await self.run(self.admin.take_numbers(highest))
        for name, uses in tenants.items():
            if name not in known:
                await self.run(self.admin.ask("POST", "/tenants", api.Tenant, api.NewTenant(name, name)))
            await self.run(self.admin.change(name, self._decide(name, uses), {use.config: Labels() for use in uses}))

    def _decide(self, name: str, uses: tuple[Use, ...]) -> Any:
        def decide(roster: Roster) -> None:
            roster.put_tenant(
                name,
                [assign(use.config, active=use.active, primary=use.primary, leasing=use.leasing) for use in uses],
                configs={use.config: local_config(self.state_dir, use) for use in uses},
            )

        return decide

    async def remove(self, tenant: str) -> None:
        """Remove a tenant: first what it is assigned, then itself."""
        await self.run(self.admin.change(tenant, lambda roster: roster.put_tenant(tenant, [])))
        await self.run(self.admin.ask("DELETE", f"/tenants/{tenant}", type(None)))

    async def revoke(self, identity: str) -> None:
        """Revoke a service, in the vendor's directory and here."""
        self.vendor.revoke_identity(identity)
        await self.run(self.admin.publish_keys())


@asynccontextmanager
async def running_broker(
    state_dir: Path,
    tenants: Mapping[str, tuple[Use, ...]] = TENANTS,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[RunningBroker]:
    """Run a broker while the block lasts, with a vendor, these tenants and the identity ``kit-proxy``.

    Start it again with the same ``state_dir``, and ``BROKER_PORT`` for the same address, and it is the same broker.
    """
    await asyncio.to_thread(state_dir.mkdir, parents=True, exist_ok=True)
    environ = {
        "BROKER_DATABASE_URL": f"sqlite:///{state_dir / 'broker.db'}",
        "BROKER_KEY_FILE": str(state_dir / "broker.key"),
        "BROKER_BIND_ADDRESS": "127.0.0.1",
        "BROKER_PORT": "0",
        "BROKER_OPS_BIND_ADDRESS": "127.0.0.1:0",
        "BROKER_SETUP_TOKEN": SETUP_TOKEN,
        **(settings or {}),
    }
    signals, ports = NoSignals(), asyncio.get_running_loop().create_future()
    with logging_left_alone():
        log = configure_logs("broker", 30, io.BytesIO())
    daemon = BrokerDaemon(read_broker_settings(environ), log, signals)
    async with Outbound(_LIMITS) as outbound, asyncio.TaskGroup() as group:
        group.create_task(daemon.run(ports.set_result))
        broker = RunningBroker(state_dir, outbound, f"http://127.0.0.1:{await ports}")
        try:
            await broker.begin()
            await broker.put(tenants)
            yield broker
        finally:
            signals.stop.set()
            signals.hurry.set()
