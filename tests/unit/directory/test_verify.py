"""What a good snapshot becomes, how it changes over time, and that a bad entry harms its own tenant only."""

import msgspec
import pytest

from tenant_security.authoring.roster import Roster, assign
from tenant_security.directory.tenants import Freshness
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire import snapshot as words

from .conftest import World, config_json


def test_a_snapshot_becomes_a_directory_whose_configs_open(world: World) -> None:
    world.roster.put_shared(100, config_json("vendor's"))
    world.tenant("a", 1)
    world.roster.put_tenant("b", [assign(100, primary=True)], leasing_required=True)
    world.write()
    directory = world.refresh()
    assert (len(directory), directory.vendor, directory.loaded_from) == (2, "acme", "test")
    assert directory.freshness is Freshness.MANIFEST_ONLY
    assert not directory.quarantined
    assert world.key_name("a") == "a"
    assert world.key_name("b") == "vendor's"
    b = directory.tenant("b")
    assert b is not None
    assert b.leasing_required
    assert b.primary is not None
    assert not b.primary.leasing


def test_tenants_share_one_object_of_a_vendor_config(world: World) -> None:
    world.roster.put_shared(100, config_json("vendor's"))
    for name in "ab":
        world.roster.put_tenant(name, [assign(100, primary=True)])
    world.write()
    first, second = (tenant.assignments[0].config for tenant in world.refresh())
    assert first is second


def test_a_head_makes_the_directory_fresh(world: World) -> None:
    world.tenants("a")
    world.write(head_life_s=60)
    directory = world.refresh()
    assert directory.freshness is Freshness.HEAD
    assert directory.expires_at_s == world.now_s + 60


def test_what_is_unchanged_is_taken_over_as_it_is(world: World) -> None:
    world.roster.put_shared(100, config_json("vendor's"))
    world.tenants("a", "b")
    world.roster.put_tenant("c", [assign(100, primary=True)])
    world.write()
    before = world.refresh()
    world.tenant("b", 2, "b, rotated")
    world.write()
    after = world.refresh()
    assert world.reused == 2
    assert after.tenant("a") is before.tenant("a")
    assert after.tenant("c") is before.tenant("c")
    assert world.key_name("b") == "b, rotated"


def test_a_fingerprint_changes_with_the_content_and_not_with_the_wrap(world: World) -> None:
    world.tenants("a", "b")
    world.write()
    before = [tenant.assignments[0].config.fingerprint for tenant in world.refresh()]
    world.vendor.rotate_segment(1)
    world.tenant("b", 2, "b, rotated")
    world.write()
    after = [tenant.assignments[0].config.fingerprint for tenant in world.refresh()]
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert world.key_name("a") == "a"


def test_a_changed_vendor_config_reaches_tenants_whose_line_did_not_change(world: World) -> None:
    world.roster.put_shared(100, config_json("old"))
    world.roster.put_tenant("a", [assign(100, primary=True)])
    world.write()
    world.refresh()
    world.roster.put_shared(100, config_json("new"))
    world.write()
    world.refresh()
    assert world.key_name("a") == "new"


def test_a_disabled_config_and_a_removed_tenant_are_gone_with_the_next_snapshot(world: World) -> None:
    world.tenants("a", "b")
    world.write()
    world.refresh()
    world.roster.change_assignment("a", 1, active=False)
    world.roster.remove_tenant("b")
    world.write()
    directory = world.refresh()
    a = directory.tenant("a")
    assert a is not None
    assert a.primary is None
    assert not a.has_active
    assert directory.tenant("b") is None


def test_one_bad_entry_among_many_is_quarantined_and_no_other(world: World) -> None:
    world.tenants("a", "b", "c", "d")
    world.write()
    world.change_entry("c", lambda entry: msgspec.structs.replace(entry, record=_with_bad_signature(entry.record)))
    directory = world.refresh()
    assert list(directory.quarantined) == ["c"]
    assert [tenant.id for tenant in directory if tenant.quarantined] == ["c"]
    assert world.key_name("d") == "d"


def _with_bad_signature(signed: words.Signed) -> words.Signed:
    return msgspec.structs.replace(signed, sig=bytes(64))


def test_a_quarantined_tenant_has_nothing_left_to_use(world: World) -> None:
    world.tenants("a")
    world.write()
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, configs=()))
    tenant = world.refresh().tenant("a")
    assert tenant is not None
    assert tenant.quarantined == "config 1 is assigned and not in the snapshot"
    assert (tenant.primary, tenant.assignments) == (None, ())


