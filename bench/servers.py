"""The servers of a run: ours and the yardsticks, each pinned to one core, each on a port of its own."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil

from tenant_security.cli.dev_state import prepare_files

API_KEY = "0WUaXesNgbTAuLwn"
LEASED_TENANT = "tenant-gcp-l"
HERE = Path(__file__).parent


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str, seconds: float = 30.0) -> None:
    """Wait until a URL answers 200."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        if time.monotonic() > deadline:
            sys.exit(f"error: {url} did not answer within {seconds:g} s")
        time.sleep(0.02)


class Server:
    """A running process and where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, ops_port: int = 0) -> None:
        self.process = psutil.Process(process.pid)
        self.port = port
        self.ops_port = ops_port

    def cpu_s(self) -> float:
        """CPU seconds so far, of the process and its children."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in family)

    def rss_mb(self) -> float:
        """Resident memory in MB, of the process and its children."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(each.memory_info().rss for each in family) / 1e6


def pinned(core: int, *command: str) -> list[str]:
    """A command that runs on one core."""
    return ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def running(command: list[str], environ: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the length of a block."""
    process = subprocess.Popen(
        command, env={**os.environ, **(environ or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def proxy(core: int | None = 0, **settings: str) -> Iterator[Server]:
    """Run the proxy with the demo tenants. Events go to the outbox and stay there, as beside a slow logdriver."""
    with tempfile.TemporaryDirectory() as state:
        environ = prepare_files(Path(state), "demo") | {"API_KEY": API_KEY} | settings
        with proxy_of(environ, core) as server:
            yield server


@contextlib.contextmanager
def proxy_of(environ: dict[str, str], core: int | None = 0) -> Iterator[Server]:
    """Run the proxy with these settings, on free ports."""
    port, ops_port = free_port(), free_port()
    placed = environ | {
        "TSP_HTTP_BIND_ADDRESS": f"127.0.0.1:{port}",
        "TSP_OPS_BIND_ADDRESS": f"127.0.0.1:{ops_port}",
        "TSP_EVENTS_BIND_ADDRESS": f"127.0.0.1:{free_port()}",
        "TSP_DRAIN_SECONDS": "0",
    }
    command = [sys.executable, "-m", "tenant_security", "proxy"]
    with running(command if core is None else pinned(core, *command), placed) as process:
        wait_for(f"http://127.0.0.1:{ops_port}/ready", 300)
        yield Server(process, port, ops_port)


def metric_of(server: Server, pattern: str) -> float:
    """Read one sample of a server's metrics; its name and labels are a regular expression."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.ops_port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{pattern} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{body}'; }} }}
}}
"""


@contextlib.contextmanager
def nginx(body: str, core: int = 0) -> Iterator[Server]:
    """Run Debian's nginx, one worker, with a static body."""
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    if not Path(binary).exists():
        sys.exit("error: nginx is the yardstick and is missing; on Debian: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = Path(folder) / "nginx.conf"
        config.write_text(_NGINX.format(folder=folder, port=port, body=body))
        with running(pinned(core, binary, "-c", str(config), "-p", folder)) as process:
            wait_for(f"http://127.0.0.1:{port}/")
            yield Server(process, port)


@contextlib.contextmanager
def go_proxy(core: int = 0) -> Iterator[Server]:
    """Build and run the minimal Go proxy."""
    if shutil.which("go") is None:
        sys.exit("error: Go is a yardstick and is missing; on Debian: apt-get install golang-go")
    with tempfile.TemporaryDirectory() as folder:
        binary = str(Path(folder) / "proxy")
        subprocess.run(["go", "build", "-o", binary, "."], cwd=HERE / "go", check=True)
        port = free_port()
        with running(pinned(core, binary, str(port), API_KEY, LEASED_TENANT)) as process:
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.02)
            yield Server(process, port)
