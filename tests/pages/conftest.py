"""What a reader has before the first block: a fresh copy of the project, and ports that nobody has taken."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.pages.pages import ROOT

_COPIED = ("Makefile", "README.md", "LICENSE", "pyproject.toml", "requirements", "src", "web")
_NOT_COPIED = shutil.ignore_patterns("node_modules")


def free_ports(*named: int) -> dict[int, int]:
    """A free port for each, of those that the system gives to no outgoing connection meanwhile."""
    found: dict[int, int] = {}
    with contextlib.ExitStack() as held:
        while len(found) < len(named):
            with contextlib.suppress(OSError):
                port = random.randrange(20_000, 32_000)
                held.enter_context(socket.create_server(("", port)))
                found[named[len(found)]] = port
    return found


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project as it lies here, copied. Its environment is the one that runs this: nothing is downloaded."""
    place: Path = tmp_path_factory.mktemp("docs") / "tenant-security"
    place.mkdir()
    for name in _COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place / name, ignore=_NOT_COPIED)
        else:
            shutil.copy2(ROOT / name, place / name)
    static = place / "src/tenant_security/broker/static"
    if not (static / "index.html").exists():  # built where Node is; a page in its place says as much to the program
        static.mkdir(exist_ok=True)
        (static / "index.html").write_text("<!doctype html>")
        (static / "hashes.json").write_text("{}")
    bin_directory = place / ".venv/bin"
    bin_directory.mkdir(parents=True)
    (bin_directory / "python").symlink_to(sys.executable)
    command = bin_directory / "tenant-security"
    command.write_text(f"#!/bin/sh\nPYTHONPATH='{place / 'src'}' exec '{sys.executable}' -m tenant_security \"$@\"\n")
    command.chmod(0o755)
    # What make would install is there, and newer than what it would install it for.
    (place / ".venv/.run-installed").touch()
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The reader's settings: an environment of the reader's own is active.

    What pages install goes there and nowhere else. pip finds every dependency in the environment that runs this, and
    may ask nobody.
    """
    place: Path = tmp_path_factory.mktemp("reader") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True, timeout=60)
    pip = place / "bin/pip"
    pip.write_text(f"#!/bin/sh\nexec '{sys.executable}' -m pip --python '{place}/bin/python' \"$@\"\n")
    pip.chmod(0o755)
    return {
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip's word for "without isolation"
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_REQUIRE_VIRTUALENV": "1",
        "PATH": f"{place}/bin:{os.environ['PATH']}",
    }
