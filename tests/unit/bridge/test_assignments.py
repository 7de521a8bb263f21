import asyncio

import msgspec

from tenant_security.authoring.roster import assign
from tenant_security.broker import vendors
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import TenantDocuments

from .conftest import Desk


async def record(desk: Desk, tenant: str = "t-1") -> words.TenantRecord:
    answer = await desk.broker.ask(desk.world.vendor.admin, "GET", f"/api/1/vendors/acme/tenants/{tenant}/documents")
    signed = msgspec.json.decode(answer.body, type=TenantDocuments).record
    assert signed is not None
    assert signed.key == SigningKey(desk.credentials.signing_seed).key_id
    return words.decode(words.TenantRecord, signed.body)


async def test_an_assignment_begins_active_and_not_primary(desk: Desk) -> None:
    number = await desk.config()
    await desk.tenant()
    made = await desk.good("POST", f"/1/kms/configs/{number}/tenants/t-1")
    assert (made["kmsConfigId"], made["tenantId"], made["active"], made["primary"]) == (number, "t-1", True, False)
    assert (await record(desk)).assignments == (assign(number),)
    assert await desk.good("GET", f"/1/kms/configs/{number}/tenants/t-1") == made
    again = await desk.good("POST", f"/1/kms/configs/{number}/tenants/t-1")
    assert again == made


async def test_a_new_primary_ends_the_old_one(desk: Desk) -> None:
    first, second = await desk.config(), await desk.config()
    await desk.tenant()
    for number in (first, second):
        await desk.good("POST", f"/1/kms/configs/{number}/tenants/t-1")
        await desk.good("PUT", f"/1/kms/configs/{number}/tenants/t-1", {"primary": True})
    assert {each.config: each.primary for each in (await record(desk)).assignments} == {first: False, second: True}
    assert (await desk.good("GET", "/1/tenants/t-1"))["primaryKmsConfigId"] == second
    primary = await desk.good("GET", "/1/tenants/t-1/assignments?status=primary")
    assert [each["kmsConfigId"] for each in primary["result"]] == [second]


async def test_only_what_is_active_can_be_primary(desk: Desk) -> None:
    number = await desk.config()
    await desk.tenant()
    path = f"/1/kms/configs/{number}/tenants/t-1"
    await desk.good("POST", path)
    await desk.refused(400, "PUT", path, {"active": False, "primary": True})
    await desk.good("PUT", path, {"active": False})
    assert "not active" in await desk.refused(400, "PUT", path, {"primary": True})
    await desk.good("PUT", path, {"active": True, "primary": True})
    assert "not active" in await desk.refused(400, "PUT", path, {"active": False})


async def test_what_does_not_exist_is_a_bad_request(desk: Desk) -> None:
    number = await desk.config()
    await desk.tenant()
    for method, body in (("GET", None), ("PUT", {"active": True}), ("DELETE", None)):
        await desk.refused(400, method, f"/1/kms/configs/{number}/tenants/t-1", body)
        await desk.refused(400, method, f"/1/kms/configs/{number}/tenants/nobody", body)
    await desk.refused(400, "POST", f"/1/kms/configs/{number}/tenants/nobody")
    await desk.refused(400, "POST", "/1/kms/configs/999/tenants/t-1")


async def test_a_tenant_with_configs_of_its_own_is_left_to_its_own_people(desk: Desk) -> None:
    own = SigningKey(new_seed())
    world = desk.world
    number = await desk.config()
    await desk.tenant()
    may = (words.May.RECORD, words.May.CONFIG)
    authors = words.TenantAuthors("acme", "t-1", 1, (words.TenantAuthor(own.public, "Tina", may),))
    signed = words.Signed(
        body=words.encode(authors),
        key=world.vendor.admin.key_id,
        sig=world.vendor.admin.sign(Kind.AUTHORS, words.encode(authors)),
    )
    await world.with_config("t-1", key=own, authors=signed)
    assert "own people" in await desk.refused(400, "POST", f"/1/kms/configs/{number}/tenants/t-1")
    assert (await desk.good("GET", "/1/tenants/t-1"))["tenantCreatedConfigs"] is True


async def test_leasing_is_signed_into_the_record_of_everybody_who_uses_the_config(desk: Desk) -> None:
    number = await desk.config()
    for tenant in ("t-1", "t-2"):
        await desk.tenant(tenant)
        await desk.good("POST", f"/1/kms/configs/{number}/tenants/{tenant}")
    for allowed in (True, False, True):
        after = await desk.good("PUT", f"/1/kms/configs/{number}", {"leasingAllowed": allowed})
        assert after["leasingAllowed"] is allowed
        for tenant in ("t-1", "t-2"):
            assert (await record(desk, tenant)).assignments[0].leasing is allowed


async def test_a_tenant_that_must_lease_is_assigned_only_what_leases(desk: Desk) -> None:
    plain, leasing = await desk.config(), await desk.config(leasing=True)
    await desk.tenant()
    await desk.good("POST", f"/1/kms/configs/{plain}/tenants/t-1")
    assert str(plain) in await desk.refused(400, "PUT", "/1/tenants/t-1", {"keyLeasingRequired": True})
    await desk.good("DELETE", f"/1/kms/configs/{plain}/tenants/t-1")
    assert (await desk.good("PUT", "/1/tenants/t-1", {"keyLeasingRequired": True}))["keyLeasingRequired"] is True
    assert "allow it first" in await desk.refused(400, "POST", f"/1/kms/configs/{plain}/tenants/t-1")
    await desk.good("POST", f"/1/kms/configs/{leasing}/tenants/t-1")
    assert (await record(desk)).leasing_required


async def test_changes_at_the_same_time_all_happen(desk: Desk) -> None:
    numbers = [await desk.config() for _ in range(3)]
    await desk.tenant()
    await asyncio.gather(*(desk.good("POST", f"/1/kms/configs/{each}/tenants/t-1") for each in numbers))
    assert {each.config for each in (await record(desk)).assignments} == set(numbers)


async def test_after_a_segment_began_a_new_epoch_configs_are_sealed_to_that(desk: Desk) -> None:
    await desk.config()
    desk.world.vendor.rotate_segment(1)
    async with desk.world.change() as change:
        await vendors.put_documents(change, desk.world.documents())
    await desk.refused(422, "POST", "/1/kms/configs", {"config": AWS_CONFIG})
    await desk.config()


AWS_CONFIG = {
    "type": "AWS",
    "version": 1,
    "credentials": {"accessKeyId": "a", "secretAccessKey": "b"},
    "keyPath": {"keyID": "c", "region": "eu-central-1"},
}
