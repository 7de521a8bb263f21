"""A record may vouch for its tenant's configs, so that one signature is checked instead of two; for nothing else."""

import msgspec

from tenant_security.authoring import documents
from tenant_security.authoring.roster import assign
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.wire import snapshot as words

from .conftest import World, config_json

ASSIGNED = (assign(1, primary=True),)


def config_of(world: World, author: SigningKey, tenant: str = "a", name: str = "a") -> words.ConfigEnvelope:
    header = words.ConfigHeader("acme", tenant, 1, "kms", world.now_s, world.now_s)
    return documents.seal_config(header, config_json(name), world.vendor.segment(1), author)


def put(world: World, signer: SigningKey, vouched: words.ConfigEnvelope, given: words.ConfigEnvelope) -> None:
    """Publish a record that vouches for one config beside a config."""
    vouches = (words.fingerprint_of(vouched),)
    record = words.TenantRecord("acme", "a", world.now_s, False, ASSIGNED, vouches)
    world.roster.put_signed(documents.sign(Kind.RECORD, record, signer), [given])
    world.write()


def unsigned(envelope: words.ConfigEnvelope) -> words.ConfigEnvelope:
    return msgspec.structs.replace(envelope, sig=bytes(64))


def test_a_vouched_config_needs_no_second_signature(world: World) -> None:
    admin = world.tenant_admin("a")
    config = config_of(world, admin)
    put(world, admin, config, unsigned(config))
    assert not world.refresh().quarantined
    assert world.key_name("a") == "a"


def test_what_the_vendor_writes_is_vouched_for(world: World) -> None:
    world.tenants("a")
    world.write()
    world.change_entry(
        "a", lambda entry: msgspec.structs.replace(entry, configs=tuple(unsigned(each) for each in entry.configs))
    )
    assert not world.refresh().quarantined
    assert world.key_name("a") == "a"


def test_another_config_than_the_vouched_one_needs_its_own_signature(world: World) -> None:
    admin = world.tenant_admin("a")
    put(world, admin, config_of(world, admin), unsigned(config_of(world, admin, name="evil")))
    assert "the signature of a config is wrong" in world.refresh().quarantined["a"]


def test_a_signer_of_records_only_vouches_for_nothing(world: World) -> None:
    clerk = world.tenant_admin("a", may=(words.May.RECORD,))
    admin = world.tenant_admin("a")
    config = config_of(world, admin)
    put(world, clerk, config, unsigned(config))
    assert "the signature of a config is wrong" in world.refresh().quarantined["a"]


def test_vouching_does_not_make_an_author_of_a_stranger(world: World) -> None:
    admin = world.tenant_admin("a")
    config = config_of(world, SigningKey(new_seed()))
    put(world, admin, config, config)
    assert "who is no author that we know" in world.refresh().quarantined["a"]


def test_vouching_moves_no_config_to_another_tenant(world: World) -> None:
    world.tenant("b", 2)
    config = config_of(world, world.vendor.admin, tenant="b")
    put(world, world.vendor.admin, config, config)
    assert "belongs to somebody else" in world.refresh().quarantined["a"]


def test_the_vendor_vouches_only_for_what_it_signed_itself(world: World) -> None:
    admin = world.tenant_admin("a")
    theirs = config_of(world, admin)
    record = world.vendor.tenant_record("a", ASSIGNED, configs=[theirs, config_of(world, world.vendor.admin)])
    assert len(words.decode(words.TenantRecord, record.body).vouches) == 1
    assert words.fingerprint_of(theirs) not in words.decode(words.TenantRecord, record.body).vouches


def test_a_vouchers_lost_rights_are_lost_on_an_unchanged_line_too(world: World) -> None:
    admin = world.tenant_admin("a")
    config = config_of(world, admin)
    put(world, admin, config, unsigned(config))
    assert not world.refresh().quarantined
    world.vendor.remove_author(admin.key_id)
    world.vendor.add_author(admin.public, "clerk", tenant="a", may=(words.May.RECORD,))
    world.write()
    assert "who may not sign that" in world.refresh().quarantined["a"]
