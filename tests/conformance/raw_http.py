"""The HTTP API without a client: requests as raw as a test needs them, and what every answer must look like."""

import json
from typing import Any

import httpx

from .prepared import GCP, GCP_CONFIG, Mint
from .running_proxy import API_KEY

AUTHORIZED = {"Authorization": f"cmk {API_KEY}"}
ENDPOINTS = [
    "document/wrap",
    "document/unwrap",
    "document/batch-wrap",
    "document/batch-unwrap",
    "document/rekey",
    "document/report-operations",
    "key/derive-with-secret-path",
    "event/security-event",
]
STATUS = {100: {404, 405}, 101: {401}, 102: {400}, 200: {422}, 201: {422}, 202: {422}, 203: {422}, 205: {422}}
SUCCESS_MEMBERS = {"dek", "edek", "keys", "failures", "derivedKeys", "hasPrimaryConfig"}
UNKNOWN = "unknownTenant"
JUNK = "ZWRlaw=="
"""Base64 of bytes that are no EDEK."""


def body(tenant: str, **members: Any) -> dict[str, Any]:
    return {"tenantId": tenant, "iclFields": {"requestingId": "raw-http"}, "customFields": {}, **members}


def post(http: httpx.Client, route: str, content: object) -> httpx.Response:
    encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
    return http.post(f"/api/1/{route}", content=encoded, headers={**AUTHORIZED, "Content-Type": "application/json"})


def success(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    return answer.json()


def refusal(answer: httpx.Response, code: int) -> str:
    """The message of a failure that every client can read."""
    told = answer.json()
    assert told["code"] == code, told
    assert answer.status_code in STATUS[code]
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    assert isinstance(told["message"], str)
    assert told["message"]
    assert not SUCCESS_MEMBERS & set(told)
    return told["message"]


def full_request(route: str, mint: Mint) -> dict[str, Any]:
    """A request that succeeds, for any endpoint."""
    wrapped = mint.unleased_edek(GCP_CONFIG, bytes(32))
    members: dict[str, dict[str, Any]] = {
        "document/wrap": {},
        "document/unwrap": {"encryptedDocumentKey": wrapped},
        "document/batch-wrap": {"documentIds": ["a"]},
        "document/batch-unwrap": {"edeks": {"a": wrapped}},
        "document/rekey": {"encryptedDocumentKey": wrapped, "newTenantId": "tenant-aws"},
        "document/report-operations": {"operations": {wrapped: {"wraps": 1, "unwraps": 0}}},
        "key/derive-with-secret-path": {
            "paths": {"people": ["ssn"]},
            "derivationType": "sha512",
            "secretType": "deterministic",
        },
        "event/security-event": {"event": "USER_LOGIN", "timestampMillis": 1_700_000_000_000},
    }
    return body(GCP, **members[route])
