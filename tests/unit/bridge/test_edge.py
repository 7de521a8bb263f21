import asyncio

import msgspec
import pytest
import sqlalchemy as sa

from tenant_security.bridge.settings import read_bridge_settings
from tenant_security.broker import schema
from tenant_security.errors import SettingsError

from .conftest import KEY, Desk, bridging


@pytest.mark.parametrize(
    "authorization", ["", KEY, f"cmk {KEY}", "vab:1:", f"vab:1:{KEY}x", f"vab:1:{KEY[:-1]}", f"vab:2:{KEY}", "é"]
)
async def test_without_the_key_nobody_gets_in(desk: Desk, authorization: str) -> None:
    message = await desk.refused(401, "GET", "/1/tenants", headers={"Authorization": authorization})
    assert KEY not in message


async def test_the_second_key_is_as_good(desk: Desk) -> None:
    await desk.good("GET", "/1/tenants", headers={"Authorization": "vab:1:the-next-key"})


async def test_every_request_says_for_whom_and_the_audit_keeps_it(desk: Desk) -> None:
    assert "icl-requestor-id" in await desk.refused(400, "GET", "/1/tenants", headers={"icl-requestor-id": " "})
    await desk.tenant()
    async with desk.world.database.read() as connection:
        names = await connection.execute(
            sa.select(schema.audit.c.actor_name).where(schema.audit.c.action == "tenant.create")
        )
        assert names.scalars().all() == ["bridge-1 for alice@acme.example"]


async def test_paths_that_are_not_there_answer_in_the_same_form(desk: Desk) -> None:
    await desk.refused(404, "GET", "/9/tenants")
    await desk.refused(405, "PATCH", "/1/tenants")
    await desk.refused(404, "GET", "/1/kms/configs/abc")


async def test_a_broker_that_is_down_is_said_so_and_nothing_is_believed_done(desk: Desk) -> None:
    await desk.good("GET", "/1/tenants")
    async with bridging(Down(desk), desk.credentials) as cut_off:
        assert "broker" in await cut_off.refused(503, "GET", "/1/tenants")


class Down:
    """A broker where nobody listens."""

    def __init__(self, desk: Desk) -> None:
        self.base = "http://127.0.0.1:1"
        self.world = desk.world


async def test_a_revoked_bridge_can_do_nothing(desk: Desk) -> None:
    await desk.tenant()
    desk.world.vendor.revoke_identity("bridge-1")
    await desk.world.publish()
    answers = await asyncio.gather(*(desk.ask("POST", "/1/tenants", {"id": f"n{n}", "name": "x"}) for n in range(3)))
    assert {answer.status for answer in answers} == {503}


async def test_a_vendor_root_other_than_the_pinned_one_is_refused(desk: Desk) -> None:
    pinned = "-".join(["aaaa"] * 13)
    wrong = msgspec.structs.replace(desk.credentials, root_fingerprint=pinned)
    async with bridging(desk.broker, wrong) as deceived:
        assert "VENDOR_ROOT_FINGERPRINT" in await deceived.refused(503, "GET", "/1/tenants")


async def test_a_proxy_is_no_bridge(desk: Desk) -> None:
    proxy = desk.world.vendor.add_identity("proxy-1")
    await desk.world.publish()
    async with bridging(desk.broker, proxy) as impostor:
        await impostor.refused(503, "POST", "/1/tenants", {"id": "x", "name": "x"})


async def test_health_follows_the_broker_and_live_does_not(desk: Desk) -> None:
    import aiohttp

    async with aiohttp.ClientSession() as session:
        for path in ("live", "health", "ready"):
            async with session.get(f"{desk.base}/{path}") as response:
                assert response.status == 200
        async with bridging(Down(desk), desk.credentials) as cut_off:
            async with session.get(f"{cut_off.base}/health") as response:
                assert response.status == 503
            async with session.get(f"{cut_off.base}/live") as response:
                assert response.status == 200


def test_every_problem_of_the_settings_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as wrong:
        read_bridge_settings({"CONFIG_BROKER_URL": "nonsense", "VAB_REQUEST_TIMEOUT": "soon"})
    said = "\n".join(wrong.value.problems)
    for name in ("CONFIG_BROKER_URL", "VAB_REQUEST_TIMEOUT", "API_KEY", "SERVICE_ACCOUNT_ID"):
        assert name in said
