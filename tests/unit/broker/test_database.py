"""Transactions: whole or not at all, by somebody, and written down."""

import asyncio

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.unit.broker.conftest import ALICE

from tenant_security.broker import audit_log, schema, tags, tenants
from tenant_security.broker.database import Database
from tenant_security.broker.migrations.upgrade import is_current, upgrade
from tenant_security.broker.refusals import ConflictError, NotFoundError, RefusalError


async def test_the_migrations_end_at_the_schema(world):
    found = []
    await world.database.run_sync(
        lambda connection: found.extend(compare_metadata(MigrationContext.configure(connection), schema.metadata))
    )
    assert found == []


async def test_migrating_again_changes_nothing(world):
    current = []
    await world.database.run_sync(upgrade)
    await world.database.run_sync(lambda connection: current.append(is_current(connection)))
    assert current == [True]
    async with world.database.read() as connection:
        assert await audit_log.verify(connection, "acme") is None


async def test_a_change_that_fails_leaves_nothing(world):
    async def fail():
        async with world.change() as change:
            await tags.create_tag(change, "eu")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with world.database.read() as connection:
        count = await connection.execute(sa.select(sa.func.count()).select_from(schema.tags))
        assert count.scalar_one() == 1
        assert await audit_log.verify(connection, "acme") is None


async def test_a_change_that_nobody_wrote_down_is_undone(world):
    with pytest.raises(RuntimeError, match="audit"):
        async with world.change() as change:
            await change.connection.execute(schema.vendors.update().values(name="other"))
    async with world.database.read() as connection:
        assert (await connection.execute(sa.select(schema.vendors.c.name))).scalar_one() == "Acme"


async def test_changes_of_an_unknown_vendor_are_refused(world):
    with pytest.raises(NotFoundError, match="no vendor 'other'"):
        async with world.database.change(ALICE, "other"):
            pass


async def test_many_changes_at_once_all_happen_and_the_chain_is_whole(world):
    before = await revision(world)

    async def one(number):
        async with world.change() as change:
            await tenants.create_tenant(change, f"t{number}", "T", tags=frozenset())

    await asyncio.gather(*(one(number) for number in range(30)))
    async with world.database.read() as connection:
        assert await audit_log.verify(connection, "acme") is None
        rows = await connection.execute(sa.select(schema.tenants.c.revision))
        revisions = sorted(rows.scalars())
        assert len(set(revisions)) == 30
        assert revisions[0] > before


async def test_two_of_the_same_at_once_make_one(world):
    async def one():
        async with world.change() as change:
            await tenants.create_tenant(change, "same", "T", tags=frozenset())

    results = await asyncio.gather(*(one() for _ in range(8)), return_exceptions=True)
    assert sum(result is None for result in results) == 1
    assert all(isinstance(result, ConflictError) for result in results if result is not None)


async def test_revisions_follow_the_clock_so_that_an_old_backup_does_not_take_them_back(world):
    world.now_s += 1000
    await world.tenant("a")
    assert await revision(world) == world.now_s * 1000


async def test_a_reader_sees_one_moment(world):
    async with world.database.read() as connection:
        count = sa.select(sa.func.count()).select_from(schema.tenants)
        before = (await connection.execute(count)).scalar_one()
        await world.tenant("later")
        assert (await connection.execute(count)).scalar_one() == before


async def test_the_database_survives_being_opened_again(world, database_url):
    await world.tenant("a")
    async with Database(database_url, lambda: 0) as again, again.read() as connection:
        assert (await connection.execute(sa.select(schema.tenants.c.id))).scalars().all() == ["a"]


async def revision(world) -> int:
    async with world.database.read() as connection:
        return (await connection.execute(sa.select(schema.vendors.c.revision))).scalar_one()


@pytest.mark.parametrize("how", ["change", "remove", "insert", "swap"])
async def test_whoever_touches_the_audit_is_noticed(world, how):
    for name in "abc":
        await world.tenant(name)
    async with world.database.note() as connection:
        table = schema.audit
        rows = (await connection.execute(sa.select(table).order_by(table.c.seq))).all()
        middle = rows[len(rows) // 2]
        mine = table.c.seq == middle.seq
        if how == "change":
            await connection.execute(table.update().where(mine).values(actor_name="Mallory"))
        elif how == "remove":
            await connection.execute(table.delete().where(mine))
        elif how == "swap":
            await connection.execute(table.update().where(mine).values(hash=bytes(32)))
        else:
            await connection.execute(table.insert().values(**{**middle._mapping, "seq": rows[-1].seq + 1}))
    async with world.database.read() as connection:
        broken = await audit_log.verify(connection, "acme")
    assert broken is not None
    assert broken.seq == (rows[-1].seq + 1 if how == "insert" else middle.seq)


async def test_a_chain_that_was_written_anew_lacks_the_hash_that_was_noted(world):
    async with world.database.read() as connection:
        noted = (await audit_log.page(connection, "acme", limit=1))[0].hash
        assert await audit_log.verify(connection, "acme", expect=noted) is None
        assert (await audit_log.verify(connection, "acme", expect=bytes(32))) is not None


@pytest.mark.parametrize("value", [2**63, 2**80])
async def test_a_number_that_no_column_holds_is_a_bad_request_and_no_fault_of_the_database(world, value):
    with pytest.raises(RefusalError, match="larger") as refused:
        async with world.database.read() as connection:
            await connection.execute(sa.select(schema.configs).where(schema.configs.c.number == value))
    assert refused.value.status == 400
