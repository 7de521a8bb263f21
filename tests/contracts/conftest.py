"""A live proxy in its own process, for promises that any HTTP client may rely on."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

API_KEY = "0WUaXesNgbTAuLwn"
WITHIN_S = 30.0


@dataclass(frozen=True)
class LiveProxy:
    """Where it listens."""

    url: str
    ops_url: str
    api_key: str = API_KEY


@pytest.fixture(scope="session")
def live_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveProxy]:
    """The development command with the tenants of the published examples; it must survive and stop cleanly."""
    directory = tmp_path_factory.mktemp("live")
    log = directory / "log"
    command = [str(Path(sys.executable).with_name("tenant-security")), "dev", "--state-dir", str(directory / "state")]
    command += ["--logdriver-port", "0", "--broker-port", "0", "--bridge-port", "0"]
    command += ["--proxy-port", "0", "--ops-port", "0", "--events-port", "0"]
    with log.open("wb") as output:
        environ = {"PATH": os.environ["PATH"], "API_KEY": API_KEY}
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WITHIN_S
        while (ports := _ports(log)) is None or not _is_ready(ports["ops"]):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield LiveProxy(f"http://127.0.0.1:{ports['api']}", f"http://127.0.0.1:{ports['ops']}")
        assert process.poll() is None, log.read_text()[-4000:]
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 0
        assert "internal error" not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _ports(log: Path) -> dict[str, int] | None:
    for line in log.read_bytes().split(b"\n")[:-1]:
        told = json.loads(line)
        if told.get("message") == "proxy starting":
            return {"api": told["api"], "ops": told["ops"]}
    return None


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False
