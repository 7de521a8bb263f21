"""How a vendor's side rotates a segment: it reads the wraps that are out of date, and hands in new ones."""

from typing import Annotated

from litestar import Controller, get, put
from litestar.params import FromPath, JSONBody, QueryParameter

from tenant_security.broker import rewrapping
from tenant_security.broker.access import asked_by
from tenant_security.broker.http import Asked, GivenBroker, caller_of
from tenant_security.wire import broker_api as api
from tenant_security.wire.key_scopes import Scope


class RotationApi(Controller):
    """The endpoints of a segment's rotation."""

    path = "/api/1/vendors/{vendor:str}/config-wraps"
    tags = ("vendor",)

    @get("/", security=asked_by(Scope.KEYS_WRITE, session=False))
    async def outdated(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        segment: Annotated[int, QueryParameter(ge=1)],
        after: Annotated[int, QueryParameter(ge=0)] = 0,
        limit: Annotated[int, QueryParameter(ge=1, le=500)] = 200,
    ) -> api.OutdatedWraps:
        """List configs that are wrapped to an older epoch of a segment."""
        caller = await caller_of(request, broker, vendor)
        caller.require(Scope.KEYS_WRITE, vendor)
        async with broker.database.read() as connection:
            return await rewrapping.outdated(connection, vendor, segment, after=after, limit=limit)

    @put("/", status_code=204, security=asked_by(Scope.KEYS_WRITE, session=False))
    async def replace(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[api.NewWraps]
    ) -> None:
        """Keep new wraps."""
        caller = await caller_of(request, broker, vendor)
        caller.require(Scope.KEYS_WRITE, vendor)
        async with broker.change(caller) as change:
            await rewrapping.replace(change, data.wraps)
