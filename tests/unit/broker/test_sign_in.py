"""Who signs in is who they are; whoever guesses, replays or asks from elsewhere stays outside."""

import asyncio

import pytest
import sqlalchemy as sa
from tests.unit.broker.browser import PASSPHRASE, Browser
from tests.unit.broker.inhabited import VENDOR, inhabited
from tests.unit.broker.served import SETUP_TOKEN

from tenant_security.broker import audit_log, schema
from tenant_security.broker.people import sessions
from tenant_security.broker.people.back_off import wait_ms
from tenant_security.broker.server_key import new_server_key


@pytest.fixture
async def town(world):
    async with inhabited(world) as made:
        yield made
    async with world.database.read() as connection:
        assert await audit_log.verify(connection, "acme") is None


async def actions(world, *, like: str = "") -> list[str]:
    async with world.database.read() as connection:
        rows = await audit_log.page(connection, "acme", limit=200)
    return [each.row.action for each in reversed(rows) if like in each.row.action]


# -- passkeys --------------------------------------------------------------------------------------------------------


async def test_somebody_invited_signs_up_with_a_passkey_and_comes_back(town):
    ann = await town.person("ann@example.com")
    session = (await ann.get("/api/1/session")).json
    assert session["person"]["email"] == "ann@example.com"
    assert session["method"] == "passkey"
    assert [(each["vendor"], each["tenant"], each["role"]) for each in session["organisations"]] == [
        ("acme", None, "owner")
    ]
    again = ann.fork()
    assert (await again.get("/api/1/session")).code == "not-signed-in"
    assert (await again.sign_in()).status == 200
    assert (await again.get(f"{VENDOR}/people")).json[0]["methods"] == ["passkey"]
    assert (await actions(town.world, like="sign-in")) == ["sign-in", "sign-in"]


@pytest.mark.parametrize(
    "lie",
    [
        {"origin": "https://evil.example"},
        {"rp_id": "evil.example"},
        {"flags": 0x01},
        {"flags": 0x04},
    ],
    ids=["origin", "party", "not verified", "not present"],
)
async def test_a_passkey_answer_from_elsewhere_is_refused(town, lie):
    ann = await town.person("ann@example.com")
    thief = ann.fork()
    begun = (await thief.post("/api/1/sign-in/passkey/begin", {})).json
    thief.authenticator.flags = lie.get("flags", thief.authenticator.flags)
    credential = thief.authenticator.get(begun["options"], lie.get("origin", thief.origin), lie.get("rp_id"))
    said = await thief.post("/api/1/sign-in/passkey", {"ceremony": begun["ceremony"], "credential": credential})
    assert (said.status, said.code) == (401, "sign-in-failed")
    assert not thief.cookies


async def test_an_answer_is_good_once_and_for_its_own_ceremony(town):
    ann = await town.person("ann@example.com")
    ann.authenticator.counts = False
    first = (await ann.post("/api/1/sign-in/passkey/begin", {})).json
    other = (await ann.post("/api/1/sign-in/passkey/begin", {})).json
    credential = ann.authenticator.get(first["options"], ann.origin)
    swapped = await ann.post("/api/1/sign-in/passkey", {"ceremony": other["ceremony"], "credential": credential})
    assert swapped.code == "sign-in-failed"
    body = {"ceremony": first["ceremony"], "credential": credential}
    assert (await ann.post("/api/1/sign-in/passkey", body)).status == 200
    assert (await ann.post("/api/1/sign-in/passkey", body)).status == 422
    town.world.now_s += 301
    late = (await ann.post("/api/1/sign-in/passkey", body)).json
    assert "too long" in late["message"]


async def test_a_copied_passkey_shows_by_its_count(town):
    ann = await town.person("ann@example.com")
    copy = ann.fork()
    assert (await ann.sign_in()).status == 200
    assert (await ann.sign_in()).status == 200
    key, user, _ = next(iter(copy.authenticator.keys.values()))
    copy.authenticator.keys = {next(iter(copy.authenticator.keys)): (key, user, 0)}
    assert (await copy.sign_in()).code == "sign-in-failed"


