"""What was done and what is kept: the audit, and tenant secrets with their rotation."""

from typing import Annotated, Any, Literal

import sqlalchemy as sa
from litestar import Controller, get, post
from litestar.params import FromPath, FromQuery, QueryParameter
from msgspec import Raw

from tenant_security.broker import audit_log, listings, secret_renewals, secrets, tenants
from tenant_security.broker.access import allow, asked_by
from tenant_security.broker.audit import StoredRow
from tenant_security.broker.http import Asked, GivenBroker
from tenant_security.broker.listings import Paging, SecretFilter
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError
from tenant_security.wire import broker_api as api
from tenant_security.wire.key_scopes import Scope


class RecordsApi(Controller):
    """The endpoints of the audit and of tenant secrets."""

    path = "/api/1/vendors/{vendor:str}"
    tags = ("records",)

    @get("/audit", security=asked_by(Scope.AUDIT_READ))
    async def audit(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        before: FromQuery[int | None] = None,
        tenant: FromQuery[str | None] = None,
        action: FromQuery[str | None] = None,
        limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 100,
    ) -> list[api.AuditEntry]:
        """List what was done, newest first."""
        await allow(request, broker, Scope.AUDIT_READ, vendor, tenant)
        async with broker.database.read() as connection:
            rows = await audit_log.page(connection, vendor, before=before, tenant=tenant, action=action, limit=limit)
        return [_entry(row) for row in rows]

    @get("/audit/verification", security=asked_by(Scope.AUDIT_READ))
    async def verification(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], expect: FromQuery[str | None] = None
    ) -> dict[str, Any]:
        """Replay the whole chain. ``expect`` is a hash in hexadecimal that was noted before."""
        await allow(request, broker, Scope.AUDIT_READ, vendor)
        try:
            noted = None if expect is None else bytes.fromhex(expect)
        except ValueError:
            raise NotAllowedNowError("expect is a hash in hexadecimal, as an earlier verification said it") from None
        async with broker.database.read() as connection:
            broken = await audit_log.verify(connection, vendor, expect=noted)
            newest = await audit_log.page(connection, vendor, limit=1)
        last = newest[0] if newest else None
        return {
            "whole": broken is None,
            "brokenAt": None if broken is None else broken.seq,
            "why": None if broken is None else broken.why,
            "rows": 0 if last is None else last.row.seq,
            "newestHash": "" if last is None else last.hash.hex(),
        }

    @get("/secrets", security=asked_by(Scope.SECRETS_READ))
    async def list_secrets(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        page: Annotated[int, QueryParameter(ge=1)] = 1,
        page_size: Annotated[int, QueryParameter(name="pageSize", ge=1, le=listings.MOST_ON_A_PAGE)] = 10,
        sort: Annotated[Literal["created", "updated"], QueryParameter(name="sortColumn")] = "created",
        direction: Annotated[Literal["asc", "desc"], QueryParameter(name="sortDirection")] = "desc",
        type_: Annotated[Literal["search", "deterministic", "vector"] | None, QueryParameter(name="type")] = None,
        migration: FromQuery[Literal["current", "needs-migration"] | None] = None,
        rotation: FromQuery[Literal["current", "in-rotation", "archived"] | None] = None,
        created_since: Annotated[int | None, QueryParameter(name="createdSince")] = None,
        updated_since: Annotated[int | None, QueryParameter(name="updatedSince")] = None,
        text: Annotated[str | None, QueryParameter(name="query")] = None,
        tenant: FromQuery[list[str] | None] = None,
        tag: FromQuery[list[int] | None] = None,
        number: FromQuery[list[int] | None] = None,
    ) -> api.Page[api.TenantSecret]:
        """List tenant secrets, wrapped as they are. Times are Unix milliseconds."""
        one = tenant[0] if tenant is not None and len(tenant) == 1 else None
        await allow(request, broker, Scope.SECRETS_READ, vendor, one)
        wanted = SecretFilter(
            type_, migration, rotation, created_since, updated_since, text, tenant or (), tag or (), number or ()
        )
        async with broker.database.read() as connection:
            paging = Paging(page, page_size, sort, direction == "desc")
            return await listings.secrets(connection, vendor, paging, wanted)

    @get("/secret-renewals", security=asked_by(Scope.SECRETS_READ))
    async def renewals(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromQuery[str | None] = None
    ) -> api.SecretRenewals:
        """Say how many secrets wait to be wrapped by their tenants' primaries, or to be bound."""
        await allow(request, broker, Scope.SECRETS_READ, vendor, tenant)
        async with broker.database.read() as connection:
            return await secret_renewals.waiting(connection, vendor, tenant)

    @post("/secret-renewals", status_code=200, security=asked_by(Scope.SECRETS_ROTATE))
    async def renew_again(
        self, request: Asked, broker: GivenBroker, vendor: FromPath[str], tenant: FromQuery[str | None] = None
    ) -> api.SecretRenewals:
        """Have what waits be tried again within a minute, also what rests because it could not be renewed."""
        caller = await allow(request, broker, Scope.SECRETS_ROTATE, vendor, tenant)
        async with broker.change(caller) as change:
            return await secret_renewals.try_again(change, tenant)

    @post(
        "/tenants/{tenant:str}/secrets/{secret:str}/rotation/{step:str}",
        status_code=200,
        security=asked_by(Scope.SECRETS_ROTATE),
    )
    async def rotate(
        self,
        request: Asked,
        broker: GivenBroker,
        vendor: FromPath[str],
        tenant: FromPath[str],
        secret: FromPath[str],
        step: FromPath[str],
    ) -> api.TenantSecret:
        """Begin or commit a secret's rotation: ``step`` is ``begin`` or ``commit``."""
        caller = await allow(request, broker, Scope.SECRETS_ROTATE, vendor, tenant)
        steps = {"begin": secrets.begin_rotation, "commit": secrets.commit_rotation}
        if step not in steps:
            raise NotFoundError("a rotation has the steps 'begin' and 'commit'")
        async with broker.change(caller) as change:
            row: sa.Row[Any] = await steps[step](change, tenant, secret)
            owner = await tenants.tenant_row(change.connection, vendor, tenant)
            tagged = await listings.tags_of(change.connection, [owner.number])
        return listings.secret(row, tenant, tagged.get(owner.number, ()))


def _entry(stored: StoredRow) -> api.AuditEntry:
    row = stored.row
    return api.AuditEntry(
        seq=row.seq,
        at=row.at_ms,
        actor=api.CreatedBy(row.actor_id, row.actor_name, row.actor_kind),
        action=row.action,
        tenant=row.tenant,
        target=row.target,
        detail=Raw(row.detail),
        hash=stored.hash,
    )
