"""What somebody who can write the file, but has no key of the vendor, cannot achieve."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenant_security.authoring import documents
from tenant_security.authoring.roster import assign
from tenant_security.crypto.seal import SealingKey, Suite, seal_payload
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import OpeningKey, new_seed
from tenant_security.directory.tenants import Freshness
from tenant_security.errors import TenantSecurityError
from tenant_security.trust.refusal import Part, SnapshotRefusedError
from tenant_security.wire import snapshot as words

from .conftest import World, config_json


def quarantined(world: World, tenant: str) -> str:
    """Refresh, and return why this tenant and nobody else was quarantined."""
    directory = world.refresh()
    assert list(directory.quarantined) == [tenant]
    return directory.quarantined[tenant]


def refused(world: World, **options: str) -> SnapshotRefusedError:
    with pytest.raises(SnapshotRefusedError) as caught:
        world.verify(**options)
    return caught.value


# Moving and swapping what others have signed.


def test_a_config_cannot_be_moved_to_another_tenant(world: World) -> None:
    world.tenants("a", "b")
    world.write()
    stolen = world.entry("b").configs
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, configs=stolen))
    assert quarantined(world, "a") == "config 2 belongs to somebody else"


def test_a_config_cannot_be_moved_to_the_vendor_and_so_to_everybody(world: World) -> None:
    world.tenants("a")
    lines = world.write()
    stolen = world.entry("a").configs[0]
    world.put([lines[0], words.encode(words.ConfigLine(stolen)), lines[1]])
    assert world.refresh().quarantined == {
        "config 1": "config 1 belongs to somebody else",
        "a": ("config 1 has the id of a config of the vendor"),
    }


def test_a_record_cannot_be_moved_to_another_tenant(world: World) -> None:
    world.tenants("a", "b")
    world.write()
    stolen = world.entry("b").record
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, record=stolen))
    assert quarantined(world, "a") == "its tenant-record is of another tenant"


@pytest.mark.parametrize("part", ["payload", "commit", "header", "wrap"])
def test_parts_of_two_envelopes_do_not_make_a_third(world: World, part: str) -> None:
    world.tenants("a")
    old = world.entry("a", world.write()).configs[0]
    world.tenant("a", 1, "a, rotated")
    world.write()
    mixed = lambda entry: msgspec.structs.replace(  # noqa: E731
        entry, configs=(msgspec.structs.replace(entry.configs[0], **{part: getattr(old, part)}),)
    )
    world.change_entry("a", mixed)
    directory = world.refresh()
    if part == "wrap":  # it is not signed, so that it can be made anew; it does not open
        with pytest.raises(TenantSecurityError, match="cannot be opened"):
            world.key_name("a")
    else:
        assert "signature" in directory.quarantined["a"]


def test_entries_of_another_vendor_are_not_believed(world: World) -> None:
    """Even when one key is an author for both vendors."""
    world.tenants("a")
    world.write()
    record = words.TenantRecord("umbrella", "a", world.now_s, False, ())
    signed = documents.sign(Kind.RECORD, record, world.vendor.admin)
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, record=signed))
    assert quarantined(world, "a") == "its tenant-record is of another vendor"


# Authors that do more than they may.


def test_an_unknown_author_is_not_believed(world: World) -> None:
    world.tenants("a")
    world.write()
    stranger = SigningKey(new_seed())
    record = words.decode(words.TenantRecord, world.entry("a").record.body)
    world.change_entry(
        "a", lambda entry: msgspec.structs.replace(entry, record=documents.sign(Kind.RECORD, record, stranger))
    )
    assert "who is no author that we know" in quarantined(world, "a")


def signed_config(world: World, author: SigningKey, tenant: str, config: int) -> words.ConfigEnvelope:
    header = words.ConfigHeader("acme", tenant, config, "kms", world.now_s, world.now_s)
    return documents.seal_config(header, config_json("evil"), world.vendor.segment(1), author)


def test_a_tenants_author_signs_its_own_tenants_entries(world: World) -> None:
    admin = world.tenant_admin("a")
    world.tenants("a")
    record = words.TenantRecord("acme", "a", world.now_s, False, (assign(1, primary=True),))
    world.roster.put_signed(documents.sign(Kind.RECORD, record, admin), [signed_config(world, admin, "a", 1)])
    world.write()
    assert not world.refresh().quarantined


def test_a_tenants_author_cannot_sign_another_tenants_config(world: World) -> None:
    admin = world.tenant_admin("a")
    world.tenants("a", "b")
    world.write()
    evil = signed_config(world, admin, "b", 2)
    world.change_entry("b", lambda entry: msgspec.structs.replace(entry, configs=(evil,)))
    assert "an author of another tenant" in quarantined(world, "b")


def test_a_tenants_author_cannot_sign_a_config_of_the_vendor(world: World) -> None:
    admin = world.tenant_admin("a")
    world.tenants("a")
    lines = world.write()
    evil = signed_config(world, admin, words.SHARED, 100)
    world.put([lines[0], words.encode(words.ConfigLine(evil)), *lines[1:]])
    assert "an author of another tenant" in quarantined(world, "config 100")


def test_an_author_of_configs_cannot_sign_records(world: World) -> None:
    admin = world.tenant_admin("a", may=(words.May.CONFIG,))
    world.tenants("a")
    world.write()
    record = words.TenantRecord("acme", "a", world.now_s, False, ())
    signed = documents.sign(Kind.RECORD, record, admin)
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, record=signed))
    assert "who may not sign that" in quarantined(world, "a")


def test_a_removed_author_loses_what_it_signed_even_when_the_line_is_unchanged(world: World) -> None:
    admin = world.tenant_admin("a")
    record = words.TenantRecord("acme", "a", world.now_s, False, (assign(1, primary=True),))
    world.roster.put_signed(documents.sign(Kind.RECORD, record, admin), [signed_config(world, admin, "a", 1)])
    world.write()
    assert not world.refresh().quarantined
    world.vendor.remove_author(admin.key_id)
    world.write()
    assert "who is no author that we know" in quarantined(world, "a")


def test_a_signature_on_one_kind_of_document_is_none_on_another(world: World) -> None:
    world.tenants("a")
    world.write()
    body = world.entry("a").record.body
    confused = words.Signed(body, world.vendor.admin.key_id, world.vendor.admin.sign(Kind.MANIFEST, body))
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, record=confused))
    assert "signature" in quarantined(world, "a")


# Keys.


def test_a_snapshot_of_somebody_elses_root_is_refused(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The attacker makes a whole vendor of the same name."""
    evil = World(tmp_path_factory.mktemp("evil"))
    evil.tenants("a")
    lines = evil.write()
    with pytest.raises(SnapshotRefusedError, match="not the pinned one") as caught:
        world.verify(lines)
    assert caught.value.part is Part.ROOT


