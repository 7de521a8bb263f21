"""Roles, invitations and keys: nobody gets in twice, nobody is left without an owner, nobody's key is swapped."""

import asyncio
import base64

import msgspec
import pytest
from tests.unit.broker.browser import Browser, claim, proof, signed_invitation
from tests.unit.broker.inhabited import VENDOR, inhabited
from tests.unit.broker.test_sign_in import actions

from tenant_security.broker import audit_log
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.wire import snapshot as words

TENANT = f"{VENDOR}/tenants/a"


@pytest.fixture
async def town(world):
    async with inhabited(world) as made:
        yield made
    async with world.database.read() as connection:
        assert await audit_log.verify(connection, "acme") is None


# -- roles -----------------------------------------------------------------------------------------------------------


async def test_what_a_role_may_stands_in_the_table(town):
    await town.world.tenant("a")
    owner = await town.person("owner@example.com")
    admin = await town.person("admin@example.com", "admin")
    auditor = await town.person("auditor@example.com", "auditor")
    asks = {
        "tags": lambda who, name: who.post(f"{VENDOR}/tags", {"text": name}),
        "number": lambda who, _: who.post(f"{VENDOR}/config-numbers"),
        "keys": lambda who, name: who.post(f"{VENDOR}/api-keys", {"name": name, "role": "admin"}),
        "read": lambda who, _: who.get(f"{VENDOR}/tenants"),
        "audit": lambda who, _: who.get(f"{VENDOR}/audit"),
    }
    may = {}
    for name, who in (("owner", owner), ("admin", admin), ("auditor", auditor)):
        may[name] = {what for what, ask in asks.items() if (await ask(who, f"{name} {what}")).status < 300}
    assert may == {
        "owner": {"tags", "number", "keys", "read", "audit"},
        "admin": {"tags", "number", "read", "audit"},
        "auditor": {"read", "audit"},
    }


async def test_a_tenants_people_see_their_tenant_and_nothing_else(town):
    await town.world.tenant("a")
    await town.world.tenant("b")
    ann = await town.person("ann@example.com", "owner", "a")
    for path in ("", "/documents", "/people", "/invitations", "/trust", "/assignments", "/configs", "/authors"):
        assert (await ann.get(f"{TENANT}{path}")).status == 200, path
        assert (await ann.get(f"{VENDOR}/tenants/b{path}")).status == 404, path
    for path in ("/audit", "/secrets"):
        assert (await ann.get(f"{VENDOR}{path}?tenant=a")).status == 200, path
        assert (await ann.get(f"{VENDOR}{path}?tenant=b")).status == 404, path
        assert (await ann.get(f"{VENDOR}{path}")).status == 403, path
    assert (await ann.get(f"{VENDOR}/secrets?tenant=a&tenant=b")).status == 403
    assert (await ann.post(f"{VENDOR}/config-numbers?tenant=a")).status == 201
    for refused in (
        await ann.get(f"{VENDOR}/tenants"),
        await ann.get(f"{VENDOR}/people"),
        await ann.get(f"{VENDOR}/documents"),
        await ann.get(VENDOR),
        await ann.patch(TENANT, {"name": "Mine"}),
        await ann.delete(TENANT),
        await ann.post(f"{VENDOR}/tags", {"text": "x"}),
        await ann.post(f"{VENDOR}/config-numbers"),
    ):
        assert refused.status == 403, refused
    assert (await ann.get("/api/1/vendors/other/tenants/a")).status == 404
    trust = (await ann.get(f"{TENANT}/trust")).json
    assert trust["segments"] == [1]
    rows = (await ann.get(f"{VENDOR}/audit?tenant=a")).json
    assert {each["tenant"] for each in rows} == {"a"}


async def test_the_vendors_people_do_not_change_a_tenants_people(town):
    await town.world.tenant("a")
    owner = await town.person("owner@example.com")
    ann = await town.person("ann@example.com", "owner", "a")
    assert [each["name"] for each in (await owner.get(f"{TENANT}/people")).json] == ["Ann"]
    person = await town.id_of(ann)
    for refused in (
        await owner.patch(f"{TENANT}/people/{person}", {"role": "auditor"}),
        await owner.delete(f"{TENANT}/people/{person}"),
        await owner.put(f"{TENANT}/approval-rule", {"required": True}),
        await owner.delete(f"{TENANT}/sso"),
    ):
        assert refused.status == 403, refused
    spy = await owner.post(f"{TENANT}/invitations", {"email": "spy@example.com", "role": "owner", "deliver": "link"})
    assert (spy.status, "has joined" in spy.json["message"]) == (422, True)
    invited = await ann.post(f"{TENANT}/invitations", {"email": "bo@example.com", "role": "admin", "deliver": "link"})
    assert invited.status == 201


