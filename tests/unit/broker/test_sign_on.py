"""An organisation's provider opens that organisation, to whom it means, and nothing else."""

import ipaddress
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from tests.unit.broker.browser import Browser
from tests.unit.broker.fake_provider import CLIENT, SECRET, Provider
from tests.unit.broker.inhabited import VENDOR, inhabited
from tests.unit.broker.test_sign_in import actions

from tenant_security.broker import audit_log
from tenant_security.broker.people.sessions import COOKIE
from tenant_security.broker.people.sign_on import COOKIE as WAITING
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.egress import EgressPolicy
from tenant_security.testing.fakes.server import Answered, Mishap

HERE = EgressPolicy(networks=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))


@pytest.fixture
async def provider(world):
    async with Provider(world) as made:
        yield made


@pytest.fixture
async def town(world, provider):
    async with (
        Outbound(ssl_context=provider.trusting(), egress=HERE) as outbound,
        inhabited(world, outbound=outbound) as made,
    ):
        yield made
    async with world.database.read() as connection:
        assert await audit_log.verify(connection, "acme") is None


@pytest.fixture
async def ann(town, provider):
    """An owner who has set single sign-on."""
    browser = await town.person("ann@example.com")
    assert (await browser.put(f"{VENDOR}/sso", settings(provider))).status == 204
    return browser


def settings(provider, **more):
    return {"issuer": provider.issuer, "clientId": CLIENT, "clientSecret": SECRET, "required": False, **more}


async def begin(browser, **more):
    said = await browser.post("/api/1/sign-in/sso", {"vendor": "acme", **more})
    assert said.status == 200, said
    return said.json["location"]


async def come_back(browser, url):
    """Follow the provider's redirect as a browser does: from another site, so without strict cookies."""
    parts = urlsplit(url)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items() if name == WAITING)
    headers = {"Cookie": cookies, "Sec-Fetch-Site": "cross-site", "X-Forwarded-For": browser.address}
    async with (
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
        session.get(f"{browser.made.base}{parts.path}?{parts.query}", headers=headers, allow_redirects=False) as said,
    ):
        assert said.status == 303
        for name, morsel in said.cookies.items():
            assert morsel["secure"]
            assert morsel["httponly"]
            assert morsel["samesite"] == ("strict" if name == COOKIE else "lax")
            if morsel.value:
                browser.cookies[name] = morsel.value
            else:
                browser.cookies.pop(name, None)
        return said.headers["Location"]


async def sign_on(browser, provider, **more):
    return await come_back(browser, provider.sign_in(await begin(browser, **more)))


async def test_whom_the_provider_means_is_signed_in(town, provider, ann):
    browser = Browser(town.made)
    assert await sign_on(browser, provider, next="/tenants") == "/tenants"
    session = (await browser.get("/api/1/session")).json
    assert (session["method"], session["person"]["email"]) == ("sso", "ann@example.com")
    assert session["organisations"][0]["available"] is True
    assert (await browser.get(f"{VENDOR}/tenants")).status == 200
    assert WAITING not in browser.cookies
    assert {"sso.set", "sso.link"} <= set(await actions(town.world, like="sso"))
    shown = (await ann.get(f"{VENDOR}/sso")).json
    assert shown["redirectUri"] == "http://localhost:8080/api/1/sign-in/sso/return"
    assert SECRET not in repr(shown)


