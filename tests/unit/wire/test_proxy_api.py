"""What clients may send, what is refused, and in which words."""

from copy import deepcopy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.wire import proxy_api
from tenant_security.wire.proxy_api import (
    BatchUnwrapRequest,
    BatchUnwrapResponse,
    BatchWrapRequest,
    BatchWrapResponse,
    DerivedKey,
    DeriveRequest,
    DeriveResponse,
    ErrorResponse,
    RekeyRequest,
    ReportOperationsRequest,
    SecurityEventRequest,
    UnwrapRequest,
    WrapRequest,
    WrapResponse,
)

KINDS = {
    WrapRequest: {},
    UnwrapRequest: {"encryptedDocumentKey": "AA=="},
    BatchWrapRequest: {"documentIds": ["a"]},
    BatchUnwrapRequest: {"edeks": {"a": "AA=="}},
    RekeyRequest: {"encryptedDocumentKey": "AA==", "newTenantId": "other"},
    DeriveRequest: {"paths": {"": ["a/b"]}, "derivationType": "sha512", "secretType": "deterministic"},
    SecurityEventRequest: {"event": "USER_LOGIN"},
    ReportOperationsRequest: {"operations": {"AA==": {"wraps": 1, "unwraps": 2}}},
}
ALL = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def body(kind, **changes):
    whole = {
        "tenantId": "tenant",
        "iclFields": {"requestingId": "me"},
        "customFields": {},
        **deepcopy(KINDS[kind]),
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not ...}


def read(kind, sent):
    raw = sent if isinstance(sent, bytes) else msgspec.json.encode(sent)
    return proxy_api.decode(proxy_api.decoder(kind), raw)


def refused(kind, sent):
    with pytest.raises(TenantSecurityError) as caught:
        read(kind, sent)
    assert caught.value.code is Code.INVALID_REQUEST_BODY
    return caught.value.message


@ALL
def test_a_complete_request_is_read(kind):
    request = read(kind, body(kind))

    assert request.tenant_id == "tenant"
    assert request.icl_fields.requesting_id == "me"


@ALL
@pytest.mark.parametrize("member", ["customFields", "timestampMillis"])
@pytest.mark.parametrize("value", [None, ...], ids=["null", "absent"])
def test_null_and_absent_mean_the_same(kind, member, value):
    request = read(kind, body(kind, **{member: value}))

    assert request.custom_fields in (None, {})
    assert request.timestamp_millis is None


@ALL
def test_icl_fields_may_be_null_one_by_one(kind):
    fields = dict.fromkeys(["dataLabel", "sourceIp", "objectId", "requestId", "event"])

    said = read(kind, body(kind, iclFields={"requestingId": "me", **fields})).icl_fields
    assert (said.data_label, said.source_ip, said.object_id, said.request_id, said.event) == (None,) * 5


@ALL
def test_members_that_nobody_knows_are_ignored(kind):
    sent = body(kind, segmentId="x", nested={"deep": [1, {}]})
    sent["iclFields"] |= {"somethingNew": 7}

    assert read(kind, sent) == read(kind, body(kind))


def test_a_source_ip_is_any_text():
    fields = {"requestingId": "me", "sourceIp": "f"}

    assert read(WrapRequest, body(WrapRequest, iclFields=fields)).icl_fields.source_ip == "f"


def test_an_empty_tenant_id_is_a_string_like_any_other():
    assert read(WrapRequest, body(WrapRequest, tenantId="")).tenant_id == ""


def test_members_may_come_in_any_order():
    turned = dict(reversed(body(RekeyRequest).items()))

    assert read(RekeyRequest, turned) == read(RekeyRequest, body(RekeyRequest))


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"x": "A", "y": "B"}, {"x": "A", "y": "B"}),
        (["A", "B"], {"0": "A", "1": "B"}),
        ([], {}),
        ({}, {}),
        ({"": "A"}, {"": "A"}),
    ],
)
def test_a_php_map_with_the_keys_0_to_n_may_arrive_as_an_array(sent, meant):
    assert read(BatchUnwrapRequest, body(BatchUnwrapRequest, edeks=sent)).by_id() == meant


@pytest.mark.parametrize(
    ("inside", "beside", "name"),
    [
        ("IN", ..., "IN"),
        (..., "OUT", "OUT"),
        ("IN", "OUT", "IN"),
        (None, "OUT", "OUT"),
        ("", "OUT", "OUT"),
        (..., ..., None),
    ],
)
def test_an_events_name_is_found_in_icl_fields_or_beside_them(inside, beside, name):
    fields = {"requestingId": "me"} | ({} if inside is ... else {"event": inside})

    assert read(SecurityEventRequest, body(SecurityEventRequest, iclFields=fields, event=beside)).name == name


