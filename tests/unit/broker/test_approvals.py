"""Where a tenant wants a second person, no way leads around one."""

import asyncio

import msgspec
import pytest
from tests.unit.broker.browser import Browser
from tests.unit.broker.inhabited import VENDOR, inhabited
from tests.unit.broker.test_tenant_documents import assignments, authors_of

from tenant_security.authoring.roster import assign
from tenant_security.broker import audit_log
from tenant_security.crypto.signing import SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.outbound.broker import HeldError, ask
from tenant_security.wire.broker_api import TenantChange

TENANT = f"{VENDOR}/tenants/a"


@pytest.fixture
async def town(world):
    await world.tenant("a")
    async with inhabited(world) as made:
        yield made
    async with world.database.read() as connection:
        assert await audit_log.verify(connection, "acme") is None


@pytest.fixture
async def pair(town):
    """Two people of the tenant, with the rule in force."""
    ann = await town.person("ann@example.com", "owner", "a")
    alone = await ann.put(f"{TENANT}/approval-rule", {"required": True})
    assert (alone.status, "two people" in alone.json["message"]) == (422, True)
    bob = await town.person("bob@example.com", "admin", "a")
    assert (await ann.put(f"{TENANT}/approval-rule", {"required": True})).status == 204
    assert (await ann.get(f"{TENANT}/approval-rule")).json == {"required": True}
    return ann, bob


async def change_of(world, number, *, base=0, version=0, **more):
    return TenantChange(world.record("a", assign(number, primary=True), version=version), base, **more)


async def with_config(world):
    number = await world.number()
    return number, await change_of(world, number, configs=(world.config(number, "a"),))


async def test_a_change_waits_until_somebody_else_approves(town, pair):
    ann, bob = pair
    number, change = await with_config(town.world)
    waits = await ann.put(f"{TENANT}/documents", change)
    assert waits.status == 202
    approval = waits.json["approval"]
    assert await assignments(town.world) == {}
    (line,) = (await bob.get(f"{TENANT}/approvals?state=waiting")).json
    assert (line["id"], line["createdBy"]["name"]) == (approval, "Ann")
    assert line["summary"].startswith(f"config {number} (LOCAL), assignments")
    whole = (await bob.get(f"{TENANT}/approvals/{approval}")).json
    assert msgspec.convert(whole["change"], TenantChange) == change

    own = await ann.post(f"{TENANT}/approvals/{approval}/approve")
    assert (own.status, "somebody else" in own.json["message"]) == (403, True)
    assert (await bob.post(f"{TENANT}/approvals/{approval}/approve")).status == 204
    assert await assignments(town.world) == {number: (True, True, False)}
    assert (await bob.post(f"{TENANT}/approvals/{approval}/approve")).status == 422
    (line,) = (await bob.get(f"{TENANT}/approvals")).json
    assert (line["state"], line["decidedBy"]["name"]) == ("approved", "Bob")


async def test_the_command_line_and_the_bridge_wait_too(town, pair):
    _, bob = pair
    number, change = await with_config(town.world)
    answer = await town.made.ask(town.world.vendor.admin, "PUT", f"{TENANT}/documents", change)
    assert answer.status == 202
    approval = msgspec.json.decode(answer.body)["approval"]
    path = f"{TENANT}/approvals/{approval}/approve"
    assert (await town.made.ask(town.world.vendor.admin, "POST", path)).status == 403
    owner = await town.person("owner@example.com")
    refused = await owner.post(path)
    assert (refused.status, "somebody of the tenant" in refused.json["message"]) == (403, True)
    assert (await bob.post(path)).status == 204
    assert await assignments(town.world) == {number: (True, True, False)}


async def test_whose_key_signed_a_change_does_not_approve_it(town, pair):
    ann, bob = pair
    assert (await bob.make_keys("bob@example.com")).status == 204
    town.world.vendor.add_author(bob.key.public, "Bob", tenant="a", may=authors_may())
    await town.world.publish()
    number = await town.world.number()
    record = town.world.record("a", assign(number, primary=True), key=bob.key)
    change = TenantChange(record, 0, None, (town.world.config(number, "a", key=bob.key),))
    approval = (await ann.put(f"{TENANT}/documents", change)).json["approval"]
    assert (await bob.post(f"{TENANT}/approvals/{approval}/approve")).status == 403
    assert (await bob.post(f"{TENANT}/approvals/{approval}/refuse")).status == 204
    assert (await bob.get(f"{TENANT}/approvals/{approval}")).json["state"] == "refused"


def authors_may():
    from tenant_security.wire import snapshot as words

    return (words.May.RECORD, words.May.CONFIG)


async def test_what_could_not_be_done_is_refused_at_once_and_leaves_nothing(town, pair):
    ann, _ = pair
    stranger = SigningKey(new_seed())
    number = await town.world.number()
    bad = TenantChange(town.world.record("a", assign(number), key=stranger), 0)
    assert (await ann.put(f"{TENANT}/documents", bad)).status == 422
    stale = await change_of(town.world, number, base=7)
    assert (await ann.put(f"{TENANT}/documents", stale)).status == 409
    assert (await ann.get(f"{TENANT}/approvals")).json == []


