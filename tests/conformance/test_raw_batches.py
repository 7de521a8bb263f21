"""Batches without a client: every id exactly once, whole failures, and the shapes that PHP sends."""

import base64
import os
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import pytest

from .prepared import COMBO, COMBO_ACTIVE, COMBO_DISABLED, GCP, GCP_CONFIG, Mint, noise
from .raw_http import JUNK, body, post, success


def assert_each_id_once(answer: Mapping[str, Any], ids: Iterable[str]) -> None:
    assert answer.keys() == {"keys", "failures"}
    assert isinstance(answer["keys"], dict)
    assert isinstance(answer["failures"], dict)
    assert sorted([*answer["keys"], *answer["failures"]]) == sorted(set(ids))


@pytest.mark.parametrize("tenant", ["tenant-gcp", "tenant-gcp-l"])
@pytest.mark.parametrize(
    "ids", [[], ["a"], ["0", "1"], ["a", "b", "a", "a"], ["", " ", "ünï/7", '"\\\n'], [f"doc {n}" for n in range(150)]]
)
def test_batch_wrap_answers_every_id_once(http: httpx.Client, mint: Mint, tenant: str, ids: list[str]) -> None:
    answer = success(post(http, "document/batch-wrap", body(tenant, documentIds=ids)))
    assert_each_id_once(answer, ids)
    assert answer["failures"] == {}
    assert len({each["dek"] for each in answer["keys"].values()}) == len(set(ids))
    for made in answer["keys"].values():
        assert made.keys() == {"dek", "edek"}
        assert mint.open(made["edek"]) == base64.b64decode(made["dek"])


def test_batch_unwrap_answers_every_id_once_and_fails_only_where_it_must(http: httpx.Client, mint: Mint) -> None:
    dek = os.urandom(32)
    edeks = {
        "good": mint.unleased_edek(COMBO_ACTIVE, dek),
        "leased": mint.leased_edek(COMBO_ACTIVE, dek, 900),
        "": mint.unleased_edek(COMBO_ACTIVE, dek),
        "disabled": mint.alien_edek(COMBO_DISABLED, noise("disabled", 293)),
        "foreign": mint.unleased_edek(GCP_CONFIG, dek),
        "alien": mint.alien_edek(COMBO_ACTIVE, noise("alien", 184)),
        "junk": JUNK,
        "not base64": "%%%",
        "empty": "",
    }
    answer = success(post(http, "document/batch-unwrap", body(COMBO, edeks=edeks)))
    assert_each_id_once(answer, edeks)
    expected = {"dek": base64.b64encode(dek).decode()}
    assert answer["keys"] == {"good": expected, "leased": expected, "": expected}
    codes = {name: failure["code"] for name, failure in answer["failures"].items()}
    assert codes == {"disabled": 202, "foreign": 202, "alien": 205, "junk": 203, "not base64": 203, "empty": 203}
    assert all(failure["message"] for failure in answer["failures"].values())


def test_batch_unwrap_takes_phps_array_as_a_map_from_index(http: httpx.Client, mint: Mint) -> None:
    deks = [os.urandom(32) for _ in range(12)]
    edeks: list[str] = [mint.unleased_edek(GCP_CONFIG, dek) for dek in deks] + [JUNK]
    answer = success(post(http, "document/batch-unwrap", body(GCP, edeks=edeks)))
    assert_each_id_once(answer, map(str, range(13)))
    assert list(answer["failures"]) == ["12"]
    assert all(base64.b64decode(answer["keys"][str(index)]["dek"]) == dek for index, dek in enumerate(deks))


@pytest.mark.parametrize("empty", [{}, []])
def test_an_empty_batch_is_answered_with_empty_objects(http: httpx.Client, empty: object) -> None:
    assert success(post(http, "document/batch-unwrap", body(GCP, edeks=empty))) == {"keys": {}, "failures": {}}


def test_a_batch_may_mix_configs_and_leases(http: httpx.Client, mint: Mint) -> None:
    deks = {f"{number}": os.urandom(32) for number in range(60)}
    edeks = {
        name: mint.leased_edek(GCP_CONFIG, dek, 600 + int(name))
        if int(name) % 2
        else mint.unleased_edek(GCP_CONFIG, dek)
        for name, dek in deks.items()
    }
    answer = success(post(http, "document/batch-unwrap", body(GCP, edeks=edeks)))
    assert answer["failures"] == {}
    assert {name: base64.b64decode(each["dek"]) for name, each in answer["keys"].items()} == deks
