"""Connection tests: a tenant's config is tried from where it will be used, by a service that may open it.

A test waits in here until an entitled service takes it, which hears of it while it waits for news; what the service
found is kept for a while. Times bound everything: a test that nobody takes or answers expires.
"""

import uuid
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.callers import Caller, Role
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import ForbiddenError, NotAllowedNowError, NotFoundError, TooManyError
from tenant_security.broker.sealed_configs import require_config
from tenant_security.broker.tags import tag_texts
from tenant_security.broker.tenants import tenant_row
from tenant_security.broker.trusted import vendor_trust
from tenant_security.wire import broker_api as said
from tenant_security.wire.service_api import Work, WorkDone, WorkKind

LIFE_MS: Final = 60_000
"""How long a test may wait to be taken and answered. Units: milliseconds."""
KEPT_MS: Final = 3_600_000
"""How long the result is kept. Units: milliseconds."""
MOST_OPEN: Final = 3
"""How many tests of one tenant may wait at a time."""
_TAKES: Final[dict[str, Role]] = {"kms": Role.PROXY, "sink": Role.LOGDRIVER}
"""Which service tries which kind of config."""
_MAY_TAKE: Final = {Role.PROXY: {"kms", "sink"}, Role.LOGDRIVER: {"sink"}}
"""Which kinds an identity may ask for: a logdriver may have its proxy's, and says by its question what it does."""


def taker(caller: Caller, kind: WorkKind) -> str | None:
    """Return as what a service takes a kind of work; None where it may not take it."""
    return _TAKES[kind].value if kind in _MAY_TAKE.get(caller.role, ()) else None


async def begin(change: Change, tenant_id: str, number: int) -> said.ConfigTest:
    """Have a config tried.

    Raises: NotFoundError; NotAllowedNowError when no service could try it; TooManyError.
    """
    tests, used = schema.config_tests, schema.assignments
    tenant = await tenant_row(change.connection, change.vendor, tenant_id)
    config = await require_config(change.connection, change.vendor, number)
    mine = sa.and_(used.c.tenant == tenant.number, used.c.config == number)
    assigned = (await change.connection.execute(sa.select(used.c.config).where(mine))).first()
    if config.owner not in (None, tenant.number) or (config.kind == "kms" and assigned is None):
        raise NotAllowedNowError(f"config {number} is not assigned to tenant {tenant_id!r}; assign it, then test it")
    await change.connection.execute(tests.delete().where(tests.c.created_ms < change.now_ms - KEPT_MS))
    open_ones = await change.connection.execute(
        sa.select(sa.func.count())
        .select_from(tests)
        .where(tests.c.tenant == tenant.number, tests.c.done_ms.is_(None), tests.c.expires_ms > change.now_ms)
    )
    if open_ones.scalar_one() >= MOST_OPEN:
        raise TooManyError(f"{MOST_OPEN} tests of this tenant are under way; wait for them", LIFE_MS // 1000)
    tags = frozenset(await tag_texts(change.connection, tenant.number))
    segments = (await vendor_trust(change.connection, change.vendor)).segments_for(tags)
    if not segments:
        raise NotAllowedNowError(f"no segment serves tenant {tenant_id!r}: its tags match none")
    made = await change.connection.execute(
        tests.insert()
        .values(
            id=str(uuid.uuid4()),
            vendor=change.vendor,
            tenant=tenant.number,
            tenant_id=tenant_id,
            config=number,
            segment=segments[0].id,
            taker=_TAKES[config.kind].value,
            expires_ms=change.now_ms + LIFE_MS,
            **change.made,
        )
        .returning(*tests.c)
    )
    row = made.one()
    await change.record("config.test", str(number), tenant=tenant_id, detail={"test": row.id})
    return _test(row, change.now_ms)


async def read(connection: AsyncConnection, vendor: str, tenant_id: str, test_id: str, now_ms: int) -> said.ConfigTest:
    """Say how a test stands. Raises: NotFoundError."""
    tests = schema.config_tests
    row = (
        await connection.execute(
            sa.select(tests).where(tests.c.vendor == vendor, tests.c.tenant_id == tenant_id, tests.c.id == test_id)
        )
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no test {test_id}; results are kept for an hour")
    return _test(row, now_ms)


async def waiting(connection: AsyncConnection, vendor: str, segment: int, now_ms: int) -> frozenset[str]:
    """Return which kinds of service have work in a segment."""
    tests = schema.config_tests
    rows = await connection.execute(
        sa.select(tests.c.taker)
        .where(
            tests.c.vendor == vendor,
            tests.c.segment == segment,
            tests.c.taken_ms.is_(None),
            tests.c.expires_ms > now_ms,
            _is_there(),
        )
        .distinct()
    )
    return frozenset(rows.scalars())


async def take(connection: AsyncConnection, caller: Caller, segment: int, kind: WorkKind, now_ms: int) -> Work | None:
    """Give a service the oldest test of a kind that waits in its segment; each is given out once.

    Raises: ForbiddenError.
    """
    takes_as = taker(caller, kind)
    if takes_as is None:
        raise ForbiddenError(f"the role {caller.role.value!r} may not take work of kind {kind!r}")
    tests = schema.config_tests
    oldest = (
        sa.select(tests.c.id)
        .where(
            tests.c.vendor == caller.vendor,
            tests.c.segment == segment,
            tests.c.taker == takes_as,
            tests.c.taken_ms.is_(None),
            tests.c.expires_ms > now_ms,
            _is_there(),
        )
        .order_by(tests.c.created_ms)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = await connection.execute(
        tests.update()
        .where(tests.c.id == oldest, tests.c.taken_ms.is_(None))
        .values(taken_ms=now_ms, taken_by=caller.actor.id)
        .returning(*tests.c)
    )
    row = taken.one_or_none()
    return None if row is None else Work(row.id, row.tenant_id, row.config, row.expires_ms)


async def finish(connection: AsyncConnection, caller: Caller, test_id: str, done: WorkDone, now_ms: int) -> None:
    """Keep what a service found. Raises: NotFoundError when it was not given this test, or too late."""
    tests = schema.config_tests
    kept = await connection.execute(
        tests.update()
        .where(
            tests.c.vendor == caller.vendor,
            tests.c.id == test_id,
            tests.c.taken_by == caller.actor.id,
            tests.c.done_ms.is_(None),
            tests.c.expires_ms > now_ms,
        )
        .values(done_ms=now_ms, report=msgspec.json.encode(done))
        .returning(tests.c.id)
    )
    if kept.one_or_none() is None:
        raise NotFoundError(f"test {test_id} is not yours, is done already, or has expired")


def _is_there() -> sa.ColumnElement[bool]:
    """Whether the config of a test was not removed: a service would wait for it, and keep the other tests waiting."""
    tests, configs = schema.config_tests, schema.configs
    return sa.exists().where(configs.c.vendor == tests.c.vendor, configs.c.number == tests.c.config)


def _test(row: sa.Row[tuple[object, ...]], now_ms: int) -> said.ConfigTest:
    done = None if row.report is None else msgspec.json.decode(row.report, type=WorkDone)
    state: said.TestState = "running" if row.taken_ms is not None else "waiting"
    if done is not None:
        state = "done"
    elif row.expires_ms <= now_ms:
        state = "expired"
    return said.ConfigTest(
        id=row.id,
        config=row.config,
        state=state,
        ok=None if done is None else done.ok,
        checks=() if done is None else done.checks,
        service=row.taken_by,
        instance=None if done is None else done.instance,
        software=None if done is None else done.software,
        created=row.created_ms,
        expires=row.expires_ms,
    )
