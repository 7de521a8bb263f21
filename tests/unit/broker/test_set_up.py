"""A new broker lets its first owner in, once."""

import asyncio

import pytest
import sqlalchemy as sa
from tests.unit.broker.browser import Browser
from tests.unit.broker.conftest import World
from tests.unit.broker.inhabited import VENDOR
from tests.unit.broker.served import SETUP_TOKEN, served

from tenant_security.authoring.vendor import Vendor
from tenant_security.broker import audit_log, schema
from tenant_security.broker.database import Database
from tenant_security.broker.people import set_up
from tenant_security.wire.broker_api import NewVendor, VendorDocuments


@pytest.fixture
async def world(database_url, tmp_path):
    """A broker that keeps nothing, and a vendor's keys."""
    async with Database(database_url, lambda: made.now_s * 1000) as database:
        made = World(database, tmp_path)
        yield made


@pytest.fixture
async def made(world):
    async with served(world, set_up_token="") as broker:
        yield broker


def handed_in(vendor):
    state = vendor.state
    return NewVendor("Acme", VendorDocuments(state.root, state.manifest, state.segment_wraps))


async def test_the_first_owner_signs_up_and_hands_the_vendor_in(world, made):
    ann, token = Browser(made), set_up.first_token(made.broker.web.key)
    assert (await ann.get("/api/1/set-up")).json == {"needed": True}
    assert (await ann.sign_up(token, "Ann", "ann@example.com")).status == 201
    assert (await ann.make_keys("ann@example.com")).status == 204
    strange = await ann.post("/api/1/vendors", handed_in(world.vendor), headers={"Set-Up-Token": "set_wrong"})
    assert strange.status == 401
    done = await ann.post("/api/1/vendors", handed_in(world.vendor), headers={"Set-Up-Token": token})
    assert (done.status, done.json) == (201, {"id": "acme"})
    assert (await ann.get("/api/1/session")).json["organisations"][0]["role"] == "owner"
    assert (await ann.get("/api/1/set-up")).json == {"needed": False}
    async with world.database.read() as connection:
        rows = await audit_log.page(connection, "acme")
        assert await audit_log.verify(connection, "acme") is None
    assert {each.row.actor_name for each in rows} == {"Ann"}
    assert (await Browser(made).sign_up(token, "Eve", "eve@example.com")).status == 404
    late = await ann.post("/api/1/vendors", handed_in(world.vendor), headers={"Set-Up-Token": token})
    assert late.status == 401


async def test_of_two_who_hand_in_at_once_one_does(world, made, tmp_path):
    token = set_up.first_token(made.broker.web.key)
    other = Vendor.create(tmp_path / "other", "other", clock=lambda: world.now_s)
    browsers = [Browser(made), Browser(made)]
    for number, each in enumerate(browsers):
        assert (await each.sign_up(token, "Somebody", f"p{number}@example.com")).status == 201
    said = await asyncio.gather(
        *(
            each.post("/api/1/vendors", handed_in(vendor), headers={"Set-Up-Token": token})
            for each, vendor in zip(browsers, (world.vendor, other), strict=True)
        )
    )
    assert sorted(each.status for each in said) in ([201, 401], [201, 409])
    async with world.database.read() as connection:
        count = await connection.execute(sa.select(sa.func.count()).select_from(schema.vendors))
        assert count.scalar_one() == 1


async def test_a_page_of_others_hands_nothing_in(world, made):
    ann, token = Browser(made), set_up.first_token(made.broker.web.key)
    assert (await ann.sign_up(token, "Ann", "ann@example.com")).status == 201
    headers = {"Set-Up-Token": token, "Origin": "https://evil.example"}
    assert (await ann.post("/api/1/vendors", handed_in(world.vendor), headers=headers)).code == "cross-site"


async def test_without_a_session_a_vendor_has_nobody_and_its_keys_invite_the_first(world):
    async with served(world) as broker:
        answer = await broker.send(_bearer(broker, handed_in(world.vendor)))
        assert answer.status == 201, answer.body
        body = {"email": "ann@example.com", "role": "owner", "deliver": "link"}
        made = await broker.ask(world.vendor.admin, "POST", f"{VENDOR}/invitations", body)
        assert made.status == 201


def _bearer(broker, body):
    import msgspec

    from tenant_security.outbound.flow import Request

    headers = (("Authorization", f"Bearer {SETUP_TOKEN}"), ("Content-Type", "application/json"))
    return Request("POST", broker.base + "/api/1/vendors", headers, msgspec.json.encode(body))
