"""A vendor's name and API keys; a tenant's newest keys, and changes of it that wait for a second person."""

from typing import Annotated, Any

import sqlalchemy as sa
from litestar import Controller, Response, delete, get, patch, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from tenant_security.broker import approvals, decisions, schema, tags
from tenant_security.broker.access import allow, asked_by
from tenant_security.broker.callers import Caller, Right
from tenant_security.broker.http import Asked, Broker, GivenBroker
from tenant_security.broker.people import api_keys, memberships
from tenant_security.broker.people.organisations import Organisation, organisation
from tenant_security.broker.refusals import ForbiddenError, NotFoundError
from tenant_security.broker.trusted import vendor_trust
from tenant_security.wire import people_api as api
from tenant_security.wire.key_scopes import Scope


class OrganisationApi(Controller):
    """The endpoints of an organisation that are not about its people."""

    path = "/api/1/vendors/{vendor:str}"
    tags = ("organisation",)

    # -- the vendor --------------------------------------------------------------------------------------------------

    @get("/", security=asked_by(Scope.VENDOR_READ))
    async def about(self, request: Asked, broker: GivenBroker, vendor: FromPath[str]) -> api.VendorAbout:
        """Describe the vendor."""
        await allow(request, broker, Scope.VENDOR_READ, vendor)
        return await _about(broker, vendor)

    @patch("/", security=asked_by(Scope.VENDOR_WRITE))
    async def update(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[api.VendorUpdate]
    ) -> api.VendorAbout:
        """Change what needs no signature."""
        caller = await allow(request, broker, Scope.VENDOR_WRITE, vendor)
        said = {"name": data.name, "leasing_required_default": data.leasing_required_default}
        values = {name: value for name, value in said.items() if value is not None}
        async with broker.change(caller) as change:
            if values:
                mine = schema.vendors.c.id == vendor
                await change.connection.execute(schema.vendors.update().where(mine).values(**values))
            await change.record("vendor.update", vendor, detail=values)
        return await _about(broker, vendor)

    @get("/api-keys", security=asked_by())
    async def list_keys(self, request: Asked, broker: GivenBroker, vendor: FromPath[str]) -> list[api.ApiKeyLine]:
        """List API keys."""
        await allow(request, broker, Right.PEOPLE, vendor)
        async with broker.database.read() as connection:
            return await api_keys.lines(connection, vendor)

    @post("/api-keys", security=asked_by())
    async def make_key(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[api.NewApiKey]
    ) -> api.ApiKeyMade:
        """Make an API key; it is shown once."""
        caller = await allow(request, broker, Right.PEOPLE, vendor)
        async with broker.change(caller) as change:
            return await api_keys.make(change, caller, data)

    @delete("/api-keys/{key:str}", security=asked_by())
    async def revoke_key(self, request: Asked, broker: GivenBroker, vendor: FromPath[str], key: FromPath[str]) -> None:
        """Revoke an API key."""
        caller = await allow(request, broker, Right.PEOPLE, vendor)
        async with broker.change(caller) as change:
            await api_keys.revoke(change, key)

    # -- a tenant's keys ---------------------------------------------------------------------------------------------

    @get("/tenants/{tenant:str}/trust", security=asked_by(Scope.VENDOR_READ))
    async def trust(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str]
    ) -> api.TenantTrust:
        """Send the newest keys, and which segments serve the tenant."""
        await allow(request, broker, Scope.VENDOR_READ, vendor, tenant)
        async with broker.database.read() as connection:
            where = await organisation(connection, vendor, tenant)
            trust = await vendor_trust(connection, vendor)
            texts = await tags.tag_texts(connection, where.tenant)
        segments = tuple(segment.id for segment in trust.segments_for(texts))
        return api.TenantTrust(trust.root_signed, trust.manifest_signed, segments)

    # -- a second person ---------------------------------------------------------------------------------------------

    @get("/tenants/{tenant:str}/approval-rule", security=asked_by(Scope.DOCUMENTS_READ))
    async def rule(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str]
    ) -> api.ApprovalRule:
        """Say whether changes wait for a second person."""
        await allow(request, broker, Scope.DOCUMENTS_READ, vendor, tenant)
        async with broker.database.read() as connection:
            where = await organisation(connection, vendor, tenant)
            return api.ApprovalRule(await approvals.is_required(connection, where.tenant))

    @put("/tenants/{tenant:str}/approval-rule", security=asked_by())
    async def put_rule(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        data: JSONBody[api.ApprovalRule],
    ) -> Response[api.Waits | None]:
        """Let changes wait; or ask, and wait, for an end of that."""
        caller = await allow(request, broker, Right.PEOPLE, vendor, tenant)
        async with broker.change(caller) as change:
            where = await _own(change.connection, caller, vendor, tenant)
            if data.required:
                await approvals.require(change, where.tenant, tenant)
                return Response(None, status_code=204)
            if not await approvals.is_required(change.connection, where.tenant):
                await change.record("approval-rule.keep", tenant, tenant=tenant)
                return Response(None, status_code=204)
            held = await approvals.hold(
                change, where.tenant, tenant, kind="rule", what=data, summary="no second person any more"
            )
        return Response(api.Waits(held.id, held.expires_ms), status_code=202)

    @get("/tenants/{tenant:str}/approvals", security=asked_by(Scope.DOCUMENTS_READ))
    async def list_approvals(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        wanted: Annotated[approvals.State | None, QueryParameter(name="state")] = None,
    ) -> list[api.ApprovalLine]:
        """List changes that wait or waited."""
        await allow(request, broker, Scope.DOCUMENTS_READ, vendor, tenant)
        async with broker.database.read() as connection:
            where = await organisation(connection, vendor, tenant)
            return await approvals.lines(connection, vendor, where.tenant, broker.now_ms(), wanted)

    @get("/tenants/{tenant:str}/approvals/{approval:str}", security=asked_by(Scope.DOCUMENTS_READ))
    async def approval(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        approval: FromPath[str],
    ) -> api.ApprovalLine:
        """Send a change that waits or waited, with what was handed in."""
        await allow(request, broker, Scope.DOCUMENTS_READ, vendor, tenant)
        async with broker.database.read() as connection:
            where = await organisation(connection, vendor, tenant)
            row = await approvals.find(connection, vendor, where.tenant, approval)
        return approvals.line(row, broker.now_ms(), whole=True)

    @post(
        "/tenants/{tenant:str}/approvals/{approval:str}/{decision:str}",
        status_code=204,
        security=asked_by(Scope.APPROVALS_DECIDE),
    )
    async def decide(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        approval: FromPath[str],
        decision: FromPath[str],
    ) -> None:
        """Approve or refuse a change that waits: ``decision`` is ``approve`` or ``refuse``."""
        caller = await allow(request, broker, Scope.APPROVALS_DECIDE, vendor, tenant)
        async with broker.change(caller) as change:
            where = await organisation(change.connection, vendor, tenant)
            match decision:
                case "approve":
                    await decisions.approve(change, where, caller, approval)
                case "refuse":
                    await decisions.refuse(change, where, approval)
                case _:
                    raise NotFoundError("a decision is 'approve' or 'refuse'")


async def _own(connection: Any, caller: Caller, vendor: str, tenant: str) -> Organisation:
    """Find a tenant for its own people; the vendor's people decide only while it has none."""
    where = await organisation(connection, vendor, tenant)
    if caller.tenant is None and await memberships.anybody(connection, where):
        raise ForbiddenError(f"only people of tenant {tenant!r} may do this")
    return where


async def _about(broker: Broker, vendor: str) -> api.VendorAbout:
    table = schema.vendors
    async with broker.database.read() as connection:
        row = (await connection.execute(sa.select(table).where(table.c.id == vendor))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no vendor {vendor!r} here")
    return api.VendorAbout(
        id=row.id,
        name=row.name,
        root_fingerprint=row.root_fingerprint,
        leasing_required_default=row.leasing_required_default,
        created=row.created_ms,
        revision=row.revision,
    )