async def test_an_organisation_keeps_an_owner(town):
    ann = await town.person("ann@example.com")
    mine = await town.id_of(ann)
    for refused in (
        await ann.patch(f"{VENDOR}/people/{mine}", {"role": "admin"}),
        await ann.patch(f"{VENDOR}/people/{mine}", {"disabled": True}),
        await ann.delete(f"{VENDOR}/people/{mine}"),
    ):
        assert refused.status == 422
        assert "last owner" in refused.json["message"]
    bob = await town.person("bob@example.com")
    his = await town.id_of(bob)
    said = await asyncio.gather(ann.delete(f"{VENDOR}/people/{mine}"), bob.delete(f"{VENDOR}/people/{his}"))
    assert sorted(each.status for each in said) == [204, 422]


async def test_who_is_disabled_or_demoted_feels_it_at_once(town):
    ann = await town.person("ann@example.com")
    bob = await town.person("bob@example.com", "admin")
    his = await town.id_of(bob)
    assert (await bob.post(f"{VENDOR}/tags", {"text": "one"})).status == 201
    assert (await ann.patch(f"{VENDOR}/people/{his}", {"role": "auditor"})).status == 204
    assert (await bob.post(f"{VENDOR}/tags", {"text": "two"})).status == 403
    assert (await ann.patch(f"{VENDOR}/people/{his}", {"disabled": True})).status == 204
    assert (await bob.get(f"{VENDOR}/tenants")).status == 404
    assert (await bob.get("/api/1/session")).json["organisations"] == []
    assert (await ann.patch(f"{VENDOR}/people/{his}", {"disabled": False})).status == 204
    assert (await bob.get(f"{VENDOR}/tenants")).status == 200
    town.world.now_s += 15 * 60
    assert (await bob.delete(f"{VENDOR}/people/{his}")).code == "prove-again"
    assert (await bob.prove()).status == 200
    assert (await bob.delete(f"{VENDOR}/people/{his}")).status == 204
    assert (await ann.prove()).status == 200
    assert (await bob.get(f"{VENDOR}/tenants")).status == 404
    assert (await ann.patch(f"{VENDOR}/people/{his}", {"disabled": True})).status == 404


async def test_somebody_of_several_organisations_has_a_role_in_each(town):
    await town.world.tenant("a")
    ann = await town.person("ann@example.com", "owner")
    token = await town.token("ann@example.com", "owner", "a")
    assert (await ann.post("/api/1/invitations/accept", {"token": token})).status == 200
    places = (await ann.get("/api/1/session")).json["organisations"]
    assert [(each["tenant"], each["role"]) for each in places] == [(None, "owner"), ("a", "owner")]
    assert (await ann.get("/api/1/vendors/acme/tenants/a/people")).status == 200
    invited = await ann.post(f"{TENANT}/invitations", {"email": "bo@example.com", "role": "admin", "deliver": "link"})
    assert invited.status == 201
    rows = (await ann.get(f"{VENDOR}/audit?tenant=a&action=invitation.accept")).json
    assert rows[0]["actor"]["name"] == "Ann"


# -- invitations -----------------------------------------------------------------------------------------------------


async def test_of_two_who_accept_one_gets_in(town):
    token = await town.token("ann@example.com")
    said = await asyncio.gather(*(Browser(town.made).sign_up(token) for _ in range(4)))
    assert [each.status for each in said].count(201) == 1
    assert (await Browser(town.made).sign_up(token)).status == 404


