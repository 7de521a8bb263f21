"""The images: what a linter of Dockerfiles would say, and that each holds what it should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.deploy.dockerfile import DOCKERFILE, image, instructions, stages

ROOT = Path(__file__).parents[2]
PROGRAMS = ("proxy", "logdriver", "broker", "bridge")


def test_every_stage_has_a_name_and_no_base_floats() -> None:
    for name, lines in stages().items():
        base = lines[0][1]
        assert re.fullmatch(r"[a-z-]+", name)
        assert base.startswith("${") or base in stages(), base
    arguments = dict(rest.split("=", 1) for word, rest in instructions() if word == "ARG" and "=" in rest)
    for base in ("PYTHON_BASE", "NODE_BASE"):
        tag = arguments[base].rpartition(":")[2]
        assert tag != "latest"
        assert "slim" in tag


def test_everything_is_installed_by_its_hash() -> None:
    installs = [line for line in (DOCKERFILE + (ROOT / "deploy/install").read_text()).splitlines() if "pip" in line]
    installs = [line for line in installs if '"install"' in line or " install " in line]
    assert installs
    for line in installs:
        assert "require-hashes" in line or "--no-deps" in line, line
    for program in (*PROGRAMS, "build", "sbom"):
        assert "--hash=sha256:" in (ROOT / f"requirements/{program}.txt").read_text()


def test_commands_need_no_shell_and_nothing_is_added_from_the_network() -> None:
    for word, rest in instructions():
        assert word not in ("ADD", "SHELL", "MAINTAINER"), word
        if word in ("RUN", "CMD", "ENTRYPOINT"):
            assert rest.startswith("["), f"{word} {rest}"
        if word == "HEALTHCHECK":
            assert "CMD [" in rest
        assert "sudo" not in rest
        assert "apt-get" not in rest


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_runs_as_nobody_says_if_it_is_well_and_holds_only_its_own(program: str) -> None:
    lines = stages()[program]
    assert lines[0][1] == "runtime"
    assert ("CMD", f'["{program}"]') in lines
    assert any(word == "HEALTHCHECK" for word, _ in lines)
    copies = [rest for word, rest in lines if word == "COPY"]
    volumes = image(program).volumes
    assert copies == [
        f"--from={program}-environment /opt/tenant-security/ /opt/tenant-security/",
        *(f"--from={program}-environment --chown=65532:65532 /empty/ {volume}/" for volume in volumes),
    ], "a volume that is not copied belongs to root, and nobody can write to it"
    user = next(rest for word, rest in stages()["runtime"] if word == "USER")
    assert all(int(part) >= 10_000 for part in user.split(":"))


def test_what_an_image_holds_is_pinned_as_everywhere_else() -> None:
    pin = re.compile(r"^([a-z0-9-]+(?:\[[a-z,]+\])?)==([^ ;\\]+)", re.MULTILINE)
    everything = dict(pin.findall((ROOT / "requirements/run.txt").read_text()))
    for program in PROGRAMS:
        own = dict(pin.findall((ROOT / f"requirements/{program}.txt").read_text()))
        assert own
        assert {name: version for name, version in own.items() if everything.get(name, version) != version} == {}
    proxy = (ROOT / "requirements/proxy.txt").read_text()
    for heavy in ("sqlalchemy==", "litestar==", "confluent-kafka=="):
        assert heavy not in proxy


def test_the_build_sees_no_secret_and_no_rubbish() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    assert not [
        line for line in lines if line.startswith("!") and (".env" in line or ".state" in line or ".git" in line)
    ]


@pytest.mark.parametrize("name", ["compose.yaml", "compose.production.yaml"])
def test_every_volume_of_an_image_is_kept_by_name(name: str) -> None:
    written = yaml.safe_load((ROOT / "deploy" / name).read_text())
    for service in written["services"].values():
        if "build" not in service:
            continue
        kept = dict(each.split(":")[:2][::-1] for each in service.get("volumes", []))
        assert set(kept) == set(image(service["build"]["target"]).volumes)
        assert set(kept.values()) <= set(written["volumes"])


@pytest.mark.parametrize("name", ["compose.yaml", "compose.production.yaml"])
def test_containers_are_locked_down_and_built_from_targets_that_exist(name: str) -> None:
    services = yaml.safe_load((ROOT / "deploy" / name).read_text())["services"]
    ours = {key: each for key, each in services.items() if "build" in each}
    assert ours
    for service in ours.values():
        assert service["build"]["target"] in stages()
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert "restart" in service


def test_the_compose_file_has_the_ports_the_volume_and_the_env_file_that_deployments_know() -> None:
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    assert services["tenant-security-proxy"]["ports"] == ["32804:7777", "32805:9000"]
    assert services["tenant-security-logdriver"]["ports"] == ["32806:9001"]
    assert services["tenant-security-logdriver"]["volumes"] == ["logdriver:/logdriver"]
    assert services["tenant-security-proxy"]["env_file"] == services["tenant-security-logdriver"]["env_file"]


def test_the_probe_says_what_it_sees() -> None:
    import http.server
    import threading

    class Well(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/live" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Well)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        ask = [sys.executable, "-m", "tenant_security.outbound.probe"]
        assert subprocess.run([*ask, f"{base}/live"], check=False).returncode == 0
        assert subprocess.run([*ask, f"{base}/ready"], check=False).returncode == 1
        assert subprocess.run([*ask, "http://127.0.0.1:1/live"], check=False).returncode == 1
        either = [f"https://127.0.0.1:{server.server_port}/live", f"{base}/live"]
        assert subprocess.run([*ask, *either], check=False).returncode == 0
        assert subprocess.run(ask, check=False).returncode == 1
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
