"""A PostgreSQL server of the test run's own: in a temporary directory, on a socket, without a password."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def _program(name: str) -> str | None:
    """Find a server program: Debian keeps them out of the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return str(found[0]) if found else shutil.which(name)


def _as_nobody() -> dict[str, object]:
    """PostgreSQL refuses to run as root; another user then runs it."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise RuntimeError("no user to run PostgreSQL as")


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a server and yield its URL without a database name. Skips where PostgreSQL is missing, except in CI."""
    initdb, server = _program("initdb"), _program("postgres")
    if initdb is None or server is None:
        why = "PostgreSQL is missing; on Debian: apt-get install postgresql"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    with tempfile.TemporaryDirectory(prefix="tspg", ignore_cleanup_errors=True) as directory:
        identity = _as_nobody()
        if identity:
            os.chown(directory, int(str(identity["user"])), int(str(identity["group"])))
        data = Path(directory) / "data"
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D", str(data)]
        subprocess.run([initdb, *options], check=True, capture_output=True, cwd=directory, **identity)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": directory,
            "fsync": "off",
            "max_connections": "200",
        }
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen(
                [server, "-D", str(data), *flags], stdout=log, stderr=log, cwd=directory, **identity
            )
        try:
            _wait_until_it_answers(process, directory)
            yield f"postgresql://postgres@/?host={directory}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_it_answers(process: subprocess.Popen[bytes], directory: str) -> None:
    ready = _program("pg_isready")
    assert ready is not None
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError((Path(directory) / "log").read_text())
        if subprocess.run([ready, "-q", "-t", "1", "-h", directory], check=False).returncode == 0:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    raise RuntimeError("PostgreSQL did not start in time")
