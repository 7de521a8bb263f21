"""The client needs no server: it imports and works with the base install's packages alone."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]

PROGRAM = """
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
for absent in ("structlog", "uvicorn", "rich", "pytest"):
    try:
        __import__(absent)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{absent} can be imported")
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


def needed(names: set[str]) -> set[str]:
    """The top-level modules of these distributions and of what they need."""
    from importlib.metadata import distribution, packages_distributions
    from re import match

    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name.lower() in found:
            continue
        found.add(name.lower())
        for each in distribution(name).requires or []:
            plain, marker = match(r"[\w.-]+", each), each.partition(";")[2]
            if plain and not marker:
                waiting.append(plain[0])
    modules = packages_distributions()
    return {top for top, owners in modules.items() if {owner.lower() for owner in owners} & found}


def test_the_client_works_with_the_base_install_alone(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    base = {each.partition(">")[0] for each in project["dependencies"]}
    assert base == {"aiohttp", "cryptography", "msgspec", "urllib3"}
    allowed = needed(base | {"typing_extensions"}) | {"tenant_security", "packages", "_cffi_backend"}
    (tmp_path / "packages.py").write_text(f"ALLOWED = {sorted(allowed)!r}\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, tmp_path / "program.py"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("works\n", "")
