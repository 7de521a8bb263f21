"""Each endpoint's promise, and the event that each leaves behind whatever happens."""

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.operations import BatchLimits
from tenant_security.testing.clock import settle
from tenant_security.testing.tenants import PlainConfig, tenant, use
from tenant_security.wire import edek
from tenant_security.wire.proxy_api import (
    BatchUnwrapRequest,
    BatchWrapRequest,
    DeriveRequest,
    RekeyRequest,
    ReportOperationsRequest,
    SecurityEventRequest,
    UnwrapRequest,
    WrapRequest,
)

BOTH = pytest.mark.parametrize("who", ["plain", "leased"])
CONFIGS = {"plain": 510, "leased": 511}


async def refused(waiting) -> TenantSecurityError:
    with pytest.raises(TenantSecurityError) as caught:
        await waiting
    return caught.value


async def operation(stage):
    """The one event that waits: its name, its tenant and what it says of the operation."""
    (event,) = await stage.events()
    said = {name: getattr(event.operation, name) for name in event.operation.__struct_fields__}
    return event.name, event.tenant_id, {name: value for name, value in said.items() if value is not None}


def done(who, **more):
    config = {"kms_config_id": CONFIGS[who], "kms_config_version": 1, "leased": who == "leased"}
    return {"outcome": "success", "count": 1, **config, **more}


def failed(code, who=None, **more):
    """What a failure records; of a tenant that exists, also the config that the request was about."""
    config = {"kms_config_id": CONFIGS[who], "kms_config_version": 1} if who in CONFIGS else {}
    return {"outcome": "failure", "count": 1, "code": int(code), **config, **more}


async def wrapped(stage, who, count=1):
    made = [await stage.call("wrap", WrapRequest, who) for _ in range(count)]
    await stage.events()
    return made if count > 1 else made[0]


# -- one key -------------------------------------------------------------------------------------------------------


@BOTH
async def test_wrap_and_unwrap_round_trip_and_each_leaves_one_event(stage, who):
    made = await stage.call("wrap", WrapRequest, who)
    assert set(made) == {"dek", "edek"}
    assert await operation(stage) == ("DEK_WRAP", who, done(who))

    found = await stage.call("unwrap", UnwrapRequest, who, encryptedDocumentKey=made["edek"])
    assert found == {"dek": made["dek"]}
    assert await operation(stage) == ("DEK_UNWRAP", who, done(who))


@pytest.mark.parametrize(
    ("name", "kind", "members", "event"),
    [
        ("wrap", WrapRequest, {}, ("DEK_WRAP", {})),
        ("unwrap", UnwrapRequest, {"encryptedDocumentKey": "x"}, ("DEK_UNWRAP", {})),
        ("rekey", RekeyRequest, {"encryptedDocumentKey": "x", "newTenantId": "plain"},
         ("DEK_REKEY", {"new_tenant_id": "plain"})),
        ("batch_wrap", BatchWrapRequest, {"documentIds": ["a", "b"]}, ("DEK_WRAP", {"count": 2})),
        ("batch_unwrap", BatchUnwrapRequest, {"edeks": {"a": "x", "b": "x"}}, ("DEK_UNWRAP", {"count": 2})),
        ("derive", DeriveRequest, {"paths": {"p": ["q"]}, "derivationType": "sha512", "secretType": "search"},
         ("KEY_DERIVE", {"secret_paths": ["p"]})),
    ],
)  # fmt: skip
async def test_what_fails_as_a_whole_leaves_one_event_that_says_so(stage, name, kind, members, event):
    fault = await refused(stage.call(name, kind, "nobody", **members))

    assert fault.code is Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS
    assert await operation(stage) == (event[0], "nobody", failed(201) | event[1])


@BOTH
@pytest.mark.parametrize("code", [Code.KMS_AUTHORIZATION_FAILED, Code.KMS_UNREACHABLE, Code.KMS_THROTTLED])
async def test_a_kms_fault_leaves_an_event_with_its_code(stage, kms, who, code):
    with kms.failing(code):
        assert (await refused(stage.call("wrap", WrapRequest, who))).code is code

    assert await operation(stage) == ("DEK_WRAP", who, failed(code, who))