@ALL
@pytest.mark.parametrize(
    "changes",
    [
        {"tenantId": ...},
        {"tenantId": None},
        {"tenantId": 5},
        {"tenantId": ["tenant"]},
        {"iclFields": ...},
        {"iclFields": None},
        {"iclFields": []},
        {"iclFields": {}},
        {"iclFields": {"requestingId": ""}},
        {"iclFields": {"requestingId": None}},
        {"iclFields": {"requestingId": 1}},
        {"iclFields": {"requestingId": "me", "dataLabel": 1}},
        {"customFields": []},
        {"customFields": {"a": 1}},
        {"customFields": {"a": None}},
        {"customFields": "text"},
        {"timestampMillis": -1},
        {"timestampMillis": "1"},
        {"timestampMillis": 1.5},
        {"timestampMillis": 253_402_300_800_000},
    ],
    ids=repr,
)
def test_what_has_another_type_is_refused(kind, changes):
    assert refused(kind, body(kind, **changes)).startswith("The request body is not valid: ")


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (UnwrapRequest, {"encryptedDocumentKey": ...}),
        (UnwrapRequest, {"encryptedDocumentKey": None}),
        (RekeyRequest, {"newTenantId": ...}),
        (RekeyRequest, {"newTenantId": 7}),
        (BatchWrapRequest, {"documentIds": {}}),
        (BatchWrapRequest, {"documentIds": [1]}),
        (BatchWrapRequest, {"documentIds": ...}),
        (BatchUnwrapRequest, {"edeks": "AA=="}),
        (BatchUnwrapRequest, {"edeks": {"a": 1}}),
        (BatchUnwrapRequest, {"edeks": [None]}),
        (DeriveRequest, {"paths": []}),
        (DeriveRequest, {"paths": {"a": "b"}}),
        (DeriveRequest, {"paths": {"a": None}}),
        (DeriveRequest, {"derivationType": ...}),
        (DeriveRequest, {"secretType": ...}),
        (ReportOperationsRequest, {"tenantId": ""}),
        (ReportOperationsRequest, {"operations": {"a": {"wraps": -1}}}),
        (ReportOperationsRequest, {"operations": {"a": {"wraps": 2**54}}}),
        (ReportOperationsRequest, {"operations": {"a": 1}}),
    ],
)
def test_each_endpoints_own_members_are_checked(kind, changes):
    assert refused(kind, body(kind, **changes)).startswith("The request body is not valid: ")


@pytest.mark.parametrize("sent", [b"", b"{", b"nope", b"{'a': 1}", b'{"a": "\xff"}', b'"\\ud800', b"\x00", b'{"a":1}x'])
def test_what_is_not_json_is_refused(sent):
    assert refused(WrapRequest, sent).startswith("The request body is not")


def test_json_nested_without_end_is_refused():
    deep = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

    assert refused(WrapRequest, deep) == "The request body is nested too deeply"


@ALL
@pytest.mark.parametrize("sent", [b"null", b"[]", b"5", b'"text"'])
def test_json_that_is_no_object_is_refused(kind, sent):
    assert "object" in refused(kind, sent)


def test_a_lone_surrogate_is_not_text():
    assert refused(WrapRequest, b'{"tenantId": "\\ud800", "iclFields": {"requestingId": "me"}}')


def _members(value, path=()):
    yield path
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _members(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _members(each, (*path, index))


@ALL
@given(
    junk=st.sampled_from([{"SECRET-VALUE": "SECRET-VALUE"}, ["SECRET-VALUE"], "SECRET-VALUE", 5135135135135]),
    data=st.data(),
)
def test_a_refusal_says_where_and_never_what(kind, junk, data):
    sent = body(kind)
    *way, last = data.draw(st.sampled_from([path for path in _members(sent) if path]))
    within = sent
    for step in way:
        within = within[step]
    within[last] = junk

    try:
        read(kind, sent)
    except TenantSecurityError as fault:
        assert "SECRET" not in fault.message  # noqa: PT017 - junk that fits is no refusal
        assert "5135" not in fault.message  # noqa: PT017


def test_both_maps_of_a_batch_are_objects_even_when_empty():
    assert proxy_api.encode(BatchWrapResponse({}, {})) == b'{"keys":{},"failures":{}}'
    assert proxy_api.encode(BatchUnwrapResponse({}, {})) == b'{"keys":{},"failures":{}}'


def test_responses_have_the_members_that_clients_read():
    assert proxy_api.encode(WrapResponse("ZA==", "ZQ==")) == b'{"dek":"ZA==","edek":"ZQ=="}'
    assert proxy_api.encode(ErrorResponse(203, "no")) == b'{"code":203,"message":"no"}'
    derived = DeriveResponse(has_primary_config=True, derived_keys={"": {"p": [DerivedKey("aw==", 7, current=True)]}})
    assert proxy_api.encode(derived) == (
        b'{"hasPrimaryConfig":true,"derivedKeys":{"":{"p":[{"derivedKey":"aw==","tenantSecretId":7,"current":true}]}}}'
    )


def test_the_answer_to_an_event_is_four_bytes():
    assert proxy_api.NULL == b"null"


def test_a_fault_is_said_as_clients_read_it():
    fault = TenantSecurityError(Code.KMS_UNREACHABLE, "The tenant's KMS could not be reached.")

    assert proxy_api.error_of(fault) == ErrorResponse(208, "The tenant's KMS could not be reached.")