@pytest.mark.parametrize("credential", [{}, {"rawId": "!"}, {"rawId": "AAAA"}, {"rawId": 3, "response": []}])
async def test_nonsense_instead_of_a_passkey_is_refused(town, credential):
    nobody = Browser(town.made)
    begun = (await nobody.post("/api/1/sign-in/passkey/begin", {})).json
    said = await nobody.post("/api/1/sign-in/passkey", {"ceremony": begun["ceremony"], "credential": credential})
    assert (said.status, said.code) == (401, "sign-in-failed")
    broken = await nobody.post("/api/1/sign-in/passkey", {"ceremony": "AAAA", "credential": credential})
    assert broken.status == 422
    signing_up = await nobody.post(
        "/api/1/sign-up/begin", {"token": await town.token("a@b.c"), "name": "A", "with": "passkey"}
    )
    said = await nobody.post(
        "/api/1/sign-up", {"ceremony": signing_up.json["ceremony"], "token": "another-token", "credential": credential}
    )
    assert said.status == 422


# -- passphrases -----------------------------------------------------------------------------------------------------


async def test_a_passphrase_needs_a_code_and_each_code_is_good_once(town):
    ann = await town.with_passphrase("ann@example.com")
    other = ann.fork()
    assert (await other.sign_in_with_passphrase("ann@example.com")).code == "sign-in-failed"  # used to sign up
    town.world.now_s += 30
    assert (await other.sign_in_with_passphrase("Ann@Example.com ")).status == 200
    assert (await ann.fork().sign_in_with_passphrase("ann@example.com", code=other.code())).code == "sign-in-failed"
    town.world.now_s += 3_600
    for wrong in ("", "000000", "12345", "abcdef", "١٢٣٤٥٦"):
        said = await Browser(town.made).sign_in_with_passphrase("ann@example.com", code=wrong)
        assert (said.status, said.code) == (401, "sign-in-failed"), wrong


async def test_a_recovery_code_is_good_once_even_at_the_same_moment(town):
    ann = await town.with_passphrase("ann@example.com")
    code = ann.recovery_codes[0]
    tries = [ann.fork() for _ in range(4)]
    said = await asyncio.gather(*(each.sign_in_with_passphrase("ann@example.com", recoveryCode=code) for each in tries))
    assert sorted(each.status for each in said) == [200, 401, 401, 401]
    account = (await ann.get("/api/1/account")).json
    assert account["recoveryCodesLeft"] == 9
    fresh = (await ann.post("/api/1/account/recovery-codes")).json["recoveryCodes"]
    old = await ann.fork().sign_in_with_passphrase("ann@example.com", recoveryCode=ann.recovery_codes[1])
    assert old.code == "sign-in-failed"
    new = await ann.fork().sign_in_with_passphrase("ann@example.com", recoveryCode=fresh[0].upper())
    assert new.status == 200


async def test_nobody_learns_which_accounts_exist(town):
    ann = await town.with_passphrase("ann@example.com")
    town.world.now_s += 60
    known, unknown = ann.fork(), Browser(town.made)
    for _ in range(12):
        one = await known.sign_in_with_passphrase("ann@example.com", passphrase="wrong passphrase", code="000000")
        two = await unknown.sign_in_with_passphrase("nobody@example.com", passphrase="wrong passphrase", code="000000")
        assert (one.status, one.body, one.headers.get("retry-after")) == (
            two.status,
            two.body,
            two.headers.get("retry-after"),
        )
    assert (one.status, one.code) == (429, "slow-down")
    town.world.now_s += 20
    assert (await ann.fork().sign_in_with_passphrase("ann@example.com")).status == 200


async def test_a_passkey_still_opens_while_others_guess_a_passphrase(town):
    ann = await town.person("ann@example.com")
    for _ in range(8):
        await Browser(town.made).sign_in_with_passphrase("ann@example.com", code="000000")
    assert (await Browser(town.made).sign_in_with_passphrase("ann@example.com", code="000000")).status == 429
    assert (await ann.fork().sign_in()).status == 200


