"""Spares: what a record may say of them, and that the vendor's keys or the tenant's have to say it."""

import msgspec
import pytest

from tenant_security.authoring import documents
from tenant_security.authoring.roster import assign
from tenant_security.crypto.signing import Kind
from tenant_security.trust.entries import spares_after, wrong_spares
from tenant_security.wire import snapshot as words

from .conftest import World, config_json

PRIMARY = assign(1, primary=True, leasing=True)
SPARE, OTHER = assign(2, leasing=True), assign(3, leasing=True)
CONFIGS = {number: config_json(f"k{number}") for number in (1, 2, 3, 4, 5)}


def put(world: World, *uses: words.RecordAssignment, spares: tuple[int, ...]) -> None:
    used = {use.config: CONFIGS[use.config] for use in uses}
    world.roster.put_tenant("t", uses, configs=used, spares=spares)


def test_a_tenants_spares_reach_the_proxy_in_their_order(world: World) -> None:
    put(world, PRIMARY, SPARE, OTHER, spares=(3, 2))
    world.write()
    tenant = world.refresh().tenant("t")

    assert tenant is not None
    assert [use.config.id for use in tenant.wrapping] == [1, 3, 2]


def test_a_tenant_without_them_has_a_record_as_it_always_was(world: World) -> None:
    put(world, PRIMARY, SPARE, spares=())
    assert b"spares" not in world.roster.tenants["t"].signed.body
    world.write()
    tenant = world.refresh().tenant("t")

    assert tenant is not None
    assert [use.config.id for use in tenant.wrapping] == [1]


def test_other_spares_are_another_record(world: World) -> None:
    put(world, PRIMARY, SPARE, OTHER, spares=(2,))
    before = world.roster.tenants["t"].record.version
    put(world, PRIMARY, SPARE, OTHER, spares=(2,))
    assert world.roster.tenants["t"].record.version == before
    put(world, PRIMARY, SPARE, OTHER, spares=(3,))
    assert world.roster.tenants["t"].record.version > before


def test_a_spare_that_is_disabled_wraps_nothing(world: World) -> None:
    put(world, PRIMARY, msgspec.structs.replace(SPARE, active=False), OTHER, spares=(2, 3))
    world.write()
    tenant = world.refresh().tenant("t")

    assert tenant is not None
    assert [use.config.id for use in tenant.wrapping] == [1, 3]


@pytest.mark.parametrize(
    ("uses", "spares", "why"),
    [
        ((SPARE, OTHER), (3,), "no primary"),
        ((PRIMARY, SPARE), (2, 2), "twice"),
        ((PRIMARY, SPARE), (1,), "another assigned config"),
        ((PRIMARY, SPARE), (9,), "another assigned config"),
        ((PRIMARY, msgspec.structs.replace(SPARE, leasing=False)), (2,), "without leasing"),
        ((PRIMARY, SPARE, OTHER, assign(4, leasing=True), assign(5, leasing=True)), (2, 3, 4, 5), "more than 3"),
    ],
)
def test_spares_that_make_no_sense_are_not_signed_and_not_believed(world: World, uses, spares, why) -> None:
    with pytest.raises(ValueError, match=why):
        put(world, *uses, spares=spares)
    put(world, *uses, spares=())
    entry = world.roster.tenants["t"]
    forged = documents.sign(Kind.RECORD, msgspec.structs.replace(entry.record, spares=spares), world.vendor.admin)
    world.roster.put_signed(forged, entry.configs.values())
    world.write()

    assert why in world.refresh().quarantined["t"]


def test_when_the_record_falls_back_its_spares_stay_those_in_use(world: World) -> None:
    put(world, PRIMARY, SPARE, OTHER, spares=(2,))
    old = world.write()
    put(world, PRIMARY, SPARE, OTHER, spares=(3,))
    world.write()
    world.refresh()
    world.put([world.lines()[0], *old[1:]])
    found = world.refresh()
    tenant = found.tenant("t")

    assert "t" in found.rollbacks
    assert tenant is not None
    assert tenant.spares == (3,)


def test_a_change_of_assignments_keeps_the_spares_that_still_fit(world: World) -> None:
    put(world, PRIMARY, SPARE, OTHER, spares=(2, 3))
    world.roster.change_assignment("t", 2, leasing=False)

    assert world.roster.tenants["t"].record.spares == (3,)
    assert wrong_spares((PRIMARY, SPARE), (2,)) is None


def test_a_spare_that_becomes_the_primary_changes_places_with_it() -> None:
    before = (PRIMARY, SPARE, OTHER)
    old, new = msgspec.structs.replace(PRIMARY, primary=False), msgspec.structs.replace(SPARE, primary=True)

    assert spares_after(before, (old, new, OTHER), (2, 3)) == (1, 3)
    assert spares_after(before, (msgspec.structs.replace(old, active=False), new, OTHER), (2, 3)) == (3,)
    assert spares_after(before, (new, OTHER), (2, 3)) == (3,)
    assert spares_after(before, (old, SPARE, OTHER), (2, 3)) == ()
    assert spares_after(before, before, (2, 3)) == (2, 3)
