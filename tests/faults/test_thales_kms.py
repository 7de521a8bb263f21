"""CipherTrust Manager through the real driver, over TLS with a private authority, with all that can go wrong."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import trustme

from tenant_security.errors import Code
from tenant_security.kms.provider import KmsKey
from tenant_security.kms.refusals import Phase
from tenant_security.kms.thales.blob import read_blob
from tenant_security.kms.thales.errors import MEANINGS, MEANINGS_BY_PHASE, STATUSES, WORDS, classify
from tenant_security.testing.fakes.server import Answered, Mishap, answered
from tenant_security.testing.fakes.thales import HOST, LIFE_S, FakeCipherTrust
from tenant_security.testing.fakes.thales_keys import CipherTrustKey

from .kms_world import DEK, KmsWorld, standing_in


class World(KmsWorld):
    """A tenant with a key, and a user who may use it."""

    TELLTALES = (*KmsWorld.TELLTALES, "Pass-word-1!", HOST)

    def __init__(self, ciphertrust: FakeCipherTrust) -> None:
        super().__init__(ciphertrust)
        self.ciphertrust = ciphertrust
        self.user = ciphertrust.user()
        self.aes: CipherTrustKey = ciphertrust.key()

    def key(self, *, ca: str | None = None, url: str = f"https://{HOST}", **changes: object) -> KmsKey:
        """The tenant's key; ``keyId`` and members of the credentials replace the usual ones."""
        key_id = changes.pop("keyId", self.aes.id)
        config = {
            "type": "THALES",
            "version": 1,
            "credentials": {"username": "proxy", "password": "Pass-word-1!"} | changes,
            "keyPath": {"keyId": key_id, "serviceUrl": url},
            "caCertificate": ca or self.ciphertrust.authority_pem.decode(),
        }
        return self.open(config)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with standing_in(FakeCipherTrust, World) as made:
        yield made


def refusal(code: str, message: str = "their words", status: int = 400) -> Answered:
    body = {"code": 9, "codeDesc": f"{code}: their words", "message": message, "requestID": "r-1"}
    return answered(status, body)


# -- what works --------------------------------------------------------------------------------------------------------


async def test_a_key_is_wrapped_and_unwrapped(world):
    key = world.key()

    blob = await world.wrap(key)

    assert read_blob(blob).version == 0
    assert await world.unwrap(blob, key) == DEK
    assert world.ciphertrust.seen == {"login": 1, "encrypt": 1, "decrypt": 1}
    assert [record.outcome for record in world.records] == ["ok", "ok"]


@pytest.mark.parametrize("path", ["", "/", "/api", "/api/", "/api/v1", "/api/v1/"])
async def test_an_address_may_name_the_api_or_not(world, path):
    assert await world.unwrap(await world.wrap(world.key(url=f"https://{HOST}{path}"))) == DEK


async def test_a_key_may_be_named(world):
    key = world.key(keyId=world.aes.name)

    assert await world.unwrap(await world.wrap(key), key) == DEK


async def test_a_rotated_key_unwraps_with_the_version_that_wrapped(world):
    old = await world.wrap()
    world.aes.rotate()
    new = await world.wrap()

    assert [read_blob(each).version for each in (old, new)] == [0, 1]
    assert await world.unwrap(old) == await world.unwrap(new) == DEK
    world.aes.destroy(0)
    assert (await world.unwrap_refused(old)).code is Code.KMS_CONFIGURATION_INVALID
    assert await world.unwrap(new) == DEK


async def test_two_hundred_first_calls_sign_in_once(world):
    key = world.key()

    blobs = await asyncio.gather(*(world.wrap(key, f"tenant-{n}") for n in range(200)))

    assert len(set(blobs)) == 200
    assert world.ciphertrust.seen["login"] == 1


async def test_a_token_is_replaced_a_minute_before_it_ends(world):
    await world.wrap()
    world.later_s = LIFE_S - 65
    await world.wrap()
    assert world.ciphertrust.seen["login"] == 1

    world.later_s = LIFE_S - 55
    await world.wrap()

    # Nobody waits for the new one while the old one is good.
    while world.ciphertrust.seen["login"] < 2:
        await asyncio.sleep(0.001)


async def test_a_token_that_ended_by_their_clock_is_replaced_within_the_call(world):
    await world.wrap()
    world.ciphertrust.ahead_s = LIFE_S + 1

    await world.wrap()

    assert world.ciphertrust.seen["login"] == 2
    assert not world.records[-1].retried


async def test_revoked_tokens_are_replaced_within_the_call(world):
    blob = await world.wrap()
    world.ciphertrust.revoke_tokens()

    assert await world.unwrap(blob) == DEK

    assert world.ciphertrust.seen == {"login": 2, "encrypt": 1, "decrypt": 2}


