"""The vendor's KMS configs: seal, list, change, remove; and who is assigned them."""

from typing import Annotated, Final, Literal

import msgspec
from litestar import Controller, delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from tenant_security.bridge import records, sealing, words
from tenant_security.bridge.broker import segment, side_by_side
from tenant_security.bridge.changing import change_record
from tenant_security.bridge.edge import Desk, GivenDesk, RefusedError, instead
from tenant_security.bridge.paging import AssignmentSort, AssignmentStatus, Direction, PageNumber, PageSize, Query
from tenant_security.outbound.broker import BrokerRefusedError
from tenant_security.wire import bridge_api as api
from tenant_security.wire import broker_api as stored
from tenant_security.wire import snapshot

_MOST: Final = 1_000
FORM: Final = 1
"""The version of a config's form: the only one there is."""
ConfigSort = Annotated[Literal["assignments", "created", "updated"], QueryParameter(name="sortColumn")]


class ConfigsApi(Controller):
    """The endpoints of the vendor's KMS configs."""

    path = "/api/1/kms/configs"
    tags = ("KMS Configuration",)

    @get("/")
    async def list_configs(
        self,
        desk: GivenDesk,
        page: PageNumber = 1,
        page_size: PageSize = 10,
        direction: Direction = "desc",
        sort: ConfigSort = "created",
        kms_type: Annotated[
            Literal["AWS", "GCP", "AZURE", "THALES", "VAULT", "LOCAL"] | None, QueryParameter(name="kmsType")
        ] = None,
        leasing: Annotated[bool | None, QueryParameter(name="leasingEnabled")] = None,
    ) -> api.Page[api.BasicConfig]:
        """List the vendor's configs. Nothing is opened."""
        wanted = {"page": page, "pageSize": page_size, "sortDirection": direction, "sortColumn": sort}
        query = {**wanted, "type": kms_type, "leasing": leasing}
        found = await desk.vendor.get("/configs", stored.Page[stored.Config], query)
        result = [api.BasicConfig(kms_type=each.type, version=FORM, **words.config(each)) for each in found.result]
        return api.Page(result, found.page, found.total_pages)

    @post("/", status_code=200)
    async def create(self, desk: GivenDesk, data: JSONBody[api.NewConfig]) -> api.StoredConfig:
        """Seal a new config. No tenant is assigned it yet."""
        number = (await desk.vendor.change("POST", "/config-numbers", _Number)).id
        now_s = int(desk.now_s())
        sealed = sealing.seal(
            desk.keys,
            desk.author,
            number,
            msgspec.json.encode(data.config),
            leasing_allowed=data.leasing_allowed,
            now_s=now_s,
        )
        return await _put(desk, sealed)

    @get("/{number:int}")
    async def get_config(self, desk: GivenDesk, number: FromPath[int]) -> api.OpenConfig:
        """Open a config of the vendor and show it without its credentials."""
        try:
            sealed = await _sealed(desk, number)
            found = await _described(desk, number)
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 422}) from None
        shown = sealing.without_credentials(sealing.open_sealed(desk.keys, sealed))
        return api.OpenConfig(decrypted_config=shown, **words.config(found))

    @put("/{number:int}")
    async def update(
        self, desk: GivenDesk, number: FromPath[int], data: JSONBody[api.ConfigUpdate]
    ) -> api.StoredConfig:
        """Change a config's credentials, or whether it may be leased. Its key path stays."""
        try:
            sealed = await _sealed(desk, number)
            allowed = sealed.leasing_allowed if data.leasing_allowed is None else data.leasing_allowed
            if data.config is not None:
                after = snapshot.decode(snapshot.ConfigHeader, sealed.header).version
                text = sealing.with_credentials(
                    sealing.open_sealed(desk.keys, sealed), msgspec.json.encode(data.config)
                )
                sealed = sealing.seal(
                    desk.keys,
                    desk.author,
                    number,
                    text,
                    leasing_allowed=allowed,
                    now_s=int(desk.now_s()),
                    after=after,
                )
                described = await _put(desk, sealed)
            if data.leasing_allowed is not None:
                await _allow_leasing(desk, number, allowed=allowed)
            if data.config is None or data.leasing_allowed is not None:
                described = _stored(await _described(desk, number), sealed)
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 422}) from None
        return described

    @delete("/{number:int}", status_code=200)
    async def remove(self, desk: GivenDesk, number: FromPath[int]) -> api.RemovedConfig:
        """Remove a config that no tenant is assigned. Secrets that it wraps can be read by nobody after that."""
        try:
            await desk.vendor.change("DELETE", f"/configs/{number}", type(None))
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 422, 409: 422}) from None
        return api.RemovedConfig(number)

    @get("/{number:int}/assignments", tags=["Configuration Assignment"])
    async def assignments(
        self,
        desk: GivenDesk,
        number: FromPath[int],
        page: PageNumber = 1,
        page_size: PageSize = 10,
        direction: Direction = "desc",
        sort: AssignmentSort = "created",
        status: AssignmentStatus = None,
        text: Query = None,
    ) -> api.Page[api.Assignment]:
        """List the tenants that are assigned a config."""
        wanted = {"page": page, "pageSize": page_size, "sortDirection": direction, "sortColumn": sort}
        path = f"/configs/{number}/assignments"
        found = await desk.vendor.get(path, stored.Page[stored.Assignment], {**wanted, "status": status, "query": text})
        return api.Page([words.assignment(each) for each in found.result], found.page, found.total_pages)