def test_a_swapped_segment_key_is_refused_because_the_manifest_is_signed(world: World) -> None:
    """The classic attack on a blind server: it hands out a public key of its own."""
    world.tenants("a")
    world.write()
    evil = OpeningKey(Suite.XWING, new_seed())
    segment = msgspec.structs.replace(world.vendor.segment(1), public=evil.public)
    manifest = msgspec.structs.replace(world.vendor.manifest, segments=(segment,))
    world.change_header(manifest=msgspec.structs.replace(world.header().manifest, body=words.encode(manifest)))
    assert refused(world).part is Part.MANIFEST


def test_a_swapped_segment_seed_is_refused_because_it_does_not_yield_the_manifests_key(world: World) -> None:
    """Anybody can seal to our public key; what is sealed must still be the right seed."""
    world.tenants("a")
    world.write()
    ours = SealingKey(Suite.XWING, world.vendor.manifest.identities[0].encryption)
    evil = documents.wrap_seed("acme", world.vendor.segment(1), new_seed(), ours)
    world.change_header(segment_wraps=(evil,))
    assert "not of the manifest's public key" in refused(world).reason


def test_a_manifest_signed_by_a_tenants_author_is_refused(world: World) -> None:
    admin = world.tenant_admin("a")
    world.write()
    world.change_header(manifest=documents.sign(Kind.MANIFEST, world.vendor.manifest, admin))
    error = refused(world)
    assert (error.part, "the root does not let" in error.reason) == (Part.MANIFEST, True)


def test_a_root_signed_by_another_key_is_refused(world: World) -> None:
    world.write()
    world.change_header(root=documents.sign(Kind.ROOT, world.vendor.root, world.vendor.admin))
    assert refused(world).part is Part.ROOT


def test_a_revoked_identity_is_refused_and_cannot_open_the_new_epoch(world: World) -> None:
    world.vendor.add_identity("proxy-2")
    world.tenants("a")
    world.write()
    world.refresh()
    world.vendor.revoke_identity("proxy-1")
    world.write()
    assert "was revoked" in refused(world).reason
    recipients = {wrap.recipient for wrap in world.header().segment_wraps}
    assert len(recipients) == 1


