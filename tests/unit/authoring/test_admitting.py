"""Keys that people made in the web app are let in by a proof, or by eye, and by nothing else."""

from pathlib import Path

import msgspec
import pytest

from tenant_security.authoring.admitting import admit_admin
from tenant_security.authoring.vendor import Vendor
from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import Kind, SigningKey, fingerprint, key_id
from tenant_security.crypto.unseal import OpeningKey
from tenant_security.secret import Secret
from tenant_security.trust.chain import NOTHING_SEEN, verify_manifest, verify_root
from tenant_security.wire import snapshot as words
from tenant_security.wire.enrolment import Invitation, KeyClaim
from tenant_security.wire.people_api import AuthorLine

NOW_S = 1_800_000_000
EMAIL = "ann@acme.example"
AUTHOR, ONCE, ENCRYPTION = SigningKey(Secret(b"a" * 32)), SigningKey(Secret(b"o" * 32)), Secret(b"e" * 32)


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor.create(tmp_path / "vendor", "acme", clock=lambda: NOW_S)


def signed(kind: Kind, document: msgspec.Struct, key: SigningKey) -> words.Signed:
    body = msgspec.json.encode(document)
    return words.Signed(body, key.key_id, key.sign(kind, body))


def applicant(vendor: Vendor, *, email: str = EMAIL, proof: SigningKey | None = ONCE) -> AuthorLine:
    opening = OpeningKey(Suite.XWING, ENCRYPTION)
    claim = KeyClaim(email, 1, AUTHOR.public, opening.public, NOW_S)
    invitation = Invitation(vendor.id, "", EMAIL, "owner", ONCE.public, NOW_S, NOW_S + 60)
    claimed = signed(Kind.KEY_CLAIM, claim, AUTHOR)
    return AuthorLine(
        person="1",
        email=EMAIL,
        name="Ann",
        role="owner",
        status="pending",
        public=AUTHOR.public,
        key_id=AUTHOR.key_id,
        fingerprint=fingerprint(AUTHOR.public),
        suite=1,
        encryption=opening.public,
        encryption_key_id=key_id(opening.public),
        claim=claimed,
        invitation=signed(Kind.INVITATION, invitation, vendor.admin),
        proof=None
        if proof is None
        else words.Signed(claimed.body, proof.key_id, proof.sign(Kind.ENROLMENT, claimed.body)),
        proved=True,
    )


def test_a_proof_lets_the_key_sign_and_read(vendor: Vendor) -> None:
    admit_admin(vendor, applicant(vendor))
    root = verify_root(vendor.state.root, pinned=vendor.root_fingerprint, previous=NOTHING_SEEN, now_s=NOW_S)
    manifest = verify_manifest(vendor.state.manifest, root, previous=NOTHING_SEEN, now_s=NOW_S)
    assert [each.name for each in manifest.authors] == ["admin", "Ann"]
    assert {words.Signs.MANIFEST} <= set(root.keys[-1].signs)
    assert root.keys[-1].public == AUTHOR.public
    opening = OpeningKey(Suite.XWING, ENCRYPTION)
    wrap = next(each for each in vendor.state.segment_wraps if each.recipient == key_id(opening.public))
    seed = opening.open(words.segment_seed_info("acme", wrap.segment, wrap.epoch, wrap.recipient), wrap.sealed)
    assert OpeningKey(Suite.XWING, Secret(seed)).public == vendor.segment(1).public


def test_a_second_time_nothing_changes(vendor: Vendor) -> None:
    admit_admin(vendor, applicant(vendor))
    before = vendor.state, vendor.root
    with pytest.raises(ValueError, match="author already"):
        admit_admin(vendor, applicant(vendor))
    assert (vendor.state, vendor.root) == before


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ({"proof": None}, "carried no proof"),
        ({"proof": SigningKey(Secret(b"x" * 32))}, "not signed with the invitation's key"),
        ({"email": "eve@acme.example"}, "another address"),
    ],
)
def test_without_a_good_proof_it_is_not_let_in(vendor: Vendor, line: dict[str, SigningKey], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        admit_admin(vendor, applicant(vendor, **line))  # type: ignore[arg-type]
    assert len(vendor.manifest.authors) == 1


def test_a_fingerprint_that_was_compared_stands_in_for_the_proof(vendor: Vendor) -> None:
    line = applicant(vendor, proof=None)
    with pytest.raises(ValueError, match="another fingerprint"):
        admit_admin(vendor, line, compared=fingerprint(ONCE.public))
    admit_admin(vendor, line, compared=fingerprint(AUTHOR.public).upper())
    assert len(vendor.manifest.authors) == 2
