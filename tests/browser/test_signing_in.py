"""Single sign-on with a provider that the browser really goes to, and sessions whose time is up."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from playwright.sync_api import Browser, expect
from tests.browser.peer_provider import PeerProvider
from tests.browser.people import Person
from tests.browser.stack import Stack, running_stack
from tests.browser.test_the_whole_way import VENDOR, set_up
from tests.unit.broker.fake_provider import CLIENT, SECRET

from tenant_security.testing.fakes.hosted import hosted

pytestmark = pytest.mark.toolchain

HOME = f"/v/{VENDOR}"
PASSPHRASE = "five words that nobody guesses"
MINUTE_MS = 60_000
ANN = {"sub": "ann-1", "email": "ann@acme-notes.example", "email_verified": True}
BOB = {"sub": "bob-1", "email": "bob@acme-notes.example", "email_verified": True}


@pytest.fixture(scope="module")
def provider() -> Iterator[PeerProvider]:
    with hosted(PeerProvider) as made:
        made.person = ANN
        yield made


@pytest.fixture(scope="module")
def stack(built_app: Path, tmp_path_factory: pytest.TempPathFactory, provider: PeerProvider) -> Iterator[Stack]:
    """A broker that may reach the provider, and trusts whoever vouches for it."""
    assert (built_app / "index.html").exists()
    directory = tmp_path_factory.mktemp("broker")
    trusted = directory / "authority.pem"
    trusted.write_bytes(provider.authority_pem)
    allowed = {"BROKER_EGRESS_ALLOW": "127.0.0.0/8,::1/128", "SSL_CERT_FILE": str(trusted)}
    with running_stack(directory, **allowed) as started:
        yield started


class Clocks:
    """The broker's clock and the provider's, which go on together."""

    def __init__(self, stack: Stack, provider: PeerProvider) -> None:
        self._stack = stack
        self._provider = provider
        self.ahead_ms = 0

    def step(self, by_ms: int) -> None:
        self.ahead_ms += by_ms
        self._stack.step_clock(self.ahead_ms)
        self._provider.world.ahead_s = self.ahead_ms // 1000


@pytest.fixture(scope="module")
def clocks(stack: Stack, provider: PeerProvider) -> Clocks:
    return Clocks(stack, provider)


@pytest.fixture(scope="module")
def ann(stack: Stack, browser: Browser, provider: PeerProvider) -> Iterator[Person]:
    """A vendor's owner, who sets single sign-on in the page."""
    person = Person(browser, stack.url)
    person.give_passkey()
    set_up(person)
    person.go(f"{HOME}/settings")
    shown = f"{stack.url}/api/1/sign-in/sso/return"
    expect(person.page.get_by_text(shown)).to_be_visible()
    person.type("Issuer", "https://localhost:1")
    person.type("Client id", CLIENT)
    person.type("Client secret", SECRET)
    save_sso(person)
    person.sees("The provider cannot be used: the provider was not reached")
    person.type("Issuer", provider.issuer)
    save_sso(person)
    person.sees("Saved.")
    expect(person.page.get_by_text(f"{stack.url}/sign-in?vendor={VENDOR}")).to_be_visible()
    expect(person.page.get_by_text(shown)).to_be_visible()
    yield person
    person.context.close()


def save_sso(person: Person) -> None:
    form = person.page.locator("form").filter(has=person.page.get_by_label("Issuer"))
    form.get_by_role("button", name="Save").click()


@pytest.fixture
def visitor(stack: Stack, browser: Browser, ann: Person, provider: PeerProvider) -> Iterator[Person]:
    """Somebody's new browser; the provider is at its best."""
    assert ann.url == stack.url
    person = Person(browser, stack.url, ignore_https_errors=True)
    provider.mood, provider.claims, provider.person = "signs-in", {}, ANN
    yield person
    provider.mood, provider.claims, provider.person = "signs-in", {}, ANN
    person.context.close()


def by_sso(person: Person, *, begins_at: str = f"/sign-in?vendor={VENDOR}") -> None:
    person.go(begins_at)
    person.press("Go on to your organisation")
    person.press("Let me in")


def test_who_comes_by_the_providers_word_is_in_and_proves_it_there_again(visitor: Person, clocks: Clocks) -> None:
    by_sso(visitor)
    visitor.sees("Your customers' keys stay theirs.")
    clocks.step(16 * MINUTE_MS)
    visitor.go(f"{HOME}/api-keys")
    visitor.press("Make a key")
    visitor.type("Name", "by-sso")
    visitor.press("Make", exact=True)
    visitor.press("Confirm by single sign-on")
    visitor.press("Let me in")
    visitor.sees("For scripts and pipelines.")
    visitor.press("Make a key")
    visitor.type("Name", "by-sso")
    visitor.press("Make", exact=True)
    visitor.sees("It is shown once.")
    assert (visitor.violations(), visitor.troubles) == ([], [])


FAILURES: list[tuple[dict[str, Any], str]] = [
    ({"mood": "denies"}, "Your organisation's sign-on did not let you in."),
    ({"mood": "forgets-the-state"}, "Single sign-on did not work."),
    ({"claims": {"nonce": "another"}}, "Single sign-on did not work."),
    ({"claims": {"email_verified": False}}, "did not vouch for your e-mail address"),
    ({"person": {**ANN, "sub": "x", "email": "eve@elsewhere.example"}}, "nobody has invited you here"),
    ({"person": {**ANN, "sub": "another than before"}}, "did not vouch for your e-mail address"),
]


