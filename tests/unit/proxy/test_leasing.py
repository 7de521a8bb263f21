"""Leases: one KMS call for many keys, never past their bounds, gone with the right to use them."""

import asyncio

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.keys import Keys
from tenant_security.proxy.leasing import TO_UNWRAP, TO_WRAP, LeaseBook, LeasePolicy
from tenant_security.testing.clock import settle
from tenant_security.testing.tenants import PlainConfig, tenant, use
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek

CONFIG = PlainConfig(511, owner="leased")
LIFE_S = LeasePolicy().life_s
DUE_S = LIFE_S * LeasePolicy().refresh_at
REVOKING = [Code.KMS_AUTHORIZATION_FAILED, Code.KMS_CONFIGURATION_INVALID, Code.KMS_ACCOUNT_ISSUE]
PASSING = [Code.KMS_UNREACHABLE, Code.KMS_THROTTLED, Code.KMS_WRAP_FAILED]


def leased_by(*configs, **more):
    first, *rest = configs
    return tenant("leased", use(first, leasing=True), *(use(each, primary=False) for each in rest), **more)


async def refused(waiting) -> Code:
    with pytest.raises(TenantSecurityError) as caught:
        await waiting
    return caught.value.code


def lease_of(made) -> bytes:
    return edek.decode(made.edek).wrapped_lease


# -- making --------------------------------------------------------------------------------------------------------


async def test_two_hundred_first_wraps_together_cost_one_kms_call(stage, kms):
    made = await asyncio.gather(*(stage.wrap() for _ in range(200)))

    assert [each.operation for each in kms.calls] == ["wrap"]
    assert len({each.dek for each in made}) == len({each.edek for each in made}) == 200
    assert len({lease_of(each) for each in made}) == 1


async def test_a_thousand_wraps_and_unwraps_cost_no_further_call(stage, kms):
    made = [await stage.wrap() for _ in range(1_000)]

    assert [await stage.unwrap(each.edek) for each in made] == [each.dek for each in made]
    assert kms.count() == 1


async def test_the_first_kms_calls_fault_reaches_all_who_waited_and_nobody_later(stage, kms):
    with kms.failing(Code.KMS_AUTHORIZATION_FAILED):
        found = await asyncio.gather(*(stage.wrap() for _ in range(50)), return_exceptions=True)
    assert {each.code for each in found} == {Code.KMS_AUTHORIZATION_FAILED}
    assert kms.count() == 1

    assert (await stage.wrap()).leased


async def test_a_caller_who_leaves_while_the_lease_is_made_takes_nobody_along(stage, kms):
    with kms.held():
        impatient, patient = asyncio.create_task(stage.wrap()), asyncio.create_task(stage.wrap())
        await kms.arrived(1)
        impatient.cancel()
        await settle()
        assert impatient.cancelled()

    assert (await patient).leased
    assert kms.count() == 1


async def test_a_lease_whose_callers_have_all_left_is_there_for_the_next(stage, kms):
    with kms.held():
        gone = asyncio.create_task(stage.wrap())
        await kms.arrived(1)
        gone.cancel()
        await settle()
    await settle()

    assert stage.book.ready(stage.tenant("leased")) is not None


async def test_lease_ids_take_two_bytes_so_that_all_edeks_have_one_length(stage, clock):
    lengths = set()
    for _ in range(50):
        lengths.add(len((await stage.wrap()).edek))
        clock.advance(LIFE_S)

    assert lengths == {195}


async def test_a_lease_shows_the_kms_a_key_it_never_shows_again(stage, kms):
    """The key that wraps DEKs is in the EDEK only as the KMS wrapped it."""
    made = await stage.wrap()
    inner = edek.decode(lease_of(made))

    assert not inner.leased
    assert inner.config_id == 511
    assert len(inner.data) == 113
    key = await kms.as_proxy_calls_it().unwrap("leased", CONFIG, inner.data)
    assert key not in made.edek


# -- renewing ------------------------------------------------------------------------------------------------------


async def test_a_lease_is_renewed_ahead_of_its_end_and_nobody_waits(stage, kms, clock):
    old = await stage.wrap()
    clock.advance(DUE_S)

    with kms.held():
        during = [await asyncio.wait_for(stage.wrap(), 1) for _ in range(10)]
        await kms.arrived(2)
        assert {lease_of(each) for each in during} == {lease_of(old)}
    await settle()

    assert lease_of(await stage.wrap()) != lease_of(old)
    assert kms.count("wrap") == 2


async def test_a_lease_that_nobody_uses_is_not_renewed(stage, kms, clock):
    await stage.wrap()
    clock.advance(DUE_S + 1)
    stage.retain()
    await settle()

    assert kms.count() == 1


