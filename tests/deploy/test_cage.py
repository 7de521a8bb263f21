"""Every program runs as its image starts it: nothing to write to but what it is given, and no right of its own."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.deploy.cage import PLACE, cage, inside
from tests.deploy.dockerfile import image
from tests.faults.proxy_process import API_KEY, COMMAND, LEASED, ask, fields, until

from tenant_security.cli.dev_state import prepare_files
from tenant_security.wire.service_env import parse_env

TOKEN = "a-set-up-token-for-the-cage"
FREE = "127.0.0.1:0"


class Container:
    """One image's process, with the image's own command, environment and health check."""

    def __init__(self, program: str, directory: Path, environ: Mapping[str, str], *mounted: Path) -> None:
        self._image = image(program)
        self.volumes = {place: directory / f"{program}{place}" for place in self._image.volumes}
        for each in self.volumes.values():
            each.mkdir(parents=True)
        self.out = directory / f"{program}.log"
        self._environ = {**self._image.environ, **environ}
        self._cage = cage(volumes=self.volumes | {str(each): each for each in mounted})
        with self.out.open("wb") as out:
            command = [*self._cage, *self._image.command]
            self._process = subprocess.Popen(
                command, env=self._environ, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    def lines(self, message: str) -> list[dict[str, Any]]:
        whole = self.out.read_bytes().split(b"\n")[:-1]
        said = [json.loads(line) for line in whole if line.startswith(b'{"service"')]
        return [line for line in said if line["message"] == message]

    def said(self, message: str) -> dict[str, Any]:
        until(lambda: bool(self.lines(message)) or self._process.poll() is not None, message)
        assert self.lines(message), self.out.read_text()
        return self.lines(message)[0]

    def says_that_it_is_well(self, port: int) -> bool:
        """Run the image's health check, at the free port that stands for the one it names."""
        words = [re.sub(r":\d+/live", f":{port}/live", each) for each in self._image.health]
        return subprocess.run([*self._cage, *words], env=self._environ, check=False, timeout=60).returncode == 0

    def hangs_up(self) -> None:
        """SIGHUP to process 1: read again what may change."""
        os.kill(inside(self._process.pid), signal.SIGHUP)

    def ends(self, errors: int = 0) -> None:
        """SIGTERM to process 1: it must leave by itself, cleanly, and have said nothing bad but what was provoked."""
        os.kill(inside(self._process.pid), signal.SIGTERM)
        assert self._process.wait(30) == 0, self.out.read_text()
        assert self.out.read_text().count('"level":"ERROR"') == errors
        assert "Traceback" not in self.out.read_text()

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("cage")
    return made


@pytest.fixture(scope="module")
def started(directory: Path) -> Iterator[Any]:
    """Start containers, and end those that a test left."""
    containers: list[Container] = []

    def start(program: str, *mounted: Path, **environ: str) -> Container:
        containers.append(Container(program, directory, environ, *mounted))
        return containers[-1]

    yield start
    for each in containers:
        each.close()


@pytest.fixture(scope="module")
def broker(started: Any, directory: Path) -> tuple[Container, int]:
    free = {"BROKER_BIND_ADDRESS": "127.0.0.1", "BROKER_PORT": "0", "BROKER_OPS_BIND_ADDRESS": FREE}
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(directory / "ops.pem"))
    free |= {f"BROKER_OPS_TLS_{each}_FILE": str(directory / "ops.pem") for each in ("CERTIFICATE", "KEY")}
    free["BROKER_RELOAD_FILE"] = "/broker/broker.env"
    made: Container = started("broker", directory, BROKER_SETUP_TOKEN=TOKEN, **free)
    return made, int(made.said("the broker serves")["port"])


@pytest.fixture(scope="module")
def state(directory: Path) -> dict[str, str]:
    """A vendor with tenants, as files that the proxy and the logdriver read."""
    settings = prepare_files(directory / "files", "demo")
    return {**settings, "API_KEY": API_KEY}


