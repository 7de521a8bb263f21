"""Which fault comes first, which config wraps, and that a DEK survives every way it can take."""

import itertools

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError
from tenant_security.testing.tenants import PlainConfig, tenant, use
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek

PLAIN, LEASED = PlainConfig(510, owner="plain"), PlainConfig(511, owner="leased")
JUNK = "not an EDEK"


async def refused(waiting) -> TenantSecurityError:
    with pytest.raises(TenantSecurityError) as caught:
        await waiting
    return caught.value


def known(stage, described):
    stage.tenants(described)
    return stage.tenant(described.id)


@pytest.mark.parametrize(
    "described",
    [(), (tenant("t"),), (tenant("t", use(PLAIN, active=False)),), (tenant("other", use(PLAIN)),)],
    ids=["nobody", "no config", "all disabled", "another"],
)
def test_a_tenant_without_an_active_config_is_unknown(stage, described):
    stage.tenants(*described)

    with pytest.raises(TenantSecurityError, match="No configurations available for the provided tenant") as caught:
        stage.tenant("t")
    assert caught.value.code is Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS


@pytest.mark.parametrize("uses", [(), (use(PLAIN),)])
def test_a_tenant_whose_entry_cannot_be_trusted_answers_207_and_says_why(stage, uses):
    stage.tenants(tenant("t", *uses, quarantined="its record is not signed"))

    with pytest.raises(TenantSecurityError, match="its record is not signed") as caught:
        stage.tenant("t")
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID


@pytest.mark.parametrize("primary_is_disabled", [True, False])
async def test_without_an_active_primary_nothing_wraps_and_everything_unwraps(stage, primary_is_disabled):
    made = await stage.wrap("plain")
    old, other = use(PLAIN, primary=False), use(PlainConfig(600), primary=primary_is_disabled, active=False)
    found = known(stage, tenant("plain", old, other))

    assert (await refused(stage.keys.wrap(found))).code is Code.NO_PRIMARY_KMS_CONFIGURATION
    assert await stage.unwrap(made.edek, "plain") == made.dek


async def test_leasing_that_is_required_but_not_allowed_is_a_fault_that_says_what_to_do(stage):
    made = await stage.wrap("plain")
    found = known(stage, tenant("plain", use(PLAIN), leasing_required=True))

    fault = await refused(stage.keys.wrap(found))
    assert fault.code is Code.KMS_CONFIGURATION_INVALID
    assert "allow leasing" in fault.message
    assert await stage.unwrap(made.edek, "plain") == made.dek


async def test_an_unparsable_edek_is_told_before_its_config_and_after_the_tenant(stage):
    with pytest.raises(TenantSecurityError) as caught:
        await stage.keys.unwrap(stage.tenant("nobody"), JUNK)
    assert caught.value.code is Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS
    assert (await refused(stage.keys.unwrap(stage.tenant("plain"), JUNK))).code is Code.INVALID_PROVIDED_EDEK


@pytest.mark.parametrize(("config", "why"), [(999, "is not assigned to tenant plain"), (600, "is disabled")])
async def test_an_edek_of_a_config_that_may_not_be_used_is_202_and_asks_no_kms(stage, kms, config, why):
    found = known(stage, tenant("plain", use(PLAIN), use(PlainConfig(600), primary=False, active=False)))

    fault = await refused(stage.keys.unwrap_entries(found, [EncryptedDek(b"blob", config)]))
    assert fault.code is Code.KMS_CONFIGURATION_DISABLED
    assert why in fault.message
    assert kms.count() == 0


async def test_another_tenants_edek_is_202_whatever_the_kms_would_say(stage, kms):
    for one, other in itertools.permutations(["plain", "leased"]):
        made = await stage.wrap(one)
        before = kms.count()
        fault = await refused(stage.unwrap(made.edek, other))
        assert fault.code is Code.KMS_CONFIGURATION_DISABLED
        assert kms.count() == before


async def test_a_blob_that_the_kms_does_not_know_is_205(stage):
    found = stage.tenant("plain")

    fault = await refused(stage.keys.unwrap_entries(found, [EncryptedDek(bytes(113), 510)]))
    assert fault.code is Code.KMS_UNWRAP_FAILED
    assert "Code: BadParameter" in fault.message


@pytest.mark.parametrize("code", [code for code in Code if 204 <= code <= 210])
async def test_what_the_kms_says_is_what_the_caller_hears(stage, kms, code):
    made = await stage.wrap("plain")
    with kms.failing(code):
        assert (await refused(stage.wrap("plain"))).code is code
        assert (await refused(stage.unwrap(made.edek, "plain"))).code is code


async def test_a_kms_that_fails_once_is_asked_once_more(stage, kms):
    fault = KmsFaultError(Code.KMS_UNREACHABLE, "The KMS is down.", provider="scripted", once_more=True)
    with kms.failing(fault):
        assert (await refused(stage.wrap("plain"))).code is Code.KMS_UNREACHABLE

    assert kms.count() == 2


async def test_every_wrap_makes_a_dek_of_its_own(stage):
    made = [await stage.wrap(which) for which in ("plain", "leased") for _ in range(50)]

    assert len({each.dek for each in made}) == len({each.edek for each in made}) == 100
    assert {len(each.dek) for each in made} == {32}


async def test_ivs_of_one_lease_never_repeat(stage):
    ivs = {edek.decode((await stage.wrap()).edek).lease_iv for _ in range(5_000)}

    assert len(ivs) == 5_000


@pytest.mark.parametrize("who", ["plain", "leased"])
async def test_a_dek_that_is_given_is_the_one_that_is_wrapped(stage, who):
    dek = bytes(range(32))
    made = await stage.wrap(who, dek)

    assert made.dek == dek
    assert await stage.unwrap(made.edek, who) == dek
    assert made.edek != (await stage.wrap(who, dek)).edek


async def test_an_edek_names_the_primary_of_its_time_and_the_new_primary_wraps_from_then_on(stage):
    old = await stage.wrap("plain")
    new = PlainConfig(600, owner="plain")
    stage.tenants(tenant("plain", use(PLAIN, primary=False), use(new)))
    made = await stage.wrap("plain")

    assert edek.decode(old.edek).config_id == 510
    assert edek.decode(made.edek).config_id == 600
    assert await stage.unwrap(old.edek, "plain") == old.dek
    assert await stage.unwrap(made.edek, "plain") == made.dek


@pytest.mark.parametrize("who", ["plain", "leased"])
async def test_what_one_process_wrapped_another_unwraps(stage, another_process, who):
    made = await stage.wrap(who)

    assert await another_process.unwrap(made.edek, who) == made.dek


@pytest.mark.parametrize("who", ["plain", "leased"])
async def test_no_edek_of_ours_looks_like_alloys_own(stage, who):
    for _ in range(100):
        made = (await stage.wrap(who)).edek
        assert not (made[5] == 0 and made[4] >> 4 in (0, 4, 8) and made[4] & 15 in (0, 1, 2))
