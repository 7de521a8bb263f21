"""The real proxy as its own process, a world of tenants for it, and clients that never try twice."""

import asyncio
import base64
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.dev_state import prepare_files

API_KEY = "0WUaXesNgbTAuLwn"
LEASED, PLAIN = "tenant-gcp-l", "tenant-gcp"
COMMAND = str(Path(sys.executable).with_name("tenant-security"))
WITHIN_S = 30.0
_FREE = "127.0.0.1:0"
_TROUBLE = ("Traceback (most recent call last)", "Task was destroyed", "never retrieved", "Exception ignored")


def until(true: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    """Wait, bounded, for something that another process does."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)


async def soon(true: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    """The same without stopping the event loop."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        await asyncio.sleep(0.01)


class Got(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    port: int,
    path: str,
    body: bytes | None = None,
    *,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Got:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    try:
        connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers or {}))
        answer = connection.getresponse()
        return Got(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def fields(tenant: str, **members: object) -> dict[str, object]:
    return {"tenantId": tenant, "iclFields": {"requestingId": "faults"}, "customFields": {}, **members}


def derivation(tenant: str, *paths: str) -> dict[str, object]:
    asked = {path: ["d"] for path in paths}
    return fields(tenant, paths=asked, derivationType="sha512", secretType="deterministic")


class ProxyProcess:
    """One started proxy. Its output is kept in files."""

    def __init__(self, process: "subprocess.Popen[bytes]", out: Path, err: Path) -> None:
        self.process, self.out, self.err = process, out, err

    @property
    def output(self) -> str:
        """Everything it has written so far."""
        return (self.out.read_text() if self.out.exists() else "") + self.err.read_text()

    def lines(self, message: str | None = None) -> list[dict[str, Any]]:
        """Its whole log lines, or those with one message."""
        whole = [json.loads(line) for line in self.out.read_bytes().split(b"\n")[:-1]]
        return [line for line in whole if message in (None, line.get("message"))]

    @property
    def _ports(self) -> dict[str, Any]:
        until(lambda: bool(self.lines("proxy starting")) or self.process.poll() is not None, "a port")
        assert self.lines("proxy starting"), self.output
        return self.lines("proxy starting")[0]

    @property
    def api(self) -> int:
        return int(self._ports["api"])

    @property
    def ops(self) -> int:
        return int(self._ports["ops"])

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.output
        try:
            return bool(self.lines("proxy starting")) and ask(self.ops, "/ready").status == 200
        except ConnectionError:
            return False

    def ready(self) -> "ProxyProcess":
        until(self.is_ready, "ready")
        return self

    def call(self, route: str, body: object, *, key: str = API_KEY, port: int | None = None) -> Got:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"cmk {key}", "Content-Type": "application/json"}
        return ask(port or self.api, f"/api/1/{route}", raw, method="POST", headers=headers)

    def health(self) -> Any:
        return ask(self.ops, "/health").json()

    def check(self, name: str) -> dict[str, Any]:
        """One line of its health."""
        return next(each for each in self.health()["checks"] if each["name"] == name)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, within_s: float = WITHIN_S) -> int:
        return self.process.wait(within_s)

    def stop(self) -> None:
        """Stop it and demand that it left cleanly and quietly."""
        self.signal(signal.SIGTERM)
        assert self.wait() == 0, self.output
        self.assert_quiet()

    def assert_quiet(self) -> None:
        """Nothing in its output looks like a fault of ours."""
        for each in _TROUBLE:
            assert each not in self.output, self.output
        faults = [line for line in self.lines() if line.get("level") in ("ERROR", "CRITICAL")]
        assert not faults, faults
        from_libraries = self.lines("a library logged")
        assert not from_libraries, from_libraries