async def test_users_of_other_domains_and_connections_are_found(world):
    world.ciphertrust.user("proxy", "other-1", auth_domain="acme", connection="ldap", domains=("acme", "keys"))
    aes = world.ciphertrust.key("theirs", domain="keys")
    where = {"password": "other-1", "authDomain": "acme", "connection": "ldap"}
    key = world.key(keyId=aes.id, domain="keys", **where)

    assert await world.unwrap(await world.wrap(key), key) == DEK
    assert "no such key" in (await world.wrap_refused(world.key(keyId=aes.id, **where))).message
    assert (await world.wrap_refused(world.key(domain="elsewhere"))).code is Code.KMS_AUTHORIZATION_FAILED


# -- every row of the tables -------------------------------------------------------------------------------------------

NAMES = {Phase.TOKEN: "login", Phase.WRAP: "encrypt", Phase.UNWRAP: "decrypt"}
CODES = sorted({*MEANINGS, *(code for _, code in MEANINGS_BY_PHASE)})


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("phase", Phase)
async def test_every_code_has_its_meaning_and_its_number_of_attempts(world, phase, code):
    blob = await world.wrap()
    world.later_s = 1e6 if phase is Phase.TOKEN else 0
    world.ciphertrust.seen.clear()
    world.ciphertrust.always(NAMES[phase], Mishap(instead=refusal(code)))
    name, meaning, listed = classify(phase, 400, code, "")

    fault = await (world.unwrap_refused(blob) if phase is Phase.UNWRAP else world.wrap_refused())

    assert fault.code is meaning.code
    assert meaning.words in fault.message
    assert (fault.listed, fault.request_id) == (listed, "r-1")
    assert world.ciphertrust.seen[NAMES[phase]] == (2 if fault.code is Code.KMS_UNREACHABLE else 1)
    record = world.records[-1]
    assert (record.outcome, record.provider_code, record.request_id) == (str(int(fault.code)), name, "r-1")


MESSAGES = {
    "UserLocked": "User account is locked out.",
    "PasswordExpired": "Password has expired.",
    "LicenceEnded": "The license has expired",
    "KeyNotActive": "Key is not active: Deactivated",
    "KeyUsage": "Key usage mask does not allow encrypt",
}


@pytest.mark.parametrize(
    ("phase", "words"), [(phase, words) for words in WORDS for phase in Phase if phase in words.phases]
)
async def test_words_say_it_better_than_codes(world, phase, words):
    blob = await world.wrap()
    world.later_s = 1e6 if phase is Phase.TOKEN else 0
    refused = refusal("NCERRBadRequest", MESSAGES[words.name])
    world.ciphertrust.always(NAMES[phase], Mishap(instead=refused))

    fault = await (world.unwrap_refused(blob) if phase is Phase.UNWRAP else world.wrap_refused())

    assert fault.code is words.meaning.code
    assert words.meaning.words in fault.message
    assert world.records[-1].provider_code == words.name


@pytest.mark.parametrize("status", STATUSES)
async def test_every_status_has_its_code(world, status):
    await world.wrap()
    world.ciphertrust.seen.clear()
    world.ciphertrust.always("encrypt", Mishap(instead=Answered(status, b"<html>something else lives here</html>")))

    fault = await world.wrap_refused()

    assert fault.code is STATUSES[status].code
    assert world.ciphertrust.seen["login"] == (status == 401)
    assert world.ciphertrust.seen["encrypt"] == (2 if status == 401 else 1)


@pytest.mark.parametrize(
    ("mishap", "code"),
    [
        (Mishap(hang_up=True), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(502, b"<html>a node restarts</html>")), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(200, b" " * 100_000)), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(200, b"<html>welcome to our portal</html>")), Code.KMS_WRAP_FAILED),
        (Mishap(instead=answered(418, {})), Code.KMS_WRAP_FAILED),
    ],
    ids=["hang up", "502", "huge", "portal", "unlisted"],
)
async def test_every_other_misfortune_has_its_code(world, mishap, code):
    world.ciphertrust.always("encrypt", mishap)

    assert (await world.wrap_refused()).code is code

    assert world.ciphertrust.seen["encrypt"] == (2 if code is Code.KMS_UNREACHABLE else 1)


GOOD = {"ciphertext": "A" * 43 + "=", "iv": "A" * 16, "tag": "A" * 22 + "==", "version": 0, "mode": "gcm"}


@pytest.mark.parametrize(
    "changes",
    [
        {"iv": "AAAA"},
        {"tag": ""},
        {"ciphertext": "AAAA"},
        {"version": -1},
        {"version": 2**31},
        {"mode": "cbc"},
        {"iv": None},
        {"id": "0" * 64},
    ],
)
async def test_an_answer_that_gcm_does_not_give_is_not_handed_on(world, changes):
    world.ciphertrust.always("encrypt", Mishap(instead=answered(200, GOOD | changes)))

    assert (await world.wrap_refused()).code is Code.KMS_WRAP_FAILED


