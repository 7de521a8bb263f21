"""The web app's trust module: it passes the published vectors, and what it makes opens in Python."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.conformance.toolchains import installed_node

from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.wire.kms.aws import AwsKmsConfig
from tenant_security.wire.kms_configs import KmsConfig, decode_kms_config
from tenant_security.wire.service_env import credentials_from_env, parse_env
from tenant_security.wire.sink_configs import SinkConfig, decode_sink_config
from tenant_security.wire.sinks.stdout import StdoutSinkConfig

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run the module's own tests, the vectors among them, and return what they made for us."""
    node, out = installed_node(WEB), tmp_path_factory.mktemp("made") / "made.json"
    done = subprocess.run(
        [node, "node_modules/vitest/vitest.mjs", "run", "--no-color"],
        cwd=WEB,
        env={**os.environ, "MADE_HERE": str(out), "CONFIGS_HERE": str(out.with_name("configs.json"))},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    read: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return {**read, "configs": json.loads(out.with_name("configs.json").read_text("utf-8"))}


@pytest.mark.toolchain
def test_what_the_browser_seals_and_signs_opens_here(made: dict[str, Any]) -> None:
    environment = parse_env(made["environment"])
    assert environment["CONFIG_BROKER_URL"] == "https://broker.example"
    credentials = credentials_from_env(environment)
    lines = [line.encode() for line in made["lines"]]
    verifier = SnapshotVerifier(
        lines[0], pinned=credentials.root_fingerprint, credentials=credentials, now_s=int(time.time())
    )
    verifier.add(lines[1:])
    directory = verifier.finish()
    assert not directory.quarantined
    primary = directory.tenants[made["tenant"]].primary
    assert primary is not None
    config = primary.config.open()
    assert isinstance(config, AwsKmsConfig)
    assert config.credentials.secret_access_key.reveal() == made["config"]["credentials"]["secretAccessKey"]


@pytest.mark.toolchain
def test_what_was_altered_on_the_way_does_not_open(made: dict[str, Any]) -> None:
    credentials = credentials_from_env(parse_env(made["environment"]))
    first, tenant = (json.loads(line) for line in made["lines"])
    config = tenant["configs"][0]
    config["payload"] = config["payload"][:-8] + "AAAAAAA="
    lines = [json.dumps(each).encode() for each in (first, tenant)]
    verifier = SnapshotVerifier(
        lines[0], pinned=credentials.root_fingerprint, credentials=credentials, now_s=int(time.time())
    )
    verifier.add(lines[1:])
    assert list(verifier.finish().quarantined) == [made["tenant"]]


@pytest.mark.toolchain
def test_what_every_form_makes_is_a_config_that_is_read_here(made: dict[str, Any]) -> None:
    kms = [decode_kms_config(json.dumps(each).encode()) for each in made["configs"]["kms"]]
    sinks = [decode_sink_config(json.dumps(each).encode()) for each in made["configs"]["sinks"]]
    assert {type(each) for each in kms} == set(get_args(KmsConfig))
    assert {type(each) for each in sinks} == set(get_args(SinkConfig)) - {StdoutSinkConfig}
