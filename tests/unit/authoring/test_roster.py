import base64
import json
from pathlib import Path

import msgspec
import pytest

from tenant_security.authoring.description import DescriptionError, apply_description, read_description
from tenant_security.authoring.keyfiles import KeyFileError
from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import UnknownNameError, Vendor
from tenant_security.errors import TenantSecurityError
from tenant_security.wire import snapshot as words


def config(name: str) -> dict[str, object]:
    keys = {"1": base64.b64encode(bytes(32)).decode()}
    return {"type": "LOCAL", "version": 1, "credentials": {"keys": keys}, "keyPath": {"keyId": name}}


def text(name: str) -> bytes:
    return json.dumps(config(name)).encode()


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    return Vendor.create(tmp_path / "v", "acme", clock=lambda: 1000)


def test_what_is_put_again_unchanged_stays_as_it_was_signed(vendor: Vendor) -> None:
    roster = Roster(vendor)
    assert roster.put_shared(1, text("a"))
    assert roster.put_tenant("t", [assign(1), assign(2)], configs={2: text("b")})
    lines = list(roster.lines())
    assert not roster.put_shared(1, text("a"))
    assert not roster.put_tenant("t", [assign(1), assign(2)], configs={2: text("b")})
    assert list(roster.lines()) == lines


def test_a_changed_config_gets_a_newer_version_and_a_record_that_vouches_for_it(vendor: Vendor) -> None:
    roster = Roster(vendor)
    roster.put_tenant("t", [assign(2)], configs={2: text("b")})
    before = roster.tenants["t"]
    assert roster.put_tenant("t", [assign(2)], configs={2: text("c")})
    after = roster.tenants["t"]
    assert after.record.version > before.record.version
    assert after.record.vouches == (words.fingerprint_of(after.configs[2]),) != before.record.vouches
    versions = [words.decode(words.ConfigHeader, each.configs[2].header).version for each in (before, after)]
    assert versions[1] > versions[0]


def test_a_changed_assignment_gets_a_newer_record_and_its_config_stays(vendor: Vendor) -> None:
    roster = Roster(vendor)
    roster.put_tenant("t", [assign(2, primary=True)], configs={2: text("b")})
    before = roster.tenants["t"]
    roster.change_assignment("t", 2, active=False, leasing=True)
    after = roster.tenants["t"]
    assert after.configs[2] is before.configs[2]
    assert after.record.version > before.record.version
    assert after.record.assignments == (assign(2, active=False, primary=True, leasing=True),)


def test_a_roster_continues_from_its_snapshot(vendor: Vendor, tmp_path: Path) -> None:
    roster = Roster(vendor)
    roster.put_shared(1, text("a"))
    roster.put_tenant("t", [assign(1)])
    write_snapshot(vendor, tmp_path / "s", roster)
    again = Roster.read(vendor, tmp_path / "s")
    assert list(again.lines()) == list(roster.lines())


def test_a_roster_takes_nothing_over_that_no_author_signed(vendor: Vendor, tmp_path: Path) -> None:
    """Whoever can write the file must not get the vendor to sign what they put there."""
    roster = Roster(vendor)
    roster.put_shared(1, text("a"))
    roster.put_tenant("t", [assign(1)])
    roster.put_tenant("u", [assign(1)])
    entry = roster.tenants["t"]
    evil = msgspec.structs.replace(entry.record, leasing_required=True)
    roster.put_signed(msgspec.structs.replace(entry.signed, body=words.encode(evil)), [])
    roster.shared[1] = msgspec.structs.replace(roster.shared[1], commit=bytes(32))
    write_snapshot(vendor, tmp_path / "s", roster)
    again = Roster.read(vendor, tmp_path / "s")
    assert (list(again.tenants), list(again.shared)) == (["u"], [])


def test_a_file_that_is_no_snapshot_cannot_be_continued(vendor: Vendor, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"hello\n")
    with pytest.raises(KeyFileError, match="not a snapshot"):
        Roster.read(vendor, tmp_path / "s")


