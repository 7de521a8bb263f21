"""A tenant with two people: a second one joins, changes wait for the other, destinations do not, and roles hold."""

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, expect
from tests.browser.people import Person
from tests.browser.stack import Stack
from tests.browser.test_the_whole_way import TENANT, VENDOR, accept, add_local_key, invite, make_service, set_up

from tenant_security.testing.fakes.hosted import hosted
from tenant_security.testing.fakes.splunk import FakeSplunk

pytestmark = pytest.mark.toolchain

HOME = f"/v/{VENDOR}/t/{TENANT}"


class World(NamedTuple):
    """The vendor's owner and two people of one tenant."""

    ann: Person
    bo: Person
    kim: Person


def let_in(ann: Person, name: str) -> None:
    ann.go(f"/v/{VENDOR}/tenants/{TENANT}")
    ann.press("Let the key in")
    ann.sees(f"{name} can sign now.")


@pytest.fixture(scope="module")
def world(stack: Stack, browser: Browser) -> Iterator[World]:
    ann, bo, kim = (Person(browser, stack.url) for _ in range(3))
    for person in (ann, bo, kim):
        person.give_passkey()
    set_up(ann)
    stack.start_proxy(make_service(ann, "production-eu"))
    accept(bo, invite(ann, TENANT, "Globex", "bo@globex.example"), "Bo")
    let_in(ann, "Bo")
    add_local_key(bo, "Globex's own", "A" * 43 + "=")
    bo.go(f"{HOME}/people")
    link = bo.invites_owner("kim@globex.example")
    accept(kim, link, "Kim")
    let_in(ann, "Kim")
    yield World(ann, bo, kim)
    for person in (ann, bo, kim):
        person.context.close()


def test_a_change_of_keys_waits_for_the_other_person(world: World) -> None:
    bo, kim = world.bo, world.kim
    bo.go(f"{HOME}/approvals")
    bo.page.get_by_role("switch").click()
    bo.press("Ask for two")
    bo.sees("Saved.")
    bo.go(f"{HOME}/kms")
    bo.page.get_by_role("switch", name="Leasing").click()
    bo.press("Turn on")
    bo.sees("It takes effect when a second person approves it.")
    expect(bo.page.get_by_role("switch", name="Leasing")).not_to_be_checked()
    bo.go(f"{HOME}/approvals")
    bo.sees("waiting")
    expect(bo.page.get_by_role("button", name="Approve")).to_have_count(0)
    kim.go(f"{HOME}/approvals")
    kim.press("Approve")
    kim.sees("It takes effect now.")
    kim.go(f"{HOME}/kms")
    expect(kim.page.get_by_role("switch", name="Leasing")).to_be_checked()


def test_a_change_that_is_refused_changes_nothing(world: World) -> None:
    bo, kim = world.bo, world.kim
    kim.go(f"{HOME}/kms")
    kim.press("Disable")
    kim.page.get_by_role("dialog").get_by_role("button", name="Disable").click()
    kim.sees("It takes effect when a second person approves it.")
    bo.go(f"{HOME}/approvals")
    bo.press("Refuse")
    bo.sees("Nothing changes.")
    bo.go(f"{HOME}/kms")
    expect(bo.page.get_by_text("primary", exact=True)).to_be_visible()


def test_new_credentials_begin_with_what_the_same_person_typed_and_nobody_else_sees_it(
    world: World, stack: Stack
) -> None:
    bo, kim = world.bo, world.kim
    for person in (bo, kim):
        person.go(f"{HOME}/kms")
        person.follow("Rotate credentials")
        person.sees("Name the same key as before")
    expect(bo.page.get_by_label("Key name", exact=True)).to_have_value("globex-key")
    expect(bo.page.get_by_label("Key", exact=True)).to_have_value("")
    kim.sees("so type all of it again")
    expect(kim.page.get_by_label("Key name", exact=True)).to_have_value("")
    address = bo.page.url
    bo.press("Sign out")
    assert "globex-key" not in bo.storage()
    bo.press("Sign in with a passkey")
    bo.sees("Who vouches for Acme Notes")
    bo.go(address)
    expect(bo.page.get_by_label("Key name", exact=True)).to_have_value("globex-key")
    with sqlite3.connect(stack.database) as database:
        kept = "\n".join(database.iterdump())
    assert "globex.example" in kept  # what is searched does hold what is no secret
    assert "globex-key" not in kept


