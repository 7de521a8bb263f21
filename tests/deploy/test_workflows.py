"""The release's workflow trusts nobody it need not, and the audit fails for what is found, not for silence."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
RELEASE = ROOT / ".github/workflows/release.yml"


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_one_commit_and_every_job_ends_and_may_do_little(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    assert len({action.partition("@")[0] for action, _ in used}) == len({action for action, _ in used})
    assert yaml.safe_load(path.read_text())["permissions"] == {}
    for name, job in jobs(path).items():
        assert job["timeout-minutes"] <= 60, name
        assert job["permissions"]["contents"] == ("write" if name == "publish" else "read")
        assert "latest" not in job["runs-on"]
    for step in steps(path):
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
        # What others chose, such as a tag's name, comes into a script by its environment only.
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_here(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    scripts = "\n".join(step.get("run", "") for step in steps(path))
    assert set(re.findall(r"^make (\w+)", scripts, re.MULTILINE)) <= targets
    for script in re.findall(r"(?:^| )(\.ci/\w+)", scripts):
        assert os.access(ROOT / script, os.X_OK)
    if (linter := shutil.which("actionlint")) is not None:
        done = subprocess.run([linter, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_release_is_tested_audited_attested_and_trusted_without_a_secret() -> None:
    text, found = RELEASE.read_text(), jobs(RELEASE)
    assert "secrets." not in text
    assert set(found["publish"]["needs"]) == {"build", "images"}
    for name in ("build", "images"):
        assert set(found[name]["needs"]) == {"test", "audit"}
        assert found[name]["permissions"]["id-token"] == "write"
        assert any("attest-build-provenance" in step.get("uses", "") for step in found[name]["steps"])
    programs = set(found["images"]["strategy"]["matrix"]["program"])
    assert programs == {"proxy", "logdriver", "broker", "bridge"}
    assert any("--must-answer" in step.get("run", "") for step in found["audit"]["steps"])
    assert "pull_request_target" not in text


CLEAN = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
WEAK = {"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}]}


def audited(place: Path, python: object, web: object, *arguments: str) -> tuple[int, str]:
    """Run the audit with tools that answer so; None does not answer."""
    report, answer = place / "python.json", place / "web.json"
    report.write_text(json.dumps(python))
    answer.write_text(json.dumps(web))
    write = f'for last; do :; done; cp {report} "$last"' if python is not None else "echo no connection; exit 1"
    (place / "pip-audit").write_text(f"#!/bin/sh\n{write}\n")
    (place / "npm").write_text(f"#!/bin/sh\n{f'cat {answer}' if web is not None else 'echo npm error'}; exit 1\n")
    for name in ("pip-audit", "npm"):
        (place / name).chmod(0o755)
    env = {"PATH": f"{place}:/usr/bin:/bin", "GITHUB_ACTIONS": "true"}
    command = [sys.executable, str(ROOT / ".ci/audit"), *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_the_audit_fails_for_what_it_finds(tmp_path: Path) -> None:
    code, said = audited(tmp_path, WEAK, {"vulnerabilities": {}})
    assert code == 1
    assert "a 1: PYSEC-1, mended in 2" in said
    code, said = audited(tmp_path, CLEAN, {"vulnerabilities": {"left-pad": {"severity": "high"}}})
    assert code == 1
    assert "left-pad: high" in said


def test_the_audit_passes_where_nothing_is_found(tmp_path: Path) -> None:
    code, said = audited(tmp_path, CLEAN, {"vulnerabilities": {}}, "--must-answer")
    assert code == 0
    assert "NOT AUDITED" not in said


@pytest.mark.parametrize(("python", "web"), [(None, {"vulnerabilities": {}}), (CLEAN, None), (CLEAN, {"error": {}})])
def test_silence_is_said_loudly_and_stops_a_release_only(tmp_path: Path, python: object, web: object) -> None:
    code, said = audited(tmp_path, python, web)
    assert code == 0
    assert "NOT AUDITED, because no advisory database answered" in said
    assert "::warning" in said
    assert audited(tmp_path, python, web, "--must-answer")[0] == 2
