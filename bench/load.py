"""The load: wrk on the other core, one shape of request, and what it measured."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from bench.servers import API_KEY, HERE, LEASED_TENANT, Server, pinned


class Measured(NamedTuple):
    """One run of wrk against one server. Units: requests per second, microseconds."""

    rps: float
    p50_us: float
    p90_us: float
    p99_us: float
    cpu_us: float
    errors: int


class Load(NamedTuple):
    """One request shape."""

    path: str
    body: bytes


def metadata(**more: Any) -> dict[str, Any]:
    """The common members of a request."""
    return {"tenantId": LEASED_TENANT, "iclFields": {"requestingId": "user-1"}, "customFields": {}, **more}


def wrap_load() -> Load:
    """One leased wrap."""
    return Load("/api/1/document/wrap", json.dumps(metadata()).encode())


def post(port: int, load: Load) -> dict[str, Any]:
    """Send one request, for its answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{load.path}",
        load.body,
        {"Authorization": f"cmk {API_KEY}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        result: dict[str, Any] = json.load(answer)
        return result


def unwrap_load(port: int) -> Load:
    """One leased unwrap of an EDEK that this proxy made."""
    edek = post(port, wrap_load())["edek"]
    return Load("/api/1/document/unwrap", json.dumps(metadata(encryptedDocumentKey=edek)).encode())


def batch_wrap_load(count: int) -> Load:
    """A leased batch wrap."""
    ids = [f"document-{number}" for number in range(count)]
    return Load("/api/1/document/batch-wrap", json.dumps(metadata(documentIds=ids)).encode())


def batch_unwrap_load(port: int, count: int) -> Load:
    """A leased batch unwrap."""
    keys = post(port, batch_wrap_load(count))["keys"]
    edeks = {each: made["edek"] for each, made in keys.items()}
    return Load("/api/1/document/batch-unwrap", json.dumps(metadata(edeks=edeks)).encode())


def drive(server: Server, load: Load, *, seconds: float, connections: int = 64, core: int | None = 1) -> Measured:
    """Run wrk against a server."""
    if shutil.which("wrk") is None:
        sys.exit("error: wrk makes the load and is missing; on Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder) / "body"
        body.write_bytes(load.body)
        environ = {**os.environ, "BENCH_BODY": str(body), "BENCH_PATH": load.path, "BENCH_API_KEY": API_KEY}
        command = [
            "wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(HERE / "wrk" / "keys.lua"),
            f"http://127.0.0.1:{server.port}",
        ]  # fmt: skip
        before = server.cpu_s()
        placed = command if core is None else pinned(core, *command)
        done = subprocess.run(placed, env=environ, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"error: wrk failed: {done.stdout} {done.stderr}")
        cpu_s = server.cpu_s() - before
    fields = next(line for line in done.stdout.splitlines() if line.startswith("RESULT")).split()[1:]
    requests, duration_us, statuses, transport = (int(each) for each in fields[:4])
    p50, p90, p99 = (float(each) for each in fields[4:])
    return Measured(requests / duration_us * 1e6, p50, p90, p99, cpu_s / max(requests, 1) * 1e6, statuses + transport)
