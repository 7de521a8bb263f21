"""The proxy under test: one process of the development command, started once for the whole suite."""

import base64
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

API_KEY = "0WUaXesNgbTAuLwn"
SECOND_API_KEY = "c2Vjb25kIGtleSBmb3Ig"
COMMAND_VARIABLE = "CONFORMANCE_PROXY_COMMAND"
"""Environment variable that names another command to test, such as one that runs a container image; it is given the
same arguments."""

_READY_WITHIN_S = 60
_STOPPED_WITHIN_S = 30


@dataclass(frozen=True)
class RunningProxy:
    """Where the proxy listens and where it keeps its state."""

    url: str
    ops_url: str
    state_dir: Path
    log: Path

    @property
    def local_kms_keys(self) -> dict[int, bytes]:
        """The key of every local-KMS config by config id."""
        keys = json.loads((self.state_dir / "demo-kms.json").read_text())
        return {int(config_id): base64.b64decode(key) for config_id, key in keys.items()}

    def environment(self) -> dict[str, str]:
        """What a client program needs to find the proxy."""
        return {**os.environ, "PROXY_URL": self.url, "API_KEY": API_KEY}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _command() -> list[str]:
    named = os.environ.get(COMMAND_VARIABLE)
    return shlex.split(named) if named else [str(Path(sys.executable).with_name("tenant-security"))]


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _masked_faults(ops_url: str) -> list[str]:
    """Requests that were answered well only because a second way of answering stood behind a broken first one."""
    with urllib.request.urlopen(f"{ops_url}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    faults = [line for line in lines if line.startswith("tsp_fast_path_faults_total")]
    return [line for line in faults if float(line.rpartition(" ")[2]) > 0]


@contextmanager
def running_proxy(directory: Path) -> Iterator[RunningProxy]:
    """Start the proxy on free ports, wait until it is ready, and at the end demand that SIGTERM stops it cleanly."""
    api, ops, events, broker, bridge, logdriver = _free_ports(6)
    state_dir = directory / "state"
    state_dir.mkdir()
    log = directory / "proxy.log"
    arguments = ["dev", "--seed", "conformance", "--state-dir", str(state_dir)]
    arguments += ["--proxy-port", str(api), "--ops-port", str(ops), "--events-port", str(events)]
    arguments += ["--broker-port", str(broker), "--bridge-port", str(bridge)]
    arguments += ["--logdriver-port", str(logdriver)]
    environment = {**os.environ, "API_KEY": API_KEY, "API_KEY_2": SECOND_API_KEY}
    with log.open("wb") as output:
        process = subprocess.Popen([*_command(), *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT)
    proxy = RunningProxy(f"http://127.0.0.1:{api}", f"http://127.0.0.1:{ops}", state_dir, log)
    try:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not _is_ready(proxy.ops_url):
            assert process.poll() is None, f"the proxy exited with {process.returncode}:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"the proxy did not become ready:\n{log.read_text()}"
            time.sleep(0.05)
        yield proxy
        assert not _masked_faults(proxy.ops_url)
        assert process.poll() is None, f"the proxy died during the tests:\n{log.read_text()[-4000:]}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(_STOPPED_WITHIN_S) == 0, f"SIGTERM did not stop it cleanly:\n{log.read_text()[-4000:]}"
        assert "Traceback" not in log.read_text(), f"an exception went unhandled; the whole log: {log}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
