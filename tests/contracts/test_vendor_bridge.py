"""The bridge speaks the API that existing automation relies on: its paths, members and types, as data in this folder.

What the data says too little about is written beside it: statuses that it leaves out, and kinds of KMS that it forgot.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance
from tests.unit.bridge.conftest import Desk, broker, database_url, desk, postgres_url, world

__all__ = ["broker", "database_url", "desk", "postgres_url", "world"]

CONTRACT = json.loads((Path(__file__).parent / "vendor-bridge.json").read_text())
OPERATIONS = [
    (path, method) for path, methods in CONTRACT["paths"].items() for method in methods if method != "parameters"
]
REFUSALS = {400, 401, 404, 405, 422}
# What is tested runs in a thread of this process and draws its jitter; hypothesis takes that for a strategy's doing.
pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies"),
]


def contract(base: str) -> Any:
    CONTRACT["components"]["schemas"]["KmsType"]["enum"] = ["AWS", "AZURE", "GCP", "THALES", "VAULT", "LOCAL"]
    schema = schemathesis.openapi.from_dict(CONTRACT)
    schema.config.update(base_url=f"{base}/api")
    return schema


def test_there_are_twenty_five_operations(database_url: str) -> None:
    assert database_url
    assert len(OPERATIONS) == 25


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_every_answer_is_as_automation_expects(desk: Desk, mode: GenerationMode) -> None:
    await asyncio.to_thread(ask_all, desk, mode)


def ask_all(desk: Desk, mode: GenerationMode) -> None:
    schema = contract(desk.base)
    answered = {at: ask_often(desk, schema, at, mode) for at in OPERATIONS}
    if mode is GenerationMode.POSITIVE:
        lists = [at for at in answered if at[1] == "get" and "{" not in at[0]]
        assert all(200 in answered[at] for at in lists), answered


def ask_often(desk: Desk, schema: Any, at: tuple[str, str], mode: GenerationMode) -> set[int]:
    """Ask one operation in many ways, and return the statuses of the answers."""
    path, method = at
    statuses: set[int] = set()

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=schema[path][method.upper()].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        response = case.call(headers=desk.headers)
        statuses.add(response.status_code)
        checks = [not_a_server_error]
        if response.status_code == 200:
            checks += [content_type_conformance, response_schema_conformance]
        else:
            assert response.status_code in REFUSALS, (path, method, response.text)
            assert set(response.json()) == {"message", "statusCode"}
        case.validate_response(response, checks=checks)

    ask()
    return statuses


async def test_what_exists_is_shown_in_the_shape_that_automation_expects(desk: Desk) -> None:
    number = await desk.config(leasing=True)
    await desk.tenant()
    tag = (await desk.good("POST", "/1/tags", {"tagText": "eu"}))["id"]
    await desk.good("POST", f"/1/kms/configs/{number}/tenants/t-1")
    await desk.good("PUT", f"/1/kms/configs/{number}/tenants/t-1", {"primary": True})
    await asyncio.to_thread(show, desk, number, tag)


def show(desk: Desk, number: int, tag: int) -> None:
    schema = contract(desk.base)
    at = {"kmsConfigId": number, "tenantId": "t-1", "tagId": tag}
    for path, method in OPERATIONS:
        if method != "get":
            continue
        case = schema[path][method.upper()].Case(
            path_parameters={name: value for name, value in at.items() if "{" + name + "}" in path}
        )
        response = case.call(headers=desk.headers)
        assert response.status_code == 200, (path, response.text)
        case.validate_response(response, checks=[content_type_conformance, response_schema_conformance])
