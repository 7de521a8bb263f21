"""The whole way, as people go it: from a new broker to a client that encrypts with what was typed into the page."""

import base64
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from playwright.sync_api import Browser, expect
from tests.browser.people import Person
from tests.browser.stack import SETUP_TOKEN, Stack

from tenant_security.crypto.signing import SigningKey, fingerprint
from tenant_security.secret import Secret
from tenant_security.trust.chain import NOTHING_SEEN, verify_root
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import parse_env

pytestmark = pytest.mark.toolchain

VENDOR, TENANT = "acme-notes", "globex-1"
CANARY = base64.b64encode(b"canary-that-nobody-may-ever-see!").decode()


class World(NamedTuple):
    """Two people, a proxy and what was downloaded on the way."""

    ann: Person
    bo: Person
    environment: dict[str, str]
    recovery: str
    words: str
    proxy_port: int


def set_up(ann: Person) -> tuple[str, str]:
    """Become a new broker's first owner; returns the recovery file and its words."""
    ann.go(f"/set-up#{SETUP_TOKEN}")
    ann.sees("Four steps, about three minutes")
    ann.type("Your name", "Ann")
    ann.type("Your e-mail address", "ann@acme-notes.example")
    ann.press("Make a passkey")
    ann.press("Make my keys")
    ann.type("Your company's name", "Acme Notes")
    ann.press("Make the root key")
    file = Path(ann.downloads("Download the recovery file").path()).read_text()
    words_shown = ann.page.get_by_label("Words of the recovery file").get_by_role("listitem").all_inner_texts()
    ann.page.get_by_label("I have the file and the words").check()
    ann.press("Finish")
    ann.sees("Make a service account for your first proxy")
    return file, "-".join(word.strip() for word in words_shown)


def make_service(ann: Person, name: str, kind: str = "proxy") -> dict[str, str]:
    """Make a service account; returns its env file."""
    ann.go(f"/v/{VENDOR}/services")
    ann.press("Make")
    ann.type("Name", name)
    ann.page.get_by_role("dialog").get_by_label("What it is").select_option(kind)
    ann.press("Make its keys")
    file = Path(ann.downloads("Download the env file").path()).read_text()
    ann.press("Done")
    ann.sees(name)
    return parse_env(file)


def invite(ann: Person, tenant: str, name: str, email: str) -> str:
    """Add a tenant and invite its first owner; returns the link."""
    ann.go(f"/v/{VENDOR}/tenants")
    ann.press("Add a tenant")
    ann.type("Name", name)
    ann.type("Id", tenant)
    ann.press("Add", exact=True)
    ann.press("Invite its first owner")
    ann.type("E-mail address", email)
    ann.press("Invite", exact=True)
    return ann.takes_link()


def accept(bo: Person, link: str, name: str, *, sees: str = "Who vouches for Acme Notes") -> None:
    """Accept an invitation: compare the words, make a passkey and keys."""
    bo.go(link)
    bo.sees("Is this really Acme Notes?")
    bo.picture("invitation")
    bo.page.get_by_label("I compared the words").check()
    bo.press("Go on")
    bo.type("Your name", name)
    bo.press("Make a passkey")
    bo.press("Make my keys")
    bo.sees(sees)


def add_local_key(bo: Person, name: str, key: str) -> None:
    """Set a KMS up and have it tested, to the end."""
    bo.go(f"/v/{VENDOR}/t/{TENANT}/kms/new")
    bo.press("Local key")
    bo.type("Name", name)
    bo.type("Key name", "globex-key")
    bo.type("Key", key)
    bo.press("Seal and store")
    bo.sees("It works.")
    bo.press("Encrypt new data with it")
    expect(bo.page.get_by_text("primary", exact=True)).to_be_visible()


@pytest.fixture(scope="module")
def world(stack: Stack, browser: Browser) -> Iterator[World]:
    ann, bo = Person(browser, stack.url), Person(browser, stack.url, dark=True)
    ann.give_passkey()
    bo.give_passkey()
    recovery, words_shown = set_up(ann)
    environment = make_service(ann, "production-eu")
    _, port = stack.start_proxy(environment)
    link = invite(ann, TENANT, "Globex", "bo@globex.example")
    accept(bo, link, "Bo")
    ann.go(f"/v/{VENDOR}/tenants/{TENANT}")
    ann.sees("proved by the invitation")
    ann.press("Let the key in")
    ann.sees("Bo can sign now.")
    add_local_key(bo, "Globex's own", CANARY)
    yield World(ann, bo, environment, recovery, words_shown, port)
    ann.context.close()
    bo.context.close()


def test_a_client_encrypts_with_the_config_that_was_typed_into_the_page(world: World) -> None:
    call = {"Authorization": f"cmk {world.environment['API_KEY']}"}
    body = {"tenantId": TENANT, "iclFields": {"requestingId": "me"}, "customFields": {}}
    with httpx.Client(base_url=f"http://127.0.0.1:{world.proxy_port}/api/1", headers=call, timeout=30) as client:
        deadline = time.monotonic() + 40
        while (wrapped := client.post("/document/wrap", json=body)).status_code != 200:
            # The proxy hears of the new primary by itself, and a busy machine takes its time.
            assert time.monotonic() < deadline, wrapped.text
            time.sleep(0.2)
        edek = wrapped.json()["edek"]
        unwrapped = client.post("/document/unwrap", json={**body, "encryptedDocumentKey": edek})
        assert unwrapped.json()["dek"] == wrapped.json()["dek"]


