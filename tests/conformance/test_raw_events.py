"""Security events and operation reports without a client."""

import json
import os
import time
from typing import Any

import httpx
import pytest

from .prepared import COMBO, GCP, Mint
from .raw_http import ENDPOINTS, JUNK, body, full_request, post, refusal, success
from .running_proxy import RunningProxy

EVENT_POSITIONS: dict[str, dict[str, Any]] = {
    "inside iclFields": {"iclFields": {"requestingId": "x", "event": "USER_LOGIN"}},
    "beside iclFields": {"event": "USER_LOGIN"},
    "in both": {"event": "USER_LOGIN", "iclFields": {"requestingId": "x", "event": "ADMIN_ADD"}},
    "null inside": {"event": "USER_LOGIN", "iclFields": {"requestingId": "x", "event": None}},
    "null beside": {"event": None, "iclFields": {"requestingId": "x", "event": "CUSTOM_ÜNÏ"}},
}


@pytest.mark.parametrize("position", EVENT_POSITIONS)
@pytest.mark.parametrize("tenant", ["tenant-gcp", "bad-tenant-id"])
@pytest.mark.parametrize("timestamp", [{}, {"timestampMillis": 1_700_000_000_000}, {"timestampMillis": None}])
def test_an_event_is_answered_with_the_four_bytes_null(
    http: httpx.Client, position: str, tenant: str, timestamp: dict[str, Any]
) -> None:
    answer = post(http, "event/security-event", body(tenant, **timestamp, **EVENT_POSITIONS[position]))
    assert answer.status_code == 200, answer.text
    assert answer.content == b"null"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"event": None},
        {"event": "", "iclFields": {"requestingId": "x", "event": ""}},
        {"iclFields": {"event": "X"}},
    ],
    ids=str,
)
def test_an_event_without_name_or_requester_is_102(http: httpx.Client, members: dict[str, Any]) -> None:
    refusal(post(http, "event/security-event", body("tenant-gcp", timestampMillis=1, **members)), 102)


@pytest.mark.parametrize(
    "operations",
    [
        {JUNK: {"wraps": 3, "unwraps": 0}},
        {JUNK: {"wraps": 0, "unwraps": 2**31}},
        {JUNK: {"wraps": 0, "unwraps": 0}, "%%%": {"wraps": 1, "unwraps": 1}, "b": {"wraps": 2, "unwraps": 5, "x": 1}},
    ],
    ids=["one", "many", "several"],
)
def test_reported_operations_are_accepted_without_unwrapping(http: httpx.Client, operations: dict[str, Any]) -> None:
    answer = post(http, "document/report-operations", body("tenant-gcp", operations=operations))
    assert answer.status_code == 200, answer.text
    assert answer.content == b"null"


def recorded(proxy: RunningProxy, request_id: str, count: int) -> list[dict[str, Any]]:
    """The events that the proxy sent on for this request id, once there are as many."""
    deadline = time.monotonic() + 20
    while True:
        lines = proxy.log.read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and request_id in line]
        if len(found) >= count:
            assert len(found) == count, found
            return found
        assert time.monotonic() < deadline, f"{len(found)} of {count} events were sent on: {found}"
        time.sleep(0.05)


def request_id() -> str:
    return f"request-{os.urandom(8).hex()}"


@pytest.mark.parametrize(
    ("position", "name"),
    [("inside iclFields", "USER_LOGIN"), ("beside iclFields", "USER_LOGIN"), ("in both", "ADMIN_ADD")],
)
def test_an_event_is_sent_on_under_the_name_that_counts(
    http: httpx.Client, proxy: RunningProxy, position: str, name: str
) -> None:
    unique = request_id()
    members = EVENT_POSITIONS[position]
    icl = {"requestingId": "me", "requestId": unique, "sourceIp": "f", "objectId": None, **members.get("iclFields", {})}
    request = {**body("tenant-gcp", timestampMillis=1_700_000_000_123), **members, "iclFields": icl}
    request["customFields"] = {"key": "vàlue"}
    success(post(http, "event/security-event", request))
    (event,) = recorded(proxy, unique, 1)
    assert event["tenantId"] == "tenant-gcp"
    assert event["timestamp"] == "2023-11-14T22:13:20.123Z"
    assert event["customFields"] == {"key": "vàlue"}
    fields = event["iclFields"]
    assert (fields["event"], fields["requestId"], fields["sourceIp"]) == (name, unique, "f")
    assert fields["requestingId"] == icl["requestingId"]
    assert "objectId" not in fields


def test_key_operations_are_recorded_with_their_metadata(http: httpx.Client, proxy: RunningProxy, mint: Mint) -> None:
    unique = request_id()
    icl = {"requestingId": "me", "requestId": unique, "dataLabel": "records"}
    key_routes = [route for route in ENDPOINTS if route not in {"event/security-event", "document/report-operations"}]
    for route in key_routes:
        success(post(http, route, {**full_request(route, mint), "iclFields": icl}))
    refusal(post(http, "document/wrap", {**body(COMBO), "iclFields": icl}), 200)
    # A rekey between two tenants concerns both of them.
    events = recorded(proxy, unique, len(key_routes) + 2)
    assert all(event["iclFields"]["requestingId"] == "me" for event in events)
    assert all(event["iclFields"]["dataLabel"] == "records" for event in events)
    assert {event["tenantId"] for event in events} == {GCP, "tenant-aws", COMBO}
    assert len({event["eventId"] for event in events}) == len(events)
