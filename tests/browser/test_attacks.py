"""What attackers try: other sites, frames, stolen and planted sessions, altered answers; and the other ways in."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest
from playwright.sync_api import Browser, Route, expect
from tests.browser.people import Person
from tests.browser.stack import Stack
from tests.browser.test_the_whole_way import TENANT, VENDOR, accept, invite, make_service, set_up

pytestmark = pytest.mark.toolchain

PASSPHRASE = "five words that nobody guesses"


@pytest.fixture(scope="module")
def ann(stack: Stack, browser: Browser, recovery: dict[str, str]) -> Iterator[Person]:
    """A vendor's owner."""
    person = Person(browser, stack.url)
    person.give_passkey()
    recovery["file"], recovery["words"] = set_up(person)
    yield person
    person.context.close()


@pytest.fixture(scope="module")
def recovery() -> dict[str, str]:
    """The vendor's recovery file and its words."""
    return {}


def session_of(person: Person) -> str:
    found = {each["name"]: each["value"] for each in person.context.cookies()}
    return found.get("__Host-ts-session", "")


def test_files_are_what_the_manifest_of_hashes_says(stack: Stack, built_app: Path) -> None:
    with httpx.Client(base_url=stack.url) as client:
        said = client.get("/hashes.json").json()
        assert said["algorithm"] == "sha256"
        served = {name: client.get(f"/{name}").content for name in said["files"]}
    assert {name: hashlib.sha256(body).hexdigest() for name, body in served.items()} == said["files"]
    on_disk = {path.relative_to(built_app).as_posix() for path in built_app.rglob("*") if path.is_file()}
    assert on_disk - {"hashes.json"} == set(said["files"])
    page = served["index.html"].decode()
    for tag in re.findall(r"<(?:script|link rel=\"stylesheet\")[^>]*>", page):
        name = re.search(r"(?:src|href)=\"/([^\"]+)\"", tag)
        integrity = re.search(r"integrity=\"sha384-([^\"]+)\"", tag)
        assert name is not None
        assert integrity is not None
        assert base64.b64encode(hashlib.sha384(served[name[1]]).digest()).decode() == integrity[1]
    assert "<script>" not in page
    assert "style=" not in page


