"""``kms check`` as a person uses it."""

import json
from pathlib import Path

import msgspec
import pytest
from tests.unit.cli.test_snapshot import run

from tenant_security.cli import identity, kms, snapshot

LOCAL = {
    "type": "LOCAL",
    "version": 1,
    "credentials": {"keys": {"1": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}},
    "keyPath": {"keyId": "demo"},
}
VAULT = {
    "type": "VAULT",
    "version": 1,
    "credentials": {"token": "s3cr3t-canary"},
    "keyPath": {"address": "https://10.0.0.1:8200", "keyName": "k"},
}


def check(*arguments: object) -> int:
    return run("check", *arguments, app=kms.app)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    file = tmp_path / "local.json"
    file.write_bytes(msgspec.json.encode(LOCAL))
    return file


def test_a_config_that_works_is_said_to(local, capsys):
    assert check(local) == 0
    out = capsys.readouterr().out
    assert out.startswith("local.json  LOCAL  works")
    assert "in nobody's custody" in out


def test_a_config_that_does_not_work_is_explained(tmp_path, capsys):
    (tmp_path / "v.json").write_bytes(msgspec.json.encode(VAULT))

    assert check(tmp_path / "v.json", "--json") == 1
    (only,) = json.loads(capsys.readouterr().out)
    assert (only["where"], only["report"]["ok"]) == ("v.json", False)
    finding = only["report"]["finding"]
    assert (finding["code"], finding["fixer"], finding["step"]) == (208, "operator", "wrap")
    assert "10.0.0.1" in only["report"]["notes"][0]
    assert check(tmp_path / "v.json") == 1
    out = capsys.readouterr().out
    assert "DOES NOT WORK" in out
    assert "TSP_EGRESS_ALLOW" in out
    assert "canary" not in out


def test_every_config_of_a_description_is_tested(tmp_path, local, capsys):
    (tmp_path / "tenants.json").write_bytes(
        msgspec.json.encode(
            {
                "configs": [{"id": 1, "config": LOCAL}],
                "tenants": [
                    {"id": "a", "configs": [{"id": 1, "primary": True}, {"id": 20, "configFile": local.name}]},
                    {"id": "b", "configs": [{"id": 21, "config": VAULT | {"version": "one"}}]},
                ],
            }
        )
    )

    assert check(tmp_path / "tenants.json", "--json") == 1
    found = {each["where"]: each["report"] for each in json.loads(capsys.readouterr().out)}
    assert {where: report["ok"] for where, report in found.items()} == {
        "config 1": True,
        "tenant a, config 20": True,
        "tenant b, config 21": False,
    }
    assert "version" in found["tenant b, config 21"]["finding"]["problem"]
    assert check(tmp_path / "tenants.json", "--tenant", "a") == 0
    assert "tenant a, config 1 " in capsys.readouterr().out
    assert check(tmp_path / "tenants.json", "--config", "20") == 0
    assert check(tmp_path / "tenants.json", "--tenant", "nobody") == 1
    assert "no such config" in capsys.readouterr().err


def test_a_snapshot_is_opened_with_the_services_own_identity(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run("init", "vendor", "--vendor", "acme", app=snapshot.app)
    run("new", "proxy-1", "--vendor", "vendor", "--env-file", "p.env", app=identity.app)
    Path("t.json").write_bytes(
        msgspec.json.encode({"tenants": [{"id": "a", "configs": [{"id": 7, "config": LOCAL, "primary": True}]}]})
    )
    run("build", "t.json", "--vendor", "vendor", "--out", "s", app=snapshot.app)
    capsys.readouterr()

    assert check("s", "--env-file", "p.env", "--tenant", "a") == 0
    assert "tenant a, config 7  LOCAL  works" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["[1]", "{", '{"type": "NONE"}', ""])
def test_a_file_that_is_none_of_these_is_refused_in_words(tmp_path, capsys, text):
    (tmp_path / "x.json").write_text(text)

    assert check(tmp_path / "x.json") == 1
    captured = capsys.readouterr()
    assert "error: " in captured.err or "cannot be read" in captured.out
