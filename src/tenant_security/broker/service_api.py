"""What services ask the broker for: snapshots, tenant secrets, and to hear how they are. Every request is signed."""

from collections.abc import Sequence
from typing import Annotated, Any

import sqlalchemy as sa
from litestar import Controller, Response, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from tenant_security.broker import config_tests, fleet, secret_renewals, vendors
from tenant_security.broker.callers import Caller, Right, Role
from tenant_security.broker.http import Asked, Broker, GivenBroker, caller_of
from tenant_security.broker.published import chunks
from tenant_security.broker.refusals import ConflictError, ForbiddenError
from tenant_security.broker.secrets import (
    create_secret,
    require_standing,
    reserve_number,
    stored_secret,
    tenant_secrets,
)
from tenant_security.wire import service_api as api
from tenant_security.wire.broker_api import VendorDocuments

_JSON_LINES = "application/jsonl"


class ServiceApi(Controller):
    """The endpoints of services."""

    path = "/service/1"
    tags = ("services",)

    @get("/snapshot", status_code=200)
    async def snapshot(
        self,
        request: Asked,
        broker: GivenBroker,
        segment: Annotated[int, QueryParameter(ge=1, description="The segment whose tenants to send.")],
        since: Annotated[int | None, QueryParameter(ge=1, description="The version that the service has.")] = None,
        wait: Annotated[
            int,
            QueryParameter(
                ge=0,
                le=api.LONGEST_WAIT_S,
                description="How long to wait for something other than If-None-Match, in seconds.",
            ),
        ] = 0,
        kind: Annotated[api.WorkKind, QueryParameter(description="The kind of work to be told of.")] = "kms",
    ) -> Response[Any]:
        """Send a segment's snapshot: what has changed since a version, or all; 304 while If-None-Match is current."""
        caller = await caller_of(request, broker, None)
        if caller.role is Role.REVOKED:
            broker.published.answers["revoked"] += 1
            line = await broker.published.revocation(caller.vendor, segment)
            return Response(line, media_type=_JSON_LINES, headers={"Cache-Control": "no-store"})
        caller.require(Right.SERVE, caller.vendor)
        _require_segment(caller, segment)
        has = request.headers.get("if-none-match", "").strip('"')
        takes_as = config_tests.taker(caller, kind) or ""
        offer = await broker.published.newer(caller.vendor, segment, has, wait_s=wait, kind=takes_as)
        headers = {"ETag": f'"{offer.tag}"', "Cache-Control": "no-store"}
        if takes_as in offer.work:
            headers[api.WORK_HEADER] = "1"
        if offer.tag == has:
            broker.published.answers["unchanged"] += 1
            return Response(None, status_code=304, headers=headers)
        if since is not None:
            changes = await broker.published.changes(caller.vendor, segment, since)
            if changes is not None:
                broker.published.answers["changes"] += 1
                return Response(changes, media_type=_JSON_LINES, headers=headers)
        path = await broker.published.whole(caller.vendor, segment)
        broker.published.answers["whole"] += 1
        return Stream(chunks(path), media_type=_JSON_LINES, headers=headers)

    @get("/vendor")
    async def vendor(self, request: Asked, broker: GivenBroker) -> VendorDocuments:
        """Send the service's own vendor's keys."""
        caller = await caller_of(request, broker, None)
        caller.require(Right.SERVE, caller.vendor)
        async with broker.database.read() as connection:
            return await vendors.read_documents(connection, caller.vendor)

    @get("/secrets")
    async def secrets(self, request: Asked, broker: GivenBroker, tenant: FromQuery[str]) -> api.StoredSecrets:
        """Send all secrets of a tenant, wrapped as they are."""
        caller = await _service(request, broker)
        async with broker.database.read() as connection:
            rows = await tenant_secrets(connection, caller.vendor, tenant)
        return _stored(rows)

    @post("/secret-numbers", status_code=200)
    async def number(self, request: Asked, broker: GivenBroker) -> api.ReservedNumber:
        """Reserve a number for a new secret: it is bound to it before it is kept."""
        caller = await _service(request, broker)
        secret_renewals.require_proxy(caller)
        async with broker.database.note() as connection:
            return api.ReservedNumber(await reserve_number(connection, caller.vendor))

    @post("/secrets", status_code=200)
    async def create(self, request: Asked, broker: GivenBroker, data: JSONBody[api.NewSecret]) -> api.StoredSecrets:
        """Keep a new secret, and answer with all there are: where somebody was faster, theirs is the current one."""
        caller = await _service(request, broker)
        secret_renewals.require_proxy(caller)
        try:
            async with broker.change(caller) as change:
                offered = api.StoredSecret(
                    id="",
                    number=data.number,
                    type=data.type,
                    path=data.path,
                    fingerprint=data.fingerprint,
                    config=data.config,
                    migration="current",
                    rotation="current",
                    encrypted=data.encrypted,
                    created=0,
                    binding=data.binding,
                )
                await require_standing(change.connection, caller.vendor, data.tenant, offered)
                await create_secret(change, data)
        except ConflictError:
            pass
        async with broker.database.read() as connection:
            rows = await tenant_secrets(connection, caller.vendor, data.tenant)
        return _stored(rows)

    @post("/secret-renewals", status_code=200)
    async def renewals(
        self, request: Asked, broker: GivenBroker, segment: Annotated[int, QueryParameter(ge=1)]
    ) -> api.Renewals:
        """Lend some secrets that wait to be wrapped by their tenants' primaries, or to be bound."""
        caller = await _service(request, broker)
        _require_segment(caller, segment)
        async with broker.database.note() as connection:
            rows = await secret_renewals.lend(connection, caller, segment, broker.now_ms())
        lent = tuple(api.Renewal(row.tenant_id, stored_secret(row)) for row in rows)
        return api.Renewals(lent, secret_renewals.LENT_MS // 1000)

    @put("/secrets/{secret:str}", status_code=204)
    async def renew(
        self, request: Asked, broker: GivenBroker, secret: FromPath[str], data: JSONBody[api.RenewedSecret]
    ) -> None:
        """Take the same secret, wrapped and bound anew."""
        caller = await _service(request, broker)
        secret_renewals.require_proxy(caller)
        async with broker.change(caller) as change:
            await secret_renewals.renew(change, secret, data)

    @post("/secrets/{secret:str}/trouble", status_code=204)
    async def trouble(
        self, request: Asked, broker: GivenBroker, secret: FromPath[str], data: JSONBody[api.RenewalTrouble]
    ) -> None:
        """Hear why a secret could not be renewed."""
        caller = await _service(request, broker)
        async with broker.database.note() as connection:
            await secret_renewals.rest(connection, caller, secret, data, broker.now_ms())

    @post("/status", status_code=204)
    async def status(self, request: Asked, broker: GivenBroker, data: JSONBody[api.Status]) -> None:
        """Hear how a service is, and what happened since its last report."""
        caller = await _service(request, broker)
        async with broker.database.note() as connection:
            await fleet.hear(connection, caller, data, broker.now_ms())

    @post("/work", status_code=200)
    async def take_work(
        self,
        request: Asked,
        broker: GivenBroker,
        segment: Annotated[int, QueryParameter(ge=1)],
        kind: Annotated[api.WorkKind, QueryParameter(description="The kind of config that the service tries.")] = "kms",
    ) -> dict[str, api.Work | None]:
        """Give out what there is to do in a segment, or null."""
        caller = await _service(request, broker)
        _require_segment(caller, segment)
        async with broker.database.note() as connection:
            work = await config_tests.take(connection, caller, segment, kind, broker.now_ms())
        if work is not None:
            broker.published.work_changed(caller.vendor, segment)
        return {"work": work}

    @post("/work/{work:str}", status_code=204)
    async def finish_work(
        self, request: Asked, broker: GivenBroker, work: FromPath[str], data: JSONBody[api.WorkDone]
    ) -> None:
        """Hear what came of it."""
        caller = await _service(request, broker)
        async with broker.database.note() as connection:
            await config_tests.finish(connection, caller, work, data, broker.now_ms())


def _require_segment(caller: Caller, segment: int) -> None:
    if segment not in caller.segments:
        raise ForbiddenError(f"this service is not entitled to segment {segment}; check its tags")


async def _service(request: Asked, broker: Broker) -> Caller:
    caller = await caller_of(request, broker, None)
    caller.require(Right.SERVE, caller.vendor)
    return caller


def _stored(rows: Sequence[sa.Row[Any]]) -> api.StoredSecrets:
    return api.StoredSecrets(tuple(stored_secret(row) for row in rows))
