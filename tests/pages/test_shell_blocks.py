"""Every shell block of the documentation is run as it stands, or says why not."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.proxy_process import local_config
from tests.pages.conftest import free_ports
from tests.pages.pages import Block, blocks_of, pages, shows
from tests.pages.shell import PageError, Walk

PLATFORM = "Five minutes for the platform engineer"
DEMO = [
    *(each for each in blocks_of("README.md") if each.section != PLATFORM),
    *blocks_of("docs/client/quickstart.md"),
    *blocks_of("docs/client/cookbook.md"),
]
DEPLOYED = [each for each in blocks_of("README.md") if each.section == PLATFORM]
OPERATED = [
    *blocks_of("docs/broker-operate.md"),
    *blocks_of("docs/bridge-api.md"),
    *blocks_of("docs/guide-vendor-admin.md"),
    *blocks_of("docs/recovery.md"),
    *blocks_of("docs/api-keys.md"),
    *(each for each in blocks_of("docs/operate.md") if each.section == "Start"),
    *(each for each in blocks_of("docs/operate.md") if each.section != "Start"),
    *blocks_of("docs/auditing.md"),
    *blocks_of("docs/rotation.md"),
]
WALKED = [*DEMO, *DEPLOYED, *OPERATED]


@pytest.fixture(scope="module")
def demo(checkout: Path, reader: dict[str, str]) -> Iterator[Walk]:
    ports = free_ports(7777, 9000, 5555, 8080, 3000, 9001)
    names = ("PROXY_PORT", "OPS_PORT", "EVENTS_PORT", "BROKER_PORT", "BRIDGE_PORT", "LOGDRIVER_PORT")
    environ = {name: str(port) for name, port in zip(names, ports.values(), strict=True)}
    walk = Walk(checkout, {**reader, **environ, "MAKEFLAGS": "-- WEB_IF_NODE="}, ports)
    yield walk
    walk.close()


def test_a_reader_runs_the_demo_and_asks_it_for_keys(demo: Walk) -> None:
    (demo.place / "report.pdf").write_bytes(b"%PDF-1.7 a report")
    readme = [each for each in DEMO if each.page == "README.md"]
    first = next(index for index, each in enumerate(readme) if each.prints) + 1
    demo.follow(readme[:first])
    key = re.search(r"API key +(\S+)", demo.printed)
    assert key is not None
    demo.words["API_KEY=..."] = f"API_KEY={key[1]}"
    demo.follow(readme[first:])
    edek = json.loads(demo.printed)["edek"]
    (demo.place / "edeks.csv").write_text(f"tenant,edek\ntenant-gcp-l,{edek}\n")
    demo.follow([each for each in DEMO if each.page != "README.md"])
    assert demo.used == set(demo.words)


@pytest.fixture(scope="module")
def deployed(checkout: Path, reader: dict[str, str]) -> Iterator[Walk]:
    ports = free_ports(7777, 9000, 5555, 8080, 9002)
    environ = {
        "BROKER_PORT": str(ports[8080]),
        "BROKER_OPS_BIND_ADDRESS": f"127.0.0.1:{ports[9002]}",
        "TSP_HTTP_BIND_ADDRESS": f"127.0.0.1:{ports[7777]}",
        "TSP_OPS_BIND_ADDRESS": f"127.0.0.1:{ports[9000]}",
        "TSP_EVENTS_BIND_ADDRESS": f"127.0.0.1:{ports[5555]}",
        "TSP_DRAIN_SECONDS": "0",
    }
    walk = Walk(checkout, {**reader, **environ}, ports)
    walk.words["/opt/tenant-security"] = str(checkout.parent / "opt")
    yield walk
    walk.close()


def test_a_platform_engineer_installs_a_broker_and_a_proxy(deployed: Walk) -> None:
    deployed.follow(DEPLOYED)
    assert deployed.used == set(deployed.words)


@pytest.fixture(scope="module")
def operated(checkout: Path, reader: dict[str, str]) -> Iterator[Walk]:
    place = checkout.parent / "operated"
    for each in ("etc", "var"):
        (place / each).mkdir(parents=True)
    ports = free_ports(7777, 9000, 5555, 8080, 9002, 3000)
    environ = {
        "BROKER_PORT": str(ports[8080]),
        "BROKER_OPS_BIND_ADDRESS": f"127.0.0.1:{ports[9002]}",
        "BRIDGE_PORT": str(ports[3000]),
        "TSP_HTTP_BIND_ADDRESS": f"127.0.0.1:{ports[7777]}",
        "TSP_OPS_BIND_ADDRESS": f"127.0.0.1:{ports[9000]}",
        "TSP_EVENTS_BIND_ADDRESS": f"127.0.0.1:{ports[5555]}",
        "TSP_DRAIN_SECONDS": "0",
        "TSP_ALLOW_LOCAL_KMS": "true",
        "PATH": f"{Path(sys.executable).parent}:{reader['PATH']}",
    }
    walk = Walk(place, environ, ports)
    broker = f"http://localhost:{ports[8080]}"
    walk.words = {
        "postgresql://broker@db.example.com/broker": "sqlite:///broker.db",
        "https://broker.example.com:8080": broker,
        "https://broker.example.com": broker,
        "BROKER_SETUP_TOKEN=...": "BROKER_SETUP_TOKEN=a-word-of-16-letters-or-more",
        "--setup-token ...": "--setup-token a-word-of-16-letters-or-more",
        "/var/lib/tenant-security": str(place / "var"),
        "/etc/tenant-security": str(place / "etc"),
    }
    yield walk
    walk.close()


def test_a_platform_engineer_operates_a_broker_a_bridge_and_proxies(operated: Walk) -> None:
    (operated.place / "tenant-a-kms.json").write_text(json.dumps(local_config(bytes(32))))
    operated.follow(OPERATED)
    assert operated.used == set(operated.words)


def test_every_block_that_is_not_run_says_why() -> None:
    walked = {(each.page, each.line) for each in WALKED}
    silent = [
        str(each)
        for page in pages()
        for each in blocks_of(page)
        if (each.page, each.line) not in walked and not each.not_run
    ]
    assert silent == []


def test_a_reason_is_given_where_a_block_is_not_run() -> None:
    marked = [each for page in pages() for each in blocks_of(page) if each.not_run]
    assert marked
    assert all(len(each.not_run) > 10 for each in marked)


PAGE = """# One
```sh
echo one; export WORD=kept
```
<!-- prints -->
```
{last}
```
## Two
<!-- runs until: there -->
```sh
echo $WORD; echo there; exec sleep 60
```
<!-- not run: it would be a pity -->
```sh
rm -rf here
```
"""


def test_blocks_are_read_with_what_the_page_says_of_them() -> None:
    first, shown, second, third = blocks_of("page.md", PAGE)
    assert (first.section, first.line, first.shell) == ("One", 2, True)
    assert shown.prints
    assert (second.section, second.ready) == ("Two", "there")
    assert third.not_run == "it would be a pity"


def test_a_page_that_is_wrong_is_found_out(tmp_path: Path) -> None:
    place = tmp_path / "here"
    place.mkdir()
    walk = Walk(place, {}, {})
    walk.follow(blocks_of("page.md", PAGE.format(last="o...e")))
    assert "kept" in walk.printed, "what was exported before is there"
    assert place.exists()
    walk.close()
    with pytest.raises(PageError, match="shows what is not printed"):
        walk.follow(blocks_of("page.md", PAGE.format(last="two")))
    with pytest.raises(PageError, match="fails with 3"):
        walk.follow([Block("page.md", 1, "", "(exit 3)\necho not here", shell=True)])
    with pytest.raises(PageError, match="never says"):
        walk.follow([Block("page.md", 1, "", "true", shell=True, ready="hello")])


def test_lines_are_compared_in_order_and_whole() -> None:
    varying = re.compile(r"key-\d+")
    assert shows("a\nb", "0\na\nb\n", varying) is None
    assert shows("b\na", "a\nb\n", varying) == "a"
    assert shows("a key-1", "a key-2", varying) is None
    assert shows("a", "ab", varying) == "a"
    assert shows("http://...:1 (x)", "http://h:1 (x)", varying) is None
