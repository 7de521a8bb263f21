"""``sink check`` as a person uses it."""

import json
from pathlib import Path

import pytest
from tests.unit.cli.test_snapshot import run

from tenant_security.cli import sink

WEBHOOK = {
    "type": "WEBHOOK",
    "version": 1,
    "url": "https://10.0.0.1/in",
    "signingSecret": "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5",
}


def check(*arguments: object) -> int:
    return run("check", *arguments, app=sink.app)


def test_an_address_that_is_not_allowed_waits_for_the_operator(tmp_path, capsys):
    (tmp_path / "w.json").write_text(json.dumps(WEBHOOK))

    assert check(tmp_path / "w.json", "--json") == 1
    (only,) = json.loads(capsys.readouterr().out)
    assert only["report"]["finding"]["fixer"] == "operator"
    assert "10.0.0.1" in only["report"]["notes"][0]
    assert check(tmp_path / "w.json") == 1
    out = capsys.readouterr().out
    assert out.startswith("w.json  WEBHOOK  DOES NOT WORK")
    assert "Y2FuYXJ5" not in out


@pytest.mark.parametrize("kind", ["SYSLOG", "RELP", "KAFKA"])
def test_receivers_without_http_are_held_to_the_same_policy(tmp_path, capsys, kind):
    where = {"brokers": ["10.0.0.1:9093"], "topic": "t"} if kind == "KAFKA" else {"host": "10.0.0.1"}
    (tmp_path / "r.json").write_text(json.dumps({"type": kind, "version": 1} | where))

    assert check(tmp_path / "r.json", "--kafka", "--json") == 1
    (only,) = json.loads(capsys.readouterr().out)
    assert only["report"]["finding"]["fixer"] == "operator", only


def test_standard_output_works_for_the_vendor(tmp_path, capfd):
    (tmp_path / "s.toml").write_text('type = "STDOUT"\nversion = 1\n')

    assert check(tmp_path / "s.toml") == 1
    assert check(tmp_path / "s.toml", "--vendor-owned") == 0
    said = capfd.readouterr()
    assert "SINK_TEST" in said.err
    assert "works" in said.out


def test_a_config_that_cannot_be_read_names_the_member(tmp_path: Path, capsys):
    (tmp_path / "w.json").write_text(json.dumps(WEBHOOK | {"retries": 3}))

    assert check(tmp_path / "w.json") == 1
    assert "retries" in capsys.readouterr().out
