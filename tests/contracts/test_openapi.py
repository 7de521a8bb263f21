"""The proxy does what its OpenAPI document says, for requests that follow the document and for those that do not."""

import json
import urllib.request
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tenant_security.errors import Code
from tenant_security.wire.proxy_api import BASE_PATH

from .conftest import LiveProxy

# What is tested runs in a thread of this process and draws its jitter; hypothesis takes that for a strategy's doing.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

ROUTES = (
    "document/wrap",
    "document/unwrap",
    "document/batch-wrap",
    "document/batch-unwrap",
    "document/rekey",
    "document/report-operations",
    "key/derive-with-secret-path",
    "event/security-event",
)


@pytest.fixture(scope="session")
def document(live_proxy: LiveProxy) -> Any:
    with urllib.request.urlopen(f"{live_proxy.url}/openapi.json") as answer:
        assert answer.headers["content-type"] == "application/json"
        raw = json.loads(answer.read())
    schema = schemathesis.openapi.from_dict(raw)
    schema.config.update(base_url=live_proxy.url)
    return schema


def test_every_endpoint_is_documented(document: Any) -> None:
    assert set(document.raw_schema["paths"]) == {BASE_PATH + route for route in ROUTES}


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_as_documented(route: str, mode: GenerationMode, document: Any, live_proxy: LiveProxy) -> None:
    headers = {"Authorization": f"cmk {live_proxy.api_key}"}
    statuses: set[int] = set()

    @settings(
        max_examples=80,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=document[BASE_PATH + route]["POST"].as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        # A request may follow the document and still be of a tenant that does not exist: that is 422, and documented.
        response = case.call_and_validate(headers=headers, excluded_checks=[positive_data_acceptance])
        statuses.add(response.status_code)
        if response.status_code != 200:
            told = response.json()
            assert told["code"] in set(Code)
            assert told["message"]

    ask()
    if mode is GenerationMode.NEGATIVE:
        assert 400 in statuses
    else:
        assert statuses & {200, 422}, statuses


def test_every_endpoint_refuses_a_wrong_key_and_a_wrong_method(document: Any, live_proxy: LiveProxy) -> None:
    wrong = (("x", "POST", 401), (live_proxy.api_key, "GET", 405), (live_proxy.api_key, "PUT", 405))
    for path, methods in document.raw_schema["paths"].items():
        assert list(methods) == ["post"]
        for key, method, status in wrong:
            sent = {"Authorization": f"cmk {key}"}
            request = urllib.request.Request(live_proxy.url + path, headers=sent, method=method)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            with refused.value as answer:
                assert answer.status == status
                assert set(json.loads(answer.read())) == {"code", "message"}
                assert answer.headers["allow"] == ("POST" if status == 405 else None)
