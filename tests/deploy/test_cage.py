"""Every program runs as its image starts it: nothing to write to but what it is given, and no right of its own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.deploy.cage import cage
from tests.faults.proxy_process import LEASED, World, a_world, fields


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def tried(code: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    command = [*cage(directory), sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_cage_holds(tmp_path: Path) -> None:
    assert tried("open('mine', 'w').write('x')", tmp_path).returncode == 0
    assert (tmp_path / "mine").read_text() == "x"
    for elsewhere in ("/etc/x", "/usr/x", str(Path(sys.executable).parent / "x")):
        refused = tried(f"open({elsewhere!r}, 'w')", tmp_path)
        assert refused.returncode != 0
        assert "Read-only" in refused.stderr or "denied" in refused.stderr
    status = tried("print(open('/proc/self/status').read())", tmp_path).stdout
    assert [line.split()[1] for line in status.splitlines() if line.startswith("CapEff")] == ["0000000000000000"]
    assert tried("import os; print(os.getuid())", tmp_path).stdout.strip() == "65532"


def test_a_proxy_serves_keys_in_the_cage(world: World) -> None:
    proxy = world.start("proxy", inside=cage(world.directory)).ready()
    wrapped = proxy.call("document/wrap", fields(LEASED))
    assert wrapped.status == 200
    again = proxy.call("document/unwrap", {**fields(LEASED), "encryptedDocumentKey": wrapped.json()["edek"]})
    assert again.json()["dek"] == wrapped.json()["dek"]
    proxy.assert_quiet()
