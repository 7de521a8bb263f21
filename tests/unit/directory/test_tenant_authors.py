"""A tenant's own people sign for it once somebody of the vendor has named them."""

import msgspec
import pytest
from tests.unit.directory.conftest import World, config_json

from tenant_security.authoring import documents
from tenant_security.authoring.roster import assign
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.wire import snapshot as words

OWN = (words.May.RECORD, words.May.CONFIG)


def authors(
    world: World, tenant: str, *keys: SigningKey, version: int = 1, may=OWN, signer=None, of=""
) -> words.Signed:
    named = tuple(words.TenantAuthor(key.public, "somebody", may) for key in keys)
    document = words.TenantAuthors("acme", of or tenant, version, named)
    return documents.sign(Kind.AUTHORS, document, signer or world.vendor.admin)


def record(world: World, key: SigningKey, tenant: str = "a", *, version: int = 0, active: bool = True) -> words.Signed:
    wanted = (assign(1, primary=active, active=active),)
    return documents.sign(Kind.RECORD, words.TenantRecord("acme", tenant, version or world.now_s, False, wanted), key)


def config(
    world: World, key: SigningKey, tenant: str = "a", kind: str = "kms", number: int = 1
) -> words.ConfigEnvelope:
    header = words.ConfigHeader("acme", tenant, number, kind, world.now_s, world.now_s)
    return documents.seal_config(header, config_json("own"), world.vendor.segment(1), key)


def own(world: World, key: SigningKey, named: words.Signed, **changes) -> None:
    """Tenant a signs for itself."""
    world.roster.put_signed(record(world, key, **changes), [config(world, key)], authors=named)
    world.write()


@pytest.fixture
def key() -> SigningKey:
    return SigningKey(new_seed())


def test_a_named_author_signs_for_its_tenant(world, key):
    own(world, key, authors(world, "a", key))
    assert not world.refresh().quarantined
    assert world.key_name("a") == "own"


def test_the_unchanged_entry_of_a_named_author_is_known_at_sight(world, key):
    own(world, key, authors(world, "a", key))
    world.refresh()
    world.write()
    world.refresh()
    assert world.reused == 1


def test_nobody_is_an_author_by_its_own_word(world, key):
    own(world, key, authors(world, "a", key, signer=key))
    assert "no author that we know" in world.refresh().quarantined["a"]


def test_who_may_only_sign_for_tenants_names_no_authors(world, key):
    clerk = SigningKey(new_seed())
    world.vendor.add_author(clerk.public, "clerk", tenant="", may=OWN)
    own(world, key, authors(world, "a", key, signer=clerk))
    assert "may not sign that" in world.refresh().quarantined["a"]


def test_authors_of_one_tenant_cannot_be_moved_to_another(world, key):
    own(world, key, authors(world, "a", key, of="b"))
    assert "of another tenant" in world.refresh().quarantined["a"]


def test_a_tenants_author_cannot_be_let_name_others(world, key):
    own(world, key, authors(world, "a", key, may=(*OWN, words.May.AUTHORS)))
    assert "more than for the tenant" in world.refresh().quarantined["a"]


def test_altered_authors_are_refused(world, key):
    named = authors(world, "a", key)
    own(world, key, msgspec.structs.replace(named, body=named.body.replace(b"somebody", b"somebody2")))
    assert "tenant-authors is wrong" in world.refresh().quarantined["a"]


def test_older_authors_do_not_come_back(world, key):
    """Who was removed stays removed, even when somebody shows the old list and the old record again."""
    own(world, key, authors(world, "a", key, version=1))
    before = world.entry("a")
    newcomer = SigningKey(new_seed())
    own(world, newcomer, authors(world, "a", newcomer, version=2))
    world.refresh()

    world.change_entry("a", lambda _: before)
    directory = world.refresh()

    assert "tenant-authors was offered in version 1" in directory.rollbacks["a"]
    assert not directory.quarantined
    assert directory.tenant("a").provenance.authors_version == 2


def test_authors_cannot_be_left_out_once_they_were_there(world, key):
    own(world, key, authors(world, "a", key))
    world.refresh()
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, authors=None))
    assert "older than" in world.refresh().rollbacks["a"]


def test_authors_are_remembered_while_the_tenant_is_away(world, key):
    own(world, key, authors(world, "a", key, version=2))
    world.refresh()
    lines = world.lines()
    world.put(lines[:1])
    world.refresh()
    assert "a" not in world.directory.tenants

    own(world, key, authors(world, "a", key, version=1))
    assert "older than 2" in world.refresh().quarantined["a"]


def test_a_removed_author_loses_what_it_signed(world, key):
    own(world, key, authors(world, "a", key, version=1))
    world.refresh()
    own(world, key, authors(world, "a", version=2))
    assert "no author that we know" in world.refresh().quarantined["a"]


def test_who_named_the_authors_and_is_removed_takes_them_along(world, key):
    clerk = SigningKey(new_seed())
    world.vendor.add_author(clerk.public, "clerk", tenant="", may=(words.May.AUTHORS,))
    own(world, key, authors(world, "a", key, signer=clerk))
    assert not world.refresh().quarantined
    world.vendor.remove_author(clerk.key_id)
    world.write()
    assert "no author that we know" in world.refresh().quarantined["a"]


def test_a_sink_is_found_with_its_tenant_and_cannot_wrap_keys(world, key):
    named = authors(world, "a", key)
    sink = config(world, key, kind="sink", number=2)
    world.roster.put_signed(record(world, key), [config(world, key), sink], authors=named)
    world.write()
    directory = world.refresh()
    assert [each.id for each in directory.tenant("a").sinks] == [2]
    assert not directory.quarantined

    world.roster.put_signed(record(world, key), [config(world, key, kind="sink")], authors=named)
    world.write()
    assert "is not of a KMS" in world.refresh().quarantined["a"]


def test_a_sink_of_an_older_version_does_not_come_back(world, key):
    named = authors(world, "a", key)
    old = config(world, key, kind="sink", number=2)
    world.now_s += 10
    new = config(world, key, kind="sink", number=2)
    world.roster.put_signed(record(world, key), [config(world, key), new], authors=named)
    world.write()
    version = world.refresh().tenant("a").sinks[0].version
    world.change_entry("a", lambda entry: msgspec.structs.replace(entry, configs=(entry.configs[0], old)))
    directory = world.refresh()
    assert "config 2 was offered in version" in directory.rollbacks["a"]
    assert directory.tenant("a").sinks[0].version == version
