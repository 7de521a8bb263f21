"""What a vendor sees of its fleet, and what tenants see of their own use: reports, counts, connection tests."""

import asyncio
from typing import Annotated, Final

from litestar import Controller, get, post
from litestar.params import FromPath, FromQuery, QueryParameter

from tenant_security.broker import config_tests, fleet
from tenant_security.broker.access import allow, asked_by
from tenant_security.broker.http import Asked, GivenBroker
from tenant_security.broker.tenants import tenant_row
from tenant_security.wire import broker_api as api
from tenant_security.wire.key_scopes import Scope
from tenant_security.wire.service_api import KMS_BUCKETS_S

_LOOK_S: Final = 0.5
_DAY_MS: Final = 24 * 3_600_000


class FleetApi(Controller):
    """The endpoints of the fleet and of connection tests."""

    path = "/api/1/vendors/{vendor:str}"
    tags = ("fleet",)

    @get("/fleet", security=asked_by(Scope.FLEET_READ))
    async def fleet(self, request: Asked, broker: GivenBroker, vendor: FromPath[str]) -> api.Fleet:
        """List every instance of the vendor's services, with what it last said of itself."""
        await allow(request, broker, Scope.FLEET_READ, vendor)
        async with broker.database.read() as connection:
            return api.Fleet(broker.now_ms(), tuple(await fleet.instances(connection, vendor)))

    @get("/activity", security=asked_by(Scope.FLEET_READ))
    async def activity(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromQuery[str | None] = None,
        since: Annotated[int | None, QueryParameter(ge=0, description="Unix milliseconds; default a day ago.")] = None,
    ) -> api.Activity:
        """Return counts by the hour: of one tenant, or of all together."""
        await allow(request, broker, Scope.FLEET_READ, vendor, tenant)
        since_ms = broker.now_ms() - _DAY_MS if since is None else since
        async with broker.database.read() as connection:
            if tenant is not None:
                await tenant_row(connection, vendor, tenant)
            buckets = await fleet.activity(connection, vendor, tenant, since_ms=since_ms)
        return api.Activity(tenant, fleet.BUCKET_MS, KMS_BUCKETS_S, tuple(buckets))

    @post("/tenants/{tenant:str}/configs/{number:int}/test", status_code=202, security=asked_by(Scope.CONFIGS_TEST))
    async def begin_test(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        number: FromPath[int],
    ) -> api.ConfigTest:
        """Have a config tried by a service that may open it."""
        caller = await allow(request, broker, Scope.CONFIGS_TEST, vendor, tenant)
        async with broker.change(caller) as change:
            test = await config_tests.begin(change, tenant, number)
        broker.published.tell(vendor)
        return test

    @get("/tenants/{tenant:str}/tests/{test:str}", security=asked_by(Scope.CONFIGS_TEST))
    async def read_test(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        test: FromPath[str],
        wait: Annotated[int, QueryParameter(ge=0, le=30, description="How long to wait for the end, seconds.")] = 0,
    ) -> api.ConfigTest:
        """Say how a test stands, as soon as it has ended or the wait is over."""
        await allow(request, broker, Scope.CONFIGS_TEST, vendor, tenant)
        deadline = asyncio.get_running_loop().time() + wait
        while True:
            async with broker.database.read() as connection:
                found = await config_tests.read(connection, vendor, tenant, test, broker.now_ms())
            over = broker.published.stopping or asyncio.get_running_loop().time() >= deadline
            if over or found.state in ("done", "expired"):
                return found
            await asyncio.sleep(_LOOK_S)