def test_a_quarantined_tenant_recovers_with_a_good_entry(world: World) -> None:
    world.tenants("a")
    good = world.write()
    world.refresh()
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, record=_with_bad_signature(entry.record)))
    assert world.refresh().quarantined
    world.put(good)
    assert not world.refresh().quarantined
    assert world.key_name("a") == "a"


def test_garbage_lines_are_named_and_harm_nobody_else(world: World) -> None:
    world.tenants("a", "b")
    lines = world.write()
    world.put([lines[0], b"\x00garbage", lines[1], b"", lines[2], b'{"line":"tenant","tenant":"z"}'])
    directory = world.refresh()
    assert list(directory.quarantined) == ["line 2", "line 4", "z"]
    assert world.key_name("a") == "a"
    assert world.key_name("b") == "b"


def test_a_bad_vendor_config_quarantines_the_tenants_that_use_it(world: World) -> None:
    world.roster.put_shared(100, config_json("shared"))
    world.tenants("a")
    world.roster.put_tenant("b", [assign(100, primary=True)])
    lines = world.write()
    entry = words.decode_line(lines[1])
    assert isinstance(entry, words.ConfigLine)
    lines[1] = words.encode(words.ConfigLine(msgspec.structs.replace(entry.envelope, sig=bytes(64))))
    world.put(lines)
    assert set(world.refresh().quarantined) == {"config 100", "b"}


@pytest.mark.parametrize("which", ["tenant", "config"])
def test_what_appears_twice_is_quarantined(world: World, which: str) -> None:
    world.roster.put_shared(100, config_json("shared"))
    world.roster.put_tenant("a", [assign(100, primary=True)])
    lines = world.write()
    world.put(
        [lines[0], lines[1], lines[2], lines[2]] if which == "tenant" else [lines[0], lines[1], lines[1], lines[2]]
    )
    directory = world.refresh()
    assert directory.tenants["a"].quarantined is not None
    assert "twice" in directory.tenants["a"].quarantined


def test_a_snapshot_with_other_than_its_promised_lines_is_refused_whole(world: World) -> None:
    world.tenants("a", "b")
    lines = world.write()
    with pytest.raises(SnapshotRefusedError, match="cut short"):
        world.verify(lines[:-1])
    with pytest.raises(SnapshotRefusedError, match="more than"):
        world.verify([*lines, lines[-1]])


def test_a_vendor_config_after_a_tenant_is_refused(world: World) -> None:
    world.roster.put_shared(100, config_json("shared"))
    world.tenants("a")
    lines = world.write()
    with pytest.raises(SnapshotRefusedError, match="after the first tenant"):
        world.verify([lines[0], lines[2], lines[1]])


def test_a_new_epoch_is_taken_over_and_an_unknown_one_quarantined(world: World) -> None:
    world.tenants("a")
    old = world.write()
    world.refresh()
    world.vendor.rotate_segment(1)
    new = world.write()
    world.refresh()
    assert world.key_name("a") == "a"
    world.put([new[0], old[1]])
    assert "epoch 1, which the manifest lacks" in world.refresh().quarantined["a"]


def test_a_config_of_a_segment_that_is_not_ours_answers_207_when_it_is_opened(world: World) -> None:
    segment = world.vendor.add_segment(tags=["eu"])
    world.roster = Roster(world.vendor, segment=segment)
    world.tenants("a")
    world.write()
    assert not world.refresh().quarantined
    with pytest.raises(TenantSecurityError, match="was not given the key of segment 2") as caught:
        world.key_name("a")
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID


def test_without_credentials_everything_is_verified_and_nothing_opens(world: World) -> None:
    world.tenants("a")
    world.write()
    fingerprint = world.credentials.root_fingerprint
    world.credentials = None  # type: ignore[assignment]
    world.directory = world.verify(pinned=fingerprint)
    assert not world.directory.quarantined
    with pytest.raises(TenantSecurityError):
        world.key_name("a")


def test_a_config_that_proxies_cannot_read_is_207_and_names_no_secret(world: World) -> None:
    world.tenants("a")
    envelope = world.vendor.seal_config("a", 1, b'{"type":"LOCAL","secret":"hush"}', version=world.now_s + 9)
    entry = world.roster.tenants["a"]
    world.roster.put_signed(entry.signed, [envelope])
    world.write()
    world.refresh()
    with pytest.raises(TenantSecurityError) as caught:
        world.key_name("a")
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert "hush" not in caught.value.message
