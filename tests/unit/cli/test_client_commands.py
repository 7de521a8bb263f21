"""The client's commands as an operator uses them, against a real proxy."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenant_security.cli.app import app
from tenant_security.client import Metadata, TenantSecurityClient
from tenant_security.testing.proxies import RunningProxy
from tenant_security.testing.proxy_threads import proxy_in_thread


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    with proxy_in_thread(tmp_path_factory.mktemp("proxy")) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: RunningProxy) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENANT_SECURITY_PROXY", proxy.api_url)
    monkeypatch.setenv("API_KEY", proxy.api_key)
    monkeypatch.delenv("TENANT_SECURITY_API_KEY", raising=False)
    return tmp_path


def run(*arguments: object) -> int:
    try:
        app([str(argument) for argument in arguments], exit_on_error=False, result_action="return_value")
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 2
    return 0


PLAIN = b"what is in the file" * 1000


@pytest.mark.parametrize("more", [[], ["--attached"], ["--format", "v5"]])
def test_a_file_goes_and_comes_back(place, capsys, more):
    (place / "report.pdf").write_bytes(PLAIN)
    assert run("encrypt", "report.pdf", "--tenant", "tenant-gcp-l", *more) == 0
    assert PLAIN[:50] not in (place / "report.pdf.enc").read_bytes()
    assert (place / "report.pdf.enc.edek").exists() == (more != ["--attached"])
    (place / "report.pdf").unlink()
    assert run("decrypt", "report.pdf.enc", "--tenant", "tenant-gcp-l") == 0
    assert (place / "report.pdf").read_bytes() == PLAIN
    assert capsys.readouterr().out.endswith("report.pdf\n")


def test_files_that_are_there_are_replaced_only_when_told_to(place, capsys):
    (place / "f").write_bytes(PLAIN)
    assert run("encrypt", "f", "--tenant", "tenant-gcp") == 0
    for again in (["encrypt", "f"], ["decrypt", "f.enc"]):
        assert run(*again, "--tenant", "tenant-gcp") == 1
        assert "--force" in capsys.readouterr().err
        assert run(*again, "--tenant", "tenant-gcp", "--force") == 0
    assert (place / "f").read_bytes() == PLAIN


def test_another_tenants_file_is_refused_in_words(place, capsys):
    (place / "f").write_bytes(PLAIN)
    assert run("encrypt", "f", "--tenant", "tenant-gcp") == 0
    assert run("decrypt", "f.enc", "--tenant", "tenant-gcp-l", "--out", "g") == 1
    assert "the tenant can fix it" in capsys.readouterr().err
    assert not (place / "g").exists()


def test_a_damaged_file_leaves_nothing_behind(place, capsys):
    (place / "f").write_bytes(PLAIN)
    assert run("encrypt", "f", "--tenant", "tenant-gcp") == 0
    (place / "f.enc").write_bytes((place / "f.enc").read_bytes()[:-1])
    assert run("decrypt", "f.enc", "--tenant", "tenant-gcp", "--out", "g") == 1
    assert "changed, cut off" in capsys.readouterr().err
    assert sorted(each.name for each in place.iterdir()) == ["f", "f.enc", "f.enc.edek"]


def test_what_is_missing_is_told(place, capsys, monkeypatch):
    (place / "f").write_bytes(b"")
    assert run("encrypt", "absent", "--tenant", "t") == 1
    assert "absent" in capsys.readouterr().err
    assert run("encrypt", "f", "--tenant", "t", "--proxy", "http://proxy.example:1") == 1
    assert "allow_insecure_http" in capsys.readouterr().err.replace("-", "_")
    monkeypatch.delenv("API_KEY")
    assert run("encrypt", "f", "--tenant", "tenant-gcp") == 1
    assert "--api-key-file" in capsys.readouterr().err
    (place / "key").write_text("wrong\n")
    assert run("encrypt", "f", "--tenant", "tenant-gcp", "--api-key-file", "key") == 1
    assert "refused the API key" in capsys.readouterr().err


def test_inspect_says_what_everything_is(place, capsys, monkeypatch):
    (place / "f").write_bytes(b"12345")
    run("encrypt", "f", "--tenant", "tenant-gcp-l")
    capsys.readouterr()
    assert run("inspect", "f.enc") == 0
    shown = capsys.readouterr().out
    assert "encrypted document or field, v3" in shown
    assert "tenant-gcp-l" in shown
    assert "Length of the plaintext: 5" in shown
    assert run("inspect", "f.enc.edek", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["kms_config_id"], told["leased"], told["was_base64"]) == ("EDEK", 511, True, True)
    assert run("inspect", "--text", (place / "f.enc.edek").read_text().strip()) == 0
    capsys.readouterr()
    (place / "junk").write_text("junk")
    assert run("inspect", "junk") == 1
    (place / "large").write_bytes(bytes(3_000_000))
    run("encrypt", "large", "--tenant", "tenant-gcp-l")
    capsys.readouterr()
    assert run("inspect", "large.enc") == 0
    assert "Length of the plaintext: 3000000" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", (place / "f.enc").open())
    assert run("inspect", "-") == 0
    sys.stdin.close()


def edeks(proxy: RunningProxy, count: int) -> list[str]:
    with TenantSecurityClient(proxy.api_url, proxy.api_key, allow_insecure_http=True) as client:
        made = client.encrypt_batch(
            {str(each): {"a": b"1"} for each in range(count)}, Metadata("tenant-gcp", requesting_id="r")
        )
    return [each.edek for each in made.all_or_raise().values()]


def test_a_campaign_is_looked_at_and_then_run(place, proxy, capsys):
    made = edeks(proxy, 5)
    (place / "in.csv").write_text("edek,tenant\n" + "".join(f"{each},tenant-gcp\n" for each in made))
    command = ["rekey-campaign", "in.csv", "--out", "out.csv", "--journal", "journal", "--new-tenant", "tenant-gcp-l"]
    assert run(*command, "--dry-run") == 0
    assert "KMS config 510: 5" in capsys.readouterr().out
    assert [each.name for each in place.iterdir()] == ["in.csv"]
    assert run(*command, "--report", "report.json") == 0
    assert "Rekeyed: 5" in capsys.readouterr().out
    assert json.loads((place / "report.json").read_text())["rekeyed"] == 5
    new = [line.split(",")[0] for line in (place / "out.csv").read_text().splitlines()[1:]]
    assert not set(new) & set(made)
    assert run(*command) == 0
    assert "before: 5" in capsys.readouterr().out


def test_a_campaign_that_cannot_be_meant_is_refused(place, capsys):
    (place / "in.csv").write_text("edek,tenant\n")
    for more, word in [
        ([], "say where the EDEKs are"),
        (["in.csv"], "--out"),
        (["in.csv", "--out", "in.csv"], "another file"),
        (["in.csv", "--out", "x", "--query", "y"], "say where"),
        (["--query", "x"], "--sql"),
        (["key", "--out", "x"], "--format"),
    ]:
        assert run("rekey-campaign", *more, "--journal", "j") == 1
        assert word in capsys.readouterr().err


def test_a_campaign_that_was_killed_goes_on(place, proxy, capsys):
    made = edeks(proxy, 60)
    (place / "in.csv").write_text("edek,tenant\n" + "".join(f"{each},tenant-gcp\n" for each in made))
    command = ["rekey-campaign", "in.csv", "--out", "out.csv", "--journal", "journal"]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("tenant-security"), *command, "--rate", "100", "--at-once", "2"],
        env=os.environ,
        stderr=subprocess.DEVNULL,
    )
    journal = place / "journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 10:
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert run(*command) == 0
    shown = capsys.readouterr().out
    assert "Rows: 60." in shown
    assert "before: 0" not in shown
    new = [line.split(",")[0] for line in (place / "out.csv").read_text().splitlines()[1:]]
    assert len(set(new)) == 60
    assert not set(new) & set(made)