class AssignmentsApi(Controller):
    """The endpoints of one config's use by one tenant."""

    path = "/api/1/kms/configs/{number:int}/tenants/{tenant:str}"
    tags = ("Configuration Assignment",)

    @get("/")
    async def get_assignment(self, desk: GivenDesk, number: FromPath[int], tenant: FromPath[str]) -> api.Assignment:
        """Describe an assignment."""
        return await _assignment(desk, number, tenant)

    @post("/", status_code=200)
    async def assign(self, desk: GivenDesk, number: FromPath[int], tenant: FromPath[str]) -> api.Assignment:
        """Assign a config to a tenant: active, and not primary."""
        try:
            config = await _described(desk, number)
            await change_record(
                desk,
                tenant,
                lambda current, required: (
                    records.assigned(current, number, leasing=config.leasing_allowed, must_lease=required),
                    required,
                ),
            )
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 400, 422: 400}) from None
        return await _assignment(desk, number, tenant)

    @put("/")
    async def update(
        self, desk: GivenDesk, number: FromPath[int], tenant: FromPath[str], data: JSONBody[api.AssignmentUpdate]
    ) -> api.Assignment:
        """Switch an assignment on or off, or make it primary, which ends the old primary."""
        try:
            await change_record(
                desk,
                tenant,
                lambda current, required: (
                    records.updated(current, number, active=data.active, primary=data.primary),
                    required,
                ),
            )
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 400, 422: 400}) from None
        return await _assignment(desk, number, tenant)

    @delete("/", status_code=200)
    async def remove(self, desk: GivenDesk, number: FromPath[int], tenant: FromPath[str]) -> api.RemovedAssignment:
        """Take a config from a tenant. What it wrapped cannot be unwrapped until it is assigned again."""
        try:
            await change_record(desk, tenant, lambda current, required: (records.removed(current, number), required))
        except BrokerRefusedError as refused:
            raise instead(refused, {404: 400, 422: 400}) from None
        return api.RemovedAssignment(number, tenant)


class _Number(msgspec.Struct, frozen=True):
    id: int


class _Allowed(msgspec.Struct, frozen=True, rename="camel"):
    leasing_allowed: bool


async def _sealed(desk: Desk, number: int) -> stored.SealedConfig:
    return await desk.vendor.get(f"/configs/{number}/sealed", stored.SealedConfig)


async def _described(desk: Desk, number: int) -> stored.Config:
    return await desk.vendor.get(f"/configs/{number}", stored.Config)


async def _put(desk: Desk, sealed: stored.SealedConfig) -> api.StoredConfig:
    try:
        return _stored(await desk.vendor.change("PUT", "/configs", stored.Config, sealed), sealed)
    except BrokerRefusedError:
        # The segments may have a new epoch: whoever repeats the request seals to that.
        desk.forget_keys()
        raise


def _stored(described: stored.Config, sealed: stored.SealedConfig) -> api.StoredConfig:
    return api.StoredConfig(
        encrypted_config=sealed.payload, kms_type=described.type, version=FORM, **words.config(described)
    )


async def _allow_leasing(desk: Desk, number: int, *, allowed: bool) -> None:
    """Allow it first and sign it into the records then; forbid it in the opposite order, so that no record is ahead."""
    if allowed:
        await desk.vendor.change("PATCH", f"/configs/{number}", stored.Config, _Allowed(allowed))
    await _lease_everywhere(desk, number, allowed=allowed)
    if not allowed:
        await desk.vendor.change("PATCH", f"/configs/{number}", stored.Config, _Allowed(allowed))


async def _lease_everywhere(desk: Desk, number: int, *, allowed: bool) -> None:
    tenants: list[str] = []
    page = 1
    while True:
        query = {"page": page, "pageSize": _MOST, "sortDirection": "asc"}
        found = await desk.vendor.get(f"/configs/{number}/assignments", stored.Page[stored.Assignment], query)
        tenants += [each.tenant for each in found.result if each.leasing != allowed]
        if page >= found.total_pages:
            break
        page += 1

    def decide(current: records.Assignments, required: bool) -> tuple[records.Assignments, bool]:
        after = records.leasing(current, number, allowed=allowed)
        if required and not allowed:
            records.require_leases(after)
        return after, required

    outcomes = await side_by_side([change_record(desk, each, decide) for each in tenants])
    failed = [
        f"{tenant} ({outcome})"
        for tenant, outcome in zip(tenants, outcomes, strict=True)
        if isinstance(outcome, Exception)
    ]
    if failed:
        raise RefusedError(
            422, f"leasing was not changed for {len(failed)} of {len(tenants)} tenants: {'; '.join(failed[:5])}"
        )


async def _assignment(desk: Desk, number: int, tenant: str) -> api.Assignment:
    query = {"config": number, "pageSize": 1}
    try:
        path = f"/tenants/{segment(tenant)}/assignments"
        found = await desk.vendor.get(path, stored.Page[stored.Assignment], query)
    except BrokerRefusedError as refused:
        raise instead(refused, {404: 400}) from None
    if not found.result:
        raise RefusedError(400, f"tenant {tenant!r} is not assigned config {number}")
    return words.assignment(found.result[0])
