"""With every connection to the database taken, everybody is told to come back, and nothing is half done."""

import contextlib

import pytest
import sqlalchemy as sa
from tests.unit.broker.conftest import ALICE, World, _administer
from tests.unit.broker.inhabited import VENDOR, inhabited

from tenant_security.broker import audit_log, schema
from tenant_security.broker.database import Database
from tenant_security.broker.refusals import BusyError

CONNECTIONS = 3


@pytest.fixture
async def small(database_url, tmp_path):
    """A vendor whose broker has few connections and little patience."""
    async with Database(database_url, lambda: made.now_s * 1000, connections=CONNECTIONS, wait_s=0.1) as database:
        made = World(database, tmp_path)
        await made.begin()
        yield made


@contextlib.asynccontextmanager
async def taken(database):
    """Take every connection there is, of readers and of the writer, and do nothing with it."""
    async with contextlib.AsyncExitStack() as held:
        if database.is_sqlite:
            await held.enter_async_context(database.note())
        for _ in range(CONNECTIONS):
            await held.enter_async_context(database.read())
        yield


async def everything(world):
    async with world.database.read() as connection:
        return {
            table.name: sorted(map(repr, (await connection.execute(sa.select(table))).all()))
            for table in schema.metadata.sorted_tables
        }


async def test_without_a_connection_everybody_is_told_to_come_back_and_then_served(small):
    async with inhabited(small) as town:
        ann = await town.person("ann@example.com")
        asks = [
            lambda: ann.get("/api/1/session"),
            lambda: ann.get(f"{VENDOR}/tenants"),
            lambda: ann.post(f"{VENDOR}/tags", {"text": "eu"}),
            lambda: town.made.ask(small.vendor.admin, "POST", f"{VENDOR}/tags", {"text": "us"}),
        ]
        before = await everything(small)
        async with taken(small.database):
            for ask in asks:
                said = await ask()
                assert (said.status, said.headers["retry-after"]) == (503, "2")
                assert b"try again" in said.body
            assert (await ann.get("/live")).status == 200
            assert (await ann.get("/ready")).status == 503
        assert await everything(small) == before

        assert (await ann.get("/ready")).status == 200
        assert (await ann.get("/api/1/session")).status == 200
        assert (await ann.post(f"{VENDOR}/tags", {"text": "eu"})).status == 201
        async with small.database.read() as connection:
            assert await audit_log.verify(connection, "acme") is None


async def test_a_request_that_loses_its_connection_between_reading_and_changing_changes_nothing(small, monkeypatch):
    """Who asks was found out; then the others have taken every connection before the change begins."""
    async with inhabited(small) as town:
        ann = await town.person("ann@example.com")
        before = await everything(small)
        change = small.database.changes

        @contextlib.asynccontextmanager
        async def too_late(actor):
            async with taken(small.database), change(actor) as changes:
                yield changes

        monkeypatch.setattr(small.database, "changes", too_late)
        said = await ann.post(f"{VENDOR}/tags", {"text": "eu"})
        assert (said.status, said.headers["retry-after"]) == (503, "2")
        monkeypatch.undo()
        assert await everything(small) == before
        assert (await ann.post(f"{VENDOR}/tags", {"text": "eu"})).status == 201


async def test_a_server_that_takes_no_more_connections_is_busy_and_no_fault_of_ours(postgres_url):
    """Others may have used up the server's connections; whoever watches the database must live on."""
    await _administer(postgres_url, "CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    url = sa.make_url(postgres_url.replace("@/?", "@/migrated?")).set(username="crowded")
    async with Database(url.render_as_string(hide_password=False), lambda: 0, wait_s=0.1) as database:
        with pytest.raises(BusyError):
            async with database.read():
                pass
        with pytest.raises(BusyError):
            async with database.change(ALICE, "acme"):
                pass
        await _administer(postgres_url, "ALTER ROLE crowded CONNECTION LIMIT -1")
        async with database.read() as connection:
            assert (await connection.execute(sa.select(1))).scalar_one() == 1
