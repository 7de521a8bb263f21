"""Starting with something wrong: said at once, completely, in words to act on, and without a value."""

import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .proxy_process import PLAIN, World, a_world, fields

SETTINGS_WRONG = 78
CANARY = "canary-7f3a"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


@pytest.mark.parametrize("setting", ["TSP_HTTP_BIND_ADDRESS", "TSP_OPS_BIND_ADDRESS", "TSP_EVENTS_BIND_ADDRESS"])
def test_a_taken_port_is_named_with_its_setting(world: World, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        proxy = world.start(**{setting: address})
        assert proxy.wait() == SETTINGS_WRONG
    assert proxy.output.strip() == (
        f"error: cannot listen on {address}: Address already in use; choose another address with {setting}"
    )


def test_everything_that_cannot_be_opened_is_named_at_once(world: World, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        proxy = world.start(
            TSP_OPS_BIND_ADDRESS=address,
            TSP_EVENTS_BIND_ADDRESS="192.0.2.1:0",
            TSP_HTTP_FD="999",
            TSP_TENANT_SECRETS_FILE=str(tmp_path / "missing" / "file"),
        )
        assert proxy.wait() == SETTINGS_WRONG
    told = proxy.output.strip().splitlines()
    assert len(told) == 4
    for line, named in zip(
        told, ("TSP_HTTP_FD", "TSP_OPS_BIND_ADDRESS", "TSP_EVENTS_BIND_ADDRESS", "TSP_TENANT_SECRETS_FILE"), strict=True
    ):
        assert line.startswith("error: ")
        assert named in line


@pytest.mark.parametrize("what", ["a file", "a connected socket"])
def test_an_inherited_descriptor_that_does_not_listen_is_refused(world: World, tmp_path: Path, what: str) -> None:
    left, right = socket.socketpair()
    with left, right, (tmp_path / "plain").open("wb") as plain:
        fd = plain.fileno() if what == "a file" else left.fileno()
        proxy = world.start(TSP_HTTP_FD=str(fd), pass_fds=[fd])
        assert proxy.wait() == SETTINGS_WRONG
    assert f"TSP_HTTP_FD={fd} is not a" in proxy.output


def test_every_wrong_and_missing_setting_is_reported_at_once_without_values(world: World) -> None:
    wrong = {
        "RUST_LOG": CANARY,
        "TSP_BIND_ADDRESS": CANARY,
        "TSP_HTTP_BIND_ADDRESS": f"127.0.0.1:{CANARY}",
        "TSP_OPS_BIND_ADDRESS": "127.0.0.1:65536",
        "TSP_CONFIG_REFRESH_SECONDS": "nan",
        "TSP_MAX_BATCH": "-1",
        "TSP_MAX_HEADER_BYTES": "16k",
        "TSP_ENABLE_LOGDRIVER_INTEGRATION": CANARY,
        "TSP_HTTP_FD": "0",
        "TSP_LEASE_SECONDS": "1e9",
        "SERVICE_CONFIG_ID": CANARY,
        "SERVICE_ENCRYPTION_PRIVATE_KEY": f"{CANARY}!",
    }
    missing = ("API_KEY", "TSP_SNAPSHOT_FILE", "SERVICE_ACCOUNT_ID", "VENDOR_ROOT_FINGERPRINT")
    for arguments in ((), ("proxy", "--check")):
        proxy = world.start(*arguments, without=missing, **wrong)
        assert proxy.wait() == SETTINGS_WRONG
        told = proxy.output.strip().splitlines()
        assert len(told) == len(wrong) + len(missing), proxy.output
        assert all(line.startswith("error: ") for line in told)
        for name in (*wrong, *missing):
            assert sum(name in line.split(":")[1].split() for line in told) == 1, name
        assert CANARY not in proxy.output
        assert "Traceback" not in proxy.output


def test_check_says_when_the_settings_are_valid_and_starts_nothing(world: World) -> None:
    proxy = world.start("proxy", "--check")
    assert proxy.wait() == 0
    assert proxy.output == "The settings are valid.\n"


def test_an_empty_value_counts_as_absent(world: World) -> None:
    proxy = world.start(TSP_MAX_BATCH="", API_KEY_2="  ", TSP_HTTP_FD="").ready()
    proxy.stop()


def test_settings_of_the_original_that_mean_nothing_here_are_accepted(world: World) -> None:
    proxy = world.start(
        IRONCORE_ENV="stage",
        TSP_SEND_LOGGING_TIMEOUT_MS="25",
        TSP_SEND_HIGH_WATER_MARK="25000",
        TSP_EVENT_LOG_CHANNEL_SIZE="25000",
        TSP_BIND_ADDRESS="127.0.0.1",
        RUST_LOG="info,tenant_security_proxy=debug",
    ).ready()
    proxy.stop()


def test_the_development_mode_refuses_production(world: World, tmp_path: Path) -> None:
    for said in ("production", "PRODUCTION"):
        proxy = world.start_dev(tmp_path / "fresh", TENANT_SECURITY_ENV=said)
        assert proxy.wait() == SETTINGS_WRONG
        assert "TENANT_SECURITY_ENV is production" in proxy.output
    assert not (tmp_path / "fresh").exists()


def test_the_development_mode_keeps_its_state_until_it_is_reset(world: World, tmp_path: Path) -> None:
    state = tmp_path / "dev"
    first = world.start_dev(state, API_KEY="aGVsbG8gd29ybGQh").ready()
    made = first.call("document/wrap", fields(PLAIN), key="aGVsbG8gd29ybGQh").json()
    first.stop()
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    unwrap = fields(PLAIN, encryptedDocumentKey=made["edek"])
    second = world.start_dev(state, API_KEY="YW5vdGhlciBrZXkhISEh").ready()
    assert second.call("document/unwrap", unwrap, key="YW5vdGhlciBrZXkhISEh").json() == {"dek": made["dek"]}
    assert second.call("document/unwrap", unwrap, key="aGVsbG8gd29ybGQh").status == 401
    second.stop()
    third = world.start_dev(state, "--reset", API_KEY="aGVsbG8gd29ybGQh").ready()
    assert third.call("document/unwrap", unwrap, key="aGVsbG8gd29ybGQh").json()["code"] == 205
    third.stop()


def test_reset_refuses_a_directory_that_holds_something_else(world: World, tmp_path: Path) -> None:
    foreign = tmp_path / "home"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    (foreign / "snapshot.jsonl").write_text("{}")
    proxy = world.start_dev(foreign, "--reset")
    assert proxy.wait() == SETTINGS_WRONG
    assert "'thesis.txt', which is not ours" in proxy.output
    assert (foreign / "thesis.txt").read_text() == "years of work"
    assert (foreign / "snapshot.jsonl").exists()


def test_reset_leaves_what_lies_beside_its_directory_alone(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    state = tmp_path / "dev"
    state.mkdir()
    (state / "vendor").symlink_to(outside)
    proxy = world.start_dev(state, "--reset").ready()
    proxy.stop()
    assert (outside / "kept").read_text() == "kept"


def test_the_demo_names_its_own_option_when_a_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "tenant_security", "dev", "--state-dir", str(tmp_path / "state")]
        command += ["--logdriver-port", "0", "--broker-port", "0", "--bridge-port", "0"]
        command += ["--proxy-port", port, "--ops-port", "0", "--events-port", "0"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 78
    assert f"127.0.0.1:{port}" in done.stderr
    assert "make run PROXY_PORT=" in done.stderr
