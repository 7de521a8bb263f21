"""A broker and a proxy as real processes, and a real browser in front of them."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WITHIN_S = 60.0
SETUP_TOKEN = "set-up-token-of-the-tests"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until(true: Callable[[], bool], what: Callable[[], str], within_s: float = WITHIN_S) -> None:
    """Wait, bounded, for something that another process does."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether a page says that all is well."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


class Process:
    """One process; what it writes lies in a file."""

    def __init__(self, command: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, env=dict(environ), stdout=out, stderr=out, cwd=ROOT)

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def require_ready(self, url: str) -> None:
        """Wait until it answers."""
        until(lambda: self._process.poll() is not None or answers(url), lambda: f"not ready:\n{self.output[-4000:]}")
        assert self._process.poll() is None, self.output[-4000:]

    def stop(self) -> None:
        """End it as its operator would."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)


class Stack:
    """Where everything is, and how to start the proxy."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.database = directory / "broker.db"
        self.clock = directory / "clock"
        self.step_clock(0)
        self._processes: list[Process] = []
        self._base = {name: value for name, value in os.environ.items() if not name.startswith(("TSP_", "BROKER_"))}

    def step_clock(self, ahead_ms: int) -> None:
        """Let the broker's clock be ahead of this machine's."""
        written = self.clock.with_suffix(".new")
        written.write_text(str(ahead_ms))
        written.replace(self.clock)

    def start_broker(self, **settings: str) -> Process:
        environ = {
            **self._base,
            "BROKER_DATABASE_URL": f"sqlite:///{self.database}",
            "BROKER_KEY_FILE": str(self.directory / "broker.key"),
            "BROKER_BIND_ADDRESS": "127.0.0.1",
            "BROKER_PORT": str(self.port),
            "BROKER_PUBLIC_URL": self.url,
            "BROKER_SETUP_TOKEN": SETUP_TOKEN,
            "BROKER_OPS_BIND_ADDRESS": "127.0.0.1:0",
            "CLOCK_FILE": str(self.clock),
            **settings,
        }
        broker = Process([sys.executable, "-m", "tests.browser.broker_process"], environ, self.directory / "broker.log")
        self._processes.append(broker)
        broker.require_ready(f"{self.url}/live")
        return broker

    def start_proxy(self, environment: Mapping[str, str]) -> tuple[Process, int]:
        """Start a proxy with a service's env file; returns its port."""
        port, ops = free_port(), free_port()
        environ = {
            **self._base,
            **environment,
            "TSP_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
            "TSP_OPS_BIND_ADDRESS": f"127.0.0.1:{ops}",
            "TSP_EVENTS_BIND_ADDRESS": "127.0.0.1:0",
            "TSP_CONFIG_CACHE_DIR": str(self.directory / "cache"),
            "TSP_DRAIN_SECONDS": "0",
            "TSP_ALLOW_LOCAL_KMS": "true",
        }
        command = str(Path(sys.executable).with_name("tenant-security"))
        proxy = Process([command, "proxy"], environ, self.directory / "proxy.log")
        self._processes.append(proxy)
        proxy.require_ready(f"http://127.0.0.1:{ops}/ready")
        return proxy, port

    def start_logdriver(self, environment: Mapping[str, str]) -> Process:
        """Start a logdriver with a service's env file. It fetches nobody's events; its tenants come from the broker."""
        ops = free_port()
        environ = {
            **self._base,
            **environment,
            "LOGDRIVER_EVENT_PRODUCER_URL": f"http://127.0.0.1:{free_port()}",
            "LOGDRIVER_OPS_BIND_ADDRESS": f"127.0.0.1:{ops}",
            "LOGDRIVER_SPOOL_DIRECTORY": str(self.directory / "spool"),
            "LOGDRIVER_CONFIG_CACHE_DIR": str(self.directory / "logdriver-cache"),
            "LOGDRIVER_DRAIN_SECONDS": "0",
            "TSP_EGRESS_ALLOW": "127.0.0.1",
        }
        command = str(Path(sys.executable).with_name("tenant-security"))
        logdriver = Process([command, "logdriver"], environ, self.directory / "logdriver.log")
        self._processes.append(logdriver)
        logdriver.require_ready(f"http://127.0.0.1:{ops}/live")
        return logdriver

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.stop()


@contextlib.contextmanager
def running_stack(directory: Path, **settings: str) -> Iterator[Stack]:
    """A broker that serves while the block lasts."""
    stack = Stack(directory)
    try:
        stack.start_broker(**settings)
        yield stack
    finally:
        stack.stop()


def require_chromium() -> None:
    """Skip where there is no browser; in CI its absence is a failure."""
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
            pytest.fail(f"CI must have {CHROMIUM}", pytrace=False)
        pytest.skip(f"there is no {CHROMIUM}")
