"""A service is sent what the vendor signed for its segment, whole or what has changed, and verifies it all again."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenant_security.authoring.roster import assign
from tenant_security.broker import tags, tenants
from tenant_security.broker.refusals import NotFoundError
from tenant_security.broker.snapshots import current_revision, snapshot_lines
from tenant_security.broker.tenant_documents import put_tenant, read_tenant
from tenant_security.broker.vendor_configs import put_vendor_config, remove_vendor_config
from tenant_security.directory.tenants import EMPTY_DIRECTORY
from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import TenantChange

CONFIG = b'{"type":"LOCAL","version":1,"credentials":{"keys":{"1":"%s"}},"keyPath":{"keyId":"k"}}' % (b"A" * 43 + b"=")


class Service:
    """A proxy's view of the broker."""

    def __init__(self, world, segment=1, name="proxy-1", tags=()):
        self.world = world
        self.segment = segment
        self.credentials = world.vendor.add_identity(name, segment=segment, tags=tags)
        self.directory = EMPTY_DIRECTORY

    async def lines(self, since=None):
        async with self.world.database.read() as connection:
            lines = snapshot_lines(connection, "acme", self.segment, since=since, now_s=self.world.now_s)
            return [line async for line in lines]

    def verify(self, lines):
        verifier = SnapshotVerifier(
            lines[0],
            pinned=self.world.vendor.root_fingerprint,
            credentials=self.credentials,
            now_s=self.world.now_s,
            previous=self.directory,
        )
        verifier.add(lines[1:])
        return verifier.finish()

    async def whole(self):
        self.directory = self.verify(await self.lines())
        return self.directory

    async def changes(self):
        lines = await self.lines(since=self.directory.version)
        self.directory = self.verify(lines)
        return len(lines) - 1


@pytest.fixture
async def service(world):
    made = Service(world)
    await world.publish()
    return made


async def test_what_was_stored_is_what_the_proxy_opens(world, service):
    await world.tenant("a")
    await world.with_config("a", text=CONFIG)
    directory = await service.whole()
    assert not directory.quarantined
    assert directory.tenant("a").primary.config.open().key_path.key_id == "k"
    async with world.database.read() as connection:
        assert directory.version == await current_revision(connection, "acme")


async def test_only_what_changed_is_sent(world, service):
    for name in "abcd":
        await world.tenant(name)
        await world.with_config(name, text=CONFIG)
    await service.whole()
    assert await service.changes() == 0
    world.now_s += 1
    await _remove(world, "b")
    await world.tenant("e")
    await world.with_config("e", text=CONFIG)
    assert await service.changes() == 2
    assert set(service.directory.tenants) == {"a", "c", "d", "e"}
    assert not service.directory.quarantined


async def test_a_tenant_without_a_record_is_not_sent(world, service):
    await world.tenant("a")
    assert len(await service.whole()) == 0


async def test_a_segment_serves_the_tenants_that_have_its_tags(world, service):
    assert world.vendor.add_segment(tags=("eu",)) == 2
    europe = Service(world, 2, "proxy-eu", tags=("eu",))
    await world.publish()
    async with world.change() as change:
        eu = await tags.create_tag(change, "eu")
    await world.tenant("a", tags=frozenset({eu}))
    await world.with_config("a", text=CONFIG, segments=(1, 2))
    await world.tenant("b")
    await world.with_config("b", text=CONFIG)
    assert set((await europe.whole()).tenants) == {"a"}
    assert not europe.directory.quarantined
    assert europe.directory.tenant("a").primary.config.open().key_path.key_id == "k"
    assert set((await service.whole()).tenants) == {"a", "b"}

    async with world.change() as change:
        await tenants.update_tenant(change, "a", remove_tags=frozenset({eu}))
    assert await europe.changes() == 1
    assert len(europe.directory) == 0


async def test_a_vendors_config_reaches_its_tenants_and_goes_when_it_is_removed(world, service):
    number, unused = await world.number(), await world.number()
    for each in (number, unused):
        async with world.change() as change:
            await put_vendor_config(change, world.config(each, text=CONFIG))
    await world.tenant("a")
    async with world.change() as change:
        record = world.record("a", assign(number, primary=True))
        await put_tenant(change, "a", TenantChange(record, 0))
    await service.whole()
    assert set(service.directory.shared_configs) == {number, unused}
    assert service.directory.tenant("a").primary.config.open().key_path.key_id == "k"

    async with world.change() as change:
        await remove_vendor_config(change, unused)
    assert await service.changes() == 1
    assert set(service.directory.shared_configs) == {number}


async def test_an_unknown_vendor_or_segment_has_no_snapshot(world):
    async with world.database.read() as connection:
        with pytest.raises(NotFoundError):
            [line async for line in snapshot_lines(connection, "other", 1, since=None, now_s=world.now_s)]
        with pytest.raises(NotFoundError):
            [line async for line in snapshot_lines(connection, "acme", 9, since=None, now_s=world.now_s)]


STEPS = st.lists(
    st.lists(st.tuples(st.sampled_from(["put", "remove", "rename"]), st.sampled_from("abc")), max_size=3), max_size=4
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_any_history_of_changes_ends_where_the_whole_ends(world, service, steps):
    await service.whole()
    for step in steps:
        for what, name in step:
            world.now_s += 1
            async with world.database.read() as connection:
                there = await tenants._row(connection, "acme", name) is not None
            if what == "put":
                if not there:
                    await world.tenant(name)
                await world.with_config(name, text=CONFIG)
            elif there and what == "rename":
                async with world.change() as change:
                    await tenants.update_tenant(change, name, name="New")
            elif there:
                await _remove(world, name)
        await service.changes()
        by_changes = service.directory
        whole = await service.whole()
        assert {t.id: t.version for t in by_changes} == {t.id: t.version for t in whole}
        assert by_changes.version == whole.version
        assert not whole.quarantined
        service.directory = by_changes


async def _remove(world, name):
    async with world.change() as change:
        row = await tenants.tenant_row(change.connection, "acme", name)
        stored = await read_tenant(change.connection, "acme", name)
        numbers = tuple(words.decode(words.ConfigHeader, each.header).config for each in stored.configs)
        await put_tenant(change, name, TenantChange(world.record(name), row.record_version, removed=numbers))
        await tenants.remove_tenant(change, name)