class World:
    """A vendor, its tenants and whatever proxies a test starts for them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.environ = prepare_files(self.state, "conformance") | {
            "API_KEY": API_KEY,
            "TSP_HTTP_BIND_ADDRESS": _FREE,
            "TSP_OPS_BIND_ADDRESS": _FREE,
            "TSP_EVENTS_BIND_ADDRESS": _FREE,
            "TSP_DRAIN_SECONDS": "0",
        }
        self.started: list[ProxyProcess] = []

    @property
    def snapshot(self) -> Path:
        return self.state / "snapshot.jsonl"

    def write_snapshot(self, **configs: object) -> int:
        """Write the next snapshot, with further tenants that each have the one config. Returns its version."""
        vendor = Vendor.load(self.state / "vendor")
        roster = Roster.read(vendor, self.snapshot)
        for number, (tenant, config) in enumerate(configs.items(), start=9001):
            encoded = json.dumps(config).encode()
            roster.put_tenant(tenant, [assign(number, primary=True)], configs={number: encoded})
        return write_snapshot(vendor, self.snapshot, roster).version

    def start(
        self,
        *arguments: str,
        before: str | None = None,
        pass_fds: Sequence[int] = (),
        stdout: int | None = None,
        without: Sequence[str] = (),
        inside: Sequence[str] = (),
        **environ: str,
    ) -> ProxyProcess:
        """Start a proxy. ``before`` is Python that runs in its process first; ``without`` are settings left out;
        ``inside`` is a command that runs it."""
        name = f"proxy-{len(self.started)}"
        out, err = self.directory / f"{name}.out", self.directory / f"{name}.err"
        command = [COMMAND, *(arguments or ("proxy",))]
        if before is not None:
            code = f"{before}\nimport sys\nfrom tenant_security.__main__ import main\nsys.argv = {command!r}\nmain()"
            command = [sys.executable, "-c", code]
        command = [*inside, *command]
        env = {name: value for name, value in self.environ.items() if name not in without} | environ
        env |= {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=to_out if stdout is None else stdout,
                stderr=to_err,
                pass_fds=pass_fds,
                cwd=self.directory,
            )
        started = ProxyProcess(process, out, err)
        self.started.append(started)
        return started

    def start_dev(self, state: Path, *arguments: str, **environ: str) -> ProxyProcess:
        """Start the development mode on free ports with a state directory of its own."""
        ports = ("--proxy-port", "0", "--ops-port", "0", "--events-port", "0", "--logdriver-port", "0")
        ports += ("--broker-port", "0", "--bridge-port", "0")
        command = ("dev", *ports, "--state-dir", str(state), *arguments)
        return self.start(*command, without=tuple(self.environ), **{"API_KEY": API_KEY, **environ})

    def close(self) -> None:
        """End what a test left running."""
        for each in self.started:
            if each.process.poll() is None:
                each.process.kill()
                each.process.wait()


@contextlib.contextmanager
def a_world(directory: Path) -> Iterator[World]:
    """A world while the block lasts."""
    world = World(directory)
    try:
        yield world
    finally:
        world.close()


class Hammer:
    """Clients that send one wrap after the other over connections that they keep, and never try again."""

    def __init__(self, port: int, clients: int = 32, pause_s: float = 0.02) -> None:
        self.served = 0
        self.failures: list[str] = []
        self.closed = 0
        self._port, self._pause_s = port, pause_s
        self._stopping = False
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(clients)]

    async def stop(self) -> None:
        """Let every client finish its request and leave."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        body = json.dumps(fields(LEASED if number % 2 else PLAIN)).encode()
        request = (
            f"POST /api/1/document/wrap HTTP/1.1\r\nHost: t\r\nAuthorization: cmk {API_KEY}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        writer: asyncio.StreamWriter | None = None
        while not self._stopping:
            try:
                async with asyncio.timeout(WITHIN_S):
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                    writer.write(request)
                    head = (await reader.readuntil(b"\r\n\r\n")).lower()
                    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    answer = await reader.readexactly(length)
                    if not head.startswith(b"http/1.1 200"):
                        self.failures.append(repr((head, answer)))
                    self.served += 1
                    if b"connection: close" in head:
                        self.closed += 1
                        writer.close()
                        writer = None
            except (OSError, EOFError, TimeoutError) as failure:
                self.failures.append(repr(failure))
                writer = None
            await asyncio.sleep(self._pause_s)
        if writer is not None:
            writer.close()


def local_config(key: bytes, name: str = "k") -> dict[str, object]:
    """A config of the local KMS."""
    encoded = base64.b64encode(key).decode()
    return {"type": "LOCAL", "version": 1, "credentials": {"keys": {"1": encoded}}, "keyPath": {"keyId": name}}


def aws_config(endpoint: str, secret: str = "secret", access_key: str = "AKIAFAULTS") -> dict[str, object]:
    """A config of AWS KMS at an address of ours."""
    return {
        "type": "AWS",
        "version": 1,
        "credentials": {"accessKeyId": access_key, "secretAccessKey": secret},
        "keyPath": {"keyID": "arn:aws:kms:eu-central-1:123456789012:key/0123abcd", "region": "eu-central-1"},
        "endpoint": endpoint,
    }


class HeldKms:
    """Takes requests and answers none until it is released; then each gets an answer that is no KMS's."""

    def __init__(self) -> None:
        self.arrived = 0
        self.release = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(WITHIN_S)
            try:
                while connection.recv(65536):
                    self.arrived += 1
                    self.release.wait(WITHIN_S)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            except OSError:
                return

    def close(self) -> None:
        self.release.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Later:
    """A request whose answer is awaited in a thread."""

    def __init__(self, proxy: ProxyProcess, tenant: str) -> None:
        self.got: list[Got | Exception] = []
        self._thread = threading.Thread(target=self._run, args=(proxy, proxy.api, tenant), daemon=True)
        self._thread.start()

    def _run(self, proxy: ProxyProcess, port: int, tenant: str) -> None:
        try:
            self.got.append(proxy.call("document/wrap", fields(tenant), port=port))
        except Exception as failure:  # noqa: BLE001 - the test looks at it
            self.got.append(failure)

    def answer(self) -> Got | Exception:
        self._thread.join(WITHIN_S)
        return self.got[0]
