"""Changes that wait for a second person, and the rule that makes them wait.

States: waiting -> approved, refused or expired. Whoever handed a change in does not approve it, nor does whoever's key
signed it. Switching the rule off waits like any other change.
"""

import uuid
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.callers import RIGHTS, Right, Role
from tenant_security.broker.database import Change
from tenant_security.broker.listings import created_by
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError
from tenant_security.wire.broker_api import CreatedBy
from tenant_security.wire.people_api import ApprovalLine

LIFE_MS: Final = 7 * 24 * 3_600_000
MOST_WAITING: Final = 50
"""The most changes of one tenant that wait at a time."""
_TWO: Final = 2

Kind = Literal["documents", "rule"]
State = Literal["waiting", "approved", "refused", "expired"]


class Waiting(NamedTuple):
    """A change that was handed in and has not happened."""

    id: str
    expires_ms: int


async def is_required(connection: AsyncConnection, tenant: int) -> bool:
    """Whether changes of a tenant's KMS wait for a second person."""
    rules = schema.approval_rules
    return (await connection.execute(sa.select(rules.c.tenant).where(rules.c.tenant == tenant))).first() is not None


async def require(change: Change, tenant: int, tenant_id: str) -> None:
    """Let changes wait from now on.

    Raises: NotAllowedNowError when there are not two people who could hand in and approve.
    """
    if await is_required(change.connection, tenant):
        await change.record("approval-rule.keep", tenant_id, tenant=tenant_id)
        return
    if len(await approvers(change.connection, change.vendor, tenant)) < _TWO:
        raise NotAllowedNowError("two people who may sign are needed: one hands a change in, another approves it")
    await change.connection.execute(schema.approval_rules.insert().values(tenant=tenant, **change.made))
    await change.record("approval-rule.require", tenant_id, tenant=tenant_id)


async def lift(change: Change, tenant: int, tenant_id: str) -> None:
    """Let changes happen at once again. Call it only once a second person has approved."""
    rules = schema.approval_rules
    await change.connection.execute(rules.delete().where(rules.c.tenant == tenant))
    await change.record("approval-rule.lift", tenant_id, tenant=tenant_id)


async def hold(
    change: Change, tenant: int, tenant_id: str, *, kind: Kind, what: msgspec.Struct, summary: str
) -> Waiting:
    """Keep a change until somebody else decides.

    Raises: NotAllowedNowError when too many wait.
    """
    table = schema.approvals
    waiting = sa.and_(table.c.tenant == tenant, table.c.state == "waiting", table.c.expires_ms > change.now_ms)
    count = await change.connection.execute(sa.select(sa.func.count()).select_from(table).where(waiting))
    if count.scalar_one() >= MOST_WAITING:
        raise NotAllowedNowError(f"{MOST_WAITING} changes wait already; approve or refuse some first")
    held = Waiting(str(uuid.uuid4()), change.now_ms + LIFE_MS)
    await change.connection.execute(
        table.insert().values(
            id=held.id,
            vendor=change.vendor,
            tenant=tenant,
            kind=kind,
            change=msgspec.json.encode(what),
            summary=summary,
            state="waiting",
            expires_ms=held.expires_ms,
            **change.made,
        )
    )
    await change.record("approval.ask", held.id, tenant=tenant_id, detail={"kind": kind, "summary": summary})
    return held


async def find(connection: AsyncConnection, vendor: str, tenant: int, approval: str) -> sa.Row[Any]:
    """Read a change that waits or waited. Raises: NotFoundError."""
    table = schema.approvals
    mine = sa.and_(table.c.vendor == vendor, table.c.tenant == tenant, table.c.id == approval)
    row = (await connection.execute(sa.select(table).where(mine))).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no change {approval!r} that waits")
    return row


async def decide(change: Change, row: sa.Row[Any], tenant_id: str, state: Literal["approved", "refused"]) -> None:
    """Write a decision down, once.

    Raises: NotAllowedNowError when it was decided, or is too late.
    """
    table = schema.approvals
    decided = await change.connection.execute(
        table.update()
        .where(table.c.id == row.id, table.c.state == "waiting", table.c.expires_ms > change.now_ms)
        .values(
            state=state,
            decided_by_kind=change.actor.kind,
            decided_by_id=change.actor.id,
            decided_by_name=change.actor.name,
            decided_ms=change.now_ms,
        )
    )
    if decided.rowcount != 1:
        raise NotAllowedNowError(f"this change is {state_of(row, change.now_ms)} already")
    action = "approval.approve" if state == "approved" else "approval.refuse"
    await change.record(action, row.id, tenant=tenant_id, detail={"summary": row.summary})


async def lines(
    connection: AsyncConnection, vendor: str, tenant: int, now_ms: int, state: State | None
) -> list[ApprovalLine]:
    """List changes that wait or waited, the newest first."""
    table = schema.approvals
    rows = await connection.execute(
        sa.select(table)
        .where(table.c.vendor == vendor, table.c.tenant == tenant)
        .order_by(table.c.created_ms.desc(), table.c.id)
        .limit(1_000)
    )
    return [line(row, now_ms) for row in rows if state in (None, state_of(row, now_ms))]


def line(row: sa.Row[Any], now_ms: int, *, whole: bool = False) -> ApprovalLine:
    """Describe one, with ``whole`` also what was handed in."""
    decided_by = CreatedBy(row.decided_by_id, row.decided_by_name, row.decided_by_kind) if row.decided_ms else None
    return ApprovalLine(
        id=row.id,
        kind=row.kind,
        summary=row.summary,
        state=state_of(row, now_ms),
        created_by=created_by(row),
        created=row.created_ms,
        expires=row.expires_ms,
        decided_by=decided_by,
        decided=row.decided_ms,
        change=msgspec.Raw(row.change) if whole else msgspec.UNSET,
    )


def state_of(row: sa.Row[Any], now_ms: int) -> State:
    """Return where a change is in its life."""
    if row.state == "waiting" and row.expires_ms <= now_ms:
        return "expired"
    state: State = row.state
    return state


async def approvers(connection: AsyncConnection, vendor: str, tenant: int) -> Sequence[str]:
    """Return the people who may sign for a tenant: its own, or the vendor's while it has none."""
    members, people = schema.memberships, schema.people
    signing = [role.value for role in Role if Right.SIGN in RIGHTS[role]]
    for of in (tenant, 0):
        mine = sa.and_(members.c.vendor == vendor, members.c.tenant == of)
        if of and not (await connection.execute(sa.select(members.c.person).where(mine).limit(1))).first():
            continue
        found = await connection.execute(
            sa.select(members.c.person)
            .join(people, people.c.id == members.c.person)
            .where(mine, members.c.role.in_(signing), members.c.disabled_ms.is_(None), people.c.disabled_ms.is_(None))
        )
        return found.scalars().all()
    return ()
