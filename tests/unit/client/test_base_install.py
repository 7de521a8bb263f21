"""The client needs no server: it works with the base install's packages alone, and its commands with ``[cli]``."""

import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from re import match

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

NOTHING_ELSE = """
import sys
from packages import ALLOWED

class NothingElse:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ALLOWED or top in sys.stdlib_module_names:
            return self.finder.find_spec(name, path, target)

sys.meta_path[:] = [NothingElse(finder) for finder in sys.meta_path]
for absent in ("structlog", "uvicorn", "botocore", "pytest"):
    try:
        __import__(absent)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{absent} can be imported")
"""
CLIENT = """
import tenant_security.client as client
from tenant_security.testing.memory_proxy import MemoryProxy
import asyncio

metadata = client.Metadata("t", requesting_id="r")
with MemoryProxy().client() as sync:
    assert sync.decrypt(sync.encrypt({"a": b"1"}, metadata), metadata) == {"a": b"1"}

async def main():
    async with MemoryProxy().async_client() as asynchronous:
        assert await asynchronous.decrypt(await asynchronous.encrypt({"a": b"1"}, metadata), metadata) == {"a": b"1"}

asyncio.run(main())
for name in client.__all__:
    getattr(client, name)
foreign = {"uvicorn", "uvloop", "structlog", "prometheus_client", "botocore", "cyclopts", "rich", "litestar"}
assert not foreign & set(sys.modules), foreign & set(sys.modules)
print("works")
"""
COMMANDS = """
from tenant_security.__main__ import main

for arguments in (
    ["inspect", "--text", "AElST06Qf+HhVfgF4N7XlLUlAoOsK2Df63AkjJIkkWi9GIF7", "--json"],
    ["rekey-campaign", "--help"],
    ["broker"],
):
    sys.argv = ["tenant-security", *arguments]
    try:
        main()
    except SystemExit as left:
        print(left.code)
"""


def plain(requirement: str) -> str:
    found = match(r"[\w.-]+", requirement)
    assert found
    return found[0]


def same(name: str) -> str:
    """A distribution's name, of the many ways in which it may be written."""
    return name.lower().replace("-", "_")


def installed(name: str) -> bool:
    """Whether a distribution is here; one that a marker names for other machines is not."""
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


def needed(names: set[str]) -> set[str]:
    """The top-level modules of these distributions and of what they need."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if same(name) in found:
            continue
        found.add(same(name))
        wanted = [each for each in distribution(name).requires or [] if "extra ==" not in each]
        waiting += [each for each in map(plain, wanted) if installed(each)]
    modules = packages_distributions()
    return {top for top, owners in modules.items() if set(map(same, owners)) & found}


def run(place: Path, program: str, packages: set[str]) -> subprocess.CompletedProcess[str]:
    """Run a program that can import these distributions, what they need, and nothing else."""
    allowed = needed(packages | {"typing_extensions"}) | {"tenant_security", "packages", "_cffi_backend"}
    (place / "packages.py").write_text(f"ALLOWED = {sorted(allowed)!r}\n")
    (place / "program.py").write_text(NOTHING_ELSE + program)
    return subprocess.run([sys.executable, place / "program.py"], capture_output=True, text=True, check=False)


def test_the_client_works_with_the_base_install_alone(tmp_path):
    base = {plain(each) for each in PROJECT["dependencies"]}
    assert base == {"aiohttp", "cryptography", "msgspec", "urllib3"}
    done = run(tmp_path, CLIENT, base)
    assert (done.stdout, done.stderr) == ("works\n", "")


def test_the_clients_commands_work_with_the_extra_of_the_command_line(tmp_path):
    packages = {plain(each) for each in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["cli"]]}
    done = run(tmp_path, COMMANDS, packages)
    assert done.stderr == ""
    assert '"form":"v5"' in done.stdout
    assert "--dry-run" in done.stdout
    assert "'broker' needs the package" in done.stdout


def test_the_base_install_says_what_the_command_line_needs(tmp_path):
    done = run(tmp_path, COMMANDS, {plain(each) for each in PROJECT["dependencies"]})
    assert "pip install 'tenant-security[cli]'" in done.stdout