async def test_an_invitation_ends_when_it_is_withdrawn_sent_again_or_old(town):
    ann = await town.person("ann@example.com")
    body = {"email": "Bob@example.com", "role": "admin", "deliver": "link"}
    made = (await ann.post(f"{VENDOR}/invitations", body)).json
    bob = Browser(town.made)
    looked = (await bob.post("/api/1/invitations/look", {"token": made["token"]})).json
    assert (looked["email"], looked["role"], looked["vendorName"]) == ("bob@example.com", "admin", "Acme")
    assert looked["rootFingerprint"] == town.world.vendor.root_fingerprint
    first = made
    made = (await ann.post(f"{VENDOR}/invitations", body)).json
    assert await _state(ann, first["id"]) == "withdrawn"
    assert (await bob.sign_up(first["token"])).status == 404
    renewed = (await ann.post(f"{VENDOR}/invitations/{made['id']}/resend", {"deliver": "link"})).json
    assert (await bob.sign_up(made["token"])).status == 404
    town.world.now_s += 7 * 86_400
    assert (await bob.sign_up(renewed["token"])).status == 404
    assert (await ann.sign_in()).status == 200
    assert await _state(ann, made["id"]) == "expired"
    renewed = (await ann.post(f"{VENDOR}/invitations/{made['id']}/resend", {"deliver": "link"})).json
    assert (await ann.delete(f"{VENDOR}/invitations/{made['id']}")).status == 204
    assert (await bob.sign_up(renewed["token"])).status == 404
    assert (await ann.post(f"{VENDOR}/invitations/{made['id']}/resend", {"deliver": "link"})).status == 422
    assert await _state(ann, made["id"]) == "withdrawn"
    made = (await ann.post(f"{VENDOR}/invitations", body)).json
    assert (await bob.sign_up(made["token"])).status == 201
    assert (await ann.delete(f"{VENDOR}/invitations/{made['id']}")).status == 422
    assert (await ann.post(f"{VENDOR}/invitations", body)).status == 422


async def test_an_invitation_is_for_its_address(town):
    ann = await town.person("ann@example.com")
    token = await town.token("bob@example.com", "admin")
    refused = await ann.post("/api/1/invitations/accept", {"token": token})
    assert (refused.status, "another address" in refused.json["message"]) == (422, True)
    assert (await Browser(town.made).sign_up(await town.token("eve@example.com", "admin"))).status == 201
    twice = await Browser(town.made).sign_up_with_passphrase(token, email="eve@example.com")
    assert twice.json["session"]["person"]["email"] == "bob@example.com"


async def test_the_first_person_owns_and_a_tenant_is_its_vendors_until_somebody_joins(town):
    await town.world.tenant("a")
    admin = None
    await town.person("owner@example.com")
    admin = await town.person("admin@example.com", "admin")
    auditor = await town.person("auditor@example.com", "auditor")
    body = {"email": "ann@example.com", "role": "admin", "deliver": "link"}
    refused = await admin.post(f"{TENANT}/invitations", body)
    assert (refused.status, "first person" in refused.json["message"]) == (422, True)
    body["role"] = "owner"
    assert (await auditor.post(f"{TENANT}/invitations", body)).status == 403
    made = (await admin.post(f"{TENANT}/invitations", body)).json
    assert (await admin.get(TENANT)).json["invited"] is True
    assert (await Browser(town.made).sign_up(made["token"], "Ann")).status == 201
    assert (await admin.get(TENANT)).json["accepted"] is True
    body["email"] = "eve@example.com"
    assert (await admin.post(f"{TENANT}/invitations", body)).status == 422
    assert (await auditor.post(f"{TENANT}/invitations", body)).status == 403
    by_key = await town.made.ask(town.world.vendor.admin, "POST", f"{TENANT}/invitations", body)
    assert by_key.status == 422
    assert (await admin.post(f"{VENDOR}/tenants/none/invitations", body)).status in (403, 404)


async def test_a_vendors_command_line_invites_the_first_owner_and_nobody_after(town):
    path, key = f"{VENDOR}/invitations", town.world.vendor.admin
    body = {"email": "ann@example.com", "role": "owner", "deliver": "link"}
    made = await town.made.ask(key, "POST", path, body)
    assert made.status == 201, made.body
    assert (await Browser(town.made).sign_up(msgspec.json.decode(made.body)["token"])).status == 201
    body["email"] = "eve@example.com"
    assert (await town.made.ask(key, "POST", path, body)).status == 403


