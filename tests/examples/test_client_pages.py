"""The blocks of the client's pages, and of the README, run as they stand."""

import re
from pathlib import Path
from typing import Any

import pytest

from tenant_security.testing.memory_proxy import MemoryProxy

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/client/quickstart.md", "docs/client/cookbook.md"])
def test_every_block_of_a_page_runs(page, proxy, monkeypatch, capsys):
    monkeypatch.setenv("API_KEY", proxy.api_key)
    blocks = BLOCK.findall((ROOT / page).read_text("utf-8"))
    assert blocks
    place: dict[str, Any] = {"__name__": "page"}
    for block in blocks:
        here = block.replace("http://localhost:7777", proxy.api_url)
        exec(compile(here, page, "exec"), place)
    place["client"].close()
    if page == "README.md":
        assert capsys.readouterr().out == "{'ssn': b'000-12-2345'}\n"
    for name, test in list(place.items()):
        if name.startswith("test_"):
            memory = MemoryProxy()
            test(memory.client(), memory)


def test_the_three_lines_stand_in_the_quickstart():
    quickstart = (ROOT / "docs/client/quickstart.md").read_text("utf-8")
    assert (
        """\
from tenant_security.client import Metadata, TenantSecurityClient

api_key = os.environ["API_KEY"]
client = TenantSecurityClient("http://localhost:7777", api_key, allow_insecure_http=True)
encrypted = client.encrypt({"ssn": b"000-12-2345"}, Metadata("tenant-gcp-l", requesting_id="user-1"))
document = client.decrypt(encrypted, Metadata("tenant-gcp-l", requesting_id="user-1"))  # {"ssn": b"000-12-2345"}
"""
        in quickstart
    )
