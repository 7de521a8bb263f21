import json
import subprocess
import sys
from pathlib import Path

from tenant_security.wire.applications import digest, read_applications

COMMAND = str(Path(sys.executable).with_name("tenant-security"))


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([COMMAND, "api-key", *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_a_key_is_printed_once_and_kept_as_its_hmac(tmp_path: Path) -> None:
    file = tmp_path / "applications.json"
    made = run("new", "billing", "--file", str(file), "--operations", "document/unwrap", "--tenants", "eu-*")
    key = made.stdout.strip()
    assert made.returncode == 0, made.stderr
    assert key not in file.read_text()
    known = read_applications(file.read_bytes())
    assert known.applications[0].operations == ("document/unwrap",)
    assert known.applications[0].keys[0].hmac == digest(known.salt, key.encode()).hex()
    assert file.stat().st_mode & 0o077 == 0
    second = run("new", "billing", "--file", str(file), "--expires-in-days", "30")
    assert second.returncode == 0
    assert "has 2 keys" in run("new", "billing", "--file", str(file)).stderr
    listed = json.loads(run("list", "--file", str(file), "--json").stdout)
    assert [each["id"] for each in listed[0]["keys"]] == [key[4:12], second.stdout[4:12]]
    assert "billing" in run("list", "--file", str(file)).stdout
    assert run("remove", key[4:12], "--file", str(file)).returncode == 0
    assert len(read_applications(file.read_bytes()).applications[0].keys) == 1


def test_mistakes_are_said_and_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "applications.json"
    assert "No such file" in run("list", "--file", str(file)).stderr
    assert "no operation" in run("new", "a", "--file", str(file), "--operations", "fly").stderr
    assert not file.exists()
    run("new", "a", "--file", str(file))
    before = file.read_bytes()
    assert "no key" in run("remove", "zzzzzzzz", "--file", str(file)).stderr
    assert "already" in run("new", "a", "--file", str(file), "--rate", "3").stderr
    assert file.read_bytes() == before