async def test_nonsense_is_refused_in_words(town):
    ann = await town.person("ann@example.com")
    for body in (
        {"email": "no address", "role": "admin"},
        {"email": "a@b.c", "role": "king"},
        {"email": "a@b.c\nBcc: all@example.com", "role": "admin"},
        {"email": "a@b.c", "role": "admin", "more": 1},
        [],
        None,
    ):
        refused = await ann.post(f"{VENDOR}/invitations", body)
        assert refused.status == 400, body
        assert refused.json["message"]
    without_mail = await ann.post(f"{VENDOR}/invitations", {"email": "a@b.c", "role": "admin"})
    assert "BROKER_SMTP_URL" in without_mail.json["message"]
    huge = await ann.post(f"{VENDOR}/invitations", {"email": "a@b.c", "role": "x" * 300_000})
    assert huge.status == 413


# -- keys ------------------------------------------------------------------------------------------------------------


async def test_keys_are_kept_as_they_come_and_given_to_their_owner_only(town):
    ann, bob = await town.person("ann@example.com"), await town.person("bob@example.com")
    assert (await ann.get("/api/1/account/keys")).status == 404
    assert (await ann.make_keys("ann@example.com")).status == 204
    kept = (await ann.get("/api/1/account/keys")).json
    assert base64.b64decode(kept["bundle"]) == b"sealed"
    assert kept["keyId"] == ann.key.key_id
    assert (await bob.get("/api/1/account/keys")).status == 404
    assert (await ann.get("/api/1/session")).json["hasKeys"] is True
    first = ann.key.key_id
    assert (await ann.make_keys("ann@example.com")).status == 409
    assert (await ann.make_keys("ann@example.com", first)).status == 204
    assert "keys.replace" in await actions(town.world, like="keys")


async def test_nobody_claims_a_key_that_they_do_not_hold_or_in_anothers_name(town):
    ann = await town.person("ann@example.com")
    key, other = SigningKey(new_seed()), SigningKey(new_seed())
    good = claim("ann@example.com", key)
    forged = words.Signed(good.body, key.key_id, other.sign(Kind.KEY_CLAIM, good.body))
    other_kind = words.Signed(good.body, key.key_id, key.sign(Kind.RECORD, good.body))
    broken = words.Signed(b"{}", key.key_id, key.sign(Kind.KEY_CLAIM, b"{}"))
    for bad in (forged, other_kind, broken, claim("bob@example.com", key)):
        refused = await ann.put("/api/1/account/keys", {"bundle": "AAAA", "claim": bad})
        assert refused.status == 422, refused
    assert (await ann.put("/api/1/account/keys", {"bundle": "AAAA", "claim": good})).status == 204


async def test_a_key_is_pending_until_the_manifest_names_it(town):
    ann = await town.person("ann@example.com")
    await ann.make_keys("ann@example.com")
    (line,) = (await ann.get(f"{VENDOR}/authors")).json
    assert (line["status"], line["keyId"], line["proved"]) == ("pending", ann.key.key_id, False)
    town.world.vendor.add_author(ann.key.public, "Ann", tenant="")
    assert (await ann.put(f"{VENDOR}/documents", town.world.documents())).status == 204
    (line,) = (await ann.get(f"{VENDOR}/authors")).json
    assert line["status"] == "approved"


async def test_who_held_the_links_seed_proves_it_and_the_broker_cannot(town):
    await town.world.tenant("a")
    once, author = SigningKey(new_seed()), town.world.vendor.admin
    signed = signed_invitation(author, once, "ann@example.com", "owner", "a")
    body = {"email": "ann@example.com", "role": "owner", "deliver": "link", "signed": signed}
    made = msgspec.json.decode((await town.made.ask(author, "POST", f"{TENANT}/invitations", body)).body)
    ann = Browser(town.made)
    looked = (await ann.post("/api/1/invitations/look", {"token": made["token"]})).json
    assert looked["signed"]["key"] == author.key_id
    assert (await ann.sign_up(made["token"])).status == 201
    path = f"/api/1/invitations/{made['id']}/proof"
    await ann.make_keys("ann@example.com")
    kept = msgspec.convert((await ann.get("/api/1/account/keys")).json["claim"], words.Signed)
    swapped = claim("ann@example.com", SigningKey(new_seed()))
    for bad in (proof(SigningKey(new_seed()), kept), proof(once, swapped)):
        assert (await ann.put(path, {"proof": bad})).status == 422
    assert (await ann.put(path, {"proof": proof(once, kept)})).status == 204
    (line,) = (await ann.get(f"{TENANT}/authors")).json
    assert (line["proved"], line["status"]) == (True, "pending")
    bob = await town.person("bob@example.com")
    assert (await bob.put(path, {"proof": proof(once, kept)})).status == 404
    first = ann.key.key_id
    await ann.make_keys("ann@example.com", first)
    assert (await ann.get(f"{TENANT}/authors")).json[0]["proved"] is False


