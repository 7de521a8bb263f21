"""The commands as a person uses them, from nothing to a checked snapshot."""

import json
from pathlib import Path

import pytest

from tenant_security.cli import identity, snapshot
from tenant_security.wire.service_env import credentials_from_env, parse_env


def run(*arguments: object, app: object = snapshot.app) -> int:
    """Run one command and return its exit code."""
    try:
        app([str(argument) for argument in arguments], exit_on_error=False, result_action="return_value")  # type: ignore[operator]
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 2
    return 0


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A directory with a vendor, a proxy's env file, a description and its snapshot."""
    monkeypatch.chdir(tmp_path)
    assert run("init", "vendor", "--vendor", "acme") == 0
    assert run("new", "proxy-1", "--vendor", "vendor", "--env-file", "p.env", app=identity.app) == 0
    capsys.readouterr()
    assert run("example") == 0
    Path("tenants.toml").write_text(capsys.readouterr().out)
    assert run("build", "tenants.toml", "--vendor", "vendor", "--out", "s") == 0
    capsys.readouterr()
    return tmp_path


def fingerprint() -> str:
    return parse_env(Path("p.env").read_text())["VENDOR_ROOT_FINGERPRINT"]


@pytest.mark.usefixtures("place")
def test_the_example_builds_and_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "s", "--env-file", "p.env") == 0
    out = capsys.readouterr().out
    assert "tenant-b" in out
    assert "Everything is good." in out


@pytest.mark.usefixtures("place")
def test_a_report_for_machines_is_json_and_says_that_nothing_was_opened(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify", "s", "--root-fingerprint", fingerprint(), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["good"], report["configsOpened"], report["freshness"]) == (True, False, "manifest only")
    assert [tenant["id"] for tenant in report["tenants"]] == ["tenant-a", "tenant-b"]


@pytest.mark.usefixtures("place")
def test_a_quarantined_entry_is_shown_and_the_exit_code_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    content = Path("s").read_bytes()
    Path("s").write_bytes(content.replace(b'"tenant":"tenant-b"', b'"tenant":"tenant-c"'))
    assert run("verify", "s", "--root-fingerprint", fingerprint()) == 1
    assert "Quarantined: tenant-c: its tenant-record is of another tenant" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["verify", "s"], "say whom to trust"),
        (["verify", "s", "--root-fingerprint", "abc"], "a fingerprint is 52"),
        (["verify", "none", "--env-file", "p.env"], "No such file"),
        (["verify", "s", "--env-file", "tenants.toml"], "SERVICE_ACCOUNT_ID is not set"),
        (["build", "none.toml", "--vendor", "vendor", "--out", "s"], "cannot be read"),
        (["build", "tenants.toml", "--vendor", "none", "--out", "s"], "make one with 'snapshot init'"),
        (["init", "vendor", "--vendor", "acme"], "move it away"),
        (["show", "tenants.toml"], "not JSON"),
    ],
)
def test_a_problem_is_one_line_that_names_the_fix(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert run(*arguments) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert complaint in err


@pytest.mark.usefixtures("place")
def test_a_description_for_another_vendor_is_not_built(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.json").write_text('{"vendor": "umbrella", "tenants": []}')
    assert run("build", "t.json", "--vendor", "vendor", "--out", "s") == 1
    assert "is for vendor 'umbrella'" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_building_again_changes_only_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("s").read_bytes().splitlines()[1:]
    text = Path("tenants.toml").read_text().replace("active = true", "active = false")
    Path("tenants.toml").write_text(text)
    assert run("build", "tenants.toml", "--vendor", "vendor", "--out", "s", "--head-hours", 1) == 0
    assert "1 changed, 2 as before, 0 removed" in capsys.readouterr().out
    after = Path("s").read_bytes().splitlines()[1:]
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False]


@pytest.mark.usefixtures("place")
def test_showing_believes_nothing_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "s") == 0
    assert capsys.readouterr().out.startswith("NOT VERIFIED")
    assert run("show", "s", "--json") == 0
    assert json.loads(capsys.readouterr().out)["rootFingerprint"] == fingerprint()


@pytest.mark.usefixtures("place")
def test_an_env_file_is_complete_and_its_owners_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert Path("p.env").stat().st_mode & 0o777 == 0o600
    env = parse_env(Path("p.env").read_text())
    credentials = credentials_from_env(env)
    assert (credentials.account_id, credentials.config_id, credentials.segment_id) == ("proxy-1", 1, 1)
    assert len(env["API_KEY"]) == 32
    assert run("new", "p2", "--vendor", "vendor", "--env-file", "p.env", app=identity.app) == 1
    assert "cannot be made again" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_an_identity_is_asked_for_here_and_approved_there(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["request", "far", "--config-id", 5, "--root-fingerprint", fingerprint(), "--env-file", "f.env"]
    assert run(*asked, "--request", "f.json", app=identity.app) == 0
    told = capsys.readouterr().out.rsplit(" ", 1)[1].strip()
    wrong = ["approve", "f.json", "--vendor", "vendor", "--fingerprint"]
    assert run(*wrong, fingerprint(), app=identity.app) == 1
    assert run(*wrong, told, app=identity.app) == 0
    assert run("build", "tenants.toml", "--vendor", "vendor", "--out", "s") == 0
    assert run("verify", "s", "--env-file", "f.env") == 0
    assert run("revoke", "far", "--vendor", "vendor", app=identity.app) == 0
    assert run("build", "tenants.toml", "--vendor", "vendor", "--out", "s") == 0
    capsys.readouterr()
    assert run("verify", "s", "--env-file", "f.env") == 1
    assert "was revoked" in capsys.readouterr().err
    assert run("verify", "s", "--env-file", "p.env") == 0
    assert run("list", "--vendor", "vendor", app=identity.app) == 0
    assert "revoked  far" in capsys.readouterr().out