def test_who_is_refused_hears_why_and_is_not_in(visitor: Person, provider: PeerProvider) -> None:
    for wrong, words in FAILURES:
        provider.mood, provider.claims, provider.person = "signs-in", {}, ANN
        for name, value in wrong.items():
            setattr(provider, name, value)
        by_sso(visitor)
        visitor.sees(words)
        assert "__Host-ts-session" not in {each["name"] for each in visitor.context.cookies()}
    visitor.go("/sign-in?vendor=nobody-here")
    visitor.press("Go on to your organisation")
    visitor.sees("There is no such organisation, or it has no single sign-on.")
    assert (visitor.violations(), visitor.troubles) == ([], [])


def test_where_single_sign_on_is_required_a_passphrase_opens_nothing(
    ann: Person, visitor: Person, provider: PeerProvider, clocks: Clocks
) -> None:
    secret = sign_up_with_passphrase(visitor, invite_admin(ann, BOB["email"]), "Bob", clocks)
    visitor.press("Sign out")
    ann.go(f"{HOME}/settings")
    ann.page.get_by_label("Everybody must use it").check()
    save_sso(ann)
    ann.sees("Saved.")
    visitor.go("/sign-in")
    visitor.press("Use a passphrase")
    visitor.type("E-mail address", BOB["email"])
    visitor.type("Passphrase", PASSPHRASE)
    clocks.step(MINUTE_MS)  # a code is good once
    visitor.type("Code", code(secret, clocks))
    visitor.press("Sign in")
    visitor.sees("It wants its own single sign-on.")
    visitor.go(f"{HOME}/tenants")
    visitor.sees("There is no such page, or it is not yours")
    provider.person = BOB
    visitor.go("/organisations")
    visitor.press("Go on by single sign-on")
    visitor.press("Let me in")
    visitor.sees("Your customers' keys stay theirs.")
    assert (visitor.violations(), visitor.troubles) == ([], [])


def invite_admin(ann: Person, email: str) -> str:
    ann.go(f"{HOME}/people")
    ann.press("Invite somebody")
    ann.type("E-mail address", email)
    ann.page.get_by_label("Role", exact=True).select_option("admin")
    ann.press("Invite", exact=True)
    ann.press("Use your passkey")  # the proof of a while ago is too old
    return ann.takes_link()


def sign_up_with_passphrase(person: Person, link: str, name: str, clocks: Clocks) -> str:
    """Join by an invitation; returns the authenticator's secret."""
    person.go(link)
    person.page.get_by_label("I compared the words").check()
    person.press("Go on")
    person.type("Your name", name)
    person.press("Use a passphrase and an authenticator")
    person.type("Passphrase", PASSPHRASE)
    person.press("Go on")
    secret = person.page.locator("p.mono").inner_text().replace(" ", "")
    person.page.get_by_label("The six digits that it shows").fill(code(secret, clocks))
    person.press("Sign up")
    person.press("I have kept them")
    person.press("Make my keys")
    person.sees("Your customers' keys stay theirs.")
    return secret


def code(secret: str, clocks: Clocks) -> str:
    return pyotp.TOTP(secret).at(int(time.time() + clocks.ahead_ms / 1000))


# -- the end of sessions -----------------------------------------------------------------------------------------------


def comes_back(ann: Person, page: str) -> None:
    """Ann is shown to the sign-in with her keys closed, and comes back to where she was."""
    ann.sees("Your session has ended, and your keys are closed.")
    assert ann.page.evaluate("sessionStorage.length") == 0
    assert held(ann) == 0
    assert "__Host-ts-session" not in {each["name"] for each in ann.context.cookies()}
    ann.press("Sign in with a passkey")
    ann.sees(page)


def held(person: Person) -> int:
    """How many keys of tabs the browser holds."""
    found: int = person.page.evaluate(
        """new Promise((found, failed) => {
            const opening = indexedDB.open('tenant-security', 1);
            opening.onerror = () => failed(opening.error);
            opening.onsuccess = () => {
                const counted = opening.result.transaction('keys').objectStore('keys').count();
                counted.onsuccess = () => { opening.result.close(); found(counted.result); };
            };
        })"""
    )
    return found


def test_a_session_that_nobody_used_ends_at_the_next_click(ann: Person, clocks: Clocks) -> None:
    ann.go(f"{HOME}/audit")
    ann.sees("Verify the whole chain")
    assert (ann.page.evaluate("sessionStorage.length"), held(ann)) == (1, 1)
    clocks.step(31 * MINUTE_MS)
    ann.follow("Tenants")
    comes_back(ann, "Add a tenant")
    assert ann.page.url.endswith("/tenants")


def test_a_session_ends_by_itself_in_a_tab_that_nobody_touches(ann: Person, clocks: Clocks) -> None:
    ann.page.clock.install()
    ann.go(f"{HOME}/people")
    ann.sees("Members")
    clocks.step(31 * MINUTE_MS)
    ann.page.clock.fast_forward(31 * MINUTE_MS)
    comes_back(ann, "Members")


def test_a_session_ends_after_twelve_hours_of_use(ann: Person, clocks: Clocks) -> None:
    ask = "fetch('/api/1/session', {headers: {'TS-Request': '1'}}).then(said => said.status)"
    ann.go(f"{HOME}/people")
    ann.sees("Members")
    said = []
    for _ in range(12 * 60 // 25 + 1):
        said.append(ann.page.evaluate(ask))
        clocks.step(25 * MINUTE_MS)
    assert said == [200] * len(said)
    ann.follow("Audit")
    comes_back(ann, "Verify the whole chain")


def test_no_page_broke_the_policy_or_threw(ann: Person) -> None:
    assert (ann.violations(), ann.troubles) == ([], [])
