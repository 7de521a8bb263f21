"""Security events and operation reports without a client."""

from typing import Any

import httpx
import pytest

from .raw_http import JUNK, body, post, refusal

# Security events and reports.

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
