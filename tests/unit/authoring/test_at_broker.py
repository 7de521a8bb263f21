"""The vendor's side of its broker, as flows that a test answers: whom a new epoch is sealed to."""

import msgspec
import pytest

from tenant_security.authoring.at_broker import AtBroker
from tenant_security.authoring.vendor import Vendor
from tenant_security.crypto.seal import SealingKey, Suite
from tenant_security.crypto.signing import Kind, SigningKey, fingerprint, key_id
from tenant_security.crypto.unseal import OpeningKey, new_seed
from tenant_security.outbound.broker import BrokerAccount
from tenant_security.outbound.flow import Response
from tenant_security.wire import snapshot as words
from tenant_security.wire.enrolment import KeyClaim
from tenant_security.wire.people_api import AuthorLine

EMAIL = "ann@example.com"


class Person:
    """Somebody with keys in a browser."""

    def __init__(self) -> None:
        self.author = SigningKey(new_seed())
        self.opening = OpeningKey(Suite.XWING, new_seed())

    def line(self, *, signer: SigningKey | None = None, encryption: bytes | None = None) -> AuthorLine:
        public = encryption or self.opening.public
        body = msgspec.json.encode(KeyClaim(EMAIL, Suite.XWING.value, self.author.public, public, 1))
        key = signer or self.author
        claim = words.Signed(body, key.key_id, key.sign(Kind.KEY_CLAIM, body))
        return AuthorLine(
            person="p",
            email=EMAIL,
            name="Ann",
            role="owner",
            status="approved",
            public=self.author.public,
            key_id=self.author.key_id,
            fingerprint=fingerprint(self.author.public),
            suite=Suite.XWING.value,
            encryption=public,
            encryption_key_id=key_id(public),
            claim=claim,
            invitation=None,
            proof=None,
            proved=False,
        )

    def opens(self, vendor: Vendor) -> set[tuple[int, int]]:
        """The segments' epochs whose seed this person can open."""
        name = key_id(self.opening.public)
        found = set()
        for wrap in vendor.state.segment_wraps:
            if wrap.recipient == name:
                info = words.segment_seed_info(vendor.id, wrap.segment, wrap.epoch, name)
                assert len(self.opening.open(info, wrap.sealed)) == 32
                found.add((wrap.segment, wrap.epoch))
        return found


@pytest.fixture
def vendor(tmp_path):
    return Vendor.create(tmp_path / "vendor", "acme", clock=lambda: 1_800_000_000)


def published(vendor: Vendor, *lines: AuthorLine) -> list[str]:
    """Hand in the vendor's keys to a broker that lists these people; return what was asked for."""
    account = BrokerAccount("http://broker", vendor.admin, lambda: 1_800_000_000, lambda: "t")
    flow = AtBroker(vendor, account).publish_keys()
    asked = []
    try:
        request = flow.send(None)
        while True:
            asked.append(f"{request.method} {request.url}")
            body = msgspec.json.encode(list(lines)) if "/authors" in request.url else b""
            request = flow.send(Response(200 if body else 204, {}, body))
    except StopIteration:
        return asked


def test_a_new_epoch_is_sealed_to_the_vendors_people_too(vendor):
    ann = Person()
    vendor.add_author(ann.author.public, "ann", tenant="")
    published(vendor, ann.line())
    assert ann.opens(vendor) == {(1, 1)}
    vendor.rotate_segment(1, keep_epochs=True)
    assert ann.opens(vendor) == {(1, 1)}
    published(vendor, ann.line())
    assert ann.opens(vendor) == {(1, 1), (1, 2)}
    vendor.drop_old_epochs(1)
    assert published(vendor, ann.line()) == [
        "GET http://broker/api/1/vendors/acme/authors",
        "PUT http://broker/api/1/vendors/acme/documents",
    ]
    assert ann.opens(vendor) == {(1, 2)}


def test_nothing_is_sealed_to_whom_the_broker_made_up(vendor):
    ann, mallory = Person(), Person()
    vendor.add_author(ann.author.public, "ann", tenant="")
    published(vendor, mallory.line())  # claims a key of its own, which the manifest does not name
    published(vendor, ann.line(signer=mallory.author))  # names Ann's key and signs with another
    published(vendor, ann.line(signer=mallory.author, encryption=mallory.opening.public))
    vendor.add_author(mallory.author.public, "mallory of a tenant", tenant="t")
    published(vendor, mallory.line())
    assert mallory.opens(vendor) == set()
    assert ann.opens(vendor) == set()


def test_keys_that_are_shared_already_are_left_alone(vendor):
    ann = Person()
    key = SealingKey(Suite.XWING, ann.opening.public)
    assert vendor.share_segments([key])
    before = vendor.state.segment_wraps
    assert not vendor.share_segments([key])
    assert vendor.state.segment_wraps == before


def test_documents_of_another_admin_are_taken_over_and_older_ones_are_not(tmp_path, vendor):
    import shutil

    from tenant_security.trust.refusal import SnapshotRefusedError

    shutil.copytree(vendor.directory, tmp_path / "other")
    old = vendor.state
    other = Vendor.load(tmp_path / "other", clock=lambda: 1_800_000_100)
    other.add_identity("proxy-1")
    assert vendor.adopt(other.state.root, other.state.manifest, other.state.segment_wraps)
    assert [each.id for each in Vendor.load(vendor.directory).manifest.identities] == ["proxy-1"]
    assert not vendor.adopt(other.state.root, other.state.manifest, other.state.segment_wraps)
    with pytest.raises(SnapshotRefusedError, match="older"):
        vendor.adopt(old.root, old.manifest, old.segment_wraps)
