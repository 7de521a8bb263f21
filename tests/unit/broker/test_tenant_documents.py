"""What a tenant is changes as a whole, by whoever may sign it, and never by two at once."""

import pytest
import sqlalchemy as sa

from tenant_security.authoring import documents
from tenant_security.authoring.roster import assign
from tenant_security.broker import schema, tenants
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError
from tenant_security.broker.tenant_documents import put_tenant, read_tenant
from tenant_security.broker.vendor_configs import allow_leasing, put_vendor_config, remove_vendor_config
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import TenantChange

OWN = (words.May.RECORD, words.May.CONFIG)


async def put(world, tenant, record, *configs, base=None, authors=None, removed=()):
    async with world.change() as change:
        version = await world.version(tenant, change) if base is None else base
        await put_tenant(change, tenant, TenantChange(record, version, authors, configs, removed))


async def assignments(world):
    table = schema.assignments
    async with world.database.read() as connection:
        rows = await connection.execute(sa.select(table).order_by(table.c.config))
        return {row.config: (row.active, row.is_primary, row.leasing) for row in rows}


def authors_of(world, tenant, *keys, version=1):
    named = tuple(words.TenantAuthor(key.public, "Ann", OWN) for key in keys)
    return documents.sign(Kind.AUTHORS, words.TenantAuthors("acme", tenant, version, named), world.vendor.admin)


@pytest.fixture
def key():
    return SigningKey(new_seed())


async def test_a_record_and_its_config_arrive_together(world):
    await world.tenant("a")
    number = await world.with_config("a")
    assert await assignments(world) == {number: (True, True, False)}
    async with world.database.read() as connection:
        stored = await read_tenant(connection, "acme", "a")
    assert stored.record_version == world.now_s
    assert [words.decode(words.ConfigHeader, each.header).config for each in stored.configs] == [number]


async def test_of_two_changes_from_the_same_version_one_happens(world):
    await world.tenant("a")
    number = await world.with_config("a")
    base = world.now_s
    await put(world, "a", world.record("a", assign(number), version=base + 1), base=base)
    with pytest.raises(ConflictError, match="read it again"):
        await put(world, "a", world.record("a", version=base + 2), base=base)
    assert await assignments(world) == {number: (True, False, False)}


async def test_a_record_that_is_not_newer_is_refused(world):
    await world.tenant("a")
    await world.with_config("a")
    with pytest.raises(NotAllowedNowError, match="newer than"):
        await put(world, "a", world.record("a"))


async def test_a_stranger_signs_nothing(world, key):
    await world.tenant("a")
    with pytest.raises(NotAllowedNowError, match="no author that we know"):
        await put(world, "a", world.record("a", key=key))
    with pytest.raises(NotAllowedNowError, match="no author that we know"):
        await put(world, "a", world.record("a"), world.config(await world.number(), "a", key=key))


async def test_a_change_that_fails_halfway_leaves_nothing(world):
    await world.tenant("a")
    number = await world.number()
    with pytest.raises(NotAllowedNowError, match="not reserved"):
        await put(
            world,
            "a",
            world.record("a", assign(number), assign(number + 1)),
            world.config(number, "a"),
            world.config(number + 1, "a"),
        )
    async with world.database.read() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(schema.configs))).scalar_one() == 0
        assert (await read_tenant(connection, "acme", "a")).record is None


async def test_a_config_follows_what_is_stored(world):
    await world.tenant("a")
    number = await world.with_config("a")
    for config, why in [
        (world.config(number, "a", text=b"other"), "not newer"),
        (world.config(number, "a", version=1), "not newer"),
        (world.config(number, "a", version=world.now_s + 5, type_="AWS"), "stays one"),
        (world.config(number, "a", version=world.now_s + 5, kind="sink"), "stays one"),
    ]:
        record = world.record("a", assign(number, primary=True), version=world.now_s + 1)
        with pytest.raises(NotAllowedNowError, match=why):
            await put(world, "a", record, config)
    newer = world.config(number, "a", version=world.now_s + 5)
    await put(world, "a", world.record("a", assign(number, primary=True), version=world.now_s + 1), newer)


async def test_another_tenants_config_cannot_be_taken(world):
    await world.tenant("a")
    await world.tenant("b")
    number = await world.with_config("a")
    with pytest.raises(NotAllowedNowError, match="belongs to somebody else"):
        await put(world, "b", world.record("b", assign(number)))
    with pytest.raises(NotAllowedNowError, match="belongs to somebody else"):
        await put(world, "b", world.record("b"), world.config(number, "b"))
    with pytest.raises(NotAllowedNowError, match="belongs to somebody else"):
        await put(world, "b", world.record("b"), removed=(number,))