async def test_an_invitation_signed_by_a_stranger_or_for_another_is_refused(town):
    await town.world.tenant("a")
    once, author, stranger = SigningKey(new_seed()), town.world.vendor.admin, SigningKey(new_seed())
    body = {"email": "ann@example.com", "role": "owner", "deliver": "link"}
    for signed in (
        signed_invitation(stranger, once, "ann@example.com", "owner", "a"),
        signed_invitation(author, once, "bob@example.com", "owner", "a"),
        signed_invitation(author, once, "ann@example.com", "owner", "b"),
        signed_invitation(author, once, "ann@example.com", "auditor", "a"),
    ):
        refused = await town.made.ask(author, "POST", f"{TENANT}/invitations", {**body, "signed": signed})
        assert refused.status == 422, refused.body


async def _state(browser, invitation):
    listed = (await browser.get(f"{VENDOR}/invitations")).json
    return next(each["status"] for each in listed if each["id"] == invitation)


# -- API keys --------------------------------------------------------------------------------------------------------


async def test_an_api_key_has_two_slots_and_ends(town):
    ann = await town.person("ann@example.com")
    path = f"{VENDOR}/api-keys"
    first = (await ann.post(path, {"name": "ci", "role": "auditor"})).json
    second = (await ann.post(path, {"name": "ci", "role": "auditor"})).json
    third = await ann.post(path, {"name": "ci", "role": "auditor"})
    assert (third.status, "both slots" in third.json["message"]) == (422, True)
    assert (await ann.post(path, {"name": "other", "role": "owner"})).status == 400

    async def asked(key, method="GET", target=f"{VENDOR}/tenants", body=None):
        return await Browser(town.made).ask(method, target, body, headers={"Authorization": f"Bearer {key}"})

    assert (await asked(first["key"])).status == 200
    assert (await asked(first["key"], "POST", f"{VENDOR}/tags", {"text": "x"})).status == 403
    assert (await asked(first["key"][:-1])).status == 401
    used = {each["id"]: each["used"] for each in (await ann.get(path)).json}
    assert used[first["id"]] == town.world.now_s * 1000
    assert used[second["id"]] is None
    assert (await ann.delete(f"{path}/{first['id']}")).status == 204
    assert (await ann.delete(f"{path}/{first['id']}")).status == 422
    assert (await asked(first["key"])).status == 401
    assert (await asked(second["key"])).status == 200
    soon = {"name": "ci", "role": "admin", "expires": (town.world.now_s + 60) * 1000}
    short = (await ann.post(path, soon)).json["key"]
    assert (await asked(short, "POST", f"{VENDOR}/tags", {"text": "x"})).status == 201
    assert (await asked(short, "POST", path, {"name": "more", "role": "admin"})).status == 403
    town.world.now_s += 60
    assert (await asked(short)).status == 401
    assert (await ann.post(path, soon)).status == 422


async def test_a_session_and_a_key_are_never_added_up(town):
    ann = await town.person("ann@example.com")
    key = (await ann.post(f"{VENDOR}/api-keys", {"name": "ci", "role": "auditor"})).json["key"]
    both = await ann.post(f"{VENDOR}/tags", {"text": "x"}, headers={"Authorization": f"Bearer {key}"})
    assert both.status == 403
    nonsense = await ann.get(f"{VENDOR}/tenants", headers={"Authorization": "Bearer nonsense"})
    assert nonsense.status == 401


# -- the vendor ------------------------------------------------------------------------------------------------------


async def test_a_vendor_is_named_anew(town):
    ann = await town.person("ann@example.com")
    assert (await ann.get(VENDOR)).json["name"] == "Acme"
    said = await ann.patch(VENDOR, {"name": "Acme 2", "leasingRequiredDefault": True})
    assert (said.json["name"], said.json["leasingRequiredDefault"]) == ("Acme 2", True)
    assert (await ann.post(f"{VENDOR}/tenants", {"id": "new", "name": "New"})).json["leasingRequired"] is True