async def test_a_lease_never_wraps_past_its_life(stage, clock):
    old = await stage.wrap()
    clock.advance(LIFE_S - 0.001)
    assert stage.book.ready(stage.tenant("leased")) is not None
    clock.advance(0.001)
    assert stage.book.ready(stage.tenant("leased")) is None

    assert lease_of(await stage.wrap()) != lease_of(old)


async def test_a_lease_wraps_exactly_as_often_as_it_may(stage, kms):
    stage.build(leases=LeasePolicy(most_wraps=5))

    leases = [lease_of(each) for each in await asyncio.gather(*(stage.wrap() for _ in range(23)))]
    assert sorted(leases.count(each) for each in set(leases)) == [3, 5, 5, 5, 5]
    assert kms.count("wrap") == 5


async def test_a_policy_beyond_what_random_ivs_bear_is_refused():
    with pytest.raises(ValueError, match=r"2\^32"):
        LeasePolicy(most_wraps=2**32 + 1)


@pytest.mark.parametrize("code", PASSING)
async def test_while_the_kms_is_away_a_lease_serves_to_its_end_and_then_its_fault_is_told(stage, kms, clock, code):
    old = await stage.wrap()
    with kms.failing(code):
        for _ in range(60):
            clock.advance(LIFE_S // 61)
            assert lease_of(await stage.wrap()) == lease_of(old)
            await settle()
        clock.advance(LIFE_S - 60 * (LIFE_S // 61))

        assert await refused(stage.wrap()) is code

    assert lease_of(await stage.wrap()) != lease_of(old)


async def test_while_the_kms_is_away_it_is_asked_again_now_and_then_but_not_by_everyone(stage, kms, clock):
    await stage.wrap()
    clock.advance(DUE_S)
    with kms.failing(Code.KMS_UNREACHABLE):
        for _ in range(100):
            for _ in range(20):
                await stage.wrap()
            await settle()
            clock.advance((LIFE_S - DUE_S) / 101)

    assert 4 <= kms.count() - 1 <= 10


@pytest.mark.parametrize("code", REVOKING)
async def test_a_kms_that_says_no_at_renewal_ends_the_lease_at_once(stage, kms, clock, code):
    made = await stage.wrap()
    clock.advance(DUE_S)
    with kms.failing(code):
        await stage.wrap()
        await settle()

        assert stage.book.count() == {TO_WRAP: 0, TO_UNWRAP: 0}
        assert await refused(stage.wrap()) is code
        assert await refused(stage.unwrap(made.edek)) is code
    assert (TO_WRAP, "revoked") in stage.seen


@pytest.mark.parametrize("code", REVOKING)
async def test_a_kms_that_says_no_ends_a_lease_to_unwrap_too(stage, another_process, kms, clock, code):
    made = await another_process.wrap()
    await stage.unwrap(made.edek)
    clock.advance(DUE_S)
    with kms.failing(code):
        await stage.unwrap(made.edek)
        await settle()

        assert await refused(stage.unwrap(made.edek)) is code
    assert (TO_UNWRAP, "revoked") in stage.seen


@pytest.mark.parametrize("answer", [b"", bytes(31), bytes(33)])
async def test_a_kms_that_returns_a_key_of_another_length_opens_no_lease(stage, another_process, kms, answer):
    made = await another_process.wrap()
    kms.answer = answer

    assert await refused(stage.unwrap(made.edek)) is Code.KMS_UNWRAP_FAILED


async def test_a_kms_that_returns_an_empty_blob_makes_no_lease(stage, kms):
    kms.answer = b""

    assert await refused(stage.wrap()) is Code.KMS_WRAP_FAILED


# -- unwrapping ----------------------------------------------------------------------------------------------------


async def test_another_processs_lease_costs_one_kms_call_for_all_its_edeks(stage, another_process, kms):
    made = [await another_process.wrap() for _ in range(100)]
    before = kms.count()

    found = await asyncio.gather(*(stage.unwrap(each.edek) for each in made))
    assert found == [each.dek for each in made]
    assert [each.operation for each in kms.calls[before:]] == ["unwrap"]
    assert await stage.unwrap(made[7].edek) == made[7].dek
    assert kms.count() == before + 1


async def test_a_lease_to_unwrap_is_renewed_ahead_of_its_end_and_never_used_past_it(stage, another_process, kms, clock):
    made = await another_process.wrap()
    await stage.unwrap(made.edek)
    clock.advance(DUE_S)
    with kms.held():
        assert await asyncio.wait_for(stage.unwrap(made.edek), 1) == made.dek
        await kms.arrived(3)
        clock.advance(LIFE_S - DUE_S)
        late = asyncio.create_task(stage.unwrap(made.edek))
        await settle()
        assert not late.done()
    assert await late == made.dek
    assert kms.count() == 3


async def test_while_the_kms_is_away_leased_data_is_read_to_the_leases_end(stage, another_process, kms, clock):
    made = await another_process.wrap()
    await stage.unwrap(made.edek)
    with kms.failing(Code.KMS_UNREACHABLE):
        clock.advance(LIFE_S - 1)
        assert await stage.unwrap(made.edek) == made.dek
        await settle()
        clock.advance(1)
        assert await refused(stage.unwrap(made.edek)) is Code.KMS_UNREACHABLE


async def test_only_so_many_leases_are_kept_and_the_least_recently_used_goes(stage, another_process, kms, clock):
    stage.build(leases=LeasePolicy(most_unwrapping=3))
    made = []
    for _ in range(4):
        made.append(await another_process.wrap())
        clock.advance(LIFE_S)
    for each in made[:3]:
        await stage.unwrap(each.edek)
    await stage.unwrap(made[0].edek)
    await stage.unwrap(made[3].edek)

    before = kms.count()
    for each in (made[0], made[2], made[3]):
        assert await stage.unwrap(each.edek) == each.dek
    assert kms.count() == before
    await stage.unwrap(made[1].edek)
    assert kms.count() == before + 1
    assert stage.book.count()[TO_UNWRAP] == 3


async def test_a_lease_that_is_leased_itself_is_no_edek(stage):
    made = await stage.wrap()
    twice = edek.encode(EncryptedDek(bytes(48), 511, 640, bytes(12), made.edek))

    assert await refused(stage.unwrap(twice)) is Code.INVALID_PROVIDED_EDEK


@pytest.mark.parametrize("wrapped", [b"junk", b"\x0a\x00", b"\xff"])
def test_a_wrapped_lease_that_is_no_edek_is_refused(wrapped):
    inside = EncryptedDek(bytes(48), 511, 640, bytes(12), wrapped)
    assert edek.decode(edek.encode(inside)) == inside

    with pytest.raises(TenantSecurityError) as caught:
        edek.decode(wrapped)
    assert caught.value.code is Code.INVALID_PROVIDED_EDEK


async def test_an_altered_leased_edek_is_told_apart_from_a_foreign_one(stage):
    entry = edek.decode((await stage.wrap()).edek)
    altered = EncryptedDek(bytes(48), entry.config_id, entry.lease_id, entry.lease_iv, entry.wrapped_lease)

    assert await refused(stage.unwrap(edek.encode(altered))) is Code.KMS_UNWRAP_FAILED


async def test_the_inner_config_must_be_usable_too(stage):
    entry = edek.decode((await stage.wrap()).edek)
    inner = edek.decode(entry.wrapped_lease)
    foreign = edek.encode(EncryptedDek(inner.data, 999))
    mixed = EncryptedDek(entry.data, entry.config_id, entry.lease_id, entry.lease_iv, foreign)

    assert await refused(stage.unwrap(edek.encode(mixed))) is Code.KMS_CONFIGURATION_DISABLED


# -- who may -------------------------------------------------------------------------------------------------------


async def test_two_tenants_that_share_a_config_of_the_vendor_never_share_a_lease(stage, kms):
    shared = PlainConfig(700)
    stage.tenants(tenant("one", use(shared, leasing=True)), tenant("other", use(shared, leasing=True)))

    one, other = await stage.wrap("one"), await stage.wrap("other")
    assert kms.count("wrap") == 2
    assert lease_of(one) != lease_of(other)
    # Both may use the config, so each may unwrap: with a call of its own.
    assert await stage.unwrap(one.edek, "other") == one.dek
    assert kms.count("unwrap") == 1


async def test_a_changed_config_makes_a_new_lease_even_before_anybody_was_told(stage, kms):
    old = await stage.wrap()
    stage.tenants(leased_by(PlainConfig(511, version=2, owner="leased")))

    assert lease_of(await stage.wrap()) != lease_of(old)
    assert await stage.unwrap(old.edek) == old.dek
    assert (kms.count("wrap"), kms.count("unwrap")) == (2, 1)


@pytest.mark.parametrize(
    ("now", "code"),
    {
        "removed": ((), 201),
        "disabled": ((tenant("leased", use(CONFIG, active=False, leasing=True)),), 201),
        "quarantined": ((leased_by(CONFIG, quarantined="its signature"),), 207),
        "moved": ((leased_by(PlainConfig(512, owner="leased")),), 202),
    }.values(),
    ids=["removed", "disabled", "quarantined", "moved"],
)
async def test_a_lease_is_of_no_use_once_its_config_may_not_be_used(stage, now, code):
    made = await stage.wrap()
    stage.tenants(*now)

    with pytest.raises(TenantSecurityError) as caught:
        await stage.unwrap(made.edek)
    assert caught.value.code == code
    assert stage.book.count() == {TO_WRAP: 1, TO_UNWRAP: 1}
    stage.retain()
    assert stage.book.count() == {TO_WRAP: 0, TO_UNWRAP: 0}


async def test_a_lease_stays_while_its_config_may_be_used(stage, kms):
    made = await stage.wrap()
    stage.tenants(leased_by(CONFIG, PlainConfig(600, owner="leased")))
    stage.retain()

    assert lease_of(await stage.wrap()) == lease_of(made)
    assert kms.count() == 1


async def test_leases_that_ran_out_are_dropped_when_the_book_is_swept(stage, clock):
    await stage.wrap()
    clock.advance(LIFE_S)
    stage.retain()

    assert stage.book.count() == {TO_WRAP: 0, TO_UNWRAP: 0}


async def test_a_lease_that_was_being_made_for_an_old_config_is_not_used_for_the_new_one(stage, kms):
    with kms.held():
        early = asyncio.create_task(stage.wrap())
        await kms.arrived(1)
        stage.tenants(leased_by(PlainConfig(511, version=2, owner="leased")))
        stage.retain()
        late = asyncio.create_task(stage.wrap())
        await kms.arrived(2)
    one, other = await early, await late

    assert lease_of(one) != lease_of(other)
    assert kms.count("wrap") >= 2
    latest = await stage.wrap()
    assert latest.assignment.config.version == 2


# -- what the hot path may take --------------------------------------------------------------------------------------


async def test_a_lease_is_pinned_only_for_the_very_entry_it_was_checked_with(stage):
    entry = stage.tenant("leased")
    assert stage.book.pinned_to_wrap(entry) is None
    made = await stage.wrap()
    wrapped = lease_of(made)
    assert stage.book.pinned_to_wrap(entry) is not None
    assert stage.book.pinned_to_unwrap(entry, 511, wrapped) is not None
    assert stage.book.pinned_to_unwrap(entry, 512, wrapped) is None

    stage.tenants(leased_by(CONFIG))
    again = stage.tenant("leased")
    assert stage.book.pinned_to_wrap(again) is None
    assert stage.book.pinned_to_unwrap(again, 511, wrapped) is None
    await stage.unwrap(made.edek)
    assert stage.book.pinned_to_unwrap(again, 511, wrapped) is not None
    assert stage.book.pinned_to_wrap(again) is None
    await stage.wrap()
    assert stage.book.pinned_to_wrap(again) is not None


async def test_a_lease_that_is_due_or_used_up_is_not_pinned(stage, clock):
    stage.build(leases=LeasePolicy(most_wraps=2))
    entry = stage.tenant("leased")
    made = await stage.wrap()
    assert stage.book.pinned_to_wrap(entry) is not None
    await stage.wrap()
    assert stage.book.pinned_to_wrap(entry) is None
    assert stage.book.pinned_to_unwrap(entry, 511, lease_of(made)) is not None

    clock.advance(DUE_S)
    assert stage.book.pinned_to_unwrap(entry, 511, lease_of(made)) is None


async def test_a_lease_is_renewed_before_its_wraps_run_out_and_nobody_waits(stage, kms):
    stage.build(leases=LeasePolicy(most_wraps=10))
    await stage.wrap()
    with kms.held():
        for _ in range(9):
            await stage.wrap()
        await kms.arrived(2)
    await settle()

    assert kms.count("wrap") == 2
    assert stage.book.pinned_to_wrap(stage.tenant("leased")) is None
    await stage.wrap()
    assert kms.count("wrap") == 2


async def test_a_refusal_to_open_a_leased_key_ends_wrapping_under_it_too(stage, kms):
    stage.build(leases=LeasePolicy(most_unwrapping=1))
    made = await stage.wrap()
    other = await another_lease(stage)
    await stage.unwrap(other)  # the book has room for one: the first lease is forgotten, for unwrapping
    with kms.failing(Code.KMS_CONFIGURATION_INVALID):
        assert await refused(stage.unwrap(made.edek)) is Code.KMS_CONFIGURATION_INVALID

    before = kms.count("wrap")
    again = await stage.wrap()
    assert kms.count("wrap") == before + 1
    assert lease_of(again) != lease_of(made)


async def another_lease(stage) -> bytes:
    """An EDEK of the same tenant under a lease of another process."""
    elsewhere = LeaseBook(stage.kms.as_proxy_calls_it(), LeasePolicy(), stage.start, clock=stage.clock)
    keys = Keys(lambda: stage.directory, elsewhere, stage.kms.as_proxy_calls_it())
    return (await keys.wrap(stage.tenant("leased"))).edek


async def test_a_leased_key_is_not_handed_out_as_if_it_were_a_dek(stage):
    made = await stage.wrap()

    assert await refused(stage.unwrap(lease_of(made))) is Code.INVALID_PROVIDED_EDEK
