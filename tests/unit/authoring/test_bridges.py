from pathlib import Path

import pytest

from tenant_security.authoring import documents
from tenant_security.authoring.vendor import Vendor
from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import SigningKey, key_id
from tenant_security.crypto.unseal import CannotOpenError, OpeningKey
from tenant_security.secret import Secret
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import ServiceCredentials


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor.create(tmp_path / "v", "acme", clock=lambda: 1_800_000_000.0)


def wraps_for(vendor: Vendor, credentials: ServiceCredentials) -> set[int]:
    recipient = key_id(OpeningKey(Suite.XWING, credentials.encryption_seed).public)
    return {wrap.segment for wrap in vendor.state.segment_wraps if wrap.recipient == recipient}


def test_a_bridge_gets_the_key_of_the_bridges_segment_and_no_other(vendor: Vendor) -> None:
    proxy = vendor.add_identity("proxy-1")
    tagged = vendor.add_segment(tags=("eu",))
    bridge = vendor.add_bridge("bridge-1")
    assert wraps_for(vendor, bridge) == {bridge.segment_id}
    assert wraps_for(vendor, proxy) == {1}
    assert bridge.segment_id not in {1, tagged}


def test_two_bridges_share_one_segment(vendor: Vendor) -> None:
    assert vendor.add_bridge("bridge-1").segment_id == vendor.add_bridge("bridge-2").segment_id


def test_a_bridge_may_sign_for_all_tenants_until_it_is_revoked(vendor: Vendor) -> None:
    bridge = vendor.add_bridge("bridge-1")
    public = SigningKey(bridge.signing_seed).public
    assert [author.tenant for author in vendor.manifest.authors if author.public == public] == [words.SHARED]
    epoch = vendor.segment(bridge.segment_id).epoch
    vendor.revoke_identity("bridge-1")
    assert all(author.public != public for author in vendor.manifest.authors)
    assert vendor.segment(bridge.segment_id).epoch == epoch + 1
    assert vendor.segment(1).epoch == 1


def test_a_bridge_opens_what_is_sealed_to_its_segment_and_not_what_is_sealed_to_proxies(vendor: Vendor) -> None:
    bridge = vendor.add_bridge("bridge-1")
    header = words.ConfigHeader("acme", words.SHARED, 7, "kms", 1, 1)
    both = (vendor.segment(1), vendor.segment(bridge.segment_id))
    envelope, wraps = documents.seal_for_all(header, b'{"a":1}', both, vendor.admin)
    key = vendor.opening_key(bridge.segment_id, 1)
    assert documents.open_config(words.ConfigEnvelope(**{**fields(envelope), "wrap": wraps[1]}), key) == b'{"a":1}'
    with pytest.raises(CannotOpenError):
        documents.open_config(envelope, key)
    assert isinstance(bridge.encryption_seed, Secret)


def fields(envelope: words.ConfigEnvelope) -> dict[str, object]:
    return {name: getattr(envelope, name) for name in envelope.__struct_fields__}
