import base64

import msgspec
import pytest
import sqlalchemy as sa

from tenant_security.authoring import documents
from tenant_security.broker import schema
from tenant_security.wire.broker_api import SealedConfig

from .conftest import AWS, Desk


async def stored(desk: Desk, number: int) -> SealedConfig:
    answer = await desk.broker.ask(desk.world.vendor.admin, "GET", f"/api/1/vendors/acme/configs/{number}/sealed")
    return msgspec.json.decode(answer.body, type=SealedConfig)


async def test_a_config_is_sealed_to_every_segment_and_opens_for_proxies(desk: Desk) -> None:
    made = await desk.good("POST", "/1/kms/configs", {"config": AWS, "leasingAllowed": True})
    assert (made["kmsType"], made["version"], made["leasingAllowed"]) == ("AWS", 1, True)
    assert (made["assignmentCount"], made["secretCount"]) == (0, 0)
    assert made["createdBy"]["type"] == "Va"
    sealed = await stored(desk, made["id"])
    assert base64.b64decode(made["encryptedConfig"]) == sealed.payload
    assert {wrap.segment for wrap in sealed.wraps} == {1, desk.credentials.segment_id}
    proxys = next(wrap for wrap in sealed.wraps if wrap.segment == 1)
    opened = documents.open_config(sealed.envelope(proxys), desk.world.vendor.opening_key(1, 1))
    assert msgspec.json.decode(opened) == AWS


async def test_a_config_is_shown_without_its_credentials(desk: Desk) -> None:
    number = await desk.config()
    answer = await desk.ask("GET", f"/1/kms/configs/{number}")
    assert answer.body["decryptedConfig"] == {name: AWS[name] for name in ("type", "version", "keyPath")}
    assert "canary" not in answer.text.lower()


async def test_new_credentials_keep_the_key_path(desk: Desk) -> None:
    number = await desk.config()
    new = {"accessKeyId": "AKIANEW", "secretAccessKey": "new"}
    after = await desk.good(
        "PUT", f"/1/kms/configs/{number}", {"config": {"type": "AWS", "version": 1, "credentials": new}}
    )
    assert after["id"] == number
    sealed = await stored(desk, number)
    wrap = next(each for each in sealed.wraps if each.segment == 1)
    opened = msgspec.json.decode(documents.open_config(sealed.envelope(wrap), desk.world.vendor.opening_key(1, 1)))
    assert opened == {**AWS, "credentials": new}


@pytest.mark.parametrize("change", [{"type": "GCP"}, {"version": 2}, {"credentials": {"accessKeyId": "x"}}])
async def test_an_update_of_another_kind_or_without_what_it_needs_is_refused(desk: Desk, change: dict) -> None:
    number = await desk.config()
    before = await stored(desk, number)
    update = {"type": "AWS", "version": 1, "credentials": AWS["credentials"], **change}
    await desk.refused(400, "PUT", f"/1/kms/configs/{number}", {"config": update})
    assert await stored(desk, number) == before


@pytest.mark.parametrize("config", [{}, {"type": "AWS"}, {**AWS, "version": 7}, {**AWS, "keyPath": {}}, [], 7])
async def test_a_config_that_proxies_could_not_read_is_refused_without_showing_it(desk: Desk, config: object) -> None:
    message = await desk.refused(400, "POST", "/1/kms/configs", {"config": config})
    assert message
    assert "canary" not in message


async def test_what_does_not_exist_is_unprocessable(desk: Desk) -> None:
    for method, body in (("GET", None), ("PUT", {"leasingAllowed": True}), ("DELETE", None)):
        await desk.refused(422, method, "/1/kms/configs/999", body)


async def test_a_config_of_a_tenant_is_not_the_bridges(desk: Desk) -> None:
    await desk.tenant()
    number = await desk.world.with_config("t-1")
    await desk.refused(422, "GET", f"/1/kms/configs/{number}")
    await desk.refused(422, "DELETE", f"/1/kms/configs/{number}")


async def test_a_config_sealed_to_proxies_alone_cannot_be_opened_and_says_so(desk: Desk) -> None:
    from tenant_security.broker.vendor_configs import put_vendor_config

    number = await desk.world.number()
    async with desk.world.change() as change:
        await put_vendor_config(change, desk.world.config(number, text=msgspec.json.encode(AWS), type_="AWS"))
    assert "sealed to proxies only" in await desk.refused(400, "GET", f"/1/kms/configs/{number}")


async def test_configs_are_listed_by_type_and_leasing(desk: Desk) -> None:
    first, second = await desk.config(), await desk.config(leasing=True)
    listed = await desk.good("GET", "/1/kms/configs?sortDirection=asc&sortColumn=created")
    assert [each["id"] for each in listed["result"]] == [first, second]
    assert (listed["page"], listed["totalPages"]) == (1, 1)
    assert "encryptedConfig" not in listed["result"][0]
    leasing = await desk.good("GET", "/1/kms/configs?leasingEnabled=true&kmsType=AWS")
    assert [each["id"] for each in leasing["result"]] == [second]
    assert (await desk.good("GET", "/1/kms/configs?kmsType=THALES"))["result"] == []


async def test_a_config_that_is_assigned_cannot_be_removed(desk: Desk) -> None:
    number = await desk.config()
    await desk.tenant()
    await desk.good("POST", f"/1/kms/configs/{number}/tenants/t-1")
    assert "assigned" in await desk.refused(422, "DELETE", f"/1/kms/configs/{number}")
    await desk.good("DELETE", f"/1/kms/configs/{number}/tenants/t-1")
    assert await desk.good("DELETE", f"/1/kms/configs/{number}") == {"id": number}


async def test_no_credential_reaches_the_brokers_tables_or_the_bridges_log(desk: Desk) -> None:
    await desk.config()
    async with desk.world.database.read() as connection:
        for table in schema.metadata.sorted_tables:
            for row in await connection.execute(sa.select(table)):
                assert "canary" not in repr(row).lower()
    assert b"canary" not in desk.log.getvalue().lower()
