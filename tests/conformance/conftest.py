"""What the conformance tests share: one proxy, the prepared specimens, and one run of every client program."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .prepared import Mint, Prepared
from .running_proxy import RunningProxy, running_proxy
from .toolchains import Programs, Report, java_programs, node_programs


@pytest.fixture(scope="session")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningProxy]:
    """The proxy under test; it must survive the suite and stop cleanly."""
    with running_proxy(tmp_path_factory.mktemp("proxy")) as started:
        yield started


@pytest.fixture(scope="session")
def http(proxy: RunningProxy) -> Iterator[httpx.Client]:
    """A plain HTTP client, without any key."""
    with httpx.Client(base_url=proxy.url, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def mint(proxy: RunningProxy) -> Mint:
    """Makes EDEKs under the proxy's configs behind its back."""
    return Mint(proxy.local_kms_keys)


@pytest.fixture(scope="session")
def prepared(mint: Mint) -> dict[str, Prepared]:
    """Data of the past, by name."""
    return mint.all()


@pytest.fixture(scope="session")
def prepared_file(prepared: dict[str, Prepared], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for the client programs."""
    file = tmp_path_factory.mktemp("prepared") / "prepared.json"
    file.write_text(json.dumps({name: specimen.as_json() for name, specimen in prepared.items()}))
    return file


@pytest.fixture(scope="session")
def node() -> Programs:
    """The programs that drive the published Node client."""
    return node_programs()


@pytest.fixture(scope="session")
def java() -> Programs:
    """The programs that drive the published Java client."""
    return java_programs()


@pytest.fixture(scope="session")
def node_report(node: Programs, proxy: RunningProxy, prepared_file: Path) -> Report:
    """One run of every Node check."""
    return node.run("checks", environment={**proxy.environment(), "PREPARED": str(prepared_file)})


@pytest.fixture(scope="session")
def java_report(java: Programs, proxy: RunningProxy, prepared_file: Path) -> Report:
    """One run of every Java check."""
    return java.run("checks", environment={**proxy.environment(), "PREPARED": str(prepared_file)})