def test_no_page_may_be_framed_or_run_anything_of_others(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url) as client:
        for path in ("/", "/sign-in", "/v/x/t/y", "/assets/none.js"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
        policy = client.get("/").headers["content-security-policy"]
    for wanted in ("script-src 'self'", "connect-src 'self'", "require-trusted-types-for 'script'", "base-uri 'none'"):
        assert wanted in policy


@pytest.fixture
def other_site(tmp_path: Path) -> Iterator[str]:
    """Somebody else's pages."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_said: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_another_site_can_neither_frame_nor_ask_nor_change(
    ann: Person, stack: Stack, other_site: str, tmp_path: Path
) -> None:
    target = f"{stack.url}/api/1/vendors/{VENDOR}/tenants"
    (tmp_path / "index.html").write_text(f"<iframe name=victim src='{stack.url}/'></iframe>")
    page = ann.context.new_page()
    page.goto(other_site)
    page.wait_for_load_state("networkidle")
    assert page.frames[1].locator("main").count() == 0
    assert not page.frames[1].url.startswith(stack.url)
    attack = """async ([url, body]) => {
        const tries = [
            {method: 'POST', body, mode: 'no-cors', credentials: 'include', headers: {'Content-Type': 'text/plain'}},
            {method: 'POST', body, credentials: 'include', headers: {'TS-Request': '1'}},
            {credentials: 'include'},
        ];
        const seen = [];
        for (const each of tries) {
            try { seen.push((await fetch(url, each)).type); } catch (error) { seen.push('refused'); }
        }
        return seen;
    }"""
    seen = page.evaluate(attack, [target, json.dumps({"id": "evil", "name": "Evil"})])
    assert set(seen) <= {"opaque", "refused"}
    page.close()
    ann.go(f"/v/{VENDOR}/tenants")
    ann.sees("Add your first tenant")


def test_a_request_with_the_cookie_alone_is_refused(ann: Person, stack: Stack) -> None:
    cookie = {"Cookie": f"__Host-ts-session={session_of(ann)}"}
    url = f"{stack.url}/api/1/vendors/{VENDOR}/tenants"
    with httpx.Client() as client:
        assert client.get(url, headers=cookie).status_code == 403
        planted = {**cookie, "TS-Request": "1", "Origin": "https://evil.example"}
        assert client.post(url, headers=planted, json={"id": "evil", "name": "Evil"}).status_code == 403
        own = {**cookie, "TS-Request": "1", "Origin": stack.url}
        assert client.get(url, headers=own).status_code == 200


def test_a_session_that_was_planted_is_not_the_one_that_signs_in(stack: Stack, ann: Person) -> None:
    planted = "p" * 43
    ann.press("Sign out")
    ann.sees("Sign in with a passkey")
    cookie = f"__Host-ts-session={planted}; Path=/; Secure; HttpOnly; SameSite=Strict"
    ann.page.route("**/planting", lambda route: route.fulfill(headers={"Set-Cookie": cookie}, body="planted"))
    ann.page.evaluate("fetch('/planting').then(answer => answer.text())")
    assert session_of(ann) == planted
    ann.page.unroute_all()
    ann.press("Sign in with a passkey")
    ann.sees("To do")
    first = session_of(ann)
    assert first not in ("", planted)
    kept = next(each for each in ann.context.cookies() if each["name"] == "__Host-ts-session")
    assert (kept["httpOnly"], kept["secure"], kept["sameSite"], kept["path"]) == (True, True, "Strict", "/")
    assert ann.page.evaluate("document.cookie") == ""
    ann.press("Sign out")
    ann.sees("Sign in with a passkey")
    stolen = {"Cookie": f"__Host-ts-session={first}", "TS-Request": "1", "Origin": stack.url}
    with httpx.Client() as client:
        assert client.get(f"{stack.url}/api/1/session", headers=stolen).status_code == 401
    ann.press("Sign in with a passkey")
    ann.sees("To do")


def test_a_session_that_ended_leads_to_the_sign_in_page_and_back(ann: Person) -> None:
    ann.go(f"/v/{VENDOR}/audit")
    ann.sees("Every change, who made it")
    ann.page.wait_for_load_state("networkidle")  # else what the page still asks for meets the end of the session
    ann.context.clear_cookies()
    ann.follow("Fleet")
    ann.sees("Sign in with a passkey")
    assert ann.page.evaluate("sessionStorage.length") == 0
    ann.press("Sign in with a passkey")
    ann.sees("Proxies and logdrivers in their own words")


def altered(route: Route, change: Any) -> None:
    """Pass an answer of the broker on, changed."""
    answer = route.fetch()
    body = answer.json()
    change(body)
    route.fulfill(response=answer, json=body)


def test_a_broker_that_swaps_keys_is_not_believed(ann: Person) -> None:
    def swap(body: dict[str, Any]) -> None:
        manifest = json.loads(base64.b64decode(body["manifest"]["body"]))
        manifest["segments"][0]["public"] = base64.b64encode(bytes(1216)).decode()
        body["manifest"]["body"] = base64.b64encode(json.dumps(manifest).encode()).decode()

    ann.page.route("**/documents", lambda route: altered(route, swap))
    ann.go(f"/v/{VENDOR}/services")
    ann.sees("This browser does not believe what the broker sent.")
    ann.sees("The signature of the manifest is wrong.")
    expect(ann.page.get_by_role("button", name="Make its keys")).to_have_count(0)
    ann.page.unroute_all()


def test_a_broker_that_goes_back_in_time_is_not_believed(ann: Person) -> None:
    kept: dict[str, Any] = {}
    ann.page.route("**/documents", lambda route: altered(route, kept.update))
    ann.go(f"/v/{VENDOR}/services")
    ann.sees("No proxy can read anything yet")
    ann.page.unroute_all()
    make_service(ann, "one")
    ann.page.route("**/documents", lambda route: route.fulfill(json=kept))
    ann.go(f"/v/{VENDOR}/services")
    ann.sees("something was rolled back")
    ann.page.unroute_all()


def test_an_invitation_that_names_another_root_stops(browser: Browser, stack: Stack, ann: Person) -> None:
    link = invite(ann, "swapped", "Swapped", "eve@swapped.example")
    real = re.search(r"r=([a-z2-7-]{64})", link)
    assert real is not None
    other = "7eii-gect-llzr-2pjd-xjd3-kih2-oit2-whce-duy4-ywwo-csuw-q7af-4gta"
    eve = Person(browser, stack.url)
    eve.go(link.replace(real[1], other))
    eve.sees("Stop: this broker shows another vendor than your invitation.")
    assert other not in eve.page.url
    eve.context.close()


def test_an_authenticator_without_prf_locks_its_keys_with_a_passphrase(
    browser: Browser, stack: Stack, ann: Person
) -> None:
    link = invite(ann, TENANT, "Globex", "carl@globex.example")
    carl = Person(browser, stack.url)
    carl.give_passkey(prf=False)
    carl.go(link)
    carl.page.get_by_label("I compared the words").check()
    carl.press("Go on")
    carl.type("Your name", "Carl")
    carl.press("Make a passkey")
    carl.sees("cannot lock keys")
    carl.type("Key passphrase", PASSPHRASE)
    carl.press("Make my keys")
    carl.sees("Who vouches for Acme Notes")
    carl.press("Sign out")
    carl.press("Sign in with a passkey")
    # Signing out made this browser forget whom it believes; the keys remember, once they are open.
    carl.press("Open my keys")
    carl.press("Use a passphrase")
    carl.type("Passphrase", PASSPHRASE)
    carl.press("Confirm")
    carl.sees("Who vouches for Acme Notes")
    carl.go("/account")
    carl.sees("open in this tab")
    told = "\n".join(f"{url} {body}" for url, body in carl.requests)
    assert PASSPHRASE not in told
    assert (carl.violations(), carl.troubles) == ([], [])
    carl.context.close()


def test_a_passphrase_with_an_authenticator_never_leaves_the_browser(
    browser: Browser, stack: Stack, ann: Person
) -> None:
    link = invite(ann, "initech", "Initech", "dora@initech.example")
    dora = Person(browser, stack.url)
    dora.go(link)
    dora.page.get_by_label("I compared the words").check()
    dora.press("Go on")
    dora.type("Your name", "Dora")
    dora.press("Use a passphrase and an authenticator")
    dora.type("Passphrase", PASSPHRASE)
    dora.press("Go on")
    secret = dora.page.locator("p.mono").inner_text().replace(" ", "")
    dora.page.get_by_label("The six digits that it shows").fill(pyotp.TOTP(secret).now())
    dora.press("Sign up")
    codes = dora.page.get_by_label("Recovery codes", exact=True).inner_text().split()
    assert len(codes) == 10
    dora.press("I have kept them")
    dora.press("Make my keys")
    dora.sees("Who vouches for Acme Notes")
    dora.press("Sign out")
    dora.press("Use a passphrase")
    dora.type("E-mail address", "dora@initech.example")
    dora.type("Passphrase", PASSPHRASE)
    dora.type("Code", codes[0])
    dora.press("Sign in")
    dora.sees("Who vouches for Acme Notes")
    dora.go("/account")
    dora.sees("open in this tab")
    dora.sees("9 recovery codes are left")
    told = "\n".join(f"{url} {body}" for url, body in dora.requests)
    assert PASSPHRASE not in told
    assert "initech.example" in told
    assert (dora.violations(), dora.troubles) == ([], [])
    dora.context.close()


def test_a_second_owner_is_let_in_and_can_do_the_same(browser: Browser, stack: Stack, ann: Person) -> None:
    ann.go(f"/v/{VENDOR}/people")
    link = ann.invites_owner("zoe@acme-notes.example")
    zoe = Person(browser, stack.url)
    zoe.give_passkey()
    zoe.go(link)
    zoe.page.get_by_label("I compared the words").check()
    zoe.press("Go on")
    zoe.type("Your name", "Zoe")
    zoe.press("Make a passkey")
    zoe.press("Make my keys")
    zoe.sees("Your customers' keys stay theirs.")
    ann.go(f"/v/{VENDOR}/people")
    ann.sees("proved by the invitation")
    ann.press("Let the key in")
    ann.sees("Zoe can sign now.")
    zoe.go(f"/v/{VENDOR}/configs/new")
    zoe.press("Local key")
    zoe.type("Name", "Zoe's")
    zoe.type("Key name", "shared")
    zoe.type("Key", "B" * 43 + "=")
    zoe.press("Seal and store")
    zoe.sees("Zoe's")
    ann.go(f"/v/{VENDOR}/configs")
    ann.follow("Credentials")
    expect(ann.page.get_by_label("Key name", exact=True)).to_have_value("shared")
    expect(ann.page.get_by_label("Key", exact=True)).to_have_value("")
    assert (zoe.violations(), zoe.troubles) == ([], [])
    zoe.context.close()


def test_the_recovery_file_lets_a_new_key_in_when_nobody_else_could(
    browser: Browser, stack: Stack, ann: Person, tmp_path: Path, recovery: dict[str, str]
) -> None:
    ann.go(f"/v/{VENDOR}/people")
    link = ann.invites_owner("rita@acme-notes.example")
    rita = Person(browser, stack.url)
    rita.give_passkey()
    accept(rita, link, "Rita", sees="Your customers' keys stay theirs.")
    file = tmp_path / "recovery.json"
    file.write_text(recovery["file"])
    rita.go(f"/v/{VENDOR}/people")
    rita.press("Use the recovery file")
    rita.page.get_by_label("Recovery file").set_input_files(file)
    rita.type("Its eight words", "abandon " * 8)
    rita.press("Let my key in")
    rita.sees("altered")
    rita.type("Its eight words", recovery["words"].replace("-", " "))
    rita.press("Let my key in")
    rita.sees("Your key counts again.")
    make_service(rita, "after-the-flood")
    rita.go(f"/v/{VENDOR}/settings")
    rita.press("Take Ann out")
    rita.page.get_by_label("Type Ann to go on").fill("Ann")
    rita.page.get_by_role("dialog").get_by_role("button", name="Take out").click()
    rita.press("Stop it from signing the manifest")
    rita.page.get_by_label("Recovery file").set_input_files(file)
    rita.type("Its eight words", recovery["words"])
    rita.press("Sign with the root key")
    rita.sees("Signed with the root key.")
    make_service(rita, "without-ann")
    ann.go(f"/v/{VENDOR}/services")
    ann.press("Make one")
    ann.type("Name", "not-any-more")
    ann.press("Make its keys")
    ann.sees("The root does not let")
    ann.press("Cancel")
    told = "\n".join(f"{url} {body}" for url, body in rita.requests)
    assert recovery["words"] not in told
    assert (rita.violations(), rita.troubles) == ([], [])
    rita.context.close()


def test_no_page_broke_the_policy_or_threw(ann: Person) -> None:
    assert ann.violations() == []
    assert ann.troubles == []