async def test_the_answer_above_is_good_but_for_the_changes(world):
    world.ciphertrust.always("encrypt", Mishap(instead=answered(200, GOOD)))

    assert read_blob(await world.wrap()).version == 0


@pytest.mark.parametrize("plaintext", ["AAAA", "", "?", None])
async def test_a_plaintext_that_is_no_key_is_not_handed_on(world, plaintext):
    blob = await world.wrap()
    world.ciphertrust.always("decrypt", Mishap(instead=answered(200, {"plaintext": plaintext})))

    assert (await world.unwrap_refused(blob)).code is Code.KMS_UNWRAP_FAILED


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jwt": "two words", "duration": 300},
        {"jwt": "a\nb", "duration": 300},
        {"jwt": "t", "duration": 0},
        {"jwt": "t", "duration": 300, "token_type": "MAC"},
    ],
)
async def test_a_login_without_a_usable_token_is_none(world, body):
    world.ciphertrust.always("login", Mishap(instead=answered(200, body)))

    assert (await world.wrap_refused()).code is Code.KMS_AUTHORIZATION_FAILED
    assert world.ciphertrust.seen["encrypt"] == 0


# -- what the fake decides itself, as CipherTrust Manager does ---------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "code", "word"),
    [
        (lambda at: setattr(at.user, "password", "changed"), 206, "password is refused"),
        (lambda at: setattr(at.user, "password_expired", True), 206, "expired"),
        (lambda at: setattr(at.user, "locked_until", 1e12), 206, "locked out"),
        (lambda at: at.ciphertrust.users.clear(), 206, "username"),
        (lambda at: setattr(at.ciphertrust, "licensed", False), 210, "licence"),
        (lambda at: at.aes.users.clear(), 207, "group"),
        (lambda at: at.ciphertrust.keys.clear(), 207, "no such key"),
        (lambda at: setattr(at.aes, "state", "Deactivated"), 207, "not active"),
        (lambda at: at.aes.usage.clear(), 207, "usage mask"),
        (lambda at: setattr(at.ciphertrust, "requests_left", 1), 209, "quota"),
    ],
    ids=["password", "expired", "locked", "no user", "licence", "no permission", "no key", "state", "usage", "rate"],
)
async def test_what_is_wrong_is_told(world, harm, code, word):
    harm(world)

    fault = await world.wrap_refused()

    assert fault.code == code
    assert word in fault.message


async def test_a_wrong_password_asks_once_for_all_who_wait(world):
    """A policy locks users out after a few bad logins: many callers must not use them up."""
    world.user.password = "changed"
    key = world.key()

    outcomes = await asyncio.gather(*(world.wrap(key, f"tenant-{n}") for n in range(50)), return_exceptions=True)

    assert {getattr(each, "code", None) for each in outcomes} == {Code.KMS_AUTHORIZATION_FAILED}
    assert world.ciphertrust.seen["login"] < world.ciphertrust.lock_after


async def test_altered_and_foreign_blobs_cannot_be_unwrapped(world):
    blob = await world.wrap()
    whole = read_blob(blob)
    other = world.key(keyId=world.ciphertrust.key("other").id)

    altered = blob.replace(whole.ciphertext, whole.ciphertext[::-1])
    assert (await world.unwrap_refused(altered)).code is Code.KMS_UNWRAP_FAILED
    assert (await world.unwrap_refused(blob, other)).code is Code.KMS_UNWRAP_FAILED


async def test_what_ciphertrust_never_made_is_not_sent_to_it(world):
    blob = await world.wrap()
    world.ciphertrust.seen.clear()

    for bad in (b"", b"x", blob + b"\x08\x01", blob[:-4], b"\xff" * 300, blob.replace(b"gcm", b"cbc")):
        assert (await world.unwrap_refused(bad)).code is Code.KMS_UNWRAP_FAILED

    assert world.ciphertrust.seen == {}


@pytest.mark.parametrize("off_s", [-86_400, 86_400])
async def test_our_wrong_clock_harms_nobody(world, off_s):
    world.our_clock_off_s = off_s

    assert await world.unwrap(await world.wrap()) == DEK


async def test_an_address_that_the_authority_does_not_vouch_for_is_not_talked_to(world):
    fault = await world.wrap_refused(world.key(ca=trustme.CA().cert_pem.bytes().decode()))

    assert fault.code is Code.KMS_UNREACHABLE
    assert "TLS" in fault.message
    assert world.ciphertrust.seen == {}


async def test_whoever_knows_only_the_user_does_not_share_its_token(world):
    await world.wrap()

    assert (await world.wrap_refused(world.key(password="guessed"))).code is Code.KMS_AUTHORIZATION_FAILED
