"""Whatever a sink answers, every event gets an outcome, nothing is raised, and nothing that it wrote is repeated."""

from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faults.sink_worlds import WORLDS
from tests.unit.sinks.conftest import Stage, event

from tenant_security.outbound.flow import Reason, Response, UnreachableError
from tenant_security.sinks.sink import Delivered, Later, Refused

CANARY = "canary-of-theirs"
AWS = {"accessKeyId": "AKID", "secretAccessKey": "s", "roleArn": "arn:aws:iam::210987654321:role/logs"}
NAMES = [
    "items", "create", "status", "error", "type", "code", "text", "invalid-event-number", "ackId", "acks", "details",
    "@type", "logEntryErrors", "0", "1", "rejectedLogEventsInfo", "tooOldLogEventEndIndex", "__type", "access_token",
    "expires_in", "message", "tooNewLogEventStartIndex",
]  # fmt: skip
WORDS = [
    CANARY, "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors", "ThrottlingException", "Bearer",
    "ResourceNotFoundException", "InvalidParameterException", "ExpiredToken", "",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.sampled_from(WORDS) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


def encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (OverflowError, msgspec.MsgspecError):
        return b"{}"


BODIES = (
    JSON.map(encoded)
    | st.binary(max_size=64)
    | st.sampled_from(WORDS).map(lambda code: f"<Error><Code>{code}</Code><Message>{CANARY}</Message></Error>".encode())
)
ANSWERS = st.builds(
    Response,
    st.sampled_from([200, 201, 202, 204, 301, 400, 401, 403, 404, 408, 409, 412, 413, 422, 429, 500, 503])
    | st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["retry-after", "content-type"]),
        st.sampled_from(["5", "-1", "soon", "text/html", "application/json", "Tue, 24 Nov 2026 09:31:00 GMT", CANARY]),
    ),
    BODIES,
) | st.sampled_from([UnreachableError(reason) for reason in Reason])

KINDS = [*WORLDS, "cloudwatch", "s3", "security-lake"]


@cache
def config(kind: str) -> dict[str, object]:
    if kind in WORLDS:
        made = WORLDS[kind]().config
        return made | ({"acknowledge": True} if kind == "splunk" else {})
    where = {
        "cloudwatch": {"type": "AWS_CLOUDWATCH", "logGroup": "g"},
        "s3": {"type": "AWS_S3", "bucket": "acme-logs"},
        "security-lake": {"type": "AWS_SECURITY_LAKE", "bucket": "acme-lake", "accountId": "123456789012"},
    }[kind]
    return where | {"region": "eu-central-1", "credentials": AWS}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(answers=st.lists(ANSWERS, min_size=1, max_size=6), count=st.integers(1, 5))
def test_every_event_gets_an_outcome(kind: str, answers: list[Response | UnreachableError], count: int) -> None:
    stage = Stage()
    stage.answers = list(answers)
    outcomes = stage.deliver(stage.sink(**config(kind)), [event(serial) for serial in range(count)])
    assert len(outcomes) == count
    for outcome in outcomes:
        assert isinstance(outcome, Delivered | Later | Refused)
        assert CANARY not in str(outcome)
        if isinstance(outcome, Later) and outcome.after_s is not None:
            assert 0 <= outcome.after_s <= 3600
    assert len(stage.requests) <= 100
