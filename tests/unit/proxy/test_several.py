"""Several KMSs for one tenant: any one of them gives its data back."""

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.leasing import TO_WRAP
from tenant_security.proxy.several import INSTEAD, WITHOUT
from tenant_security.testing.tenants import PlainConfig, tenant, use
from tenant_security.wire import edek
from tenant_security.wire.proxy_api import DeriveRequest

FIRST, SECOND, THIRD = (PlainConfig(number, owner="t") for number in (601, 602, 603))
NAMES = {config.id: f"t/{config.id}" for config in (FIRST, SECOND, THIRD)}
ANSWERS = [Code.KMS_UNWRAP_FAILED, *(code for code in Code if 206 <= code <= 210)]


def several(*, leasing: bool = False, first: bool = True, second: bool = True, spares: tuple[int, ...] = (602, 603)):
    return tenant(
        "t",
        use(FIRST, leasing=leasing, active=first),
        use(SECOND, primary=False, leasing=leasing, active=second),
        use(THIRD, primary=False, leasing=leasing),
        spares=spares,
    )


@pytest.fixture(params=[False, True], ids=["unleased", "leased"])
def leasing(request):
    return request.param


@pytest.fixture
def world(stage, leasing):
    stage.tenants(several(leasing=leasing))
    return stage


def entries(wrapped: bytes) -> tuple[edek.EncryptedDek, ...]:
    """Who can unwrap it: its own entries, or those of its leased key."""
    (first, *_) = found = edek.decode_all(wrapped)
    return edek.decode_all(first.wrapped_lease) if first.leased else found


def forget(stage) -> None:
    """Another process."""
    stage.build()


async def refused(work) -> TenantSecurityError:
    with pytest.raises(TenantSecurityError) as caught:
        await work
    return caught.value


async def test_a_key_gets_an_entry_from_each_kms_the_primary_first(world, leasing):
    made = await world.wrap("t")

    assert [entry.config_id for entry in entries(made.edek)] == [601, 602, 603]
    assert len(edek.decode_all(made.edek)) == 1  # some clients keep one entry only
    assert made.leased is leasing
    assert edek.decode(made.edek).config_id == 601
    assert made.assignment.config is FIRST
    assert world.kms.noted == []


async def test_without_spares_an_edek_is_what_it_always_was(stage):
    stage.tenants(several(spares=()))
    made = await stage.wrap("t")

    assert [entry.config_id for entry in edek.decode_all(made.edek)] == [601]
    assert stage.kms.count() == 1


async def test_the_primary_is_asked_first_and_alone_while_it_answers(world):
    made = await world.wrap("t")
    forget(world)
    before = world.kms.count()

    assert await world.unwrap(made.edek, "t") == made.dek
    assert [call.key for call in world.kms.calls[before:]] == ["t/601"]
    assert world.kms.noted == []


@pytest.mark.parametrize("left", [601, 602, 603])
@pytest.mark.parametrize("code", ANSWERS)
async def test_any_one_kms_alone_gives_the_key_back(world, left, code):
    made = await world.wrap("t")
    forget(world)
    with world.kms.lost(*(name for number, name in NAMES.items() if number != left), code=code):
        assert await world.unwrap(made.edek, "t") == made.dek

    assert world.kms.noted == ([] if left == 601 else [INSTEAD])


async def test_when_none_answers_the_primarys_word_counts(world):
    made = await world.wrap("t")
    forget(world)
    with (
        world.kms.lost("t/601", code=Code.KMS_AUTHORIZATION_FAILED),
        world.kms.lost("t/602", "t/603", code=Code.KMS_UNREACHABLE),
    ):
        assert (await refused(world.unwrap(made.edek, "t"))).code is Code.KMS_AUTHORIZATION_FAILED
        assert (await refused(world.wrap("t"))).code is Code.KMS_AUTHORIZATION_FAILED


@pytest.mark.parametrize("lost", [601, 602])
async def test_a_kms_that_is_away_does_not_stop_the_others_from_wrapping(world, lost):
    with world.kms.lost(NAMES[lost], code=Code.KMS_UNREACHABLE):
        made = await world.wrap("t")

    assert [entry.config_id for entry in entries(made.edek)] == [each for each in NAMES if each != lost]
    assert world.kms.noted == [WITHOUT]
    forget(world)
    assert await world.unwrap(made.edek, "t") == made.dek