def tried(code: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    command = [*cage(directory), f"{PLACE}/bin/python", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_cage_holds(tmp_path: Path) -> None:
    assert tried(f"open('{tmp_path}/mine', 'w').write('x')", tmp_path).returncode == 0
    assert (tmp_path / "mine").read_text() == "x"
    for elsewhere in ("/x", "/etc/x", "/usr/x", f"{PLACE}/x", "/opt/x"):
        refused = tried(f"open({elsewhere!r}, 'w')", tmp_path)
        assert refused.returncode != 0
        assert "Read-only" in refused.stderr or "denied" in refused.stderr
    status = dict(
        line.split(":\t", 1)
        for line in tried("print(open('/proc/self/status').read())", tmp_path).stdout.splitlines()
        if ":\t" in line
    )
    assert {status[f"Cap{each}"] for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0000000000000000"}
    assert (status["NoNewPrivs"], status["Pid"]) == ("1", "1")
    assert tried("import os; print(os.getuid())", tmp_path).stdout.strip() == "65532"


def test_a_broker_keeps_everything_in_its_volume(broker: tuple[Container, int]) -> None:
    container, port = broker
    assert ask(port, "/ready").status == 200
    assert container.says_that_it_is_well(container.said("the broker serves")["ops"])
    kept = {each.name for each in container.volumes["/broker"].iterdir()}
    assert {"broker.db", "broker.key"} <= kept


def test_a_bridge_manages_tenants_and_keeps_nothing(
    started: Any, broker: tuple[Container, int], directory: Path
) -> None:
    url = f"http://127.0.0.1:{broker[1]}"
    vendor, env_file = str(directory / "vendor"), directory / "bridge.env"
    for words in (
        ["vendor", "init", vendor, "--id", "acme", "--broker", url, "--setup-token", TOKEN],
        ["identity", "new", "bridge-1", "--bridge", "--vendor", vendor, "--env-file", str(env_file)],
    ):
        subprocess.run([COMMAND, *words], check=True, capture_output=True, timeout=60)
    settings = parse_env(env_file.read_text()) | {"CONFIG_BROKER_URL": url}
    settings |= {"BRIDGE_BIND_ADDRESS": "127.0.0.1", "BRIDGE_PORT": "0", "BRIDGE_RELOAD_FILE": str(env_file)}
    bridge: Container = started("bridge", directory, **settings)
    assert bridge.volumes == {}
    port = bridge.said("the vendor bridge serves")["port"]
    headers = {"Authorization": f"vab:1:{settings['API_KEY']}", "icl-requestor-id": "cage"}
    body = json.dumps({"id": "caged", "name": "Caged"}).encode()
    made = ask(port, "/api/1/tenants", body, headers={**headers, "Content-Type": "application/json"})
    assert made.status == 200, made.body
    listed = ask(port, "/api/1/tenants", headers=headers).json()
    assert [each["id"] for each in listed["result"]] == ["caged"]
    assert bridge.says_that_it_is_well(port)

    env_file.write_text(env_file.read_text().replace(settings["API_KEY"], "another-key-by-now"))
    bridge.hangs_up()
    bridge.said("settings that may change were read again")
    assert ask(port, "/api/1/tenants", headers=headers).status == 401
    headers["Authorization"] = "vab:1:another-key-by-now"
    assert ask(port, "/api/1/tenants", headers=headers).status == 200
    bridge.ends()


def test_a_proxy_serves_keys_and_a_logdriver_keeps_their_events_in_its_volume(
    started: Any, state: dict[str, str], directory: Path
) -> None:
    files = directory / "files"
    free = dict.fromkeys(("TSP_HTTP_BIND_ADDRESS", "TSP_OPS_BIND_ADDRESS", "TSP_EVENTS_BIND_ADDRESS"), FREE)
    proxy: Container = started("proxy", files, TSP_DRAIN_SECONDS="0", **free, **state)
    ports = proxy.said("proxy starting")
    proxy.said("proxy ready")
    producer = f"tcp://127.0.0.1:{ports['events']}"
    # Its health and metrics by TLS: the image's check must see it too.
    made = trustme.CA().issue_cert("127.0.0.1")
    made.private_key_and_cert_chain_pem.write_to_path(str(files / "ops.pem"))
    tls = {f"LOGDRIVER_OPS_TLS_{each}_FILE": str(files / "ops.pem") for each in ("CERTIFICATE", "KEY")}
    logdriver: Container = started(
        "logdriver", files, LOGDRIVER_EVENT_PRODUCER_URL=producer, LOGDRIVER_OPS_BIND_ADDRESS=FREE, **state, **tls
    )
    logdriver.said("logdriver ready")

    headers = {"Authorization": f"cmk {API_KEY}", "Content-Type": "application/json"}
    wrapped = ask(ports["api"], "/api/1/document/wrap", json.dumps(fields(LEASED)).encode(), headers=headers)
    assert wrapped.status == 200, wrapped.body
    again = {**fields(LEASED), "encryptedDocumentKey": wrapped.json()["edek"]}
    unwrapped = ask(ports["api"], "/api/1/document/unwrap", json.dumps(again).encode(), headers=headers)
    assert unwrapped.json()["dek"] == wrapped.json()["dek"]
    # Tenants without a sink have their events on the logdriver's standard output.
    until(lambda: "DEK_UNWRAP" in logdriver.out.read_text(), "the event")
    assert {"journal", "states", "lock"} <= {each.name for each in logdriver.volumes["/logdriver"].iterdir()}

    assert proxy.says_that_it_is_well(ports["ops"])
    assert logdriver.says_that_it_is_well(logdriver.said("logdriver starting")["ops"])
    proxy.ends()
    logdriver.ends()


def test_a_health_check_fails_where_nobody_answers(broker: tuple[Container, int]) -> None:
    assert not broker[0].says_that_it_is_well(1)


def test_a_broker_reads_again_on_a_hangup_and_ends_when_it_is_asked_to(broker: tuple[Container, int]) -> None:
    reloaded = broker[0].volumes["/broker"] / "broker.env"
    reloaded.write_text("RUST_LOG=nonsense\n")
    broker[0].hangs_up()
    until(lambda: "names a RUST_LOG that is none" in broker[0].out.read_text(), "what is wrong with the file")
    reloaded.write_text("RUST_LOG=error\n")
    broker[0].hangs_up()
    broker[0].said("settings that may change were read again")
    broker[0].ends(errors=1)