LIES = {
    "issuer": {"iss": "https://evil.example"},
    "audience": {"aud": "another client"},
    "party": {"azp": "another client"},
    "audiences": {"aud": [CLIENT, "another"]},
    "expired": {"exp": 1_000},
    "future": {"iat": 9_999_999_999},
    "nonce": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "nobody": {"sub": None},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.usefixtures("ann")
async def test_a_token_that_says_something_else_is_refused(town, provider, lie):
    provider.claims = lie
    browser = Browser(town.made)
    assert await sign_on(browser, provider) == "/sign-in?problem=sso-failed"
    assert COOKIE not in browser.cookies


@pytest.mark.parametrize("trick", ["other key", "HS256", "none"])
@pytest.mark.usefixtures("ann")
async def test_a_token_that_the_provider_did_not_sign_is_refused(town, provider, trick):
    if trick == "other key":
        provider.other_rsa()
    else:
        provider.algorithm = trick
    assert await sign_on(Browser(town.made), provider) == "/sign-in?problem=sso-failed"


@pytest.mark.usefixtures("ann")
async def test_new_keys_of_the_provider_are_fetched(town, provider):
    assert await sign_on(Browser(town.made), provider) == "/"
    provider.new_keys()
    assert await sign_on(Browser(town.made), provider) == "/"


@pytest.mark.parametrize("verified", [False, None, "yes"])
@pytest.mark.usefixtures("ann")
async def test_an_address_that_was_not_verified_opens_nothing(town, provider, verified):
    provider.claims = {"email_verified": verified}
    assert await sign_on(Browser(town.made), provider) == "/sign-in?problem=sso-email"


@pytest.mark.usefixtures("ann")
async def test_state_is_bound_to_the_browser_and_used_once(town, provider):
    mine, thief = Browser(town.made), Browser(town.made)
    url = provider.sign_in(await begin(mine))
    assert await come_back(thief, url) == "/sign-in?problem=sso-expired"
    await begin(thief)
    assert await come_back(thief, url) == "/sign-in?problem=sso-failed"
    kept = dict(mine.cookies)
    assert await come_back(mine, url) == "/"
    mine.cookies = kept
    assert await come_back(mine, url) == "/sign-in?problem=sso-failed"
    late = Browser(town.made)
    url = provider.sign_in(await begin(late))
    town.world.now_s += 600
    assert await come_back(late, url) == "/sign-in?problem=sso-expired"


@pytest.mark.usefixtures("ann")
async def test_another_providers_answer_and_a_refusal_there_are_refused(town, provider):
    browser = Browser(town.made)
    url = provider.sign_in(await begin(browser))
    kept = dict(browser.cookies)
    assert await come_back(browser, f"{url}&iss=https://evil.example") == "/sign-in?problem=sso-failed"
    browser.cookies = kept
    state = parse_qs(urlsplit(url).query)["state"][0]
    path = f"https://x/api/1/sign-in/sso/return?error=access_denied&state={state}"
    assert await come_back(browser, path) == "/sign-in?problem=sso-refused"


@pytest.mark.usefixtures("ann")
async def test_a_stranger_of_the_provider_is_no_member(town, provider):
    provider.person = {"sub": "s2", "email": "stranger@example.com", "email_verified": True}
    assert await sign_on(Browser(town.made), provider) == "/sign-in?problem=sso-not-a-member"


@pytest.mark.usefixtures("ann")
async def test_an_address_that_was_given_away_opens_nothing(town, provider):
    assert await sign_on(Browser(town.made), provider) == "/"
    provider.person = {"sub": "somebody new", "email": "ann@example.com", "email_verified": True}
    assert await sign_on(Browser(town.made), provider) == "/sign-in?problem=sso-email"
    provider.person = {"sub": "subject-1", "email": "renamed@example.com", "email_verified": True}
    assert await sign_on(Browser(town.made), provider) == "/"


async def test_a_provider_has_no_say_elsewhere(town, provider):
    world = town.world
    await world.tenant("a")
    await town.person("owner@example.com")
    bob = await town.person("bob@example.com", "owner", "a")
    assert (await bob.put(f"{VENDOR}/tenants/a/sso", settings(provider))).status == 204
    eve = await town.person("eve@example.com", "admin")
    token = await town.token("eve@example.com", "admin", "a")
    assert (await eve.post("/api/1/invitations/accept", {"token": token})).status == 200
    provider.person = {"sub": "eve", "email": "eve@example.com", "email_verified": True}
    impostor = Browser(town.made)
    assert await sign_on(impostor, provider, tenant="a") == "/"
    assert (await impostor.get(f"{VENDOR}/tenants/a/people")).status == 200
    elsewhere = await impostor.get(f"{VENDOR}/tenants")
    assert (elsewhere.status, elsewhere.code) == (403, "sso-required")
    for refused in (
        await impostor.post("/api/1/account/passkeys/begin", {}),
        await impostor.get("/api/1/account/keys"),
        await impostor.patch("/api/1/account", {"name": "Mallory"}),
    ):
        assert refused.code == "own-sign-in-required"
    assert (await impostor.get("/api/1/session")).json["ownSignIn"] is False


async def test_where_it_is_required_only_owners_come_in_without_and_it_is_written_down(town, provider, ann):
    bob = await town.person("bob@example.com", "admin")
    assert (await ann.put(f"{VENDOR}/sso", settings(provider, required=True, clientSecret=None))).status == 204
    refused = await bob.get(f"{VENDOR}/tenants")
    assert (refused.status, refused.code) == (403, "sso-required")
    place = (await bob.get("/api/1/session")).json["organisations"][0]
    assert (place["ssoRequired"], place["available"]) == (True, False)
    provider.person = {"sub": "bob", "email": "bob@example.com", "email_verified": True}
    assert await sign_on(bob, provider) == "/"
    assert (await bob.get(f"{VENDOR}/tenants")).status == 200
    assert (await ann.fork().sign_in()).status == 200
    assert "sign-in.break-glass" in await actions(town.world)


async def test_somebody_who_came_this_way_proves_it_this_way(town, provider, ann):
    browser = Browser(town.made)
    assert await sign_on(browser, provider) == "/"
    town.world.now_s += 15 * 60
    body = {"name": "ci", "role": "admin"}
    assert (await browser.post(f"{VENDOR}/api-keys", body)).code == "prove-again"
    browser.authenticator = ann.authenticator
    begun = (await browser.post("/api/1/session/proof/begin", {})).json
    credential = browser.authenticator.get(begun["options"], browser.origin)
    said = await browser.post("/api/1/session/proof", {"ceremony": begun["ceremony"], "credential": credential})
    assert said.code == "sign-in-failed"
    provider.claims = {"auth_time": town.world.now_s - 3_600}
    assert await sign_on(browser, provider, again=True) == "/sign-in?problem=sso-failed"
    provider.claims = {}
    old = browser.cookies[COOKIE]
    assert await sign_on(browser, provider, again=True) == "/"
    assert browser.cookies[COOKIE] != old
    assert (await browser.post(f"{VENDOR}/api-keys", body)).status == 201
    bob = await town.person("bob@example.com", "admin")
    provider.person = {"sub": "bob", "email": "bob@example.com", "email_verified": True}
    assert await sign_on(browser, provider, again=True) == "/sign-in?problem=sso-failed"
    del bob


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"issuer": "http://localhost:1"}, "https"),
        ({"issuer": "https://user:x@localhost:1"}, "https"),
        ({"issuer": "https://localhost:1"}, "not reached"),
        ({"issuer": "https://10.0.0.1"}, "not allowed"),
        ({"issuer": "nonsense"}, "https"),
        ({"issuer": "https://[broken"}, "https"),
    ],
    ids=str,
)
async def test_an_issuer_that_is_none_is_refused_in_words(town, provider, change, why):
    browser = await town.person("ann@example.com")
    refused = await browser.put(f"{VENDOR}/sso", settings(provider, **change))
    assert refused.status == 422
    assert why in refused.json["message"]
    assert (await browser.get(f"{VENDOR}/sso")).status == 404


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://another.example"},
        {"token_endpoint": "http://localhost/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": None},
    ],
    ids=str,
)
async def test_metadata_that_lead_elsewhere_are_refused(town, provider, metadata):
    provider.metadata = metadata
    browser = await town.person("ann@example.com")
    assert (await browser.put(f"{VENDOR}/sso", settings(provider))).status == 422


