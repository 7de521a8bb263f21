"""The doctor and `top` beside a real proxy."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .proxy_process import API_KEY, COMMAND, World, a_world, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def examine(world: World, *arguments: str, **changed: str) -> tuple[int, dict[str, list[dict[str, Any]]], str]:
    env = {"PATH": "/usr/bin:/bin", **world.environ, **changed}
    done = subprocess.run(
        [COMMAND, "doctor", *arguments, "--json"], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    said = json.loads(done.stdout)
    return done.returncode, {each["section"]: each["findings"] for each in said}, done.stdout


def at(world: World) -> tuple[Any, list[str]]:
    proxy = world.start()
    until(proxy.is_ready, "the proxy is ready")
    return proxy, ["--proxy", f"http://127.0.0.1:{proxy.api}", "--ops", f"http://127.0.0.1:{proxy.ops}"]


def worst(findings: list[dict[str, Any]]) -> str:
    states = {each["state"] for each in findings}
    return "failure" if "failure" in states else "warning" if "warning" in states else "good"


def test_a_deployment_that_is_well_is_said_to_be(world: World) -> None:
    _, addresses = at(world)
    status, said, _ = examine(world, *addresses)
    assert status == 0
    assert worst(said["Proxy"]) == "good"
    assert any("knows the API key" in each["what"] for each in said["Proxy"])
    assert any("local KMS" in each["what"] for each in said["Settings"]), "a development proxy is not for real data"


def test_without_addresses_it_looks_where_the_settings_say(world: World) -> None:
    proxy, _ = at(world)
    bound = {"TSP_HTTP_BIND_ADDRESS": f"0.0.0.0:{proxy.api}", "TSP_OPS_BIND_ADDRESS": f"127.0.0.1:{proxy.ops}"}
    status, said, _ = examine(world, **bound)
    assert status == 0
    assert said["Proxy"][0]["what"] == f"http://127.0.0.1:{proxy.ops} is ready"


def test_what_is_wrong_is_named_with_what_to_do(world: World) -> None:
    _, addresses = at(world)
    status, said, text = examine(world, *addresses, API_KEY="canary-key", TSP_LEESE_SECONDS="3")
    assert status == 1
    assert any("does not know this API_KEY" in each["what"] for each in said["Proxy"])
    assert any("TSP_LEESE_SECONDS" in each["what"] for each in said["Settings"])
    assert "canary-key" not in text
    assert API_KEY not in text


def test_a_daemon_that_is_not_there_is_a_failure(world: World) -> None:
    status, said, _ = examine(world, "--ops", "http://127.0.0.1:1", "--proxy", "http://127.0.0.1:1")
    assert status == 1
    assert worst(said["Proxy"]) == "failure"


def test_an_env_file_that_others_can_read_is_a_failure(world: World, tmp_path: Path) -> None:
    _, addresses = at(world)
    path = tmp_path / "proxy.env"
    path.write_text("")
    path.chmod(0o644)
    status, said, _ = examine(world, *addresses, "--env-file", str(path))
    assert status == 1
    assert f"chmod 600 {path}" in said["Files"][0]["advice"]
    path.chmod(0o600)
    assert examine(world, *addresses, "--env-file", str(path))[0] == 0


def test_settings_that_do_not_hold_are_all_named(world: World) -> None:
    status, said, _ = examine(world, "--ops", "http://127.0.0.1:1", TSP_WORKERS="many", SERVICE_CONFIG_ID="x")
    assert status == 1
    problems = " ".join(each["what"] for each in said["Settings"])
    assert "TSP_WORKERS" in problems
    assert "SERVICE_CONFIG_ID" in problems


def test_top_shows_a_proxy_once_as_json(world: World) -> None:
    proxy, _ = at(world)
    addresses = [f"http://127.0.0.1:{proxy.ops}", "http://127.0.0.1:1"]
    done = subprocess.run(
        [COMMAND, "top", *addresses, "--json", "--interval", "0.1"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    up, down = json.loads(done.stdout)
    assert (up["state"], up["tenants"]) == ("ready", 12)
    assert down["state"] != "ready"
