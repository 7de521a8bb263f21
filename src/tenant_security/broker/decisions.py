"""A second person decides about a change that waits; what they approve happens by the same code as any change."""

from typing import Any

import msgspec
import sqlalchemy as sa

from tenant_security.broker import approvals, schema
from tenant_security.broker.callers import Caller
from tenant_security.broker.database import Change
from tenant_security.broker.people import claims
from tenant_security.broker.people.organisations import Organisation
from tenant_security.broker.refusals import ForbiddenError, NotAllowedNowError
from tenant_security.broker.tenant_documents import put_tenant
from tenant_security.wire.broker_api import TenantChange


async def approve(change: Change, where: Organisation, caller: Caller, approval: str) -> None:
    """Approve a change, and make it.

    Raises: ForbiddenError for whoever handed it in or signed it; NotFoundError; NotAllowedNowError; ConflictError when
    the tenant was changed in the meantime.
    """
    row = await approvals.find(change.connection, where.vendor, where.tenant, approval)
    await _require_another(change, where, caller, row)
    tenant_id = where.in_audit
    await approvals.decide(change, row, tenant_id, "approved")
    if row.kind == "rule":
        await approvals.lift(change, where.tenant, tenant_id)
        return
    offered = msgspec.json.decode(row.change, type=TenantChange)
    await put_tenant(change, tenant_id, offered, approved=True)


async def refuse(change: Change, where: Organisation, approval: str) -> None:
    """Refuse a change; whoever handed it in may take it back so. Raises: NotFoundError; NotAllowedNowError."""
    row = await approvals.find(change.connection, where.vendor, where.tenant, approval)
    await approvals.decide(change, row, where.in_audit, "refused")


async def _require_another(change: Change, where: Organisation, caller: Caller, row: sa.Row[Any]) -> None:
    if caller.actor.kind != "person":
        raise ForbiddenError("a change is approved by a person who signed in")
    if caller.actor.id not in await approvals.approvers(change.connection, where.vendor, where.tenant):
        raise ForbiddenError(
            "a change is approved by somebody of the tenant who may sign, or of the vendor if it has none"
        )
    people = schema.people
    found = await change.connection.execute(sa.select(people.c.key_claim).where(people.c.id == caller.actor.id))
    document = found.scalar_one()
    theirs = {caller.actor.id} if document is None else {caller.actor.id, claims.stored(document).key_id}
    if theirs & ({row.created_by_id} | _signers(row)):
        raise ForbiddenError("whoever handed a change in, or signed it, does not approve it; ask somebody else")
    if approvals.state_of(row, change.now_ms) != "waiting":
        raise NotAllowedNowError(f"this change is {approvals.state_of(row, change.now_ms)} already")


def _signers(row: sa.Row[Any]) -> set[str]:
    if row.kind != "documents":
        return set()
    offered = msgspec.json.decode(row.change, type=TenantChange)
    authors = set() if offered.authors is None else {offered.authors.key}
    return {offered.record.key, *authors, *(config.author for config in offered.configs)}
