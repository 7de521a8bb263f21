"""Every page: read by axe, on a phone and in the dark, with hostile texts in every field, and within the policy."""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from playwright.sync_api import Browser, expect
from tests.browser.people import DESKTOP, PHONE, Person
from tests.browser.stack import ROOT, Stack
from tests.browser.test_the_whole_way import TENANT, VENDOR, accept, add_local_key, invite, make_service, set_up

from tenant_security.wire.key_scopes import Scope

pytestmark = pytest.mark.toolchain

AXE = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = "<img src=x onerror=alert(1)>\"'><script>alert(2)</script>{{7*7}}${7*7}"
HOUR_MS = 3_600_000
VENDOR_PAGES = [
    "",
    "/tenants",
    f"/tenants/{TENANT}",
    "/configs",
    "/configs/new",
    "/secrets",
    "/fleet",
    "/services",
    "/api-keys",
    "/people",
    "/audit",
    "/settings",
]
TENANT_PAGES = [
    "",
    "/kms",
    "/kms/new",
    "/destinations",
    "/destinations/new",
    "/activity",
    "/people",
    "/approvals",
    "/audit",
    "/settings",
]
COMMON_PAGES = ["/account", "/organisations", "/api-docs"]
PICTURES = {
    f"/v/{VENDOR}": "vendor",
    f"/v/{VENDOR}/fleet": "fleet",
    f"/v/{VENDOR}/t/{TENANT}": "tenant",
}


class World(NamedTuple):
    """Two signed-in people and all pages that each can see."""

    ann: Person
    bo: Person
    pages: list[tuple[str, Person]]


def fill_activity(stack: Stack) -> None:
    """Have a day of use in the tables, as a fleet reports it."""
    now_ms = int(time.time() * 1000)
    with sqlite3.connect(stack.database) as database:
        for hours in range(24):
            start = now_ms - now_ms % HOUR_MS - hours * HOUR_MS
            busy = 400 + 350 * ((hours * 7) % 11) + (900 if 4 < hours < 13 else 0)
            counts = {
                "operations": busy,
                "kms:1": busy // 8,
                "kms:2": busy // 3,
                "kms:3": busy // 5,
                "kms:4": 9 + hours,
            }
            if hours % 5 == 0:
                counts |= {"error:209": 6 + hours, "error:206": 2, "error:208": 3}
            for what, count in counts.items():
                database.execute(
                    "INSERT INTO activity (vendor, tenant, bucket_ms, what, count) VALUES (?, ?, ?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET count = excluded.count",
                    (VENDOR, TENANT, start, what, count),
                )
        for number, (service, health, reason) in enumerate(
            [
                ("production-eu", "UP", ""),
                ("production-eu", "WARN", "one tenant's KMS does not answer"),
                ("logdriver-eu", "UP", ""),
            ]
        ):
            report = {
                "software": "0.1.0",
                "instance": f"{service}-{number}",
                "snapshotVersion": 1,
                "snapshotAgeS": 4.0 + number,
                "health": health,
                "reason": reason,
                "uptimeS": 86_400.0 * (number + 1),
                "deliveries": [
                    {"tenant": TENANT, "waiting": 0, "lagS": 0.4},
                    {"tenant": "initech", "waiting": 214, "lagS": 95.0, "lastError": "503 from the collector"},
                ]
                if service == "logdriver-eu"
                else [],
            }
            database.execute(
                "INSERT OR REPLACE INTO service_instances (vendor, service, instance, sequence, seen_ms, report)"
                " VALUES (?, ?, ?, 1, ?, ?)",
                (VENDOR, service, report["instance"], now_ms - 9_000 * number, json.dumps(report).encode()),
            )


@pytest.fixture(scope="module")
def world(stack: Stack, browser: Browser) -> Iterator[World]:
    ann, bo = Person(browser, stack.url), Person(browser, stack.url)
    ann.give_passkey()
    bo.give_passkey()
    set_up(ann)
    environment = make_service(ann, "production-eu")
    stack.start_proxy(environment)
    accept(bo, invite(ann, TENANT, "Globex", "bo@globex.example"), "Bo")
    ann.go(f"/v/{VENDOR}/tenants/{TENANT}")
    ann.press("Let the key in")
    ann.sees("Bo can sign now.")
    add_local_key(bo, "Globex's own", "A" * 43 + "=")
    for tenant, name in [("initech", "Initech"), ("umbrella", "Umbrella Health"), ("hooli-eu", "Hooli (EU)")]:
        invite(ann, tenant, name, f"keys@{tenant}.example")
    fill_activity(stack)
    pages = [(f"/v/{VENDOR}{path}", ann) for path in VENDOR_PAGES]
    pages += [(f"/v/{VENDOR}/t/{TENANT}{path}", bo) for path in TENANT_PAGES]
    pages += [(path, ann) for path in COMMON_PAGES]
    yield World(ann, bo, pages)
    ann.context.close()
    bo.context.close()