async def test_signers_and_leasing_wait_and_destinations_for_logs_do_not(town, pair):
    ann, bob = pair
    number, change = await with_config(town.world)
    approval = (await ann.put(f"{TENANT}/documents", change)).json["approval"]
    assert (await bob.post(f"{TENANT}/approvals/{approval}/approve")).status == 204
    base = town.world.now_s
    sink = await town.world.number()
    logs = await change_of(
        town.world, number, base=base, version=base + 1, configs=(town.world.config(sink, "a", kind="sink"),)
    )
    assert (await ann.put(f"{TENANT}/documents", logs)).status == 204
    base += 1
    same = assign(number, primary=True)
    for record, authors in (
        (town.world.record("a", same, version=base + 1), authors_of(town.world, "a", SigningKey(new_seed()))),
        (town.world.record("a", same, version=base + 1, leasing_required=True), None),
        (town.world.record("a", version=base + 1), None),
    ):
        answer = await ann.put(f"{TENANT}/documents", TenantChange(record, base, authors))
        assert answer.status in (202, 422), answer
        assert (answer.status == 202) or "leasing" in answer.json["message"].lower()


async def test_a_second_way_to_the_data_waits_too(town, pair):
    ann, bob = pair
    one, other = await town.world.number(), await town.world.number()
    both = (assign(one, primary=True), assign(other))
    configs = (town.world.config(one, "a"), town.world.config(other, "a"))
    first = TenantChange(town.world.record("a", *both), 0, configs=configs)
    approval = (await ann.put(f"{TENANT}/documents", first)).json["approval"]
    assert (await bob.post(f"{TENANT}/approvals/{approval}/approve")).status == 204
    base = town.world.now_s
    spare = TenantChange(town.world.record("a", *both, version=base + 1, spares=(other,)), base)
    waits = await ann.put(f"{TENANT}/documents", spare)
    assert waits.status == 202, waits
    line = (await bob.get(f"{TENANT}/approvals/{waits.json['approval']}")).json
    assert line["summary"] == f"spares {other}"
    assert (await bob.post(f"{TENANT}/approvals/{waits.json['approval']}/approve")).status == 204
    without = TenantChange(town.world.record("a", *both, version=base + 2), base + 1)
    assert (await ann.put(f"{TENANT}/documents", without)).status == 202


async def test_the_rule_itself_is_lifted_by_two(town, pair):
    ann, bob = pair
    waits = await ann.put(f"{TENANT}/approval-rule", {"required": False})
    assert waits.status == 202
    assert (await ann.get(f"{TENANT}/approval-rule")).json == {"required": True}
    path = f"{TENANT}/approvals/{waits.json['approval']}"
    assert (await ann.post(f"{path}/approve")).status == 403
    assert (await bob.post(f"{path}/else")).status == 404
    assert (await bob.post(f"{path}/approve")).status == 204
    assert (await ann.get(f"{TENANT}/approval-rule")).json == {"required": False}
    _, change = await with_config(town.world)
    assert (await ann.put(f"{TENANT}/documents", change)).status == 204


async def test_what_waits_becomes_void_and_what_was_overtaken_is_a_conflict(town, pair):
    ann, bob = pair
    _, change = await with_config(town.world)
    first = (await ann.put(f"{TENANT}/documents", change)).json["approval"]
    second = (await ann.put(f"{TENANT}/documents", change)).json["approval"]
    assert (await bob.post(f"{TENANT}/approvals/{first}/approve")).status == 204
    assert (await bob.post(f"{TENANT}/approvals/{second}/approve")).status == 409
    assert (await bob.get(f"{TENANT}/approvals/{second}")).json["state"] == "waiting"
    town.world.now_s += 7 * 86_400
    assert (await bob.sign_in()).status == 200
    assert (await bob.post(f"{TENANT}/approvals/{second}/approve")).status in (409, 422)
    assert (await bob.get(f"{TENANT}/approvals?state=expired")).json[0]["id"] == second


async def test_of_two_who_approve_at_once_one_does(town, pair):
    ann, bob = pair
    eve = await town.person("eve@example.com", "admin", "a")
    _, change = await with_config(town.world)
    approval = (await ann.put(f"{TENANT}/documents", change)).json["approval"]
    said = await asyncio.gather(*(each.post(f"{TENANT}/approvals/{approval}/approve") for each in (bob, eve)))
    assert sorted(each.status for each in said) == [204, 422]


async def test_an_auditor_decides_nothing(town, pair):
    ann, _ = pair
    auditor = await town.person("audit@example.com", "auditor", "a")
    _, change = await with_config(town.world)
    approval = (await ann.put(f"{TENANT}/documents", change)).json["approval"]
    assert (await auditor.get(f"{TENANT}/approvals/{approval}")).status == 200
    assert (await auditor.post(f"{TENANT}/approvals/{approval}/approve")).status == 403
    assert (await Browser(town.made).get(f"{TENANT}/approvals")).status == 401


async def test_a_tenant_without_people_is_looked_after_by_two_of_the_vendor(town):
    ann, bob = await town.person("ann@example.com"), await town.person("bob@example.com", "admin")
    assert (await ann.put(f"{TENANT}/approval-rule", {"required": True})).status == 204
    _, change = await with_config(town.world)
    approval = (await ann.put(f"{TENANT}/documents", change)).json["approval"]
    assert (await ann.post(f"{TENANT}/approvals/{approval}/approve")).status == 403
    assert (await bob.post(f"{TENANT}/approvals/{approval}/approve")).status == 204


async def test_a_command_line_hears_that_its_change_waits(town, pair):  # noqa: ARG001 - the rule must be there
    _, change = await with_config(town.world)
    account = town.made.account(town.world.vendor.admin)
    with pytest.raises(HeldError, match="a second person: the change waits"):
        await town.made.run(ask(account, "PUT", f"{TENANT}/documents", type(None), body=change))
