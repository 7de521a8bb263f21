import stat
from pathlib import Path

import pytest

from tenant_security.authoring.identities import new_identity
from tenant_security.authoring.keyfiles import KeyFileError, read_seed, write_seed, write_whole
from tenant_security.authoring.vendor import UnknownNameError, Vendor
from tenant_security.authoring.versions import next_version
from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import key_id
from tenant_security.crypto.unseal import new_seed
from tenant_security.secret import Secret
from tenant_security.wire import snapshot as words
from tenant_security.wire.snapshot import MalformedError


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor.create(tmp_path / "v", "acme", clock=lambda: 1000)


def test_a_vendor_is_the_same_after_loading(vendor: Vendor) -> None:
    vendor.add_identity("proxy-1")
    again = Vendor.load(vendor.directory)
    assert (again.root_fingerprint, again.manifest, again.state) == (
        vendor.root_fingerprint,
        vendor.manifest,
        vendor.state,
    )


def test_every_file_is_its_owners_only(vendor: Vendor) -> None:
    vendor.add_segment(tags=["eu"])
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in vendor.directory.iterdir()}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(vendor.directory.stat().st_mode) == 0o700


def test_a_vendor_is_never_made_over_another(vendor: Vendor) -> None:
    before = vendor.root_fingerprint
    with pytest.raises(KeyFileError, match="move it away"):
        Vendor.create(vendor.directory, "acme")
    assert Vendor.load(vendor.directory).root_fingerprint == before


def test_a_name_that_readers_would_refuse_is_refused_at_once(tmp_path: Path, vendor: Vendor) -> None:
    with pytest.raises(MalformedError):
        Vendor.create(tmp_path / "w", "no spaces")
    with pytest.raises(MalformedError):
        vendor.add_identity("new\nline")


def test_the_root_key_is_not_needed_any_more(vendor: Vendor) -> None:
    (vendor.directory / "root.key").unlink()
    Vendor.load(vendor.directory).add_identity("proxy-1")


def test_every_change_makes_a_newer_manifest(vendor: Vendor) -> None:
    versions = [vendor.manifest.version]
    for change in (
        lambda: vendor.add_identity("proxy-1"),
        vendor.add_segment,
        lambda: vendor.rotate_segment(1),
        lambda: vendor.revoke_identity("proxy-1"),
        vendor.require_head,
    ):
        change()
        versions.append(vendor.manifest.version)
    assert versions == sorted(set(versions))


def test_versions_rise_with_the_clock_and_without_it() -> None:
    assert next_version(0, 1000) == 1000
    assert next_version(1000, 1000) == 1001
    assert next_version(5000, 1000) == 5001


def test_identities_have_names_and_numbers_of_their_own(vendor: Vendor) -> None:
    assert [vendor.add_identity(name).config_id for name in ("p1", "p2")] == [1, 2]
    with pytest.raises(ValueError, match="exists"):
        vendor.add_identity("p1")
    with pytest.raises(ValueError, match="exists"):
        vendor.add_identity("p3", config_id=2)


def test_only_identities_with_all_tags_are_given_a_segment(vendor: Vendor) -> None:
    segment = vendor.add_segment(tags=["eu", "prod"])
    for name, tags in (("p1", ["eu"]), ("p2", ["eu", "prod", "big"])):
        vendor.add_identity(name, tags=tags)
    p2 = vendor.manifest.identities[1]
    assert [wrap.recipient for wrap in vendor.state.segment_wraps if wrap.segment == segment] == [key_id(p2.encryption)]


def test_a_revoked_identity_loses_its_wraps_and_its_segments_get_a_new_epoch(vendor: Vendor) -> None:
    vendor.add_identity("p1")
    vendor.add_identity("p2")
    vendor.revoke_identity("p1")
    p2 = vendor.manifest.identities[1]
    assert vendor.segment(1).epoch == 2
    assert [(wrap.epoch, wrap.recipient) for wrap in vendor.state.segment_wraps] == [(2, key_id(p2.encryption))]


def test_an_identity_made_elsewhere_is_let_in_by_its_public_half(vendor: Vendor) -> None:
    request, _, _ = new_identity("far", 9, Suite.P256)
    vendor.approve_identity(request)
    assert vendor.manifest.identities[0].encryption == request.encryption
    assert len(vendor.state.segment_wraps) == 1


def test_an_author_key_is_named_once(vendor: Vendor) -> None:
    with pytest.raises(ValueError, match="already"):
        vendor.add_author(vendor.admin.public, "again", tenant=words.SHARED)


@pytest.mark.parametrize("change", ["revoke_identity", "remove_author", "rotate_segment"])
def test_unknown_names_are_told(vendor: Vendor, change: str) -> None:
    with pytest.raises(UnknownNameError):
        getattr(vendor, change)("nobody")


def test_a_manifest_is_renewed_in_the_second_half_of_its_life(tmp_path: Path) -> None:
    now = [1000]
    vendor = Vendor.create(tmp_path / "v", "acme", clock=lambda: now[0])
    first = vendor.manifest
    vendor.renew()
    assert vendor.manifest is first
    now[0] += 200 * 86_400
    vendor.renew()
    assert vendor.manifest.expires > first.expires


def test_a_key_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "k"
    write_seed(path, new_seed())
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_seed(path)


@pytest.mark.parametrize("content", [b"", b"c2hvcnQ=", b"not base64 at all"])
def test_a_damaged_key_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    write_whole(path, [content])
    with pytest.raises(KeyFileError, match="does not hold a key"):
        read_seed(path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k"
    write_seed(path, Secret(bytes(32)))
    with pytest.raises(KeyFileError):
        write_seed(path, new_seed())
    assert read_seed(path).reveal() == bytes(32)


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_whole(path, [b"old"])

    def failing() -> object:
        yield b"half of the new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(path, failing())  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("damage", [None, b"{}", b"not json"])
def test_a_directory_without_a_good_vendor_is_told(tmp_path: Path, vendor: Vendor, damage: bytes | None) -> None:
    directory = tmp_path / "none"
    if damage is not None:
        directory = vendor.directory
        (directory / "vendor.json").write_bytes(damage)
    with pytest.raises(KeyFileError):
        Vendor.load(directory)