def test_an_identity_whose_keys_are_not_the_manifests_is_refused(world: World) -> None:
    world.write()
    world.credentials = msgspec.structs.replace(world.credentials, signing_seed=new_seed())
    assert refused(world).part is Part.IDENTITY


def test_an_author_cannot_wrap_a_key_that_it_did_not_commit_to(world: World) -> None:
    """With AES-GCM alone one payload can open differently for two proxies; the commitment is signed and checked."""
    world.tenants("a")
    world.write()
    envelope = world.entry("a").configs[0]
    other_dek = seal_payload(envelope.header, b"{}").dek
    wrap = documents.wrap_dek(other_dek, envelope.header, world.vendor.segment(1))
    changed = msgspec.structs.replace(envelope, wrap=wrap)
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, configs=(changed,)))
    assert not world.refresh().quarantined
    with pytest.raises(TenantSecurityError, match="not the one its author committed to"):
        world.key_name("a")


def test_a_wrap_cannot_claim_another_epoch_or_suite(world: World) -> None:
    world.tenants("a")
    world.write()
    wrap = msgspec.structs.replace(world.entry("a").configs[0].wrap, suite=2)
    world.change_entry(
        "a",
        lambda entry: msgspec.structs.replace(entry, configs=(msgspec.structs.replace(entry.configs[0], wrap=wrap),)),
    )
    assert "not wrapped in its segment's suite" in quarantined(world, "a")


# Old things again.


def test_an_older_manifest_is_refused(world: World) -> None:
    world.tenants("a")
    old = world.write()
    world.vendor.add_identity("proxy-2")
    world.write()
    world.refresh()
    with pytest.raises(SnapshotRefusedError, match="is older than") as caught:
        world.verify(old)
    assert caught.value.part is Part.MANIFEST


def test_two_manifests_of_one_version_are_refused(world: World) -> None:
    world.write()
    world.refresh()
    other = msgspec.structs.replace(world.vendor.manifest, authors=())
    world.change_header(manifest=documents.sign(Kind.MANIFEST, other, world.vendor.admin))
    assert "differs from the version" in refused(world).reason


def test_an_older_record_is_not_taken_and_the_newer_one_stays(world: World) -> None:
    """The attack that brings back a permission that was taken away."""
    world.tenants("a", "b")
    old = world.entry("a", world.write())
    world.roster.change_assignment("a", 1, leasing=False)
    world.write()
    world.refresh()
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, record=old.record))
    directory = world.refresh()
    assert "older than" in directory.rollbacks["a"]
    assert not directory.quarantined
    a = directory.tenant("a")
    assert a is not None
    assert a.primary is not None
    assert not a.primary.leasing
    assert "a" in world.refresh().rollbacks, "and it is reported for as long as it is offered"


def test_an_older_config_is_not_taken_and_the_newer_one_stays(world: World) -> None:
    world.tenants("a")
    old = world.entry("a", world.write())
    world.tenant("a", 1, "a, rotated")
    world.write()
    world.refresh()
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, configs=old.configs))
    assert "config 1 was offered in version" in world.refresh().rollbacks["a"]
    assert world.key_name("a") == "a, rotated"


def test_an_older_vendor_config_is_not_taken_and_the_newer_one_stays(world: World) -> None:
    world.roster.put_shared(100, config_json("old"))
    world.roster.put_tenant("a", [assign(100, primary=True)])
    old = world.write()
    world.roster.put_shared(100, config_json("new"))
    new = world.write()
    world.refresh()
    world.put([new[0], old[1], new[2]])
    assert list(world.refresh().rollbacks) == ["config 100"]
    assert world.key_name("a") == "new"


def test_a_mixture_of_two_snapshots_is_noticed_with_and_without_a_head(world: World) -> None:
    world.tenants("a", "b")
    old = world.write(head_life_s=600)
    world.roster.change_assignment("a", 1, active=False)
    new = world.write(head_life_s=600)
    mixture = [new[0], old[1], new[2]]
    with pytest.raises(SnapshotRefusedError, match="vouches for other entries"):
        world.verify(mixture)
    world.refresh()
    world.put(mixture)
    assert refused(world).part is Part.HEAD


