"""Tags: list, make, give to tenants and take away."""

from collections.abc import Awaitable
from typing import Annotated

from litestar import Controller, delete, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from tenant_security.bridge import words
from tenant_security.bridge.broker import segment, side_by_side
from tenant_security.bridge.edge import Asked, Desk, GivenDesk, RefusedError, body_of, instead
from tenant_security.bridge.paging import PageNumber, PageSize
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.wire import bridge_api as api
from tenant_security.wire import broker_api as stored


class TagsApi(Controller):
    """The endpoints of tags."""

    path = "/api/1/tags"
    tags = ("Tag",)

    @get("/")
    async def list_tags(
        self,
        desk: GivenDesk,
        page: PageNumber = 1,
        page_size: PageSize = 10,
        text: Annotated[str | None, QueryParameter(name="tagText", max_length=1_000)] = None,
    ) -> api.Page[api.Tag]:
        """List the vendor's tags."""
        query = {"page": page, "pageSize": page_size, "text": text}
        found = await desk.vendor.get("/tags", stored.Page[stored.Tag], query)
        return api.Page([words.tag(each) for each in found.result], found.page, found.total_pages)

    @post("/", status_code=200)
    async def create(self, desk: GivenDesk, data: JSONBody[api.NewTag]) -> api.Tag:
        """Make a tag."""
        try:
            return words.tag(await desk.vendor.change("POST", "/tags", stored.Tag, stored.NewTag(data.tag_text)))
        except BrokerRefusedError as refused:
            raise instead(refused, {409: 422}) from None

    @post("/{tag:int}/tenants", status_code=200)
    async def give(self, desk: GivenDesk, tag: FromPath[int], data: JSONBody[api.TagTenants]) -> api.TagOutcome:
        """Give a tag to tenants."""
        return await _change(desk, tag, data, stored.TenantUpdate(tag_additions=(tag,)))

    @delete("/{tag:int}/tenants", status_code=200)
    async def take(self, request: Asked, desk: GivenDesk, tag: FromPath[int]) -> api.TagOutcome:
        """Take a tag from tenants."""
        data = await body_of(request, api.TagTenants)
        return await _change(desk, tag, data, stored.TenantUpdate(tag_removals=(tag,)))


async def _change(desk: Desk, tag: int, data: api.TagTenants, update: stored.TenantUpdate) -> api.TagOutcome:
    if tag not in await words.tags_of(desk.vendor):
        raise RefusedError(400, f"there is no tag {tag}")
    work: list[Awaitable[stored.Tenant]] = [
        desk.vendor.change("PATCH", f"/tenants/{segment(tenant)}", stored.Tenant, update) for tenant in data.tenant_ids
    ]
    succeeded, failed = [], []
    for tenant, outcome in zip(data.tenant_ids, await side_by_side(work), strict=True):
        if isinstance(outcome, BrokerRefusedError):
            failed.append(api.TagFailure(tenant, outcome.message))
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            succeeded.append(tenant)
    return api.TagOutcome(tuple(succeeded), tuple(failed))