async def test_what_one_wrapped_alone_the_others_do_not_unwrap(world):
    with world.kms.lost("t/601", "t/602"):
        made = await world.wrap("t")
    forget(world)

    with world.kms.lost("t/603"):
        assert (await refused(world.unwrap(made.edek, "t"))).code is Code.KMS_UNREACHABLE


async def test_a_config_that_was_disabled_neither_wraps_nor_unwraps_and_the_others_do(world, leasing):
    made = await world.wrap("t")
    world.tenants(several(leasing=leasing, second=False))
    forget(world)

    assert [entry.config_id for entry in entries((await world.wrap("t")).edek)] == [601, 603]
    before = world.kms.count()
    with world.kms.lost("t/601"):
        assert await world.unwrap(made.edek, "t") == made.dek
    assert "t/602" not in {call.key for call in world.kms.calls[before:]}


async def test_data_outlives_the_config_that_it_names_first(world, leasing):
    """The primary is lost for good: its config is taken away, and another becomes the primary."""
    made = await world.wrap("t")
    forget(world)
    world.tenants(tenant("t", use(SECOND, leasing=leasing), use(THIRD, primary=False, leasing=leasing), spares=(603,)))

    assert await world.unwrap(made.edek, "t") == made.dek
    assert await world.unwrap(made.edek, "t") == made.dek
    again = await world.wrap("t", made.dek)
    assert [entry.config_id for entry in entries(again.edek)] == [602, 603]


async def test_when_no_config_of_an_edek_is_left_it_says_so(world, leasing):
    made = await world.wrap("t")
    world.tenants(tenant("t", use(PlainConfig(700, owner="t"), leasing=leasing)))
    forget(world)

    fault = await refused(world.unwrap(made.edek, "t"))
    assert fault.code is Code.KMS_CONFIGURATION_DISABLED
    assert "601" in fault.message


async def test_tenant_secrets_outlive_a_kms_too(stage):
    stage.tenants(several())
    derive = {"secretType": "search", "derivationType": "sha512", "paths": {"p": ["d"]}}
    made = await stage.call("derive", DeriveRequest, "t", **derive)
    forget(stage)

    with stage.kms.lost("t/601"):
        assert await stage.call("derive", DeriveRequest, "t", **derive) == made


# -- leased keys -------------------------------------------------------------------------------------------------------


@pytest.fixture
def leased(stage):
    stage.tenants(several(leasing=True))
    return stage


async def test_a_leased_edek_stays_one_entry_that_any_reader_reads(leased):
    made, other = await leased.wrap("t"), await leased.wrap("t")
    first, second = edek.decode(made.edek), edek.decode(other.edek)

    assert first.wrapped_lease == second.wrapped_lease
    assert len(made.edek) == len(other.edek)
    assert leased.kms.count("wrap") == 3
    parts = edek.leased_parts(made.edek)
    assert parts is not None
    assert (parts.config_id, parts.wrapped_lease) == (601, first.wrapped_lease)


async def test_a_lease_that_another_kms_opened_is_found_at_sight_the_next_time(leased):
    made = await leased.wrap("t")
    forget(leased)
    found = leased.tenant("t")
    wrapped = edek.decode(made.edek).wrapped_lease
    with leased.kms.lost("t/601"):
        await leased.unwrap(made.edek, "t")

    lease = leased.book.pinned_to_unwrap(found, 601, wrapped)
    assert lease is not None
    assert lease.done is not None
    assert lease.done.kms_config_id == 602


async def test_a_lease_without_one_of_its_kmss_is_made_anew_soon(leased):
    with leased.kms.lost("t/602"):
        await leased.wrap("t")
    leased.clock.advance(60)
    await leased.wrap("t")
    while (TO_WRAP, "made") not in leased.seen[1:]:
        await leased.clock.step(0)

    made = await leased.wrap("t")
    assert [entry.config_id for entry in entries(made.edek)] == [601, 602, 603]


async def test_a_lease_ends_when_the_spares_change(leased):
    first = edek.decode((await leased.wrap("t")).edek).wrapped_lease
    leased.tenants(several(leasing=True, spares=(602,)))
    made = await leased.wrap("t")

    assert edek.decode(made.edek).wrapped_lease != first
    assert [entry.config_id for entry in entries(made.edek)] == [601, 602]


