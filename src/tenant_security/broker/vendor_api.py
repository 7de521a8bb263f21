"""What a vendor's side asks the broker for: its keys, tenants, tags, configs and what tenants are assigned."""

from typing import Annotated, Literal

import sqlalchemy as sa
from litestar import Controller, Response, delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from tenant_security.broker import listings, schema, tags, tenant_documents, tenants, vendor_configs, vendors
from tenant_security.broker.access import allow, asked_by
from tenant_security.broker.http import Asked, Broker, GivenBroker
from tenant_security.broker.listings import Paging
from tenant_security.broker.refusals import NotFoundError
from tenant_security.broker.sealed_configs import read_configs
from tenant_security.wire import broker_api as api
from tenant_security.wire import snapshot as words
from tenant_security.wire.key_scopes import Scope
from tenant_security.wire.people_api import Waits

PageNumber = Annotated[int, QueryParameter(ge=1, description="Which page, from 1.")]
PageSize = Annotated[int, QueryParameter(name="pageSize", ge=1, le=listings.MOST_ON_A_PAGE)]
Ascending = Annotated[Literal["asc", "desc"], QueryParameter(name="sortDirection")]


class VendorApi(Controller):
    """The endpoints of a vendor's admins, command line and bridge."""

    path = "/api/1/vendors/{vendor:str}"
    tags = ("vendor",)

    # -- keys --------------------------------------------------------------------------------------------------------

    @get("/documents", security=asked_by(Scope.VENDOR_READ))
    async def documents(self, request: Asked, broker: GivenBroker, vendor: FromPath[str]) -> api.VendorDocuments:
        """Send the vendor's root, its manifest and the segments' seeds as sealed to each recipient."""
        await allow(request, broker, Scope.VENDOR_READ, vendor)
        async with broker.database.read() as connection:
            return await vendors.read_documents(connection, vendor)

    @put("/documents", status_code=204, security=asked_by(Scope.KEYS_WRITE))
    async def put_documents(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[api.VendorDocuments]
    ) -> None:
        """Keep a newer root or manifest."""
        caller = await allow(request, broker, Scope.KEYS_WRITE, vendor)
        async with broker.change(caller) as change:
            await vendors.put_documents(change, data)

    @put("/heads", status_code=204, security=asked_by(Scope.HEADS_WRITE))
    async def put_head(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[words.Signed]
    ) -> None:
        """Keep a head: the vendor's side vouches for what a segment's snapshot holds now."""
        caller = await allow(request, broker, Scope.HEADS_WRITE, vendor)
        async with broker.change(caller) as change:
            await vendors.put_head(change, data)
        broker.published.tell(vendor)

    @get("/service-accounts", security=asked_by(Scope.FLEET_READ))
    async def service_accounts(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str]
    ) -> list[api.ServiceAccount]:
        """List services, and when they were last heard of."""
        await allow(request, broker, Scope.FLEET_READ, vendor)
        table = schema.service_accounts
        async with broker.database.read() as connection:
            rows = await connection.execute(sa.select(table).where(table.c.vendor == vendor).order_by(table.c.id))
            return [
                api.ServiceAccount(
                    id=row.id,
                    kind=row.kind,
                    config=row.config,
                    fingerprint=row.fingerprint,
                    status=row.status,
                    created=row.created_ms,
                    seen=row.seen_ms,
                    seen_version=row.seen_version,
                    seen_revision=row.seen_revision,
                )
                for row in rows
            ]

    # -- tenants -----------------------------------------------------------------------------------------------------

    @get("/tenants", security=asked_by(Scope.TENANTS_READ))
    async def list_tenants(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        page: PageNumber = 1,
        page_size: PageSize = 10,
        sort: Annotated[Literal["name", "id", "created", "updated"], QueryParameter(name="sortColumn")] = "created",
        direction: Ascending = "desc",
        text: Annotated[str | None, QueryParameter(name="query")] = None,
        status: FromQuery[Literal["accepted", "not-accepted"] | None] = None,
    ) -> api.Page[api.Tenant]:
        """List tenants."""
        await allow(request, broker, Scope.TENANTS_READ, vendor)
        paging = Paging(page, page_size, sort, direction == "desc")
        async with broker.database.read() as connection:
            return await listings.tenants(connection, vendor, paging, query=text, status=status)

    @post("/tenants", security=asked_by(Scope.TENANTS_WRITE))
    async def create_tenant(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[api.NewTenant]
    ) -> api.Tenant:
        """Make a tenant."""
        caller = await allow(request, broker, Scope.TENANTS_WRITE, vendor, data.id)
        async with broker.change(caller) as change:
            wanted = data.tags
            if wanted is None:
                default = await tags.default_tag(change.connection, vendor)
                wanted = () if default is None else (default,)
            await tenants.create_tenant(
                change, data.id, data.name, tags=frozenset(wanted), leasing_required=data.leasing_required
            )
        return await _tenant(broker, vendor, data.id)

    @get("/tenants/{tenant:str}", security=asked_by(Scope.TENANTS_READ))
    async def get_tenant(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str]
    ) -> api.Tenant:
        """Describe a tenant."""
        await allow(request, broker, Scope.TENANTS_READ, vendor, tenant)
        return await _tenant(broker, vendor, tenant)

    @patch("/tenants/{tenant:str}", security=asked_by(Scope.TENANTS_WRITE))
    async def update_tenant(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        data: JSONBody[api.TenantUpdate],
    ) -> api.Tenant:
        """Change what needs no signature."""
        caller = await allow(request, broker, Scope.TENANTS_WRITE, vendor, tenant)
        async with broker.change(caller) as change:
            await tenants.update_tenant(
                change,
                tenant,
                name=data.name,
                leasing_required=data.leasing_required,
                add_tags=frozenset(data.tag_additions),
                remove_tags=frozenset(data.tag_removals),
            )
        return await _tenant(broker, vendor, tenant)

    @delete("/tenants/{tenant:str}", security=asked_by(Scope.TENANTS_REMOVE))
    async def remove_tenant(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str]
    ) -> None:
        """Sever a tenant from the vendor."""
        caller = await allow(request, broker, Scope.TENANTS_REMOVE, vendor, tenant)
        async with broker.change(caller) as change:
            await tenants.remove_tenant(change, tenant)

    @get("/tenants/{tenant:str}/documents", security=asked_by(Scope.DOCUMENTS_READ))
    async def tenant_documents(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromPath[str]
    ) -> api.TenantDocuments:
        """Send what was signed for a tenant, to whoever makes the next version."""
        await allow(request, broker, Scope.DOCUMENTS_READ, vendor, tenant)
        async with broker.database.read() as connection:
            return await tenant_documents.read_tenant(connection, vendor, tenant)

    @put("/tenants/{tenant:str}/documents", security=asked_by(Scope.DOCUMENTS_WRITE))
    async def put_tenant(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        data: JSONBody[api.TenantChange],
    ) -> Response[Waits | None]:
        """Make a tenant's next version: record, configs and authors, all or nothing; or let it wait."""
        caller = await allow(request, broker, Scope.DOCUMENTS_WRITE, vendor, tenant)
        async with broker.change(caller) as change:
            held = await tenant_documents.put_tenant(change, tenant, data)
        if held is None:
            return Response(None, status_code=204)
        return Response(Waits(held.id, held.expires_ms), status_code=202)

    @get("/tenants/{tenant:str}/assignments", security=asked_by(Scope.CONFIGS_READ))
    async def tenant_assignments(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        page: PageNumber = 1,
        page_size: PageSize = 10,
        sort: Annotated[
            Literal["active", "primary", "created", "updated"], QueryParameter(name="sortColumn")
        ] = "created",
        direction: Ascending = "desc",
        status: FromQuery[Literal["active", "disabled", "primary"] | None] = None,
        text: Annotated[str | None, QueryParameter(name="query")] = None,
        config: FromQuery[int | None] = None,
    ) -> api.Page[api.Assignment]:
        """List what a tenant is assigned."""
        await allow(request, broker, Scope.CONFIGS_READ, vendor, tenant)
        async with broker.database.read() as connection:
            row = await tenants.tenant_row(connection, vendor, tenant)
            paging = Paging(page, page_size, sort, direction == "desc")
            return await listings.assignments(
                connection, vendor, paging, tenant_number=row.number, config=config, status=status, query=text
            )

    @get("/tenants/{tenant:str}/configs", security=asked_by(Scope.CONFIGS_READ))
    async def tenant_configs(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        page: PageNumber = 1,
        page_size: PageSize = 100,
    ) -> api.Page[api.Config]:
        """List a tenant's own configs."""
        await allow(request, broker, Scope.CONFIGS_READ, vendor, tenant)
        async with broker.database.read() as connection:
            row = await tenants.tenant_row(connection, vendor, tenant)
            return await listings.configs(connection, vendor, Paging(page, page_size), owner=row.number)

    # -- tags --------------------------------------------------------------------------------------------------------

    @get("/tags", security=asked_by(Scope.TENANTS_READ))
    async def list_tags(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        page: PageNumber = 1,
        page_size: PageSize = 10,
        direction: Ascending = "desc",
        text: FromQuery[str | None] = None,
    ) -> api.Page[api.Tag]:
        """List tags."""
        await allow(request, broker, Scope.TENANTS_READ, vendor)
        async with broker.database.read() as connection:
            paging = Paging(page, page_size, "created", direction == "desc")
            return await listings.tags(connection, vendor, paging, text=text)

    @post("/tags", security=asked_by(Scope.TENANTS_WRITE))
    async def create_tag(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[api.NewTag]
    ) -> api.Tag:
        """Make a tag."""
        caller = await allow(request, broker, Scope.TENANTS_WRITE, vendor)
        async with broker.change(caller) as change:
            made = await tags.create_tag(change, data.text)
        async with broker.database.read() as connection:
            return (await listings.tags(connection, vendor, Paging(size=1), number=made)).result[0]

    # -- the vendor's own configs ------------------------------------------------------------------------------------

    @post("/config-numbers", security=asked_by(Scope.DOCUMENTS_WRITE, Scope.KEYS_WRITE))
    async def reserve(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromQuery[str | None] = None,
        through: Annotated[int | None, QueryParameter(ge=1, le=2**30, description="Take all up to this one.")] = None,
    ) -> dict[str, int]:
        """Take a number for a config that is about to be sealed. A tenant's people name their tenant."""
        caller = await allow(
            request, broker, Scope.DOCUMENTS_WRITE if through is None else Scope.KEYS_WRITE, vendor, tenant
        )
        async with broker.change(caller) as change:
            number = await vendors.reserve_config_number(change, through=through)
            if change.recorded == 0:
                await change.record("config.reserve", str(number), detail={"already": True})
        return {"id": number}

    @get("/configs", security=asked_by(Scope.CONFIGS_READ))
    async def list_configs(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        page: PageNumber = 1,
        page_size: PageSize = 10,
        sort: Annotated[Literal["assignments", "created", "updated"], QueryParameter(name="sortColumn")] = "created",
        direction: Ascending = "desc",
        type_: Annotated[str | None, QueryParameter(name="type")] = None,
        leasing: FromQuery[bool | None] = None,
    ) -> api.Page[api.Config]:
        """List the vendor's configs."""
        await allow(request, broker, Scope.CONFIGS_READ, vendor)
        async with broker.database.read() as connection:
            paging = Paging(page, page_size, sort, direction == "desc")
            return await listings.configs(connection, vendor, paging, type_=type_, leasing=leasing)

    @get("/configs/{number:int}", security=asked_by(Scope.CONFIGS_READ))
    async def get_config(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], number: FromPath[int]
    ) -> api.Config:
        """Describe a config."""
        await allow(request, broker, Scope.CONFIGS_READ, vendor)
        return await _config(broker, vendor, number)

    @put("/configs", security=asked_by(Scope.DOCUMENTS_WRITE))
    async def put_config(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], data: JSONBody[api.SealedConfig]
    ) -> api.Config:
        """Keep a config of the vendor, new or in a new version."""
        caller = await allow(request, broker, Scope.DOCUMENTS_WRITE, vendor)
        async with broker.change(caller) as change:
            number = await vendor_configs.put_vendor_config(change, data)
        return await _config(broker, vendor, number)

    @get("/configs/{number:int}/sealed", security=asked_by(Scope.DOCUMENTS_WRITE))
    async def sealed_config(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], number: FromPath[int]
    ) -> api.SealedConfig:
        """Send a config of the vendor as it was sealed."""
        await allow(request, broker, Scope.DOCUMENTS_WRITE, vendor)
        configs = schema.configs
        async with broker.database.read() as connection:
            found = await read_configs(
                connection, vendor, sa.and_(configs.c.number == number, configs.c.owner.is_(None))
            )
        if not found:
            raise NotFoundError(f"the vendor has no config {number}")
        return found[0]

    @patch("/configs/{number:int}", security=asked_by(Scope.CONFIGS_WRITE))
    async def allow_leasing(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        number: FromPath[int],
        data: JSONBody[dict[Literal["leasingAllowed"], bool]],
    ) -> api.Config:
        """Say whether tenants' records may lease with a config of the vendor."""
        caller = await allow(request, broker, Scope.CONFIGS_WRITE, vendor)
        async with broker.change(caller) as change:
            await vendor_configs.allow_leasing(change, number, data["leasingAllowed"])
        return await _config(broker, vendor, number)

    @delete("/configs/{number:int}", security=asked_by(Scope.CONFIGS_WRITE))
    async def remove_config(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], number: FromPath[int]
    ) -> None:
        """Remove a config of the vendor that no tenant is assigned."""
        caller = await allow(request, broker, Scope.CONFIGS_WRITE, vendor)
        async with broker.change(caller) as change:
            await vendor_configs.remove_vendor_config(change, number)

    @get("/configs/{number:int}/assignments", security=asked_by(Scope.CONFIGS_READ))
    async def config_assignments(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        number: FromPath[int],
        page: PageNumber = 1,
        page_size: PageSize = 10,
        sort: Annotated[
            Literal["active", "primary", "created", "updated"], QueryParameter(name="sortColumn")
        ] = "created",
        direction: Ascending = "desc",
        status: FromQuery[Literal["active", "disabled", "primary"] | None] = None,
        text: Annotated[str | None, QueryParameter(name="query")] = None,
    ) -> api.Page[api.Assignment]:
        """List the tenants that are assigned a config."""
        await allow(request, broker, Scope.CONFIGS_READ, vendor)
        async with broker.database.read() as connection:
            paging = Paging(page, page_size, sort, direction == "desc")
            return await listings.assignments(connection, vendor, paging, config=number, status=status, query=text)


async def _tenant(broker: Broker, vendor: str, tenant: str) -> api.Tenant:
    async with broker.database.read() as connection:
        return await listings.tenant(connection, await tenants.tenant_row(connection, vendor, tenant))


async def _config(broker: Broker, vendor: str, number: int) -> api.Config:
    async with broker.database.read() as connection:
        found = await listings.configs(connection, vendor, Paging(size=1), number=number)
    if not found.result:
        raise NotFoundError(f"there is no config {number}")
    return found.result[0]