async def test_a_provider_that_is_down_keeps_nobody_else_out(town, provider, ann):
    browser = Browser(town.made)
    url = provider.sign_in(await begin(browser))
    provider.always("token", Mishap(hang_up=True))
    assert await come_back(browser, url) == "/sign-in?problem=sso-unreachable"
    provider.always("token", Mishap(instead=Answered(200, b"[" * 5_000)))
    assert await sign_on(browser, provider) == "/sign-in?problem=sso-failed"
    assert (await ann.fork().sign_in()).status == 200


@pytest.mark.usefixtures("ann")
async def test_nobody_learns_which_organisations_exist(town):
    await town.world.tenant("a")
    nobody = Browser(town.made)
    said = [
        await nobody.post("/api/1/sign-in/sso", body)
        for body in ({"vendor": "none"}, {"vendor": "acme", "tenant": "a"}, {"vendor": "acme", "tenant": "none"})
    ]
    assert {each.status for each in said} == {404}
    assert len({each.body for each in said}) == 1


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "", "/a\nb"])
@pytest.mark.usefixtures("ann")
async def test_nobody_is_led_elsewhere(town, provider, path):
    assert await sign_on(Browser(town.made), provider, next=path) == "/"


async def test_without_it_its_sessions_end(town, provider, ann):
    browser = Browser(town.made)
    assert await sign_on(browser, provider) == "/"
    assert (await ann.delete(f"{VENDOR}/sso")).status == 204
    assert (await browser.get("/api/1/session")).status == 401
    assert (await ann.delete(f"{VENDOR}/sso")).status == 404
    refused = await ann.put(f"{VENDOR}/sso", settings(provider, clientSecret=None))
    assert "client's secret" in refused.json["message"]
