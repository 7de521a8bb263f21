"""Derived keys without a client: what is answered for which secret."""

import base64
import contextlib
import hmac
import itertools
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from ironcore_alloy import (
    AlloyMetadata,
    PlaintextField,
    RotatableSecret,
    Secret,
    Standalone,
    StandaloneConfiguration,
    StandaloneSecret,
    StandardSecrets,
)

from tenant_security.wire import edek

from .alloy_client import alloy_at
from .prepared import COMBO, GCP, Mint
from .raw_http import body, post, success
from .running_proxy import API_KEY, RunningProxy


def derive(
    http: httpx.Client,
    tenant: str,
    paths: dict[str, list[str]],
    derivation_type: str = "sha512",
    secret_type: str = "deterministic",
) -> Any:
    members = {"paths": paths, "derivationType": derivation_type, "secretType": secret_type}
    return success(post(http, "key/derive-with-secret-path", body(tenant, **members)))


def test_every_requested_pair_is_answered(http: httpx.Client) -> None:
    paths = {"people": ["ssn", "name/first", "ssn"], "": ["tags", ""], "ünï": ["x"], "nothing": []}
    answer = derive(http, GCP, paths)
    assert answer.keys() == {"hasPrimaryConfig", "derivedKeys"}
    assert answer["hasPrimaryConfig"] is True
    assert {path: set(keys) for path, keys in answer["derivedKeys"].items()} == {
        path: set(wanted) for path, wanted in paths.items()
    }
    for keys in itertools.chain.from_iterable(by_path.values() for by_path in answer["derivedKeys"].values()):
        assert len(keys) == 1
        assert keys[0].keys() == {"derivedKey", "tenantSecretId", "current"}
        assert keys[0]["current"] is True
        assert isinstance(keys[0]["tenantSecretId"], int)
        assert 1 <= keys[0]["tenantSecretId"] < 2**32
        assert len(base64.b64decode(keys[0]["derivedKey"])) == 64
    assert derive(http, GCP, paths) == answer
    assert derive(http, GCP, {}) == {"hasPrimaryConfig": True, "derivedKeys": {}}


@pytest.mark.parametrize(("derivation_type", "size"), [("sha256", 32), ("sha512", 64)])
def test_derivation_types(http: httpx.Client, derivation_type: str, size: int) -> None:
    (key,) = derive(http, GCP, {"people": ["ssn"]}, derivation_type)["derivedKeys"]["people"]["ssn"]
    assert len(base64.b64decode(key["derivedKey"])) == size


def test_every_tenant_type_and_path_has_a_secret_of_its_own(http: httpx.Client) -> None:
    ids, values = set(), set()
    for tenant, kind, path in itertools.product([GCP, "tenant-aws"], ["deterministic", "vector", "search"], ["a", "b"]):
        (key,) = derive(http, tenant, {path: ["same"]}, secret_type=kind)["derivedKeys"][path]["same"]
        ids.add(key["tenantSecretId"])
        values.add(key["derivedKey"])
    assert (len(ids), len(values)) == (12, 12)


@pytest.mark.parametrize(("path", "count"), [("foo", 2), ("rotation-started", 2), ("not-rotated", 1)])
def test_rotation_gives_the_current_secret_first_and_no_archived_one(http: httpx.Client, path: str, count: int) -> None:
    keys = derive(http, GCP, {path: ["bar"]})["derivedKeys"][path]["bar"]
    assert [key["current"] for key in keys] == [True, False][:count]
    assert len({key["tenantSecretId"] for key in keys}) == count
    assert len({key["derivedKey"] for key in keys}) == count


def test_without_primary_config_old_secrets_are_served_and_none_is_made(http: httpx.Client) -> None:
    answer = derive(http, COMBO, {"path2": ["path1"], "never seen": ["path1", "other"]})
    assert answer["hasPrimaryConfig"] is False
    (key,) = answer["derivedKeys"]["path2"]["path1"]
    assert key["current"] is True
    assert answer["derivedKeys"]["never seen"] == {"path1": [], "other": []}