def test_the_secret_that_was_typed_is_nowhere_but_in_the_browser(world: World, stack: Stack) -> None:
    raw = base64.b64decode(CANARY)
    needles = [CANARY, CANARY.rstrip("="), raw.decode(), raw.hex(), base64.b64encode(CANARY.encode()).decode()[:40]]
    told = [body for _, body in (*world.ann.requests, *world.bo.requests)]
    told += [url for url, _ in (*world.ann.requests, *world.bo.requests)]
    told += [path.read_text("utf-8", "replace") for path in stack.directory.rglob("*.log")]
    told += [world.bo.storage(), world.ann.storage()]
    with sqlite3.connect(stack.database) as database:
        told += list(database.iterdump())
    everything = "\n".join(told)
    assert "globex.example" in everything  # what is searched does hold what is no secret
    assert not [needle for needle in needles if needle in everything]
    backup = stack.directory / "backup.db"
    with sqlite3.connect(stack.database) as database, sqlite3.connect(backup) as copy:
        database.backup(copy)
    assert not [needle for needle in needles if needle.encode() in backup.read_bytes()]


def test_private_keys_and_words_that_lock_them_leave_no_browser(world: World, stack: Stack) -> None:
    secrets = [world.environment[f"SERVICE_{which}_PRIVATE_KEY"] for which in ("ENCRYPTION", "SIGNING")]
    secrets.append(world.environment["API_KEY"])
    told = "\n".join(f"{url} {body}" for url, body in world.ann.requests)
    with sqlite3.connect(stack.database) as database:
        told += "\n".join(database.iterdump())
    assert not [secret for secret in secrets if secret in told]
    # What a passkey yields to open a person's keys would stand among the results of extensions.
    proofs = [json.loads(body) for _, body in (*world.ann.requests, *world.bo.requests) if '"credential"' in body]
    assert proofs
    assert all(proof["credential"]["clientExtensionResults"] == {} for proof in proofs)


def test_the_recovery_file_opens_with_its_words_and_holds_the_root(world: World) -> None:
    file = json.loads(world.recovery)
    assert set(file) == {"format", "formatVersion", "vendor", "rootFingerprint", "created", "salt", "sealed"}
    salt, sealed = base64.b64decode(file["salt"]), base64.b64decode(file["sealed"])
    key = hash_secret_raw(
        world.words.encode(), salt, time_cost=3, memory_cost=65_536, parallelism=1, hash_len=32, type=Type.ID
    )
    header = f"tenant-security/recovery/v1\n{file['vendor']}\n{file['rootFingerprint']}".encode()
    seeds = json.loads(AESGCM(key).decrypt(sealed[:12], sealed[12:], header))
    root = SigningKey(Secret(base64.b64decode(seeds["root"])))
    assert fingerprint(root.public) == file["rootFingerprint"] == world.environment["VENDOR_ROOT_FINGERPRINT"]


def test_what_the_broker_keeps_verifies_under_the_fingerprint_in_the_env_file(world: World, stack: Stack) -> None:
    with sqlite3.connect(stack.database) as database:
        (root,) = database.execute("SELECT root FROM vendors WHERE id = ?", (VENDOR,)).fetchone()
    signed = words.decode(words.Signed, root)
    pinned = world.environment["VENDOR_ROOT_FINGERPRINT"]
    assert verify_root(signed, pinned=pinned, previous=NOTHING_SEEN, now_s=1_800_000_000).vendor == VENDOR


def test_no_page_broke_the_policy_or_threw(world: World) -> None:
    for person in (world.ann, world.bo):
        assert person.violations() == []
        assert person.troubles == []


def test_nothing_but_the_broker_was_asked(world: World, stack: Stack) -> None:
    asked = {url for url, _ in (*world.ann.requests, *world.bo.requests)}
    elsewhere = {url for url in asked if not url.startswith((stack.url, "data:", "blob:"))}
    assert elsewhere == set()


def test_disabling_asks_first_and_says_what_is_lost(world: World) -> None:
    world.bo.go(f"/v/{VENDOR}/t/{TENANT}/kms")
    world.bo.press("Disable")
    world.bo.sees("becomes unreadable at once")
    world.bo.press("Cancel")
    expect(world.bo.page.get_by_text("primary", exact=True)).to_be_visible()


def test_a_reload_keeps_the_keys_open_and_signing_out_closes_them(world: World) -> None:
    world.bo.go("/account")
    world.bo.sees("open in this tab")
    world.bo.page.reload()
    world.bo.sees("open in this tab")
    world.bo.press("Sign out")
    world.bo.sees("Sign in with a passkey")
    assert world.bo.page.evaluate("sessionStorage.length") == 0
    world.bo.press("Sign in with a passkey")
    world.bo.sees("Who vouches for Acme Notes")
    world.bo.go("/account")
    world.bo.sees("open in this tab")


def test_a_revoked_service_is_named_what_it_could_read(world: World) -> None:
    make_service(world.ann, "old-cluster")
    row = world.ann.page.get_by_role("row").filter(has_text="old-cluster")
    row.get_by_role("button", name="Revoke").click()
    world.ann.sees("What it could read, it may have kept.")
    world.ann.sees("Globex: Globex's own")
    world.ann.page.get_by_label(re.compile("Type old-cluster")).fill("old-cluster")
    world.ann.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    world.ann.sees("old-cluster is revoked")
    expect(row.get_by_text("revoked")).to_be_visible()
    test_a_client_encrypts_with_the_config_that_was_typed_into_the_page(world)