async def test_a_program_error_leaves_an_event_too(stage, kms):
    with kms.failing(ZeroDivisionError()), pytest.raises(ZeroDivisionError):
        await stage.call("wrap", WrapRequest, "plain")

    assert await operation(stage) == ("DEK_WRAP", "plain", failed(100, "plain"))


async def test_an_event_says_who_asked_and_when(stage, clock):
    fields = {"requestingId": "service", "dataLabel": "pii", "sourceIp": "f", "objectId": "o", "requestId": "r"}
    await stage.call("wrap", WrapRequest, iclFields=fields, customFields={"k": "v"}, timestampMillis=5)

    (event,) = await stage.events()
    assert (event.icl_fields.requesting_id, event.icl_fields.data_label) == ("service", "pii")
    assert (event.icl_fields.source_ip, event.icl_fields.object_id, event.icl_fields.request_id) == ("f", "o", "r")
    assert event.custom_fields == {"k": "v"}
    assert event.ray_id == "ray"
    assert event.time_ms == clock.unix_ms()  # the application's clock says when an event of its own happened


async def test_an_event_names_the_configs_version_in_use(stage):
    stage.tenants(tenant("plain", use(PlainConfig(510, version=42, owner="plain"))))
    await stage.call("wrap", WrapRequest, "plain")

    assert (await operation(stage))[2]["kms_config_version"] == 42


# -- rekey ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["plain", "leased"])
@pytest.mark.parametrize("target", ["plain", "leased"])
async def test_rekey_keeps_the_dek_and_takes_the_new_tenants_form(stage, source, target):
    made = await wrapped(stage, source)

    found = await stage.call("rekey", RekeyRequest, source, encryptedDocumentKey=made["edek"], newTenantId=target)

    assert found["dek"] == made["dek"]
    assert edek.decode_base64(found["edek"]).leased is (target == "leased")
    read = await stage.call("unwrap", UnwrapRequest, target, encryptedDocumentKey=found["edek"])
    assert read == {"dek": made["dek"]}


async def test_rekey_across_tenants_is_recorded_for_both(stage):
    made = await wrapped(stage, "plain")
    await stage.call("rekey", RekeyRequest, "plain", encryptedDocumentKey=made["edek"], newTenantId="leased")

    left, arrived = await stage.events()
    assert (left.name, left.tenant_id, left.operation.new_tenant_id) == ("DEK_REKEY", "plain", "leased")
    assert (left.operation.kms_config_id, left.operation.leased) == (510, False)
    assert (arrived.name, arrived.tenant_id, arrived.operation.previous_tenant_id) == ("DEK_REKEY", "leased", "plain")
    assert (arrived.operation.kms_config_id, arrived.operation.leased) == (511, True)


async def test_rekey_within_a_tenant_is_recorded_once(stage):
    made = await wrapped(stage, "leased")
    await stage.call("rekey", RekeyRequest, "leased", encryptedDocumentKey=made["edek"], newTenantId="leased")

    assert await operation(stage) == ("DEK_REKEY", "leased", done("leased", new_tenant_id="leased"))


@pytest.mark.parametrize(
    ("source", "text", "target", "code"),
    [
        ("nobody", "x", "nobody", 201),
        ("plain", "x", "nobody", 203),
        ("plain", None, "nobody", 201),
        ("leased", None, "plain", 202),
        ("plain", None, "no-primary", 200),
    ],
)
async def test_rekey_tells_the_first_fault_in_the_order_that_clients_expect(stage, source, text, target, code):
    made = await wrapped(stage, "plain")
    stage.tenants(*stage.directory, tenant("no-primary", use(PlainConfig(700), primary=False)))

    fault = await refused(
        stage.call("rekey", RekeyRequest, source, encryptedDocumentKey=text or made["edek"], newTenantId=target)
    )
    assert fault.code == code
    about = source if (source, text) == ("plain", None) else None
    assert await operation(stage) == ("DEK_REKEY", source, failed(code, about, new_tenant_id=target))


# -- batches -------------------------------------------------------------------------------------------------------