async def test_many_guesses_at_once_are_counted_one_by_one(town):
    ann = await town.with_passphrase("ann@example.com")
    said = await asyncio.gather(
        *(ann.fork().sign_in_with_passphrase("ann@example.com", code=f"{each:06}") for each in range(20))
    )
    assert sum(each.status == 401 for each in said) <= 6


async def test_an_address_that_guesses_is_slowed_down(town):
    await town.with_passphrase("ann@example.com")
    guesser = Browser(town.made)
    codes = [(await guesser.sign_in_with_passphrase(f"p{each}@example.com", code="000000")).code for each in range(33)]
    assert codes[:31] == ["sign-in-failed"] * 31
    assert codes[-1] == "slow-down"


def test_waiting_doubles_and_ends():
    assert [wait_ms(each, 5) for each in (1, 5, 6, 7, 8)] == [0, 0, 1_000, 2_000, 4_000]
    assert wait_ms(1_000_000, 5) == 15 * 60_000


@pytest.mark.parametrize(
    ("passphrase", "why"),
    [
        ("short", "12 to 256"),
        ("x" * 300, "12 to 256"),
        ("Password 1234", "others would try"),
        ("aaaaaaaaaaaaaaaa", "others would try"),
        ("ann@example.com", "others would try"),
    ],
)
async def test_a_passphrase_that_is_easily_guessed_is_refused(town, passphrase, why):
    browser, token = Browser(town.made), await town.token("ann@example.com")
    begun = (await browser.post("/api/1/sign-up/begin", {"token": token, "name": "Ann", "with": "passphrase"})).json
    browser.totp = begun["totpSecret"]
    said = {"ceremony": begun["ceremony"], "token": token, "passphrase": passphrase, "code": browser.code()}
    refused = await browser.post("/api/1/sign-up", said)
    assert refused.status == 422
    assert why in refused.json["message"]
    wrong = await browser.post("/api/1/sign-up", {**said, "passphrase": PASSPHRASE, "code": "000000"})
    assert "authenticator" in wrong.json["message"]
    assert (await browser.post("/api/1/sign-up", {**said, "passphrase": PASSPHRASE})).status == 201


async def test_nothing_secret_lies_in_the_tables(town):
    ann = await town.with_passphrase("ann@example.com")
    async with town.world.database.read() as connection:
        everything = repr(
            [(await connection.execute(sa.select(table))).all() for table in schema.metadata.sorted_tables]
        )
    for secret in (ann.totp, PASSPHRASE, *ann.recovery_codes, *ann.cookies.values()):
        assert secret not in everything


# -- sessions --------------------------------------------------------------------------------------------------------


async def test_a_session_ends_when_it_is_idle_and_when_it_is_old(town):
    ann = await town.person("ann@example.com")
    town.world.now_s += 29 * 60
    assert (await ann.get("/api/1/session")).status == 200
    town.world.now_s += 29 * 60
    assert (await ann.get("/api/1/session")).status == 200
    town.world.now_s += 31 * 60
    assert (await ann.get("/api/1/session")).code == "not-signed-in"
    assert (await ann.sign_in()).status == 200
    for _ in range(36):
        town.world.now_s += 20 * 60
        said = await ann.get("/api/1/session")
    assert said.code == "not-signed-in"


