"""Tenants: make, list, change, invite, remove."""

from typing import Annotated, Any, Literal

from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from tenant_security.bridge import records, words
from tenant_security.bridge.broker import segment
from tenant_security.bridge.changing import change_record
from tenant_security.bridge.edge import Desk, GivenDesk, instead
from tenant_security.bridge.paging import AssignmentSort, AssignmentStatus, Direction, PageNumber, PageSize, Query
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.wire import bridge_api as api
from tenant_security.wire import broker_api as stored

TenantSort = Annotated[Literal["name", "id", "created", "updated"], QueryParameter(name="sortColumn")]


class _Mailed(api.Said, frozen=True):
    """What the broker says of an invitation."""

    mailed: bool


class _Invitation(api.Said, frozen=True):
    """An invitation, for the broker."""

    email: str
    role: str = "owner"
    deliver: str = "mail"


class TenantsApi(Controller):
    """The endpoints of tenants."""

    path = "/api"
    tags = ("Tenant",)

    @post("/2/tenants", status_code=200)
    async def create_with_tags(self, desk: GivenDesk, data: JSONBody[api.NewTenant]) -> api.CreatedTenant:
        """Make a tenant with exactly these tags. Without any its configs go to no proxy."""
        return await _create(desk, data, data.tags)

    @post("/1/tenants", status_code=200)
    async def create(self, desk: GivenDesk, data: JSONBody[api.NewTenant]) -> api.CreatedTenant:
        """Make a tenant with the vendor's default tag."""
        return await _create(desk, data, None)

    @get("/1/tenants")
    async def list_tenants(
        self,
        desk: GivenDesk,
        page: PageNumber = 1,
        page_size: PageSize = 10,
        direction: Direction = "desc",
        sort: TenantSort = "created",
        text: Query = None,
        status: Annotated[Literal["accepted", "not-accepted", "archived"] | None, QueryParameter(name="status")] = None,
    ) -> api.Page[api.Tenant]:
        """List tenants. None is ever archived: a tenant is removed or it is there."""
        if status == "archived":
            return api.Page([], page, 0)
        wanted = {"page": page, "pageSize": page_size, "sortDirection": direction, "sortColumn": sort}
        found = await desk.vendor.get(
            "/tenants", stored.Page[stored.Tenant], {**wanted, "query": text, "status": status}
        )
        tags = await words.tags_of(desk.vendor)
        return api.Page([words.tenant(each, tags) for each in found.result], found.page, found.total_pages)

    @get("/1/tenants/{tenant:str}")
    async def get_tenant(self, desk: GivenDesk, tenant: FromPath[str]) -> api.Tenant:
        """Describe a tenant."""
        return words.tenant(await _read(desk, tenant), await words.tags_of(desk.vendor))

    @put("/1/tenants/{tenant:str}")
    async def update(
        self, desk: GivenDesk, tenant: FromPath[str], data: JSONBody[api.TenantUpdate]
    ) -> api.UpdatedTenant:
        """Change a tenant's name, tags, or whether it must lease its keys."""
        try:
            if data.key_leasing_required is not None:
                await _require_leasing(desk, tenant, required=data.key_leasing_required)
            update = stored.TenantUpdate(
                data.name, data.key_leasing_required, tuple(data.tag_additions), tuple(data.tag_removals)
            )
            after = await desk.vendor.change("PATCH", f"/tenants/{segment(tenant)}", stored.Tenant, update)
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 400, 422: 400}) from None
        tags = words.chosen(await words.tags_of(desk.vendor), after.tags)
        return api.UpdatedTenant(
            after.id, after.name, archived=False, key_leasing_required=after.leasing_required, tags=tags
        )

    @delete("/1/tenants/{tenant:str}", status_code=200)
    async def remove(self, desk: GivenDesk, tenant: FromPath[str]) -> api.RemovedTenant:
        """Sever a tenant from the vendor."""
        try:
            await desk.vendor.change("DELETE", f"/tenants/{segment(tenant)}", type(None))
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 422}) from None
        return api.RemovedTenant(tenant)

    @post("/1/tenants/{tenant:str}/invite", status_code=200)
    async def invite(self, desk: GivenDesk, tenant: FromPath[str], data: JSONBody[api.Invite]) -> api.Invited:
        """Invite a tenant's first person, by mail, once more if need be."""
        try:
            await _invite(desk, tenant, data.tenant_admin_email)
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 422, 409: 422}) from None
        return api.Invited(data.tenant_admin_email)

    @get("/1/tenants/{tenant:str}/assignments", tags=["Configuration Assignment"])
    async def assignments(
        self,
        desk: GivenDesk,
        tenant: FromPath[str],
        page: PageNumber = 1,
        page_size: PageSize = 10,
        direction: Direction = "desc",
        sort: AssignmentSort = "created",
        status: AssignmentStatus = None,
        text: Query = None,
    ) -> api.Page[api.Assignment]:
        """List what a tenant is assigned."""
        wanted = {"page": page, "pageSize": page_size, "sortDirection": direction, "sortColumn": sort}
        path = f"/tenants/{segment(tenant)}/assignments"
        found = await desk.vendor.get(path, stored.Page[stored.Assignment], {**wanted, "status": status, "query": text})
        return api.Page([words.assignment(each) for each in found.result], found.page, found.total_pages)


async def _create(desk: Desk, data: api.NewTenant, tags: tuple[int, ...] | None) -> api.CreatedTenant:
    try:
        new = stored.NewTenant(data.id, data.name, None if tags is None else tuple(tags))
        made = await desk.vendor.change("POST", "/tenants", stored.Tenant, new)
    except BrokerRefusedError as refused:
        raise instead(refused, {404: 400, 409: 422}) from None
    sent = False
    if data.tenant_admin_email is not None:
        try:
            sent = await _invite(desk, data.id, data.tenant_admin_email)
        except BrokerRefusedError:
            # The tenant is there; whoever asked sees that no mail went out, and can ask for the invitation again.
            sent = False
    known = await words.tags_of(desk.vendor)
    described: dict[str, Any] = {
        name: value
        for name, value in _members(words.tenant(made, known)).items()
        if name not in ("invited", "primary_kms_config_id")
    }
    return api.CreatedTenant(email_sent=sent, **described)


def _members(each: api.Tenant) -> dict[str, Any]:
    return {name: getattr(each, name) for name in each.__struct_fields__}


async def _invite(desk: Desk, tenant: str, email: str) -> bool:
    path = f"/tenants/{segment(tenant)}/invitations"
    return (await desk.vendor.change("POST", path, _Mailed, _Invitation(email))).mailed


async def _read(desk: Desk, tenant: str) -> stored.Tenant:
    return await desk.vendor.get(f"/tenants/{segment(tenant)}", stored.Tenant)


async def _require_leasing(desk: Desk, tenant: str, *, required: bool) -> None:
    """Sign it into the tenant's record; what the tenant manages itself, its own people sign."""
    if (await _read(desk, tenant)).own_configs:
        return

    def decide(current: records.Assignments, _must_lease: bool) -> tuple[records.Assignments, bool]:
        if required:
            records.require_leases(current)
        return current, required

    await change_record(desk, tenant, decide, only_if_recorded=True)