@BOTH
async def test_a_batch_of_a_thousand_answers_every_id_exactly_once(stage, kms, who):
    ids = [str(number) for number in range(1_000)]
    made = await stage.call("batch_wrap", BatchWrapRequest, who, documentIds=ids)
    assert list(made["keys"]) == ids
    assert made["failures"] == {}
    assert len({each["dek"] for each in made["keys"].values()}) == 1_000
    assert kms.count() == (1 if who == "leased" else 1_000)

    edeks = {each: key["edek"] for each, key in made["keys"].items()}
    found = await stage.call("batch_unwrap", BatchUnwrapRequest, who, edeks=edeks)
    assert found == {"keys": {each: {"dek": key["dek"]} for each, key in made["keys"].items()}, "failures": {}}
    wrap, unwrap = await stage.events()
    assert (wrap.name, wrap.operation.count, wrap.operation.document_ids) == ("DEK_WRAP", 1_000, ids)
    assert (unwrap.name, unwrap.operation.count, unwrap.operation.document_ids) == ("DEK_UNWRAP", 1_000, ids)


async def test_one_ids_failure_is_its_own_and_is_recorded_by_its_code(stage):
    plain, leased = await wrapped(stage, "plain"), await wrapped(stage, "leased")
    edeks = {
        "good": plain["edek"],
        "junk": "x",
        "foreign": leased["edek"],
        "also good": plain["edek"],
        "": "",
        "e": "AA",
    }

    found = await stage.call("batch_unwrap", BatchUnwrapRequest, "plain", edeks=edeks)

    assert found["keys"] == {"good": {"dek": plain["dek"]}, "also good": {"dek": plain["dek"]}}
    assert {each: fault["code"] for each, fault in found["failures"].items()} == {
        "junk": 203, "foreign": 202, "": 203, "e": 203,
    }  # fmt: skip
    recorded = {each.operation.code: each.operation for each in await stage.events()}
    assert recorded[None].document_ids == ["good", "also good"]
    assert (recorded[203].count, recorded[203].document_ids) == (3, ["junk", "", "e"])
    assert (recorded[202].outcome, recorded[202].document_ids) == ("failure", ["foreign"])


@BOTH
async def test_a_kms_that_is_down_fails_each_document_and_not_the_request(stage, kms, who):
    with kms.failing(Code.KMS_UNREACHABLE):
        found = await stage.call("batch_wrap", BatchWrapRequest, who, documentIds=["a", "b", "c"])

    assert found["keys"] == {}
    assert {each: fault["code"] for each, fault in found["failures"].items()} == dict.fromkeys("abc", 208)
    assert await operation(stage) == ("DEK_WRAP", who, failed(208, who, count=3, document_ids=["a", "b", "c"]))


@BOTH
async def test_repeated_ids_collapse_to_one(stage, who):
    found = await stage.call("batch_wrap", BatchWrapRequest, who, documentIds=["a", "b", "a", "a"])

    assert list(found["keys"]) == ["a", "b"]
    assert (await operation(stage))[2]["count"] == 2


@BOTH
async def test_an_empty_batch_is_two_empty_objects(stage, kms, who):
    assert await stage.call("batch_wrap", BatchWrapRequest, who, documentIds=[]) == {"keys": {}, "failures": {}}
    assert await stage.call("batch_unwrap", BatchUnwrapRequest, who, edeks=[]) == {"keys": {}, "failures": {}}
    assert kms.count() == 0


async def test_a_php_array_is_answered_by_its_indexes(stage):
    made = await wrapped(stage, "plain", 2)

    found = await stage.call("batch_unwrap", BatchUnwrapRequest, "plain", edeks=[each["edek"] for each in made])
    assert found["keys"] == {"0": {"dek": made[0]["dek"]}, "1": {"dek": made[1]["dek"]}}


@pytest.mark.parametrize(
    ("name", "kind", "members"),
    [
        ("batch_wrap", BatchWrapRequest, {"documentIds": ["a", "b", "a"]}),
        ("batch_unwrap", BatchUnwrapRequest, {"edeks": ["a", "b", "c"]}),
        ("report_operations", ReportOperationsRequest, {"operations": {"a": {}, "b": {}, "c": {}}}),
    ],
)
async def test_a_batch_beyond_the_bound_is_refused_with_both_numbers(stage, name, kind, members):
    stage.build(batches=BatchLimits(most_documents=2))

    fault = await refused(stage.call(name, kind, "plain", **members))
    assert fault.code is Code.INVALID_REQUEST_BODY
    assert "3 entries" in fault.message
    assert "at most 2" in fault.message


