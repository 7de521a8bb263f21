"""The published Node client against our proxy: one test per check of ``node/checks.js``."""

import re
import subprocess
from pathlib import Path

import pytest

from .running_proxy import RunningProxy
from .toolchains import NODE_DIR, Programs, Report

pytestmark = pytest.mark.toolchain

CHECKS = [
    "document that is none: key unwrapped, bytes refused",
    "edek that is none: 203",
    "roundtrip, GCP",
    "roundtrip, AWS",
    "roundtrip, Azure",
    "encrypting twice is refused",
    "stream roundtrip",
    "document opens as a stream, stream as a document",
    "stream with another document's key writes nothing",
    "altered stream is refused",
    "batch roundtrip, GCP",
    "batch roundtrip, AWS",
    "batch roundtrip, Azure",
    "rekey, AWS to AWS",
    "rekey, AWS to GCP",
    "rekey, GCP to GCP",
    "rekey, GCP to Azure",
    "rekey, Azure to Azure",
    "rekey, Azure to AWS",
    "encrypt without a primary config: 200",
    "batch encrypt without a primary config fails whole: 200",
    "decrypt under a disabled config: 202",
    "decrypt under an active config that is not primary",
    "encrypt again under an active config that is not primary",
    "batch encrypt again fails only where the config is disabled",
    "encrypt for an unknown tenant: 201",
    "batch decrypt fails only where the config is disabled",
    "decrypt an EDEK without key version, Azure",
    "EDEK of a foreign key: 205 in the KMS's words",
    "leasing switched off: unleased data opens",
    "leasing switched off: leased data opens",
    "security event is accepted",
    "field roundtrip, GCP",
    "field roundtrip, AWS",
    "field roundtrip, Azure",
    "field batch roundtrip, GCP",
    "field batch roundtrip, AWS",
    "field batch roundtrip, Azure",
    "field of an unknown tenant: 201",
    "field encrypt without a primary config is refused by the client",
    "field rotate without a primary config is refused by the client",
    "search terms: current and in rotation, not archived",
    "search terms without a primary config: one",
    "search terms, not rotated: one, equal to the ciphertext, stable",
    "search terms in rotation: two, the current one first",
    "field batch decrypt fails only where the field is altered",
    "field batch encrypt without a primary config is refused by the client",
    "field batch rotate without a primary config is refused by the client",
    "batch search terms without a primary config: one each",
    "local: document roundtrip",
    "local: field roundtrip",
    "local: batch roundtrip",
    "local: field batch roundtrip",
    "local: security event of an unknown tenant is accepted",
    "leased: document roundtrip",
    "leased: batch roundtrip",
    "leased: field roundtrip",
    "leased: rekey to unleased and back",
    "leased: every EDEK of a lease repeats its wrapped key",
    "every kind of security event is accepted",
    "wrong API key: 101",
    "trailing slash in the configured address",
    "a hundred documents in one batch",
    "thirty requests at once",
]


@pytest.mark.parametrize("name", CHECKS)
def test_node_client(node_report: Report, name: str) -> None:
    node_report.demand(name)


def test_every_check_of_the_node_program_is_listed_here(node_report: Report) -> None:
    assert node_report.checks, node_report.trouble
    assert sorted(node_report.checks) == sorted(CHECKS)


def test_the_readmes_block_runs_and_prints_what_it_says(node: Programs, proxy: RunningProxy, tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    block, printed = re.findall(r"```js\n(.*?)```\n\nIt prints `([^`]+)`", readme, re.DOTALL)[0]
    program = tmp_path / "readme.js"
    program.write_text(block.replace("http://127.0.0.1:7777", proxy.url))
    done = subprocess.run(
        [*node.prefix, str(program)],
        env={**proxy.environment(), "NODE_PATH": str(NODE_DIR / "node_modules")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == (f"{printed}\n", 0), done.stderr