def shown(person: Person, path: str) -> None:
    """Go to a page and wait until all of it is there."""
    person.go(path)
    expect(person.page.locator("main h1, main h2").first).to_be_visible()
    expect(person.page.locator(".loading")).to_have_count(0)


def axe(person: Person) -> list[str]:
    """What axe has against the page, by its own words."""
    person.page.evaluate(AXE.read_text("utf-8"))
    found: list[dict[str, Any]] = person.page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
        ".then(result => result.violations)"
    )
    return [f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}" for each in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_has_nothing_against_any_page(world: World, theme: Any) -> None:
    wrong: dict[str, list[str]] = {}
    for path, person in world.pages:
        person.page.emulate_media(color_scheme=theme)
        shown(person, path)
        if theme == "light" and path in PICTURES:
            person.picture(PICTURES[path])
        if found := axe(person):
            wrong[path] = found
    assert wrong == {}


@pytest.mark.parametrize("path", ["/sign-in", "/set-up#x", "/invitation#t=x"])
def test_axe_has_nothing_against_the_pages_before(browser: Browser, stack: Stack, path: str) -> None:
    somebody = Person(browser, stack.url)
    somebody.go(path)
    expect(somebody.page.locator("h1, h2").first).to_be_visible()
    somebody.page.wait_for_load_state("networkidle")
    assert axe(somebody) == []
    somebody.context.close()


def test_every_page_fits_a_phone(world: World) -> None:
    too_wide: dict[str, int] = {}
    for path, person in world.pages:
        person.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        shown(person, path)
        width = person.page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE[0]:
            too_wide[path] = width
        if path == f"/v/{VENDOR}/t/{TENANT}/kms":
            person.picture("phone")
    for person in (world.ann, world.bo):
        person.page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    assert too_wide == {}


def test_the_menu_of_a_phone_opens_by_keyboard_and_leads_on(world: World) -> None:
    page = world.bo.page
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    shown(world.bo, f"/v/{VENDOR}/t/{TENANT}")
    page.get_by_role("button", name="Menu").focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Log destinations").click()
    world.bo.sees("See every use of your keys")
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})


def test_every_page_can_be_reached_and_used_by_keyboard(world: World) -> None:
    page = world.ann.page
    shown(world.ann, f"/v/{VENDOR}/tenants")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("button", name="Add a tenant").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_texts_that_attack_are_shown_as_texts(world: World) -> None:
    ann, bo = world.ann, world.bo
    raised: list[str] = []
    for person in (ann, bo):
        person.page.on("dialog", lambda dialog: (raised.append(dialog.message), dialog.dismiss()))
    ann.go(f"/v/{VENDOR}/tenants")
    ann.press("Add a tenant")
    ann.type("Name", HOSTILE)
    ann.type("Id", "<svg onload=alert(3)>")
    ann.press("Add", exact=True)
    ann.sees(HOSTILE)
    ann.go("/account")
    ann.type("Your name", HOSTILE)
    ann.press("Save")
    ann.sees("Saved.")
    ann.go(f"/v/{VENDOR}/settings")
    ann.type("New tag", "<b onmouseover=alert(4)>tag</b>")
    ann.press("Add the tag")
    ann.sees("<b onmouseover=alert(4)>tag</b>")
    ann.go(f"/v/{VENDOR}/api-keys")
    ann.press("Make a key")
    ann.type("Name", HOSTILE)
    ann.press("Make", exact=True)
    ann.press("I have kept it")
    bo.go(f"/v/{VENDOR}/t/{TENANT}/kms/new")
    bo.press("Local key")
    bo.type("Name", HOSTILE[:100])
    bo.type("Key name", "<img/src=x/onerror=alert(5)>")
    bo.type("Key", "A" * 43 + "=")
    bo.press("Seal and store")
    bo.sees("It works.")
    for path, person in world.pages:
        shown(person, path)
        assert person.page.locator("main img[src=x], main script, main svg[onload], main b").count() == 0
    ann.go("/account")
    ann.type("Your name", "Ann")
    ann.press("Save")
    assert raised == []