async def test_only_so_many_kms_calls_of_one_batch_run_together(stage, kms):
    stage.build(batches=BatchLimits(at_once=7))
    with kms.held():
        waiting = stage.start(stage.call("batch_wrap", BatchWrapRequest, "plain", documentIds=list("abcdefghijklmn")))
        await kms.arrived(7)
        await settle()
        assert kms.running == 7
    assert len((await waiting)["keys"]) == 14
    assert kms.most_running == 7


# -- events that the application reports -----------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["plain", "nobody"])
async def test_a_reported_event_is_queued_even_for_an_unknown_tenant(stage, who):
    answer = await stage.call("security_event", SecurityEventRequest, who, event="USER_LOGIN", timestampMillis=1234)

    assert answer is None
    (event,) = await stage.events()
    assert (event.name, event.tenant_id, event.time_ms, event.operation) == ("USER_LOGIN", who, 1234, None)


async def test_a_reported_event_without_a_time_has_the_time_of_its_arrival(stage, clock):
    await stage.call("security_event", SecurityEventRequest, event="USER_LOGIN")

    assert (await stage.events())[0].time_ms == clock.unix_ms()


@pytest.mark.parametrize("members", [{}, {"event": ""}, {"event": None}])
async def test_an_event_without_a_name_is_refused(stage, members):
    assert (await refused(stage.call("security_event", SecurityEventRequest, **members))).code == 102
    assert await stage.events() == []


async def test_a_reported_event_is_refused_when_the_outbox_is_full_and_operations_go_on(stage):
    stage.build(capacity=2)
    for _ in range(5):
        assert await stage.call("wrap", WrapRequest, "plain")

    fault = await refused(stage.call("security_event", SecurityEventRequest, event="USER_LOGIN"))
    assert (fault.code, fault.http_status, fault.retry_after_s) == (Code.SECURITY_EVENT_REJECTED, 422, 1)
    assert stage.outbox.dropped == 4
    assert stage.counter.value("operation", "recorded") == 2
    assert stage.counter.value("operation", "dropped") == 3
    assert stage.counter.value("reported", "dropped") == 1


async def test_reported_counts_become_one_event_for_each_edek(stage):
    made = await wrapped(stage, "leased")
    operations = {made["edek"]: {"wraps": 2, "unwraps": 3}, "junk": {"unwraps": 1}}

    assert await stage.call("report_operations", ReportOperationsRequest, operations=operations) is None
    one, other = await stage.events()
    assert (one.name, one.operation.kms_config_id, one.operation.count) == ("DEK_OPERATIONS", 511, 5)
    assert (one.operation.wraps, one.operation.unwraps) == (2, 3)
    assert (other.operation.kms_config_id, other.operation.wraps, other.operation.unwraps) == (None, 0, 1)


# -- sequences -----------------------------------------------------------------------------------------------------


async def test_sequences_count_for_each_tenant_by_itself(stage):
    for who in ("plain", "leased", "plain", "plain"):
        await stage.call("wrap", WrapRequest, who)

    found = [(each.tenant_id, each.sequence) for each in await stage.events()]
    assert found == [("plain", 1), ("leased", 1), ("plain", 2), ("plain", 3)]


async def test_a_dropped_event_leaves_a_gap_in_its_tenants_sequence(stage):
    stage.build(capacity=2)
    for _ in range(5):
        await stage.call("wrap", WrapRequest, "plain")
    assert [each.sequence for each in await stage.events()] == [1, 2]

    await stage.call("wrap", WrapRequest, "plain")
    assert [each.sequence for each in await stage.events()] == [6]


async def test_made_up_tenants_share_one_sequence_and_fill_no_memory(stage):
    for number in range(50):
        await stage.call("security_event", SecurityEventRequest, f"made-up-{number}", event="X")

    assert [each.sequence for each in await stage.events()] == list(range(1, 51))
    assert len(stage.recorder._sequences) == 1


async def test_ids_of_events_never_repeat(stage):
    from tenant_security.wire.events import event_id

    stage.build(capacity=10_000)
    for _ in range(2_000):
        await stage.call("security_event", SecurityEventRequest, event="X")

    ids = [event_id(each) for each in await stage.events()]
    assert sorted(set(ids)) == ids