def test_an_older_snapshot_of_the_same_manifest_is_refused_by_its_head(world: World) -> None:
    world.tenants("a")
    old = world.write(head_life_s=600)
    world.write(head_life_s=600)
    world.refresh()
    with pytest.raises(SnapshotRefusedError, match="is older than"):
        world.verify(old)


def test_what_was_withdrawn_does_not_come_back_older(world: World) -> None:
    """Hide the tenant once, so that nothing of it is in use, then offer what was replaced long ago."""
    world.tenants("a", "b")
    old = world.write()
    world.tenant("a", 1, "a, rotated")
    new = world.write()
    world.refresh()
    world.put([new[0], new[2]])
    assert world.refresh().tenant("a") is None
    world.put([new[0], new[2]])
    world.refresh()
    world.put([new[0], old[1], new[2]])
    assert "older than" in quarantined(world, "a")
    world.put(new)
    world.refresh()
    assert world.key_name("a") == "a, rotated"


def test_quarantine_does_not_make_a_tenant_forget_its_versions(world: World) -> None:
    world.tenants("a")
    old = world.write()
    world.roster.change_assignment("a", 1, leasing=False)
    new = world.write()
    world.refresh()
    world.change_entry("a", lambda _: b'{"line":"tenant","tenant":"a"}')
    quarantined(world, "a")
    world.put([new[0], old[1]])
    assert "older than" in quarantined(world, "a")


def test_taking_the_head_away_is_refused(world: World) -> None:
    world.tenants("a")
    world.write(head_life_s=600)
    world.refresh()
    world.change_header(head=None)
    assert refused(world).part is Part.HEAD


def test_a_newer_manifest_may_do_without_a_head_unless_it_requires_one(world: World) -> None:
    world.tenants("a")
    world.write(head_life_s=600)
    world.refresh()
    world.vendor.add_identity("proxy-2")
    world.write()
    assert world.refresh().freshness is Freshness.MANIFEST_ONLY
    world.vendor.require_head()
    world.write()
    assert "requires a head" in refused(world).reason


@pytest.mark.parametrize("what", ["manifest", "head", "root"])
def test_what_has_expired_is_refused(world: World, what: str) -> None:
    world.tenants("a")
    world.write(head_life_s=600 if what == "head" else None)
    life_s = {"head": 600, "manifest": 365 * 86_400, "root": 3650 * 86_400}[what]
    if what == "root":
        world.now_s += life_s - 10
        world.vendor.renew()
        world.write()
    world.verify()
    world.now_s += life_s
    assert "it expired" in refused(world).reason


# Damage.


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("small"))
    world.roster.put_shared(100, config_json("shared"))
    world.tenants("a", "b")
    world.roster.put_tenant("c", [assign(100, primary=True)])
    world.write(head_life_s=600)
    return world


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_never_changes_what_a_tenant_gets(small: World, data: st.DataObject) -> None:
    """With the head every flip refuses the file, or hits what is neither signed nor used."""
    whole = bytearray(small.path.read_bytes())
    at = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[at // 8] ^= 1 << at % 8
    _same_or_less(small, bytes(whole))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_without_a_head_harms_at_most_what_it_hits(small: World, data: st.DataObject) -> None:
    lines = small.lines()
    header = msgspec.structs.replace(words.decode(words.SnapshotHeader, lines[0]), head=None)
    number = data.draw(st.integers(1, len(lines) - 1))
    changed = bytearray(lines[number])
    at = data.draw(st.integers(0, len(changed) * 8 - 1))
    changed[at // 8] ^= 1 << at % 8
    lines[number] = bytes(changed)
    _same_or_less(small, b"\n".join([words.encode(header), *lines[1:]]) + b"\n")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_truncated_file_is_refused(small: World, data: st.DataObject) -> None:
    whole = small.path.read_bytes()
    cut = whole[: data.draw(st.integers(0, len(whole) - 2))]
    with pytest.raises(SnapshotRefusedError):
        small.verify(cut.splitlines() or [b""])


def _same_or_less(world: World, whole: bytes) -> None:
    try:
        directory = world.verify(whole.split(b"\n")[:-1])
    except SnapshotRefusedError:
        return
    expected = {"a": "a", "b": "b", "c": "shared"}
    for tenant in directory:
        if tenant.quarantined is None and tenant.primary is not None:
            try:
                name = tenant.primary.config.open().key_path.key_id
            except TenantSecurityError:
                continue
            assert name == expected[tenant.id]
