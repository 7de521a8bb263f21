"""Whoever runs the broker lets an organisation back in whose people lost everything."""

import sqlalchemy as sa
from tests.unit.broker.browser import Browser, fragment
from tests.unit.broker.inhabited import VENDOR, inhabited

from tenant_security.broker import audit_log, schema
from tenant_security.broker.people import operator
from tenant_security.cli.app import app


async def test_an_owner_who_lost_everything_comes_back(world):
    async with inhabited(world) as town:
        ann = await town.person("ann@example.com")
        assert (await Browser(town.made).sign_up(await town.token("bob@example.com"))).status == 201
        assert await operator.forget(world.database, "Ann@example.com") == 1
        assert (await ann.get("/api/1/session")).status == 401
        assert (await ann.fork().sign_in()).code == "sign-in-failed"
        first = await operator.invite(world.database, "acme", None, "ann@example.com", "owner")
        made = await operator.invite(world.database, "acme", None, "ann@example.com", "owner")
        again = Browser(town.made)
        assert (await again.sign_up(first.token)).status == 404
        assert (await again.sign_up(made.token)).status == 201
        assert (await again.get(f"{VENDOR}/people")).status == 200
    async with world.database.read() as connection:
        assert await audit_log.verify(connection, "acme") is None
        rows = await audit_log.page(connection, "acme", action="person.forget")
    assert rows[0].row.actor_kind == "operator"


def test_the_commands_say_what_they_did_and_what_is_wrong(tmp_path, monkeypatch, capsys):
    import asyncio

    from tests.unit.broker.conftest import World

    from tenant_security.broker.database import Database
    from tenant_security.broker.migrations.upgrade import upgrade

    url = f"sqlite:///{tmp_path / 'broker.db'}"

    async def begin():
        async with Database(url, lambda: 1_800_000_000_000) as database:
            await database.run_sync(upgrade)
            await World(database, tmp_path).begin()

    asyncio.run(begin())
    monkeypatch.setenv("BROKER_DATABASE_URL", url)
    monkeypatch.setenv("BROKER_PUBLIC_URL", "https://broker.example")

    def run(*words):
        try:
            app(words)
        except SystemExit as left:
            return left.code, capsys.readouterr()
        return 0, capsys.readouterr()

    code, said = run("broker", "invite", "ann@example.com", "--vendor", "acme")
    assert code == 0
    assert said.out.startswith("https://broker.example/invitation#t=inv_")
    assert len(fragment(said.out.splitlines()[0])["r"]) == 64
    code, said = run("broker", "invite", "ann@example.com", "--vendor", "none")
    assert (code, "no vendor 'none'" in said.err) == (1, True)
    code, said = run("broker", "forget-person", "eve@example.com")
    assert (code, "no account" in said.err) == (1, True)
    with_people = sa.create_engine(url)
    with with_people.begin() as connection:
        connection.execute(schema.people.insert().values(id="p", email="eve@example.com", name="Eve", created_ms=1))
    with_people.dispose()
    code, said = run("broker", "forget-person", "eve@example.com")
    assert (code, "with 0 memberships" in said.out) == (0, True)
