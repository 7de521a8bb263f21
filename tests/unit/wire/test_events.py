"""Events: their ids, their native form, their time."""

import uuid
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.wire.events import (
    SUCCESS,
    WRAP,
    EventRecord,
    Operation,
    event_id,
    native,
    native_json,
    rfc3339,
)
from tenant_security.wire.proxy_api import IclFields

NOW_MS = 1_795_512_600_123
INSTANCE = "0123456789abcdef"
MILLIS = st.integers(0, 253_402_300_799_999)
INSTANCES = st.binary(min_size=8, max_size=8).map(bytes.hex)


def record(serial=1, *, time_ms=NOW_MS, instance=INSTANCE, fields=None, custom=None, operation=None):
    said = fields or IclFields("me")
    return EventRecord(serial, 5, time_ms, WRAP, "tenant", instance, "ray", said, custom, operation)


@given(serial=st.integers(1, 2**40), time_ms=MILLIS, instance=INSTANCES)
def test_an_id_is_a_uuid_of_version_7_that_says_when(serial, time_ms, instance):
    parsed = uuid.UUID(event_id(record(serial, time_ms=time_ms, instance=instance)))

    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == time_ms
    assert str(parsed) == event_id(record(serial, time_ms=time_ms, instance=instance))


def test_ten_thousand_events_of_one_millisecond_have_ids_that_rise():
    ids = [event_id(record(serial)) for serial in range(2**20 - 5_000, 2**20 + 5_000)]

    assert sorted(set(ids)) == ids


@given(first=st.integers(1, 2**32 - 2), instance=INSTANCES, later_ms=st.integers(0, 10_000))
def test_a_later_event_has_a_higher_id(first, instance, later_ms):
    one = record(first, instance=instance)
    other = record(first + 1, time_ms=NOW_MS + later_ms, instance=instance)

    assert event_id(one) < event_id(other)


@given(st.integers(1, 2**32 - 1), INSTANCES, INSTANCES)
def test_two_proxies_never_give_one_id(serial, one, other):
    differ = int(one, 16) % 2**42 != int(other, 16) % 2**42

    assert (event_id(record(serial, instance=one)) != event_id(record(serial, instance=other))) is differ


def test_rendering_again_gives_the_same_bytes():
    made = record(custom={"b": "2", "a": "1"}, operation=Operation(SUCCESS))

    assert native_json(made) == native_json(made)
    assert b"\n" not in native_json(made)


def test_the_native_form_has_the_originals_members_and_ours():
    fields = IclFields("me", "label", "f", "object", "request")
    operation = Operation(SUCCESS, kms_config_id=511, kms_config_version=3, leased=True, document_ids=["a"])

    assert msgspec.json.decode(native_json(record(fields=fields, custom={"k": "v"}, operation=operation))) == {
        "tenantId": "tenant",
        "timestamp": "2026-11-24T09:30:00.123Z",
        "iclFields": {
            "event": WRAP,
            "requestingId": "me",
            "dataLabel": "label",
            "sourceIp": "f",
            "objectId": "object",
            "requestId": "request",
            "tspRayId": "ray",
        },
        "customFields": {"k": "v"},
        "eventId": event_id(record()),
        "sequence": 5,
        "instance": INSTANCE,
        "operation": {
            "outcome": "success",
            "kmsConfigId": 511,
            "kmsConfigVersion": 3,
            "leased": True,
            "documentIds": ["a"],
        },
    }


def test_what_was_not_said_is_left_out_and_custom_fields_are_always_an_object():
    found = msgspec.json.decode(native_json(record()))

    assert found["iclFields"] == {"event": WRAP, "requestingId": "me", "tspRayId": "ray"}
    assert found["customFields"] == {}
    assert "operation" not in found


def test_an_event_that_the_application_reports_has_its_own_name_once():
    said = IclFields("me", event="USER_LOGIN")
    reported = EventRecord(1, 1, NOW_MS, "USER_LOGIN", "tenant", INSTANCE, "ray", said, None)

    assert native(reported).icl_fields.event == "USER_LOGIN"
    assert native_json(reported).count(b"USER_LOGIN") == 1


@given(MILLIS)
def test_times_are_rfc_3339_in_utc_with_milliseconds(time_ms):
    text = rfc3339(time_ms)

    assert datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z") == datetime.fromtimestamp(time_ms // 1000, UTC).replace(
        microsecond=time_ms % 1000 * 1000
    )
    assert len(text) == 24


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (7, "1970-01-01T00:00:00.007Z"),
    ],
)
def test_the_ends_of_time_can_be_written(time_ms, text):
    assert rfc3339(time_ms) == text
