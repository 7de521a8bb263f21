"""The hot path answers only what the other way would have answered, and records the same."""

import asyncio
import tempfile
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_security.errors import TenantSecurityError
from tenant_security.proxy.fastpath import FastPath
from tenant_security.proxy.leasing import LeasePolicy
from tenant_security.testing.clock import SteppingClock, settle
from tenant_security.testing.scripted_kms import ScriptedKms
from tenant_security.testing.tenants import PlainConfig, tenant, use
from tenant_security.wire.proxy_api import (
    BatchUnwrapRequest,
    BatchWrapRequest,
    DeriveRequest,
    UnwrapRequest,
    WrapRequest,
)

CONFIG, OTHER = PlainConfig(511, owner="leased"), PlainConfig(600, owner="leased")
KINDS = {
    "wrap": WrapRequest,
    "unwrap": UnwrapRequest,
    "batch_wrap": BatchWrapRequest,
    "batch_unwrap": BatchUnwrapRequest,
    "derive": DeriveRequest,
}


def hot(stage, most=100):
    """The hot path over the stage's parts; it sees the directory as it is at each call."""
    book, secrets, recorder = stage.book, stage.secrets, stage.recorder

    class Refresher:
        current = property(lambda _: stage.directory)

    return FastPath(Refresher(), book, secrets, recorder, most_documents=most)


def body(who, **members):
    return msgspec.json.encode({"tenantId": who, "iclFields": {"requestingId": "me"}, **members})


async def test_it_leaves_the_first_wrap_to_the_other_way_and_takes_the_next(stage):
    fast = hot(stage)
    assert fast.wrap(body("leased"), "ray") is None
    await stage.call("wrap", WrapRequest)

    found = msgspec.json.decode(fast.wrap(body("leased"), "ray"))
    assert await stage.call("unwrap", UnwrapRequest, encryptedDocumentKey=found["edek"]) == {"dek": found["dek"]}


@pytest.mark.parametrize(
    "sent", [b"", b"{}", b"junk", b"\xff", b"[" * 100_000, body("nobody"), body("plain"), body("leased")[:-1]]
)
async def test_whatever_it_does_not_recognise_it_leaves_alone(stage, sent):
    await stage.call("wrap", WrapRequest, "leased")
    await stage.call("wrap", WrapRequest, "plain")
    await stage.events()

    fast = hot(stage)
    assert [answer(sent, "ray") for _, answer in fast.answers().values()] == [None] * 5
    assert await stage.events() == []


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_out_of_its_bounds_goes_the_other_way(stage, count):
    made = await stage.call("wrap", WrapRequest)
    ids = [str(number) for number in range(count)]
    fast = hot(stage)

    assert fast.batch_wrap(body("leased", documentIds=ids), "ray") is None
    assert fast.batch_unwrap(body("leased", edeks=dict.fromkeys(ids, made["edek"])), "ray") is None


async def test_a_lease_with_too_few_wraps_left_serves_no_batch_by_halves(stage):
    stage.build(leases=LeasePolicy(most_wraps=5))
    fast = hot(stage)
    await stage.call("wrap", WrapRequest)

    assert fast.batch_wrap(body("leased", documentIds=list("abcde")), "ray") is None
    assert fast.batch_wrap(body("leased", documentIds=list("abcd")), "ray") is not None
    assert fast.wrap(body("leased"), "ray") is None


@pytest.mark.parametrize("second", ["AAAA", "", "é", None])
async def test_a_batch_with_one_edek_that_it_does_not_know_goes_the_other_way_whole(stage, another_process, second):
    made = await stage.call("wrap", WrapRequest)
    foreign = (await another_process.call("wrap", WrapRequest))["edek"]
    fast = hot(stage)
    await stage.events()

    assert fast.batch_unwrap(body("leased", edeks=[made["edek"], second or foreign]), "ray") is None
    assert await stage.events() == []
    assert fast.batch_unwrap(body("leased", edeks=[made["edek"]] * 2), "ray") is not None


STATES = st.sampled_from(["leasing", "leasing", "unleased", "not primary", "other primary", "disabled", "new version",
                          "quarantined", "removed", "must lease"])  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.sampled_from(sorted(KINDS))),
        st.tuples(st.just("call"), st.sampled_from(sorted(KINDS))),
        st.tuples(st.just("time"), st.sampled_from([1.0, 61.0, 480.0, 600.0])),
        st.tuples(st.just("state"), STATES),
        st.tuples(st.just("told"), st.none()),
    ),
    min_size=4,
    max_size=25,
)


def described(state):
    leasing = state not in {"unleased", "must lease"}
    config = PlainConfig(511, version=2, owner="leased") if state == "new version" else CONFIG
    primary = state not in {"not primary", "other primary"}
    uses = [use(config, active=state != "disabled", primary=primary, leasing=leasing)]
    if state == "other primary":
        uses.append(use(OTHER, leasing=True))
    return tenant(
        "leased",
        *uses,
        leasing_required=state == "must lease",
        quarantined="altered" if state == "quarantined" else None,
    )


def shape(answer):
    if isinstance(answer, dict):
        return {name: shape(each) for name, each in answer.items() if name not in {"dek", "edek"}}
    return [shape(each) for each in answer] if isinstance(answer, list) else answer


@settings(max_examples=150)
@given(steps=STEPS)
def test_it_never_answers_what_the_other_way_would_refuse_or_record_otherwise(make_stage, steps):
    async def go():
        with tempfile.TemporaryDirectory() as directory:
            stage = make_stage(ScriptedKms(), SteppingClock(), Path(directory) / "secrets.sqlite")
            try:
                await play(stage, steps)
            finally:
                await stage.end()

    asyncio.run(go())


async def play(stage, steps):
    fast = hot(stage)
    made = (await stage.call("wrap", WrapRequest))["edek"]
    members = {
        "wrap": {},
        "unwrap": {"encryptedDocumentKey": made},
        "batch_wrap": {"documentIds": ["a", "b", "a"]},
        "batch_unwrap": {"edeks": {"a": made, "b": made}},
        "derive": {"paths": {"s": ["p", "q"]}, "derivationType": "sha512", "secretType": "deterministic"},
    }
    await stage.events()
    for step, which in steps:
        match step:
            case "time":
                stage.clock.advance(which)
            case "told":
                stage.retain()
            case "state":
                stage.tenants(*([] if which == "removed" else [described(which)]))
            case "call":
                quick = getattr(fast, which)(body("leased", **members[which]), "ray")
                quick_events = await stage.events()
                try:
                    slow = await stage.call(which, KINDS[which], "leased", **members[which])
                except TenantSecurityError:
                    slow = None
                await settle()
                slow_events = await stage.events()
                if quick is None:
                    assert quick_events == []
                else:
                    assert slow is not None, "only the hot path answered"
                    assert shape(msgspec.json.decode(quick)) == shape(slow)
                    assert [each.operation for each in quick_events] == [each.operation for each in slow_events]
                    assert [each.name for each in quick_events] == [each.name for each in slow_events]


def test_the_bound_of_one_batch_is_the_smaller_of_the_two():
    most = FastPath(SimpleNamespace(), None, None, None, most_documents=10**9)._most

    assert 0 < most <= 10_000
