"""The published vectors of the trust formats: what was made once must open and verify for ever."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenant_security.authoring import documents
from tenant_security.crypto.seal import Suite, commitment
from tenant_security.crypto.signing import Kind, SigningKey, VerifyingKey, fingerprint
from tenant_security.crypto.unseal import OpeningKey, open_payload
from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.secret import Secret
from tenant_security.wire import snapshot as words
from tenant_security.wire.kms_configs import decode_kms_config
from tenant_security.wire.service_env import credentials_from_env

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "trust-v1.json").read_text("utf-8"))


def seed(text: str) -> Secret[bytes]:
    return Secret(bytes.fromhex(text))


@pytest.mark.parametrize("vector", VECTORS["hpke"])
def test_a_seed_gives_the_public_key_and_opens(vector: dict[str, Any]) -> None:
    key = OpeningKey(Suite(vector["suite"]), seed(vector["seed"]))
    assert key.public.hex() == vector["public"]
    opened = key.open(bytes.fromhex(vector["info"]), bytes.fromhex(vector["sealed"]))
    assert opened.hex() == vector["plaintext"]


@pytest.mark.parametrize("vector", VECTORS["signatures"])
def test_signatures_and_names_of_keys(vector: dict[str, str]) -> None:
    key = SigningKey(seed(vector["seed"]))
    assert (key.public.hex(), key.key_id) == (vector["public"], vector["keyId"])
    assert fingerprint(key.public) == vector["fingerprint"]
    assert key.sign(Kind(vector["kind"]), bytes.fromhex(vector["body"])).hex() == vector["signature"]


def test_a_payload_and_its_commitment() -> None:
    vector = {name: bytes.fromhex(value) for name, value in VECTORS["payload"].items()}
    assert commitment(vector["dek"]) == vector["commit"]
    plaintext = open_payload(vector["dek"], vector["header"], vector["payload"], vector["commit"])
    assert plaintext == vector["plaintext"]


def test_the_context_of_a_segment_seed() -> None:
    vector = VECTORS["segmentSeedInfo"]
    info = words.segment_seed_info(vector["vendor"], vector["segment"], vector["epoch"], vector["recipient"])
    assert info.hex() == vector["info"]


@pytest.mark.parametrize("vector", VECTORS["envelopes"])
def test_an_envelope_step_by_step(vector: dict[str, Any]) -> None:
    envelope = msgspec.convert(vector["envelope"], words.ConfigEnvelope)
    signed = words.config_signed_bytes(envelope.header, envelope.payload, envelope.commit)
    assert signed.hex() == vector["signedBytes"]
    assert VerifyingKey(bytes.fromhex(vector["authorPublic"])).verifies(Kind.CONFIG, signed, envelope.sig)
    info = words.config_dek_info(envelope.wrap.segment, envelope.wrap.epoch, envelope.header)
    assert info.hex() == vector["wrapInfo"]
    key = OpeningKey(Suite(envelope.wrap.suite), seed(vector["segmentSeed"]))
    assert documents.open_dek(envelope, key).hex() == vector["dek"]
    assert documents.open_config(envelope, key).decode() == vector["config"]


def test_a_whole_snapshot() -> None:
    vector = VECTORS["snapshot"]
    credentials = credentials_from_env(vector["environment"])
    lines = [line.encode() for line in vector["lines"]]
    verifier = SnapshotVerifier(
        lines[0], pinned=credentials.root_fingerprint, credentials=credentials, now_s=vector["nowSeconds"]
    )
    verifier.add(lines[1:])
    directory = verifier.finish()
    assert not directory.quarantined
    assert {tenant.id for tenant in directory} == set(vector["primaryConfigs"])
    for name, text in vector["primaryConfigs"].items():
        primary = directory.tenants[name].primary
        assert primary is not None
        assert primary.config.open().key_path == decode_kms_config(text.encode()).key_path
