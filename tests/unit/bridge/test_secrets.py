from tests.tenant_secrets import keep_secret

from tenant_security.wire import bridge_api as api

from .conftest import Desk


async def made(desk: Desk, path: str, tenant: str = "t-1", type_: str = "deterministic") -> int:
    """A secret as a proxy makes it, and its number."""
    async with desk.world.change() as change:
        row = await keep_secret(change, tenant, path, 1, type_=type_)
    return int(row.number)


async def begin(desk: Desk) -> None:
    await desk.tenant()
    number = await desk.config()
    assert number == 1
    await desk.good("POST", f"/1/kms/configs/{number}/tenants/t-1")
    await desk.good("PUT", f"/1/kms/configs/{number}/tenants/t-1", {"primary": True})


async def test_secrets_are_listed_wrapped_as_they_are(desk: Desk) -> None:
    await begin(desk)
    first, second = await made(desk, "one"), await made(desk, "two", type_="search")
    listed = (await desk.good("GET", "/1/tenants/secrets?sortDirection=asc"))["result"]
    assert [each["id"] for each in listed] == [first, second]
    one = listed[0]
    assert (one["tenantId"], one["secretType"], one["encryptedSecret"]) == ("t-1", "Deterministic", "ZWRlaw==")
    assert (one["migrationStatus"], one["rotationStatus"], one["kmsConfigId"]) == ("Current", "Current", 1)
    tags = {tag["id"] for tag in (await desk.good("GET", "/1/tenants/t-1"))["tags"]}
    assert set(one["tenantTags"]) == tags
    only = await desk.good("GET", "/1/tenants/secrets", {"ids": [second]})
    assert [each["id"] for each in only["result"]] == [second]
    assert (await desk.good("GET", "/1/tenants/secrets", {"tags": [999]}))["result"] == []
    kind = await desk.good("GET", "/1/tenants/secrets?secretType=deterministic-encryption")
    assert [each["id"] for each in kind["result"]] == [first]
    soon = api.rfc3339((desk.world.now_s + 60) * 1000)
    assert (await desk.good("GET", f"/1/tenants/secrets?createdSince={soon}"))["result"] == []
    await desk.refused(400, "GET", "/1/tenants/secrets?updatedSince=yesterday")


async def test_a_secret_is_rotated_by_its_id(desk: Desk) -> None:
    await begin(desk)
    number = await made(desk, "one")
    path = "/1/tenants/t-1/secrets/rotate"
    assert (await desk.good("POST", f"{path}/begin", {"id": number}))["rotationStatus"] == "InRotation"
    await desk.refused(422, "POST", f"{path}/begin", {"id": number})
    assert (await desk.good("POST", f"{path}/commit", {"id": number}))["rotationStatus"] == "Archived"
    await desk.refused(422, "POST", f"{path}/commit", {"id": number})


async def test_a_secret_is_rotated_by_type_and_path(desk: Desk) -> None:
    await begin(desk)
    old = await made(desk, "one")
    choice = {"secretType": "Deterministic", "secretPath": "one"}
    path = "/1/tenants/t-1/secrets/rotate"
    assert (await desk.good("POST", f"{path}/begin", choice))["id"] == old
    new = await made(desk, "one")
    assert new != old
    assert (await desk.good("POST", f"{path}/commit", choice))["id"] == old
    await desk.refused(422, "POST", f"{path}/commit", choice)
    await desk.refused(422, "POST", f"{path}/begin", {**choice, "secretPath": "other"})


async def test_a_rotation_names_its_secret(desk: Desk) -> None:
    await begin(desk)
    for body in ({}, {"secretType": "Search"}, {"id": 0}, {"id": 999}):
        answer = await desk.ask("POST", "/1/tenants/t-1/secrets/rotate/begin", body)
        assert answer.status in (400, 422), body
