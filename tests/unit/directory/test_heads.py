"""Who may vouch for what is newest, and of which segment."""

import msgspec
import pytest
from tests.unit.directory.conftest import World

from tenant_security.authoring import documents
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.trust import digests
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire import snapshot as words


def headed(world: World, key: SigningKey, segment: int = 0, of: int = 0) -> None:
    """Let somebody vouch for what the file holds now."""
    lines = world.write()
    header = world.header()
    head = words.Head(
        vendor="acme",
        segment=of or segment,
        created=world.now_s,
        expires=world.now_s + 600,
        manifest_version=world.vendor.manifest.version,
        manifest_hash=words.sha256(header.manifest.body),
        snapshot_version=header.version,
        snapshot_hash=digests.snapshot_hash(digests.line_digest(line) for line in lines[1:]),
    )
    world.change_header(head=documents.sign(Kind.HEAD, head, key), segment=segment)


def bridge(world: World, *, tenant: str = "", may=(words.May.HEAD,)) -> SigningKey:
    key = SigningKey(new_seed())
    world.vendor.add_author(key.public, "bridge", tenant=tenant, may=may)
    return key


def test_an_author_that_may_signs_heads(world):
    world.tenants("a", "b")
    headed(world, bridge(world))
    assert world.refresh().freshness.value == "head"


@pytest.mark.parametrize("change", [{"tenant": "a"}, {"may": (words.May.RECORD, words.May.AUTHORS)}])
def test_no_other_author_does(world, change):
    world.tenants("a")
    headed(world, bridge(world, **change))
    with pytest.raises(SnapshotRefusedError, match=r"lets .* sign it"):
        world.verify()


def test_a_head_of_one_segment_is_none_of_another(world):
    world.tenants("a")
    headed(world, bridge(world), segment=1, of=2)
    with pytest.raises(SnapshotRefusedError, match="of segment 2 and the snapshot of 1"):
        world.verify()


def test_a_service_does_not_take_another_segments_snapshot(world):
    world.tenants("a")
    headed(world, bridge(world), segment=1)
    world.refresh()
    headed(world, bridge(world), segment=2)
    with pytest.raises(SnapshotRefusedError, match="this service is for segment 1"):
        world.verify()


def test_the_hash_of_a_snapshot_depends_on_content_alone(world):
    world.vendor.add_identity("proxy-2")
    world.tenants("a", "b", "c")
    before = [digests.line_digest(line) for line in world.write()[1:]]
    world.vendor.revoke_identity("proxy-2")
    wrapped_anew = [digests.line_digest(line) for line in world.write()[1:]]
    assert digests.snapshot_hash(before) == digests.snapshot_hash(reversed(wrapped_anew))

    world.roster.change_assignment("a", 1, active=False)
    changed = [digests.line_digest(line) for line in world.write()[1:]]
    assert digests.snapshot_hash(changed) != digests.snapshot_hash(before)
    assert digests.snapshot_hash(before[:-1]) != digests.snapshot_hash(before)


def test_every_part_of_an_entry_counts(world):
    world.tenants("a")
    world.write()
    entry = world.entry("a")
    signed = documents.sign(Kind.AUTHORS, words.TenantAuthors("acme", "a", 1, ()), world.vendor.admin)
    with_authors = msgspec.structs.replace(entry, authors=signed)
    without_config = msgspec.structs.replace(entry, configs=())
    other = msgspec.structs.replace(entry, record=msgspec.structs.replace(entry.record, body=b"{}"))
    assert len({digests.tenant_digest(each) for each in (entry, with_authors, without_config, other)}) == 4