def test_a_second_key_stands_in_for_the_first_once_two_people_want_that(world: World) -> None:
    bo, kim = world.bo, world.kim
    bo.go(f"{HOME}/kms/new")
    bo.press("Local key")
    bo.type("Name", "Spare in another building")
    bo.type("Key name", "second-key")
    bo.type("Key", "B" * 43 + "=")
    bo.press("Seal and store")
    bo.sees("It waits for a second person")
    approve(kim)
    bo.go(f"{HOME}/kms")
    second = bo.page.locator("section").filter(has=bo.page.get_by_role("heading", name="Spare in another building"))
    second.get_by_role("switch", name="Leasing").click()
    bo.press("Turn on")
    bo.sees("It takes effect when a second person approves it.")
    approve(kim)
    bo.go(f"{HOME}/kms")
    second.get_by_role("button", name="Make it a spare").click()
    bo.sees("whoever may use either key can read that data")
    bo.page.get_by_role("dialog").get_by_role("button", name="Make it a spare").click()
    bo.sees("It takes effect when a second person approves it.")
    approve(kim)
    bo.go(f"{HOME}/kms")
    expect(second.get_by_text("spare 1", exact=True)).to_be_visible()
    expect(second).to_contain_text("Globex's own: it wraps every new key too")
    first = bo.page.locator("section").filter(has=bo.page.get_by_role("heading", name="Globex's own"))
    expect(first).to_contain_text("Spare in another building: each wraps every new key too")
    first.get_by_role("button", name="Disable").click()
    bo.sees("This alone does not make your data unreadable.")
    bo.press("Cancel")


def approve(person: Person) -> None:
    person.go(f"{HOME}/approvals")
    person.press("Approve")
    person.sees("It takes effect now.")


def test_a_destination_is_sealed_and_stored_at_once(world: World) -> None:
    bo = world.bo
    bo.go(f"{HOME}/destinations/new")
    bo.press("Webhook")
    bo.type("Name", "Our SIEM")
    bo.type("Address", "https://hooks.globex.example/tenant-security")
    bo.press("Make one")
    bo.press("Seal and store")
    bo.sees("Does it arrive?")
    bo.press("Done")
    expect(bo.page.get_by_role("heading", name="Our SIEM")).to_be_visible()
    world.kim.go(f"{HOME}/destinations")
    world.kim.sees("Our SIEM")
    world.kim.press("Remove")
    world.kim.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    world.kim.sees("See every use of your keys")


@pytest.fixture(scope="module")
def splunk() -> Iterator[FakeSplunk]:
    with hosted(FakeSplunk) as made:
        yield made


def add_splunk(bo: Person, splunk: FakeSplunk, name: str, token: str) -> None:
    bo.go(f"{HOME}/destinations/new")
    bo.press("Splunk")
    bo.type("Name", name)
    bo.type("Address", f"https://localhost:{splunk.port}")
    bo.type("Token", token)
    bo.page.get_by_text("More", exact=True).click()
    bo.page.get_by_label("Private authorities").fill(splunk.authority_pem.decode())
    bo.press("Seal and store")
    bo.sees("Does it arrive?")


def test_a_test_event_arrives_at_the_tenants_siem_or_the_page_says_why_not(
    world: World, stack: Stack, splunk: FakeSplunk
) -> None:
    stack.start_logdriver(make_service(world.ann, "logdriver-eu", "logdriver"))
    bo = world.bo
    add_splunk(bo, splunk, "Our Splunk", splunk.token)
    bo.sees("It works.")
    bo.sees("The destination takes it")
    [stored] = splunk.shelf.stored
    assert (stored.document["iclFields"]["event"], stored.document["tenantId"]) == ("SINK_TEST", TENANT)
    bo.sees(stored.event_id)
    add_splunk(bo, splunk, "Mistyped", "3f1c5a7e-0000-0000-0000-000000000000")
    bo.sees("It does not work yet.")
    bo.sees("the token is not known")
    bo.press("Remove it and type it again")
    expect(bo.page.get_by_label("Token", exact=True)).to_have_value("")
    bo.go(f"{HOME}/destinations")
    bo.sees("Our Splunk")
    expect(bo.page.get_by_text("Mistyped")).to_have_count(0)
    # The one that worked does not any more, once its token was switched off; and works again afterwards.
    card = bo.page.locator("section").filter(has=bo.page.get_by_role("heading", name="Our Splunk"))
    splunk.enabled = False
    card.get_by_role("button", name="Send a test event").click()
    expect(card).to_contain_text("the token is disabled")
    splunk.enabled = True
    card.get_by_role("button", name="Send a test event").click()
    expect(card).to_contain_text("It works.")
    assert len(splunk.shelf.stored) == 2


def test_an_auditor_reads_and_is_offered_nothing_to_change(world: World) -> None:
    bo, kim = world.bo, world.kim
    bo.go(f"{HOME}/people")
    bo.page.get_by_label("Role of Kim").select_option("auditor")
    bo.sees("Changed.")
    kim.go(f"{HOME}/kms")
    kim.sees("Globex's own")
    expect(kim.page.get_by_role("button", name="Disable")).to_have_count(0)
    expect(kim.page.get_by_role("link", name="Add a KMS key")).to_have_count(0)
    bo.page.get_by_label("Role of Kim").select_option("owner")


def test_the_last_owner_cannot_be_made_less(world: World) -> None:
    ann = world.ann
    ann.go(f"/v/{VENDOR}/people")
    ann.sees("Ann")
    expect(ann.page.get_by_label("Role of Ann")).to_have_count(0)


def test_no_page_broke_the_policy_or_threw(world: World) -> None:
    for person in world:
        assert person.violations() == []
        assert person.troubles == []