async def test_a_wrap_to_an_old_epoch_is_refused(world):
    await world.tenant("a")
    old = world.config(await world.number(), "a")
    world.vendor.add_identity("proxy-1")
    world.vendor.revoke_identity("proxy-1")
    await world.publish()
    with pytest.raises(NotAllowedNowError, match="not the newest one"):
        await put(world, "a", world.record("a"), old)


async def test_leasing_needs_the_configs_leave(world):
    await world.tenant("a")
    number = await world.number()
    async with world.change() as change:
        await put_vendor_config(change, world.config(number))
    leased = world.record("a", assign(number, primary=True, leasing=True))
    with pytest.raises(NotAllowedNowError, match="does not allow leasing"):
        await put(world, "a", leased)
    async with world.change() as change:
        await allow_leasing(change, number, True)
    await put(world, "a", leased)
    assert await assignments(world) == {number: (True, True, True)}


async def test_a_primary_is_active_and_a_new_one_takes_its_place(world):
    await world.tenant("a")
    first = await world.with_config("a")
    second = await world.number()
    dark = world.record("a", assign(first, active=False, primary=True), version=world.now_s + 1)
    with pytest.raises(NotAllowedNowError, match="must be active"):
        await put(world, "a", dark)
    record = world.record("a", assign(first), assign(second, primary=True), version=world.now_s + 1)
    await put(world, "a", record, world.config(second, "a"))
    assert await assignments(world) == {first: (True, False, False), second: (True, True, False)}


async def test_what_is_assigned_cannot_be_removed(world):
    await world.tenant("a")
    number = await world.with_config("a")
    keeps = world.record("a", assign(number), version=world.now_s + 1)
    with pytest.raises(NotAllowedNowError, match="is assigned"):
        await put(world, "a", keeps, removed=(number,))
    await put(world, "a", world.record("a", version=world.now_s + 1), removed=(number,))
    assert await assignments(world) == {}


async def test_with_configs_of_its_own_only_the_tenant_says_what_it_uses(world, key):
    await world.tenant("a")
    shared = await world.number()
    async with world.change() as change:
        await put_vendor_config(change, world.config(shared))
    own = await world.with_config("a", key=key, authors=authors_of(world, "a", key))
    both = (assign(own), assign(shared, primary=True))
    with pytest.raises(NotAllowedNowError, match="its own people only"):
        await put(world, "a", world.record("a", *both, version=world.now_s + 1))
    await put(world, "a", world.record("a", *both, version=world.now_s + 1, key=key))
    async with world.change() as change:
        with pytest.raises(NotAllowedNowError, match="assigned to 1 tenants"):
            await remove_vendor_config(change, shared)
        await change.record("test", "nothing")


async def test_a_tenants_author_cannot_speak_for_another(world, key):
    await world.tenant("a")
    await world.tenant("b")
    await world.with_config("a", key=key, authors=authors_of(world, "a", key))
    with pytest.raises(NotAllowedNowError, match="no author that we know"):
        await put(world, "b", world.record("b", key=key))
    with pytest.raises(NotAllowedNowError, match="of another tenant"):
        await put(world, "b", world.record("b", key=key), authors=authors_of(world, "a", key, version=2))


async def test_removed_authors_stay_removed(world, key):
    await world.tenant("a")
    number = await world.with_config("a", key=key, authors=authors_of(world, "a", key))
    keeps = assign(number, primary=True)
    await put(world, "a", world.record("a", keeps, version=world.now_s + 1), authors=authors_of(world, "a", version=2))
    with pytest.raises(NotAllowedNowError, match="stored in version 2"):
        await put(
            world,
            "a",
            world.record("a", keeps, key=key, version=world.now_s + 2),
            authors=authors_of(world, "a", key, version=1),
        )


async def test_a_tenant_is_removed_only_when_it_is_empty_and_after_a_while(world, key):
    await world.tenant("a")
    number = await world.with_config("a", key=key, authors=authors_of(world, "a", key))

    async def remove():
        async with world.change() as change:
            await tenants.remove_tenant(change, "a")

    with pytest.raises(NotAllowedNowError, match="configs of its own"):
        await remove()
    world.now_s += 1
    await put(world, "a", world.record("a", key=key), removed=(number,))
    with pytest.raises(NotAllowedNowError, match="36 hours"):
        await remove()
    world.now_s += 36 * 3600
    await remove()
    await world.tenant("a")
