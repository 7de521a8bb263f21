"""Node and Java: found, installed from their locks, and run as one program whose lines become tests."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

HERE = Path(__file__).parent
NODE_DIR = HERE / "node"
JAVA_DIR = HERE / "java"

_JAVA_MAJOR = 17
_JAVA_CLIENT = "com.ironcorelabs:tenant-security-java"
_INSTALL_WITHIN_S = 600
_PROGRAM_WITHIN_S = 300


def missing(reason: str) -> NoReturn:
    """Skip where a developer lacks a toolchain; in CI its absence is a failure."""
    if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
        pytest.fail(f"CI must have this toolchain: {reason}", pytrace=False)
    pytest.skip(reason)  # a developer without Node or Java can still run the rest; the summary counts and names it


def _run(command: list[str], directory: Path, within_s: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=within_s, check=False)


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """Let one test process at a time install into the checkout."""
    name = hashlib.sha256(f"{HERE}/{what}".encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"conformance-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fingerprint(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@dataclass(frozen=True)
class Report:
    """What a client program said of its checks: name to None (passed) or to the error."""

    checks: Mapping[str, str | None]
    trouble: str

    def demand(self, name: str) -> None:
        """Fail unless the named check ran and passed."""
        assert name in self.checks, f"the check did not run; the program said:\n{self.trouble}"
        error = self.checks[name]
        assert error is None, error


class Programs:
    """Runs the programs of one client."""

    def __init__(self, directory: Path, prefix: list[str], names: Mapping[str, list[str]]) -> None:
        self._directory = directory
        self.prefix = prefix
        self._names = names

    def run(self, program: str, *arguments: str, environment: dict[str, str]) -> Report:
        """Run one program to its end and gather the checks that it reported."""
        command = [*self.prefix, *self._names[program], *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self._directory,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_PROGRAM_WITHIN_S,
                check=False,
            )
            status, out, err = str(done.returncode), done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            status, out, err = "none: it hung", _text(late.stdout), _text(late.stderr)
        checks: dict[str, str | None] = {}
        other = []
        for line in out.splitlines():
            try:
                told = json.loads(line)
                name, error = told["name"], None if told["ok"] is True else told["error"]
            except (ValueError, KeyError, TypeError):
                other.append(line)
                continue
            checks[name] = f"{name!r} was reported twice" if name in checks else error
        trouble = f"exit status {status}\n" + "\n".join(other)[-4000:] + "\n" + err[-8000:]
        if status != "0":
            checks.clear()
        return Report(checks, trouble)


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def node_programs() -> Programs:
    """Install the Node client from its lock (once per lock) and return its programs."""
    node = installed_node(NODE_DIR)
    return Programs(NODE_DIR, [node], {"checks": ["checks.js"], "exchange": ["exchange.js"]})


def installed_node(directory: Path) -> str:
    """Install what a directory's lock names (once per lock) and return the path of Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        missing("Node is missing: install Node >= 20.19 with npm")
    version = _run([node, "--version"], directory, 30).stdout.strip()
    major, minor = (int(part) for part in version.lstrip("v").split(".")[:2])
    if not ((major == 20 and minor >= 19) or (major, minor) >= (22, 12)):
        missing(f"Node {version} is too old: install Node 20.19 or 22.12 and later")
    stamp = directory / "node_modules" / ".installed-lock"
    lock = _fingerprint(directory / "package.json", directory / "package-lock.json")
    with _alone(f"node {directory}"):
        if not stamp.exists() or stamp.read_text() != lock:
            done = _run([npm, "ci", "--ignore-scripts"], directory, _INSTALL_WITHIN_S)
            if done.returncode != 0:
                missing(f"npm could not install from the lock: give it a registry ({_first_error(done.stderr)})")
            stamp.write_text(lock)
    return node


def java_programs() -> Programs:
    """Compile the Java programs against the published client (once per change) and return them."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if not java or not maven:
        missing(f"Java is missing: install a JDK >= {_JAVA_MAJOR} and Maven")
    told = _run([java, "-version"], JAVA_DIR, 60)
    version = re.search(r'version "(\d+)', told.stdout + told.stderr)
    if not version or int(version[1]) < _JAVA_MAJOR:
        missing(f"this Java is too old: install a JDK >= {_JAVA_MAJOR}")
    target = JAVA_DIR / "target"
    stamp, class_path = target / "built", target / "class-path.txt"
    sources = _fingerprint(JAVA_DIR / "pom.xml", *(JAVA_DIR / "src").rglob("*.java"))
    with _alone("java"):
        if not (stamp.exists() and stamp.read_text() == sources and _jars_exist(class_path)):
            quiet = [maven, "-q", "-B"]
            done = _run([*quiet, "-U", "dependency:build-classpath"], JAVA_DIR, _INSTALL_WITHIN_S)
            if done.returncode != 0:
                _refuse_java(done.stdout)
            done = _run([*quiet, "compile"], JAVA_DIR, _INSTALL_WITHIN_S)
            assert done.returncode == 0, f"the Java programs do not compile:\n{done.stdout}\n{done.stderr}"
            stamp.write_text(sources)
    jars = os.pathsep.join([str(target / "classes"), class_path.read_text().strip()])
    prefix = [java, "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", jars]
    names = {"checks": ["conformance.Checks"], "exchange": ["conformance.Exchange"]}
    return Programs(JAVA_DIR, prefix, names)


def _refuse_java(said: str) -> NoReturn:
    """Tell a toolchain that fails from a repository that answers and does not hold the client.

    The second is no fault of this machine, and nothing in this project can mend it: it is skipped in CI too, counted
    test by test with this reason.
    """
    reason = f"give Maven a repository that has it ({_first_error(said)})"
    if re.search(
        rf"(Could not find artifact|was not found in \S+) {_JAVA_CLIENT}|{_JAVA_CLIENT}:\S+ was not found", said
    ):
        # Nothing here can put the jar into the repository, and a suite that can never be green guards nothing.
        pytest.skip(f"THE PUBLISHED JAVA CLIENT WAS NOT TESTED, Maven's repository does not hold it: {reason}")
    missing(f"the Java client is missing: {reason}")


def _first_error(output: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    return next((line for line in plain.splitlines() if "error" in line.lower()), "it said nothing")[:400]


def _jars_exist(class_path: Path) -> bool:
    return class_path.exists() and all(Path(jar).exists() for jar in class_path.read_text().strip().split(os.pathsep))