def test_an_api_key_is_made_for_some_scopes_and_some_tenants(world: World, stack: Stack) -> None:
    ann = world.ann
    ann.go(f"/v/{VENDOR}/api-keys")
    ann.press("Make a key")
    dialog = ann.page.get_by_role("dialog")
    ann.type("Name", "nightly report")
    dialog.get_by_label("It may").select_option("chosen")
    assert set(dialog.locator("fieldset code").all_inner_texts()) == {scope.value for scope in Scope}
    expect(dialog.get_by_role("button", name="Make")).to_be_disabled()
    for scope in ("tenants:read", "configs:test"):
        dialog.get_by_label(scope).check()
    dialog.get_by_label("For", exact=True).select_option("some")
    dialog.get_by_label("Tenants", exact=True).fill(f"{TENANT}\nhooli-*")
    assert axe(ann) == []
    ann.press("Make", exact=True)
    ann.sees("It is shown once.")
    key = dialog.locator(".mono").inner_text()
    ann.press("I have kept it")
    row = ann.page.get_by_role("row").filter(has_text="nightly report")
    expect(row).to_contain_text("tenants:read")
    expect(row).to_contain_text(f"for {TENANT}, hooli-*")
    with httpx.Client(
        base_url=f"{stack.url}/api/1/vendors/{VENDOR}/", headers={"Authorization": f"Bearer {key}"}
    ) as asks:
        assert asks.get(f"tenants/{TENANT}").json()["name"] == "Globex"
        assert asks.get("tenants/hooli-eu").status_code == 200
        assert asks.get("tenants/initech").json()["code"] == "not-for-this-tenant"
        assert asks.get(f"audit?tenant={TENANT}").json()["scope"] == "audit:read"
    ann.go("/api-docs")
    ann.page.get_by_label("Search endpoints").fill("audit/verification")
    ann.page.get_by_text("Replay the whole chain").first.click()
    expect(ann.page.get_by_text("An API key needs audit:read.")).to_be_visible()


def test_a_search_for_what_is_not_there_says_so(world: World) -> None:
    world.ann.go(f"/v/{VENDOR}/tenants")
    world.ann.page.get_by_label("Search tenants").fill("glob")
    expect(world.ann.page.get_by_role("link", name=re.compile("Initech"))).to_have_count(0)
    world.ann.sees("Globex")
    world.ann.page.get_by_label("Search tenants").fill("nobody like that")
    world.ann.sees("No tenant is like that")


def test_the_first_page_shows_the_use_of_one_tenant_too(world: World) -> None:
    ann = world.ann
    shown(ann, f"/v/{VENDOR}")
    use = ann.page.get_by_role("region", name="Use of keys")
    expect(use).to_contain_text("All tenants together")
    expect(use).to_contain_text("Operations by the hour")
    picker = ann.page.get_by_label("Look at one tenant")
    picker.fill("umb")
    expect(use.locator("datalist option")).to_have_text(["Umbrella Health"])
    picker.fill("umbrella")
    expect(use.get_by_role("heading", name="Umbrella Health")).to_be_visible()
    expect(use).to_contain_text("Nothing has been encrypted in the last day")
    assert axe(ann) == []
    ann.press("All tenants")
    expect(use).to_contain_text("Operations by the hour")
    picker.fill(TENANT)
    expect(use.get_by_role("heading", name="Globex", exact=True)).to_be_visible()
    expect(use).to_contain_text("Operations by the hour")


def test_what_is_typed_is_checked_as_it_is_typed(world: World) -> None:
    bo = world.bo
    bo.go(f"/v/{VENDOR}/t/{TENANT}/kms/new")
    bo.press("AWS KMS")
    bo.type("Region", "Frankfurt")
    bo.page.get_by_label("Region").blur()
    bo.sees("A region looks like eu-central-1.")
    expect(bo.page.get_by_role("button", name="Seal and store")).to_be_disabled()
    bo.type("Region", "eu-central-1")
    bo.type("Key", "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
    policy = bo.page.get_by_label("Permissions policy", exact=True)
    expect(policy).to_contain_text("arn:aws:kms:eu-central-1:111122223333:key/1234")
    bo.picture("kms-aws")


def test_an_export_of_the_audit_has_every_entry(world: World) -> None:
    world.ann.go(f"/v/{VENDOR}/audit")
    file = Path(world.ann.downloads("Save as a file").path()).read_text("utf-8")
    entries = [json.loads(line) for line in file.splitlines()]
    assert {"vendor.create", "service-account.add"} <= {each["action"] for each in entries}
    world.ann.press("Verify the whole chain")
    world.ann.sees("entries are whole")


def test_no_page_broke_the_policy_or_threw(world: World) -> None:
    for person in (world.ann, world.bo):
        assert person.violations() == []
        assert person.troubles == []
