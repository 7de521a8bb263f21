"""A snapshot that brings only what has changed."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.directory.conftest import World, config_json

from tenant_security.crypto.signing import SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.trust.refusal import SnapshotRefusedError, WholeNeededError
from tenant_security.wire import snapshot as words


def name_of(line: bytes) -> object:
    entry = words.decode_line(line)
    if isinstance(entry, words.TenantLine):
        return entry.tenant
    assert isinstance(entry, words.ConfigLine)
    return words.decode(words.ConfigHeader, entry.envelope.header).config


def changes(old: list[bytes], new: list[bytes]) -> list[bytes]:
    """What a broker would send to whoever has ``old`` and wants ``new``."""
    before, after = ({name_of(line): line for line in lines[1:]} for lines in (old, new))
    gone = [
        words.GoneLine(config=name) if isinstance(name, int) else words.GoneLine(tenant=name)
        for name in before.keys() - after.keys()
    ]
    lines = [words.encode(line) for line in gone]
    lines += [line for name, line in after.items() if before.get(name) != line]
    header = words.decode(words.SnapshotHeader, new[0])
    since = words.decode(words.SnapshotHeader, old[0]).version
    return [words.encode(msgspec.structs.replace(header, since=since, lines=len(lines))), *lines]


def same(left, right) -> bool:
    def content(directory):
        return {
            tenant.id: (
                tenant.version,
                tenant.leasing_required,
                tenant.quarantined,
                [(each.config.fingerprint, each.active, each.primary) for each in tenant.assignments],
            )
            for tenant in directory
        }

    return content(left) == content(right) and left.version == right.version


def test_changes_on_top_of_the_old_are_the_new(world: World) -> None:
    world.tenants("a", "b", "c", "d")
    old = world.write(head_life_s=600)
    world.refresh()
    world.roster.remove_tenant("b")
    world.tenant("e", 5)
    world.roster.change_assignment("c", 3, active=False)
    new = world.write(head_life_s=600)

    brought = changes(old, new)
    assert len(brought) == 1 + 3
    directory = world.verify(brought)

    assert same(directory, world.verify(new))
    assert set(directory.tenants) == {"a", "c", "d", "e"}
    assert directory.tenant("a") is world.directory.tenant("a")


def test_what_was_removed_by_a_change_does_not_come_back_older(world: World) -> None:
    world.tenants("a", "b")
    old = world.write()
    world.refresh()
    entry = world.entry("b")
    world.roster.remove_tenant("b")
    new = world.write()
    world.directory = world.verify(changes(old, new))
    record = words.decode(words.TenantRecord, entry.record.body)
    assert world.directory.standing.floors["b", 0] == record.version


def test_changes_for_another_snapshot_ask_for_the_whole(world: World) -> None:
    world.tenants("a")
    older = world.write()
    world.tenants("a", "b")
    world.write()
    world.refresh()
    world.tenants("a", "b", "c")
    new = world.write()
    with pytest.raises(WholeNeededError, match="is in use"):
        world.verify(changes(older, new))


def test_a_head_notices_a_change_that_was_held_back(world: World) -> None:
    world.tenants("a", "b")
    old = world.write(head_life_s=600)
    world.refresh()
    world.roster.change_assignment("a", 1, active=False)
    world.roster.change_assignment("b", 2, active=False)
    brought = changes(old, world.write(head_life_s=600))
    header = words.decode(words.SnapshotHeader, brought[0])
    held_back = [words.encode(msgspec.structs.replace(header, lines=1)), brought[1]]
    with pytest.raises(SnapshotRefusedError, match="vouches for other entries"):
        world.verify(held_back)


def test_a_head_notices_a_tenant_that_was_made_to_go(world: World) -> None:
    world.tenants("a", "b")
    old = world.write(head_life_s=600)
    world.refresh()
    brought = changes(old, world.write(head_life_s=600))
    header = words.decode(words.SnapshotHeader, brought[0])
    gone = words.encode(words.GoneLine(tenant="a"))
    with pytest.raises(SnapshotRefusedError, match="vouches for other entries"):
        world.verify([words.encode(msgspec.structs.replace(header, lines=len(brought))), *brought[1:], gone])


def test_a_change_of_rights_asks_for_the_whole(world: World) -> None:
    key = SigningKey(new_seed())
    world.vendor.add_author(key.public, "clerk", tenant="", may=(words.May.RECORD,))
    world.tenants("a")
    old = world.write()
    world.refresh()
    world.vendor.remove_author(key.key_id)
    with pytest.raises(WholeNeededError, match="rights or a key"):
        world.verify(changes(old, world.write()))


def test_a_new_epoch_asks_for_the_whole(world: World) -> None:
    world.vendor.add_identity("proxy-2")
    world.tenants("a")
    old = world.write()
    world.refresh()
    world.vendor.revoke_identity("proxy-2")
    with pytest.raises(WholeNeededError, match="rights or a key"):
        world.verify(changes(old, world.write()))


def test_a_changed_config_of_the_vendor_asks_for_the_whole_where_tenants_use_it(world: World) -> None:
    world.roster.put_shared(100, config_json("shared"))
    world.roster.put_shared(101, config_json("unused"))
    world.roster.put_tenant("a", [words.RecordAssignment(100, active=True, primary=True, leasing=False)])
    old = world.write()
    world.refresh()
    world.roster.put_shared(101, config_json("unused, changed"))
    middle = world.write()
    world.directory = world.verify(changes(old, middle))
    world.roster.put_shared(100, config_json("changed"))
    with pytest.raises(WholeNeededError, match="which tenants use"):
        world.verify(changes(middle, world.write()))


def test_a_whole_snapshot_removes_nothing_by_name(world: World) -> None:
    world.tenants("a")
    lines = world.write()
    world.put([*lines, words.encode(words.GoneLine(tenant="a"))])
    with pytest.raises(SnapshotRefusedError, match="more than changes"):
        world.verify()


def test_a_bad_change_quarantines_its_tenant_only(world: World) -> None:
    world.tenants("a", "b")
    old = world.write()
    world.refresh()
    world.tenant("a", 1, "other")
    brought = changes(old, world.write())
    entry = words.decode_line(brought[1])
    assert isinstance(entry, words.TenantLine)
    brought[1] = words.encode(
        msgspec.structs.replace(entry, record=msgspec.structs.replace(entry.record, sig=bytes(64)))
    )
    directory = world.verify(brought)
    assert set(directory.quarantined) == {"a"}
    assert directory.tenant("b") is world.directory.tenant("b")


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.lists(st.tuples(st.integers(1, 6), st.sampled_from(["put", "off", "gone"])), max_size=4), max_size=5
    )
)
def test_any_history_of_changes_ends_where_the_whole_ends(tmp_path_factory, steps) -> None:
    world = World(tmp_path_factory.mktemp("world"))
    world.tenants("t1", "t2", "t3")
    old = world.write(head_life_s=600)
    world.refresh()
    for step in steps:
        for number, what in step:
            name = f"t{number}"
            if what == "put":
                world.tenant(name, number, f"{name} at {world.now_s}")
            elif name in world.roster.tenants and what == "off":
                world.roster.change_assignment(name, number, active=False)
            elif name in world.roster.tenants:
                world.roster.remove_tenant(name)
        new = world.write(head_life_s=600)
        by_changes = world.verify(changes(old, new))
        assert same(by_changes, world.verify(new))
        world.directory, old = by_changes, new
