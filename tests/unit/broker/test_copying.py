"""Moving a broker from one database to another, and restoring a backup."""

import asyncio
import sqlite3

import pytest
import sqlalchemy as sa
from tests.tenant_secrets import keep_secret
from tests.unit.broker.conftest import World
from tests.unit.broker.served import served
from tests.unit.broker.test_service_api import fetch, verified
from tests.unit.broker.test_snapshots import CONFIG

from tenant_security.broker import audit_log, schema, tags
from tenant_security.broker.copying import copy_all
from tenant_security.broker.database import Database
from tenant_security.broker.migrations.upgrade import upgrade
from tenant_security.broker.refusals import NotAllowedNowError
from tenant_security.cli import broker_copies


@pytest.fixture
async def filled(world):
    """A database with something of everything that matters."""
    for name in ("a", "b"):
        await world.tenant(name)
        number = await world.with_config(name, text=CONFIG)
        async with world.change() as change:
            await keep_secret(change, name, "p", number)
    return world


async def rows_of(database: Database, *, without: frozenset[str] = frozenset()) -> dict[str, list[tuple[object, ...]]]:
    found = {}
    async with database.read() as connection:
        for table in schema.metadata.sorted_tables:
            columns = [column for column in table.columns if f"{table.name}.{column.name}" not in without]
            rows = await connection.execute(sa.select(*columns).order_by(*table.primary_key.columns))
            found[table.name] = [tuple(row) for row in rows]
    return found


@pytest.fixture
async def target(tmp_path):
    """A new database."""
    async with Database(f"sqlite:///{tmp_path / 'target.db'}", lambda: 1) as database:
        await database.run_sync(upgrade)
        yield database


NUMBERED_ANEW = frozenset({"vendors.revision", "vendors.changes_from"})


async def test_everything_is_copied_row_by_row(filled, target):
    before = await rows_of(filled.database, without=NUMBERED_ANEW)
    counts = await copy_all(filled.database, target)
    assert await rows_of(target, without=NUMBERED_ANEW) == before
    assert counts["tenants"] == 2
    assert counts["audit"] == len(before["audit"])
    async with target.read() as connection:
        assert await audit_log.verify(connection, "acme") is None


async def test_it_goes_from_one_kind_to_the_other_and_work_goes_on(filled, request):
    server = request.getfixturevalue("postgres_url")
    from tests.unit.broker import conftest

    name = f"moved{next(conftest._numbers)}"
    await conftest._administer(server, f"CREATE DATABASE {name} TEMPLATE migrated")
    async with Database(conftest._named(server, name), lambda: filled.now_s * 1000) as moved:
        await copy_all(filled.database, moved)
        assert await rows_of(moved, without=NUMBERED_ANEW) == await rows_of(filled.database, without=NUMBERED_ANEW)
        filled.database = moved
        await filled.tenant("c")  # numbers go on where they were
        async with filled.change() as change:
            assert await tags.create_tag(change, "new") > filled.tag
        assert await filled.with_config("c", text=CONFIG) == 3


async def test_proxies_take_what_was_restored_whole_and_above_what_they_have(filled, target, tmp_path):
    proxy = filled.vendor.add_identity("proxy-1")
    await filled.publish()
    path = tmp_path / "snapshot"
    async with served(filled) as old:
        tag = (await fetch(old, proxy, path)).tag
    seen = verified(filled, proxy, path)
    filled.now_s += 60
    target.now_ms = lambda: filled.now_s * 1000
    await copy_all(filled.database, target)
    filled.database = target
    async with served(filled) as new:
        await fetch(new, proxy, path, since=seen.version, tag=tag)
    restored = verified(filled, proxy, path, seen)
    assert b'"since":null' in path.read_bytes().splitlines()[0] or b'"since"' not in path.read_bytes().splitlines()[0]
    assert restored.version > seen.version
    assert set(restored.tenants) == {"a", "b"}
    assert not restored.rollbacks


async def test_a_target_that_is_not_empty_is_refused_and_stays_as_it_is(filled, target):
    await copy_all(filled.database, target)
    before = await rows_of(target)
    with pytest.raises(NotAllowedNowError, match="not empty"):
        await copy_all(filled.database, target)
    assert await rows_of(target) == before


async def test_an_audit_that_was_touched_is_not_copied(filled, target):
    async with filled.database.note() as connection:
        await connection.execute(schema.audit.update().where(schema.audit.c.seq == 2).values(target="somebody else"))
    with pytest.raises(NotAllowedNowError, match="audit of vendor 'acme' does not hold"):
        await copy_all(filled.database, target)
    assert not any((await rows_of(target)).values())


async def test_a_backup_is_made_while_the_broker_writes(tmp_path):
    path, out = tmp_path / "broker.db", tmp_path / "copy.db"
    async with Database(f"sqlite:///{path}", lambda: 1) as database:
        await database.run_sync(upgrade)
        world = World(database, tmp_path)
        await world.begin()
        writing = asyncio.create_task(_write(world))
        rows = await asyncio.to_thread(broker_copies.backup, f"sqlite:///{path}", out)
        await writing
    assert rows >= 2
    assert out.stat().st_mode & 0o077 == 0
    with sqlite3.connect(out) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with pytest.raises(ValueError, match="there already"):
        await asyncio.to_thread(broker_copies.backup, f"sqlite:///{path}", out)


async def _write(world):
    for number in range(20):
        await world.tenant(f"t{number}")


@pytest.mark.parametrize("url", ["postgresql://x@/y", "sqlite:////nowhere/at/all.db"])
def test_a_backup_of_what_is_not_there_says_so(url, tmp_path):
    with pytest.raises(ValueError, match=r"pg_dump|is not there"):
        broker_copies.backup(url, tmp_path / "out")
