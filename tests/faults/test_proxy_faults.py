"""A world that breaks while the proxy serves: snapshots, KMSs, disks and its own output."""

import base64
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .proxy_process import (
    LEASED,
    PLAIN,
    WITHIN_S,
    Hammer,
    HeldKms,
    Later,
    ProxyProcess,
    World,
    a_world,
    ask,
    aws_config,
    derivation,
    fields,
    local_config,
    soon,
    until,
)

HANGUPS = 20


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


@pytest.fixture
def held() -> Iterator[HeldKms]:
    kms = HeldKms()
    yield kms
    kms.close()


def replace(path: Path, content: bytes) -> None:
    """Put a file in another's place in one step, as every writer of snapshots does."""
    beside = path.with_suffix(".new")
    beside.write_bytes(content)
    beside.replace(path)


def flip_signature(line: bytes) -> bytes:
    """One tenant's line with another signature than its author's."""
    decoded = json.loads(line)
    sig = bytearray(base64.b64decode(decoded["record"]["sig"] + "=="))
    sig[5] ^= 1
    decoded["record"]["sig"] = base64.b64encode(bytes(sig)).decode().rstrip("=")
    return json.dumps(decoded, separators=(",", ":")).encode()


def bad_snapshots(good: bytes) -> list[bytes]:
    header, rest = good.split(b"\n", 1)
    return [
        b"",
        b"not a snapshot\n",
        good[: len(good) // 2],
        header.replace(b'"version":', b'"version":9', 1)[: len(header) // 2] + b"\n" + rest,
        b"\0" * 5000 + b"\n",
        b"<html>gateway error</html>\n",
    ]


async def test_twenty_hangups_with_good_and_bad_snapshots_fail_no_request(world: World) -> None:
    proxy = world.start()
    await soon(proxy.is_ready, "ready")
    hammer = Hammer(proxy.api, clients=16)
    good = world.snapshot.read_bytes()
    bad = bad_snapshots(good)
    for turn in range(HANGUPS):
        is_good = turn % 2 == 1
        before = len(proxy.lines("tenants read again"))
        failed = len(proxy.lines("the tenants could not be read again; the last good ones stay"))
        replace(world.snapshot, good if is_good else bad[(turn // 2) % len(bad)])
        proxy.signal(signal.SIGHUP)
        if is_good:
            await soon(lambda before=before: len(proxy.lines("tenants read again")) > before, "good")  # type: ignore[misc]
            assert proxy.check("tenants")["status"] == "UP"
        else:
            await soon(
                lambda failed=failed: (  # type: ignore[misc]
                    len(proxy.lines("the tenants could not be read again; the last good ones stay")) > failed
                ),
                "bad",
            )
            tenants = proxy.check("tenants")
            assert tenants["status"] == "WARN"
            assert tenants["data"]["lastError"]
            assert tenants["data"]["failuresInARow"] == 1
            assert tenants["data"]["tenants"] == 12, "the last good ones stay"
            assert ask(proxy.ops, "/ready").status == 200
            assert ask(proxy.ops, "/health").status == 200
    await hammer.stop()
    assert hammer.failures == []
    assert hammer.served > 100
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    assert "Traceback" not in proxy.output


def test_a_proxy_without_a_snapshot_becomes_ready_when_it_appears(world: World, tmp_path: Path) -> None:
    late = tmp_path / "late.jsonl"
    proxy = world.start(TSP_SNAPSHOT_FILE=str(late))
    until(lambda: bool(proxy.lines("the tenants could not be loaded; trying again")), "its first try")
    assert ask(proxy.ops, "/ready").status == 503
    assert ask(proxy.ops, "/ready").body == b"starting\n"
    assert ask(proxy.ops, "/live").status == 200
    assert ask(proxy.ops, "/health").status == 500
    assert proxy.check("tenants")["status"] == "DOWN"
    assert "No such file" in proxy.check("tenants")["data"]["lastError"]
    replace(late, world.snapshot.read_bytes())
    proxy.ready()
    assert proxy.call("document/wrap", fields(PLAIN)).status == 200


def test_one_bad_tenant_of_many_fails_alone_and_says_so(world: World) -> None:
    world.write_snapshot(**{f"tenant-{number}": local_config(bytes([number]) * 32) for number in range(1, 100)})
    lines = world.snapshot.read_bytes().split(b"\n")
    broken = next(at for at, line in enumerate(lines) if b'"tenant":"tenant-50"' in line)
    lines[broken] = flip_signature(lines[broken])
    replace(world.snapshot, b"\n".join(lines))
    proxy = world.start().ready()
    for number in range(1, 100):
        got = proxy.call("document/wrap", fields(f"tenant-{number}"))
        if number == 50:
            assert (got.status, got.json()["code"]) == (422, 207)
        else:
            assert got.status == 200, got
    tenants = proxy.check("tenants")
    assert tenants["status"] == "WARN"
    assert list(tenants["data"]["quarantined"]) == ["tenant-50"]
    assert ask(proxy.ops, "/ready").status == 200


def test_a_kms_that_hangs_keeps_no_probe_and_no_other_tenant_waiting(world: World, held: HeldKms) -> None:
    world.write_snapshot(slow=aws_config(held.url), dead=aws_config("http://127.0.0.1:9"))
    proxy = world.start(
        TSP_KMS_DEADLINE_SECONDS="60", TSP_KMS_ATTEMPT_SECONDS="60", TSP_KMS_CONCURRENCY_PER_TENANT="1000"
    ).ready()
    waiting = [Later(proxy, "slow") for _ in range(300)]
    until(lambda: held.arrived == 300, "300 held KMS calls")
    for _ in range(20):
        assert ask(proxy.ops, "/live").status == 200
        assert ask(proxy.ops, "/ready").status == 200
        assert ask(proxy.ops, "/health").status == 200
        assert proxy.call("document/wrap", fields(LEASED)).status == 200
        assert proxy.call("document/wrap", fields(PLAIN)).status == 200
        assert proxy.call("document/wrap", fields("dead")).json()["code"] == 208
    assert not any(each.got for each in waiting), "all of that while the KMS still holds every call"
    assert proxy.health()["status"] == "UP"
    held.release.set()
    answers = [each.answer() for each in waiting]
    assert {each.status for each in answers if not isinstance(each, Exception)} == {422}
    assert len(answers) == 300
    proxy.stop()


@pytest.mark.parametrize("settings", [{"RUST_LOG": "debug"}, {"TSP_ENABLE_LOGDRIVER_INTEGRATION": "false"}])
@pytest.mark.parametrize("output", ["closed pipe", "full disk"])
def test_an_output_that_takes_nothing_fails_no_request(world: World, output: str, settings: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    ports = [free_port() for _ in range(3)]
    names = ("TSP_HTTP_BIND_ADDRESS", "TSP_OPS_BIND_ADDRESS", "TSP_EVENTS_BIND_ADDRESS")
    addresses = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
    try:
        proxy = world.start(stdout=writing if output == "closed pipe" else full, **addresses, **settings)
    finally:
        os.close(writing)
        os.close(full)

    def is_ready() -> bool:
        try:
            return ask(ports[1], "/ready").status == 200
        except ConnectionError:
            return False

    until(is_ready, "ready")
    for tenant in (LEASED, PLAIN, "unknown") * 20:
        got = proxy.call("document/wrap", fields(tenant), port=ports[0])
        assert got.status == (422 if tenant == "unknown" else 200)
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0
    assert proxy.err.read_text() == ""


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


FULL_DISK = """
import sqlite3
from pathlib import Path
class Full(sqlite3.Connection):
    def execute(self, statement, *more):
        if statement.startswith("INSERT") and Path("disk-is-full").exists():
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(statement, *more)
real = sqlite3.connect
sqlite3.connect = lambda *a, **k: real(*a, factory=Full, **k)
"""


def assert_full_disk_is_met(proxy: ProxyProcess, fill: Any, empty: Any) -> None:
    known = proxy.call("key/derive-with-secret-path", derivation(PLAIN, "known"))
    assert known.status == 200
    fill()
    refused = proxy.call("key/derive-with-secret-path", derivation(PLAIN, "new"))
    assert (refused.status, refused.json()["code"]) == (422, 401)
    assert proxy.call("document/wrap", fields(PLAIN)).status == 200
    assert proxy.call("document/wrap", fields(LEASED)).status == 200
    assert proxy.call("key/derive-with-secret-path", derivation(PLAIN, "known")).json() == known.json()
    assert ask(proxy.ops, "/ready").status == 200
    empty()
    made = proxy.call("key/derive-with-secret-path", derivation(PLAIN, "new"))
    assert made.status == 200
    again = proxy.call("key/derive-with-secret-path", derivation(PLAIN, "known", "new"))
    assert again.json()["derivedKeys"] == known.json()["derivedKeys"] | made.json()["derivedKeys"]
    proxy.stop()


def test_a_store_that_reports_a_full_disk_refuses_new_secrets_only(world: World) -> None:
    proxy = world.start(before=FULL_DISK, TSP_TENANT_SECRET_CACHE_SECONDS="0").ready()
    mark = world.directory / "disk-is-full"
    assert_full_disk_is_met(proxy, mark.touch, mark.unlink)


def test_a_disk_that_is_full_refuses_new_secrets_only(world: World, tmp_path: Path) -> None:
    """A real file system of one megabyte, where the machine lets us mount one."""
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode != 0:
        # Mounting needs a privilege that an account may lack; in the test above the store says that it is full.
        pytest.skip("this machine does not let us mount a file system; the scripted full disk stands for it")
    ballast = disk / "ballast"
    try:
        proxy = world.start(TSP_TENANT_SECRETS_FILE=str(disk / "s.sqlite"), TSP_TENANT_SECRET_CACHE_SECONDS="0").ready()

        def fill() -> None:
            with ballast.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"\0" * 4096)
                except OSError:
                    pass

            # The journal may still have room for a record or two: they are secrets well made.
            for number in range(2_000):
                got = proxy.call("key/derive-with-secret-path", derivation(PLAIN, f"fill-{number}"))
                if got.status != 200:
                    return
            pytest.fail("the disk never filled")

        assert_full_disk_is_met(proxy, fill, ballast.unlink)
    finally:
        world.close()
        subprocess.run(["umount", str(disk)], check=True)


def test_what_a_library_complains_about_is_told_without_its_particulars(world: World) -> None:
    """asyncio writes the exception and all that it was about behind the first line of its complaint."""
    before = """
from tenant_security.proxy import app
async def sweep(retain):
    import asyncio
    async def fails():
        raise ValueError("secret-in-an-exception")
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    import gc
    gc.collect()
    await asyncio.Event().wait()
app.Proxy._sweep = staticmethod(sweep)
"""
    proxy = world.start(before=before).ready()
    until(lambda: len(proxy.lines("a library logged")) >= 2, "complaints")
    assert "secret-in-an-exception" not in proxy.output
    proxy.signal(signal.SIGTERM)
    assert proxy.wait() == 0


def test_many_at_once_are_all_answered(world: World) -> None:
    """Four hundred connections at once against a small backlog of work."""
    proxy = world.start().ready()
    later = [Later(proxy, PLAIN) for _ in range(400)]
    assert {each.answer().status for each in later} == {200}  # type: ignore[union-attr]
    assert threading.active_count() < WITHIN_S * 10
    proxy.stop()