@pytest.mark.parametrize(
    ("assignments", "complaint"),
    [
        ([assign(1), assign(1)], "twice"),
        ([assign(9)], "config 9, which is nowhere"),
        ([assign(1, primary=True), assign(2, primary=True)], "more than one primary"),
    ],
)
def test_a_tenant_that_proxies_would_quarantine_is_refused(
    vendor: Vendor, assignments: list[words.RecordAssignment], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Roster(vendor).put_tenant("t", assignments, configs={1: text("a"), 2: text("b")})


def test_a_config_that_proxies_cannot_read_is_refused_before_it_is_sealed(vendor: Vendor) -> None:
    with pytest.raises(TenantSecurityError, match="unknown field"):
        Roster(vendor).put_shared(1, json.dumps({**config("a"), "keyPaht": {}}).encode())


def test_unknown_tenants_are_told(vendor: Vendor) -> None:
    with pytest.raises(UnknownNameError):
        Roster(vendor).remove_tenant("t")
    with pytest.raises(UnknownNameError):
        Roster(vendor).change_assignment("t", 1, active=True)


def test_a_snapshot_has_newer_versions_each_time_and_is_its_owners_only(vendor: Vendor, tmp_path: Path) -> None:
    roster = Roster(vendor)
    versions = [write_snapshot(vendor, tmp_path / "s", roster).version for _ in range(3)]
    assert versions == [1000, 1001, 1002]
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


DESCRIPTION = {
    "vendor": "acme",
    "configs": [{"id": 1, "config": config("shared")}],
    "tenants": [
        {"id": "a", "configs": [{"id": 1, "primary": True, "leasing": True}]},
        {"id": "b", "leasingRequired": True, "configs": [{"id": 2, "configFile": "b.json", "active": False}]},
    ],
}


def describe(tmp_path: Path, description: object) -> Path:
    (tmp_path / "b.json").write_bytes(text("b"))
    path = tmp_path / "tenants.json"
    path.write_text(json.dumps(description))
    return path


def test_a_description_becomes_a_roster(vendor: Vendor, tmp_path: Path) -> None:
    roster = Roster(vendor)
    changes = apply_description(read_description(describe(tmp_path, DESCRIPTION)), roster, tmp_path)
    assert changes.changed == ("config 1", "tenant 'a'", "tenant 'b'")
    assert roster.tenants["a"].record.assignments == (assign(1, primary=True, leasing=True),)
    assert roster.tenants["b"].record.leasing_required
    assert roster.tenants["b"].record.assignments == (assign(2, active=False),)


def test_what_is_no_longer_described_is_left_out(vendor: Vendor, tmp_path: Path) -> None:
    roster = Roster(vendor)
    apply_description(read_description(describe(tmp_path, DESCRIPTION)), roster, tmp_path)
    less = {"tenants": DESCRIPTION["tenants"][1:]}
    changes = apply_description(read_description(describe(tmp_path, less)), roster, tmp_path)
    assert (changes.removed, changes.changed, changes.unchanged) == (("a", "config 1"), (), 1)
    assert (list(roster.tenants), list(roster.shared)) == (["b"], [])


def test_every_problem_of_a_description_is_named(vendor: Vendor, tmp_path: Path) -> None:
    wrong = {
        "configs": [{"id": 1, "config": {"type": "LOCAL"}}, {"id": 2}],
        "tenants": [{"id": "a"}, {"id": "a"}, {"id": "b", "configs": [{"id": 3, "configFile": "none.json"}]}],
    }
    with pytest.raises(DescriptionError) as caught:
        apply_description(read_description(describe(tmp_path, wrong)), Roster(vendor), tmp_path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "config 1",
        "config 2",
        "tenant 'a' is described twice",
        "tenant 'b'",
    ]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("x.toml", "= 5", "is not TOML"),
        ("x.json", "{", "is not JSON"),
        ("x.toml", "[[tenants]]\nid = 5", "Expected `str`"),
        ("x.toml", "[[tenants]]\nid = 'a'\nleasing = true", "unknown field `leasing`"),
    ],
)
def test_a_malformed_description_says_where(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DescriptionError, match=complaint):
        read_description(tmp_path / name)