async def _keep_using(town, browser, seconds):
    """Use a session every twenty minutes for so long."""
    for _ in range(seconds // 1_200):
        town.world.now_s += 1_200
        assert (await browser.get("/api/1/session")).status == 200


async def _end_by_idling(town, browser):
    await _keep_using(town, browser, 3_600)
    town.world.now_s += sessions.Lives().idle_ms // 1_000


async def _end_by_age(town, browser):
    await _keep_using(town, browser, sessions.Lives().life_ms // 1_000 - 1_200)
    town.world.now_s += 1_200


async def test_how_long_sessions_last_is_the_operators_to_say(world):
    async with inhabited(world, lives=sessions.Lives(600_000, 3_600_000)) as town:
        ann = await town.person("ann@example.com")
        said = (await ann.get("/api/1/session")).json
        assert (said["idleExpires"] - said["now"], said["expires"] - said["now"]) == (600_000, 3_600_000)
        world.now_s += 600
        assert (await ann.get("/api/1/session")).status == 401
        made = await ann.sign_in()
        assert "Max-Age=3600" in made.headers["set-cookie"]
        for _ in range(7):
            world.now_s += 500
            assert (await ann.get("/api/1/session")).status == 200
        world.now_s += 100
        assert (await ann.get("/api/1/session")).status == 401


@pytest.mark.parametrize("end", [_end_by_idling, _end_by_age])
async def test_when_a_sessions_time_is_up_nothing_is_done_and_the_browser_forgets_it(town, end):
    ann = await town.person("ann@example.com")
    await end(town, ann)
    kept, done = dict(ann.cookies), await actions(town.world)
    for ask in (
        lambda: ann.get("/api/1/session"),
        lambda: ann.get(f"{VENDOR}/tenants"),
        lambda: ann.post(f"{VENDOR}/tags", {"text": "eu"}),
        lambda: ann.delete("/api/1/session"),
    ):
        ann.cookies = dict(kept)
        said = await ask()
        assert (said.status, said.code) == (401, "not-signed-in")
        assert "Max-Age=0" in said.headers["set-cookie"]
        assert ann.cookies == {}
    assert await actions(town.world) == done


async def test_a_request_with_a_token_that_was_just_replaced_does_not_take_the_new_one_from_the_browser(town):
    """Tabs share cookies: one proves who sits there while another's request is under way."""
    ann = await town.person("ann@example.com")
    late = Browser(town.made)
    late.cookies = dict(ann.cookies)
    assert (await ann.prove()).status == 200
    said = await late.get("/api/1/session")
    assert (said.status, said.code) == (401, "not-signed-in")
    assert "set-cookie" not in said.headers


async def test_signing_in_makes_a_new_token_and_ends_the_old_one(town):
    ann = await town.person("ann@example.com")
    old = dict(ann.cookies)
    assert (await ann.sign_in()).status == 200
    assert ann.cookies != old
    thief = Browser(town.made)
    thief.cookies = old
    assert (await thief.get("/api/1/session")).code == "not-signed-in"
    assert len((await ann.get("/api/1/sessions")).json) == 1


async def test_a_token_that_somebody_planted_stays_worthless(town):
    ann = await town.person("ann@example.com")
    victim = ann.fork()
    victim.cookies = {sessions.COOKIE: "planted"}
    assert (await victim.sign_in()).status == 200
    assert victim.cookies[sessions.COOKIE] != "planted"
    thief = Browser(town.made)
    thief.cookies = {sessions.COOKIE: "planted"}
    assert (await thief.get("/api/1/session")).code == "not-signed-in"


async def test_people_see_and_end_their_sessions(town):
    ann = await town.person("ann@example.com")
    phone, lost = ann.fork(), ann.fork()
    await phone.sign_in()
    await lost.sign_in()
    listed = (await ann.get("/api/1/sessions")).json
    assert sorted(each["address"] for each in listed) == sorted([ann.address, phone.address, lost.address])
    gone = next(each["id"] for each in listed if each["address"] == lost.address)
    assert (await ann.delete(f"/api/1/sessions/{gone}")).status == 204
    assert (await lost.get("/api/1/session")).status == 401
    assert (await ann.delete(f"/api/1/sessions/{gone}")).status == 404
    assert (await ann.delete("/api/1/sessions")).status == 204
    assert (await phone.get("/api/1/session")).status == 401
    bob = await town.person("bob@example.com")
    mine = (await bob.get("/api/1/sessions")).json[0]["id"]
    assert (await ann.delete(f"/api/1/sessions/{mine}")).status == 404
    out = await ann.delete("/api/1/session")
    assert '"storage"' in out.headers["clear-site-data"]
    assert not ann.cookies


async def test_what_matters_asks_for_a_new_proof(town):
    ann = await town.person("ann@example.com")
    body = {"email": "bob@example.com", "role": "admin", "deliver": "link"}
    assert (await ann.post(f"{VENDOR}/invitations", body)).status == 201
    town.world.now_s += 15 * 60
    body["email"] = "eve@example.com"
    for refused in (
        await ann.post(f"{VENDOR}/invitations", body),
        await ann.post("/api/1/account/passkeys/begin", {}),
        await ann.put(f"{VENDOR}/documents", town.world.documents()),
        await ann.post(f"{VENDOR}/api-keys", {"name": "x", "role": "admin"}),
    ):
        assert (refused.status, refused.code) == (403, "prove-again")
    assert (await ann.get(f"{VENDOR}/people")).status == 200
    old = dict(ann.cookies)
    assert (await ann.prove()).status == 200
    assert ann.cookies != old
    assert (await ann.post(f"{VENDOR}/invitations", body)).status == 201
    thief = Browser(town.made)
    thief.cookies = old
    assert (await thief.get("/api/1/session")).status == 401


async def test_a_passphrase_proves_too_and_somebody_elses_passkey_does_not(town):
    ann = await town.with_passphrase("ann@example.com")
    bob = await town.person("bob@example.com")
    town.world.now_s += 15 * 60
    ann.authenticator = bob.authenticator
    begun = (await ann.post("/api/1/session/proof/begin", {})).json
    credential = bob.authenticator.get(begun["options"], bob.origin)
    assert (await ann.post("/api/1/session/proof", {"ceremony": begun["ceremony"], "credential": credential})).code == (
        "sign-in-failed"
    )
    assert (await ann.post("/api/1/session/proof", {"passphrase": PASSPHRASE, "code": "000000"})).status == 401
    assert (await ann.post("/api/1/session/proof", {})).status == 401
    assert (await ann.post("/api/1/session/proof", {"passphrase": PASSPHRASE, "code": ann.code()})).status == 200


# -- cross-site requests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"TS-Request": None},
        {"Origin": None, "Sec-Fetch-Site": None},
        {"Origin": "null", "Sec-Fetch-Site": None},
    ],
    ids=str,
)
async def test_pages_of_others_change_nothing(town, headers):
    ann = await town.person("ann@example.com")
    asked = [
        await ann.post(f"{VENDOR}/tags", {"text": "x"}, headers=headers),
        await ann.delete("/api/1/session", headers=headers),
        await ann.post("/api/1/sign-in/passkey/begin", {}, headers=headers),
        await ann.post("/api/1/sign-up/begin", {"token": "x" * 20, "name": "A", "with": "passkey"}, headers=headers),
    ]
    assert [(each.status, each.code) for each in asked] == [(403, "cross-site")] * 4
    assert (await ann.get("/api/1/session")).status == 200