async def test_a_lease_stays_while_one_of_its_configs_is_allowed_and_no_longer(leased):
    made = await leased.wrap("t")
    leased.tenants(several(leasing=True, first=False))
    leased.retain()
    before = leased.kms.count()
    assert await leased.unwrap(made.edek, "t") == made.dek
    assert leased.kms.count() == before
    leased.tenants(tenant("t", use(PlainConfig(700, owner="t"), leasing=True)))
    leased.retain()

    assert leased.book.count() == {"wrap": 0, "unwrap": 0}
    assert leased.book._entries == {}


async def test_a_lease_ends_when_the_primary_takes_its_permission_back_and_no_other_gives_it(leased):
    made = await leased.wrap("t")
    leased.clock.advance(500)
    with leased.kms.lost(*NAMES.values(), code=Code.KMS_CONFIGURATION_INVALID):
        await leased.unwrap(made.edek, "t")
        while leased.book.count()["unwrap"]:
            await leased.clock.step(0)
        assert (await refused(leased.unwrap(made.edek, "t"))).code is Code.KMS_CONFIGURATION_INVALID


@pytest.mark.parametrize("place", [0, 1, 2, None])
async def test_a_leased_key_cut_out_of_an_edek_is_not_handed_out(leased, place):
    made = await leased.wrap("t")
    inner = entries(made.edek)
    cut = edek.encode_all(inner if place is None else [inner[place]])

    assert (await refused(leased.unwrap(cut, "t"))).code is Code.INVALID_PROVIDED_EDEK


async def test_an_entry_under_a_leased_key_stands_alone(leased):
    made = await leased.wrap("t")

    assert (await refused(leased.unwrap(made.edek + made.edek, "t"))).code is Code.INVALID_PROVIDED_EDEK


async def test_a_config_that_a_leased_edek_does_not_name_does_not_stand_in_for_it(leased):
    """The EDEK names a config that its leased key has no entry of: it is that config which must be usable."""
    made = edek.decode((await leased.wrap("t")).edek)
    forged = edek.encode(edek.EncryptedDek(made.data, 999, made.lease_id, made.lease_iv, made.wrapped_lease))
    forget(leased)

    fault = await refused(leased.unwrap(forged, "t"))
    assert (fault.code, "999" in fault.message) == (Code.KMS_CONFIGURATION_DISABLED, True)


# -- without leasing ---------------------------------------------------------------------------------------------------


@pytest.fixture
def unleased(stage):
    stage.tenants(several())
    return stage


async def test_a_key_that_is_used_once_is_used_once(unleased):
    """No leasing means that every unwrap asks a KMS, also of what has the form of a leased EDEK."""
    made, other = await unleased.wrap("t"), await unleased.wrap("t")
    assert edek.decode(made.edek).wrapped_lease != edek.decode(other.edek).wrapped_lease
    before = unleased.kms.count("unwrap")
    for _ in range(3):
        assert await unleased.unwrap(made.edek, "t") == made.dek

    assert unleased.kms.count("unwrap") == before + 3
    assert unleased.book.count() == {"wrap": 0, "unwrap": 0}


async def test_an_altered_edek_is_told_from_a_kms_that_fails(unleased):
    made = edek.decode((await unleased.wrap("t")).edek)
    data = made.data[:-1] + bytes([made.data[-1] ^ 1])
    altered = edek.encode(edek.EncryptedDek(data, 601, made.lease_id, made.lease_iv, made.wrapped_lease))
    assert (await refused(unleased.unwrap(altered, "t"))).code is Code.KMS_UNWRAP_FAILED
    forged = edek.encode(edek.EncryptedDek(made.data, 999, made.lease_id, made.lease_iv, made.wrapped_lease))
    assert (await refused(unleased.unwrap(forged, "t"))).code is Code.INVALID_PROVIDED_EDEK


async def test_a_list_of_unleased_entries_is_read_too(unleased):
    alone = {}
    for number in (601, 602):
        unleased.tenants(tenant("t", use(PlainConfig(number, owner="t"))))
        alone[number] = await unleased.wrap("t", bytes(32))
    unleased.tenants(several())
    both = alone[601].edek + alone[602].edek

    assert await unleased.unwrap(both, "t") == bytes(32)
    with unleased.kms.lost("t/601"):
        assert await unleased.unwrap(both, "t") == bytes(32)
