"""The API as HTTP sees it: what is checked first, and what an outsider learns of an internal error."""

import msgspec
import pytest
import structlog

from tenant_security.errors import Code
from tenant_security.kms.provider import KmsFaultError
from tenant_security.proxy.api import ProxyApi
from tenant_security.proxy.applications import Gate
from tenant_security.proxy.observed import ProxyMetrics
from tenant_security.secret import Secret
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.metrics import Metrics
from tenant_security.service.ray import RayIds

KEY, SECOND = "0WUaXesNgbTAuLwn", "c2Vjb25kIGtleSBmb3Ig"
WRAP = {"tenantId": "plain", "iclFields": {"requestingId": "me"}}


class Http:
    """Sends requests to the application."""

    def __init__(self, stage):
        self.logged = structlog.testing.CapturingLogger()
        log = structlog.wrap_logger(self.logged, processors=[lambda _, name, event: ((name, dict(event)), {})])
        self.metrics = Metrics()
        keys = ApiKeys([Secret(KEY), Secret(SECOND)])
        self.app = ProxyApi(
            stage.operations, Gate(keys, self.metrics), ProxyMetrics(self.metrics), log, RayIds(), body_bytes=10_000
        )
        self.headers = {}

    async def __call__(self, path, body=WRAP, *, method="POST", key=KEY, headers=(), parts=None):
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        pieces = list(parts) if parts is not None else [raw]
        sent = []
        authorization = [] if key is None else [(b"authorization", f"cmk {key}".encode())]
        scope = {"type": "http", "method": method, "path": path, "headers": [*authorization, *headers]}

        async def receive():
            if not pieces:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces) or parts is not None}

        async def send(message):
            sent.append(message)

        await self.app(scope, receive, send)
        if not sent:
            return None
        self.headers = dict(sent[0]["headers"])
        return sent[0]["status"], msgspec.json.decode(sent[1]["body"])

    def log(self):
        return [call.args for call in self.logged.calls]


@pytest.fixture
async def http(stage):
    return Http(stage)


@pytest.mark.parametrize("key", [KEY, SECOND])
async def test_either_key_is_accepted(http, key):
    status, answer = await http("/api/1/document/wrap", key=key)

    assert status == 200
    assert set(answer) == {"dek", "edek"}
    assert http.headers[b"content-type"] == b"application/json"


@pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x", KEY[:-1], KEY.lower(), "\u00e9"])
@pytest.mark.parametrize("path", ["/api/1/document/wrap", "/nowhere", "/"])
async def test_without_the_key_everything_is_401_and_nothing_is_learned(http, kms, path, key):
    for method in ("POST", "GET"):
        for body in (WRAP, b"junk"):
            status, answer = await http(path, body, method=method, key=key)
            assert (status, answer["code"]) == (401, 101)
    assert kms.count() == 0


@pytest.mark.parametrize("value", [KEY, f"Bearer {KEY}", f"cmk  {KEY}", f"CMK {KEY}", f"cmk {KEY} "])
async def test_another_scheme_is_refused(http, value):
    status, answer = await http("/api/1/document/wrap", key=None, headers=[(b"authorization", value.encode())])

    assert (status, answer["code"]) == (401, 101)


async def test_two_authorizations_are_none(http):
    status, _ = await http("/api/1/document/wrap", headers=[(b"authorization", f"cmk {KEY}".encode())])

    assert status == 401


@pytest.mark.parametrize("path", ["/", "/api/1/", "/api/1/document", "/api/1/key/derive", "/api/2/document/wrap"])
async def test_an_unknown_path_is_404_before_the_body_is_looked_at(http, path):
    status, answer = await http(path, b"junk")

    assert (status, answer["code"]) == (404, 100)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_405_and_says_which_one_is_right(http, method):
    status, answer = await http("/api/1/document/wrap", b"junk", method=method)

    assert (status, answer["code"]) == (405, 100)
    assert http.headers[b"allow"] == b"POST"


async def test_a_trailing_slash_in_a_clients_address_is_forgiven(http):
    assert (await http("//api/1//document/wrap"))[0] == 200


async def test_the_body_is_looked_at_before_the_tenant(http):
    status, answer = await http("/api/1/document/wrap", {"tenantId": "nobody"})

    assert (status, answer["code"]) == (400, 102)


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_beyond_the_cap_is_413_and_not_read_on(http, declared):
    headers = [(b"content-length", b"10001")] if declared else []
    status, answer = await http("/api/1/document/wrap", headers=headers, parts=[b" " * 6_000] * 3)

    assert (status, answer["code"]) == (413, 102)


async def test_a_client_that_leaves_before_its_body_is_in_gets_no_answer_and_is_counted(http, kms):
    assert await http("/api/1/document/wrap", parts=[b'{"tenant']) is None
    assert b'code="gone"' in http.metrics.render()
    assert kms.count() == 0


async def test_a_fault_is_answered_with_its_status_and_when_to_come_again(http, kms):
    fault = KmsFaultError(Code.KMS_THROTTLED, "Too fast.", provider="scripted", retry_after_s=7)
    with kms.failing(fault):
        assert await http("/api/1/document/wrap") == (429, {"code": 209, "message": "Too fast."})

    assert http.headers[b"retry-after"] == b"7"


async def test_what_the_provider_called_it_is_for_the_log_alone(http, kms):
    fault = KmsFaultError(
        Code.KMS_AUTHORIZATION_FAILED, "Refused.", provider="scripted", provider_code="AccessDenied", request_id="req-1"
    )
    with kms.failing(fault):
        _, answer = await http("/api/1/document/wrap")

    assert "AccessDenied" not in str(answer)
    ((name, said),) = http.log()
    assert name == "info"
    assert (said["code"], said["provider_code"], said["provider_request_id"]) == (206, "AccessDenied", "req-1")
    assert said["tenant_id"] == "plain"


async def test_an_internal_error_tells_the_caller_only_where_to_look(http, kms):
    with kms.failing(ZeroDivisionError("private words")):
        status, answer = await http("/api/1/document/wrap")

    assert (status, answer["code"]) == (500, 100)
    ((name, said),) = http.log()
    assert name == "error"
    assert said["error"] == "ZeroDivisionError"
    assert said["ray_id"] in answer["message"]
    assert "private words" not in f"{answer}{said}"


async def test_the_openapi_document_needs_no_key_and_names_every_endpoint(http):
    status, document = await http("/openapi.json", method="GET", key=None)

    assert status == 200
    assert {path for path in document["paths"] if path.startswith("/api/1/")} == set(http.app._routes)


@pytest.mark.parametrize(
    ("language", "version", "counted"),
    [
        (b"node", b"4.1.3", b'language="node",version="4.1.3"'),
        (b"java", b"8.1.1-SNAPSHOT", b'language="java",version="8.1.1-SNAPSHOT"'),
        (b"evil\xff", b"1.0", b'language="other",version="1.0"'),
        (b"node", b"x" * 500, b'language="node",version="other"'),
    ],
)
async def test_clients_are_counted_by_language_and_version_within_bounds(http, language, version, counted):
    headers = [(b"x-icl-tsc-language", language), (b"x-icl-tsc-version", version)]
    assert (await http("/api/1/document/wrap", headers=headers))[0] == 200

    assert counted in http.metrics.render()