async def test_pages_of_others_read_nothing_either(town):
    ann = await town.person("ann@example.com")
    for headers in ({"TS-Request": None}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert (await ann.get(f"{VENDOR}/tenants", headers=headers)).code == "cross-site"
    old_browser = {"Sec-Fetch-Site": None, "Origin": None}
    assert (await ann.get(f"{VENDOR}/tenants", headers=old_browser)).status == 200


# -- the account -----------------------------------------------------------------------------------------------------


async def test_passkeys_are_added_renamed_and_removed_and_one_way_in_stays(town):
    ann = await town.person("ann@example.com")
    begun = (await ann.post("/api/1/account/passkeys/begin", {})).json
    first = begun["options"]["excludeCredentials"][0]["id"]
    credential = ann.authenticator.create(begun["options"], ann.origin)
    body = {"ceremony": begun["ceremony"], "credential": credential, "name": "Key"}
    added = await ann.post("/api/1/account/passkeys", body)
    assert added.status == 201
    assert (await ann.post("/api/1/account/passkeys", body)).status == 422
    second = added.json["id"]
    assert (await ann.patch(f"/api/1/account/passkeys/{second}", {"name": "Blue key"})).status == 204
    named = {each["id"]: each["name"] for each in (await ann.get("/api/1/account")).json["passkeys"]}
    assert named == {first: "Phone", second: "Blue key"}
    bob = await town.person("bob@example.com")
    assert (await bob.patch(f"/api/1/account/passkeys/{second}", {"name": "Mine"})).status == 404
    assert (await bob.delete(f"/api/1/account/passkeys/{second}")).status == 404
    lost = ann.fork()
    assert (await lost.sign_in()).status == 200
    assert (await ann.delete(f"/api/1/account/passkeys/{first}")).status == 204
    assert (await lost.get("/api/1/session")).status == 401
    assert (await ann.delete(f"/api/1/account/passkeys/{second}")).status == 422
    assert "passkey.remove" in await actions(town.world, like="passkey")


async def test_a_passphrase_is_set_ends_other_sessions_and_is_taken_away(town):
    ann = await town.person("ann@example.com")
    other = ann.fork()
    await other.sign_in()
    begun = (await ann.post("/api/1/account/passphrase/begin", {})).json
    assert "ann%40example.com" in begun["totpUri"]
    ann.totp = begun["totpSecret"]
    body = {"ceremony": begun["ceremony"], "passphrase": PASSPHRASE, "code": ann.code()}
    assert len((await ann.put("/api/1/account/passphrase", body)).json["recoveryCodes"]) == 10
    assert (await other.get("/api/1/session")).status == 401
    town.world.now_s += 30
    assert (await ann.fork().sign_in_with_passphrase("ann@example.com")).status == 200
    assert (await ann.delete("/api/1/account/passphrase")).status == 204
    town.world.now_s += 30
    assert (await ann.fork().sign_in_with_passphrase("ann@example.com")).code == "sign-in-failed"
    assert (await ann.post("/api/1/account/recovery-codes")).status == 422


async def test_of_two_last_ways_in_removed_at_once_one_stays(town):
    ann = await town.person("ann@example.com")
    begun = (await ann.post("/api/1/account/passkeys/begin", {})).json
    credential = ann.authenticator.create(begun["options"], ann.origin)
    await ann.post("/api/1/account/passkeys", {"ceremony": begun["ceremony"], "credential": credential, "name": "Key"})
    ids = [each["id"] for each in (await ann.get("/api/1/account")).json["passkeys"]]
    said = await asyncio.gather(*(ann.delete(f"/api/1/account/passkeys/{each}") for each in ids))
    assert sorted(each.status for each in said) == [204, 422]


# -- the first owner -------------------------------------------------------------------------------------------------


async def test_the_set_up_token_of_the_settings_signs_up_whoever_has_it(town):
    ann = Browser(town.made)
    assert (await ann.get("/api/1/set-up")).json == {"needed": False}
    assert (await ann.sign_up("not-the-token-at-all", email="ann@example.com")).status == 404
    assert (await ann.sign_up(SETUP_TOKEN)).status == 422
    assert (await ann.sign_up(SETUP_TOKEN, email="Ann@example.com")).status == 201
    assert (await ann.get("/api/1/session")).json["organisations"] == []
    assert (await ann.get(f"{VENDOR}/tenants")).status == 404
    assert (await Browser(town.made).sign_up(SETUP_TOKEN, email="ann@example.com")).status == 409


# -- several processes -----------------------------------------------------------------------------------------------


async def test_one_process_finishes_what_another_began_and_neither_twice(world):
    key = new_server_key()
    async with inhabited(world, key=key) as here, inhabited(world, key=key) as there:
        ann = await here.person("ann@example.com")
        ann.authenticator.counts = False
        begun = (await ann.post("/api/1/sign-in/passkey/begin", {})).json
        body = {"ceremony": begun["ceremony"], "credential": ann.authenticator.get(begun["options"], ann.origin)}
        other = Browser(there.made)
        said = await asyncio.gather(
            ann.post("/api/1/sign-in/passkey", body), other.post("/api/1/sign-in/passkey", body)
        )
        assert [each.status for each in said].count(200) == 1
        both = Browser(there.made)
        both.cookies = ann.cookies or other.cookies
        assert (await both.get("/api/1/session")).status == 200
    async with inhabited(world) as elsewhere:
        stranger = Browser(elsewhere.made)
        assert (await stranger.post("/api/1/sign-in/passkey", body)).status == 422