def test_secrets_that_alloys_tests_know_are_not_in_rotation(http: httpx.Client) -> None:
    for kind in ("deterministic", "vector"):
        keys = derive(http, "tenant-gcp-l", {"secret": ["path"]}, secret_type=kind)["derivedKeys"]["secret"]["path"]
        assert [key["current"] for key in keys] == [True]


def test_the_first_use_of_a_path_by_many_at_once_makes_one_secret(proxy: RunningProxy) -> None:
    path = f"fresh {os.urandom(8).hex()}"

    def once(number: int) -> tuple[int, str]:
        with httpx.Client(base_url=proxy.url, timeout=30) as client:
            key = derive(client, ("tenant-gcp", "tenant-aws")[number % 2], {path: ["x"]})["derivedKeys"][path]["x"]
            return key[0]["tenantSecretId"], key[0]["derivedKey"]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(once, range(32)))
    assert len(set(found[::2])) == 1
    assert len(set(found[1::2])) == 1
    assert set(found[::2]) != set(found[1::2])


def recovered_secret(proxy: RunningProxy, mint: Mint, tenant: str, kind: str, path: str) -> tuple[int, bytes]:
    """The current secret, from the store and the tenant's KMS alone."""
    query = (
        "SELECT s.number, encrypted_secret FROM tenant_secrets AS s JOIN tenants AS t ON t.number = s.tenant "
        "WHERE t.id = ? AND s.type = ? AND s.path = ? AND s.rotation = 'current'"
    )
    with contextlib.closing(sqlite3.connect(f"file:{proxy.state_dir / 'broker.db'}?mode=ro", uri=True)) as database:
        ((number, wrapped),) = database.execute(query, (tenant, kind, path)).fetchall()
    assert not edek.decode(wrapped).leased
    return number, mint.open(edek.to_base64(wrapped))


@pytest.mark.parametrize("tenant", ["tenant-gcp", "tenant-gcp-l"])
@pytest.mark.parametrize("kind", ["deterministic", "vector", "search"])
async def test_derived_keys_are_the_hmac_that_other_implementations_compute(
    http: httpx.Client, proxy: RunningProxy, mint: Mint, tenant: str, kind: str
) -> None:
    derived = {
        name: derive(http, tenant, {"formula": ["a/b", ""]}, name, kind)["derivedKeys"]["formula"]
        for name in ("sha256", "sha512")
    }
    secret_id, secret = recovered_secret(proxy, mint, tenant, kind, "formula")
    assert len(secret) == 32
    for name, path in itertools.product(derived, ["a/b", ""]):
        (key,) = derived[name][path]
        assert key["tenantSecretId"] == secret_id
        assert base64.b64decode(key["derivedKey"]) == hmac.digest(secret, f"{tenant}-{path}".encode(), name)


async def test_alloy_without_a_proxy_writes_the_same_field_from_the_same_secret(
    proxy: RunningProxy, mint: Mint
) -> None:
    plain = PlaintextField(plaintext_field=b"123-45", secret_path="oracle", derivation_path="ssn")
    metadata = AlloyMetadata.new_simple("tenant-aws")
    async with alloy_at(proxy.url, API_KEY) as alloy:
        ours = await alloy.deterministic.encrypt(plain, metadata)
    secret_id, secret = recovered_secret(proxy, mint, "tenant-aws", "deterministic", "oracle")
    secrets = RotatableSecret(StandaloneSecret(secret_id, Secret(secret)), None)
    alone = Standalone(StandaloneConfiguration(StandardSecrets(None, []), {"oracle": secrets}, {})).deterministic()
    theirs = await alone.encrypt(plain, metadata)
    assert int.from_bytes(ours.encrypted_field[:4], "big") == secret_id
    assert ours.encrypted_field[6:] == theirs.encrypted_field[6:]
