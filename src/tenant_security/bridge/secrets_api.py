"""Tenant secrets: list them, wrapped as they are, and move them through their rotation."""

from typing import Annotated, Literal

from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from tenant_security.bridge import words
from tenant_security.bridge.broker import segment
from tenant_security.bridge.edge import Asked, Desk, GivenDesk, RefusedError, body_of, instead
from tenant_security.bridge.paging import Direction, PageNumber, PageSize, Query
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.wire import bridge_api as api
from tenant_security.wire import broker_api as stored

_TYPES = {"search": "search", "deterministic-encryption": "deterministic", "vector": "vector"}


class SecretsApi(Controller):
    """The endpoints of tenant secrets."""

    path = "/api/1/tenants"
    tags = ("Tenant Secret",)

    @get("/secrets")
    async def list_secrets(
        self,
        request: Asked,
        desk: GivenDesk,
        page: PageNumber = 1,
        page_size: PageSize = 10,
        direction: Direction = "desc",
        sort: Annotated[Literal["created", "updated"], QueryParameter(name="sortColumn")] = "created",
        updated_since: Annotated[str | None, QueryParameter(name="updatedSince", max_length=64)] = None,
        created_since: Annotated[str | None, QueryParameter(name="createdSince", max_length=64)] = None,
        secret_type: Annotated[
            Literal["search", "deterministic-encryption", "vector"] | None, QueryParameter(name="secretType")
        ] = None,
        migration: Annotated[
            Literal["current", "needs-migration"] | None, QueryParameter(name="migrationStatus")
        ] = None,
        rotation: Annotated[
            Literal["current", "in-rotation", "archived"] | None, QueryParameter(name="rotationStatus")
        ] = None,
        text: Query = None,
    ) -> api.Page[api.ListedSecret]:
        """List secrets of the vendor's tenants. The body may name ids and tags."""
        selection = await body_of(request, api.SecretSelection, api.SecretSelection())
        wanted = {
            "page": page,
            "pageSize": page_size,
            "sortDirection": direction,
            "sortColumn": sort,
            "type": None if secret_type is None else _TYPES[secret_type],
            "migration": migration,
            "rotation": rotation,
            "createdSince": _since("createdSince", created_since),
            "updatedSince": _since("updatedSince", updated_since),
            "query": text,
            "number": tuple(selection.ids) or None,
            "tag": tuple(selection.tags) or None,
        }
        found = await desk.vendor.get("/secrets", stored.Page[stored.TenantSecret], wanted)
        result = [
            api.ListedSecret(tenant_id=each.tenant, tenant_tags=each.tags, **words.secret(each))
            for each in found.result
        ]
        return api.Page(result, found.page, found.total_pages)

    @post("/{tenant:str}/secrets/rotate/begin", status_code=200)
    async def begin(self, desk: GivenDesk, tenant: FromPath[str], data: JSONBody[api.SecretChoice]) -> api.Secret:
        """Current to InRotation. It still decrypts; the next need makes a new current one."""
        return await _rotate(desk, tenant, data, "current", "begin")

    @post("/{tenant:str}/secrets/rotate/commit", status_code=200)
    async def commit(self, desk: GivenDesk, tenant: FromPath[str], data: JSONBody[api.SecretChoice]) -> api.Secret:
        """InRotation to Archived. It still decrypts, and nothing should need it any more."""
        return await _rotate(desk, tenant, data, "in-rotation", "commit")


async def _rotate(desk: Desk, tenant: str, choice: api.SecretChoice, state: str, step: str) -> api.Secret:
    secret = await _chosen(desk, tenant, choice, state)
    path = f"/tenants/{segment(tenant)}/secrets/{segment(secret.id)}/rotation/{step}"
    try:
        moved = await desk.vendor.change("POST", path, stored.TenantSecret)
    except BrokerRefusedError as refused:
        raise instead(refused, {404: 422, 409: 422}) from None
    return api.Secret(**words.secret(moved))


async def _chosen(desk: Desk, tenant: str, choice: api.SecretChoice, state: str) -> stored.TenantSecret:
    """Find the one secret that is meant: by id, or the one of this type and path in this state."""
    query: dict[str, object] = {"tenant": tenant, "pageSize": 1_000}
    if choice.id is not None:
        query["number"] = choice.id
    elif choice.secret_type is not None and choice.secret_path is not None:
        query |= {"type": words.BROKERS_TYPES[choice.secret_type], "rotation": state}
    else:
        raise RefusedError(400, "name the secret: its id, or its secretType and secretPath")
    found = await desk.vendor.get("/secrets", stored.Page[stored.TenantSecret], query)
    for each in found.result:
        if choice.id is not None or each.path == choice.secret_path:
            return each
    raise RefusedError(422, f"tenant {tenant!r} has no such secret in the state {state!r}")


def _since(name: str, text: str | None) -> int | None:
    try:
        return None if text is None else api.milliseconds(text)
    except (ValueError, OverflowError):
        raise RefusedError(400, f"{name} must be a time such as 2026-01-31T12:00:00Z") from None
