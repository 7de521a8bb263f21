"""Google Cloud KMS through the real driver, over TLS and under its real names, with everything that can go wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenant_security.errors import Code
from tenant_security.kms.gcp.meanings import OAUTH, REASONS, STATUSES, VIOLATIONS
from tenant_security.kms.provider import KmsKey
from tenant_security.testing.fakes.gcp import ACT_AS, DECRYPT, ENCRYPT, FakeGcp
from tenant_security.testing.fakes.gcp_accounts import ServiceAccount
from tenant_security.testing.fakes.gcp_keys import CryptoKey, State
from tenant_security.testing.fakes.gcp_replies import for_reason, oauth_refusal, refusal, violation
from tenant_security.testing.fakes.server import Answered, Mishap

from .kms_world import DEK, KmsWorld, standing_in


class World(KmsWorld):
    """A tenant with a key at Google, and a service account that may use it."""

    TELLTALES = (*KmsWorld.TELLTALES, "acme-keys", "ya29.", "PRIVATE")

    def __init__(self, google: FakeGcp) -> None:
        super().__init__(google)
        self.google = google
        self.account = google.service_account()
        self.crypto_key = google.key()
        google.allow(self.account.email, self.crypto_key.name)

    def key(
        self,
        crypto_key: CryptoKey | None = None,
        account: ServiceAccount | None = None,
        *,
        environ: dict[str, str] | None = None,
        **credentials: object,
    ) -> KmsKey:
        """A key of ours; with ``credentials`` a config of the vendor's own."""
        account = account or self.account
        path = (crypto_key or self.crypto_key).name.split("/")
        config = {
            "type": "GCP",
            "version": 1,
            "credentials": credentials or {"client_email": account.email, "private_key": account.private_key},
            "keyPath": {"projectId": path[1], "locationId": path[3], "keyRingId": path[5], "cryptoKeyId": path[7]},
        }
        return self.open(config, vendor_owned=bool(credentials), environ=environ)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with standing_in(FakeGcp, World) as made:
        yield made


# -- what works --------------------------------------------------------------------------------------------------------


async def test_a_key_is_wrapped_and_unwrapped_without_asking_for_a_token(world):
    key = world.key()

    blob = await world.wrap(key)

    assert DEK not in blob
    assert await world.unwrap(blob, key) == DEK
    assert world.google.seen == {"encrypt": 1, "decrypt": 1}
    assert [record.outcome for record in world.records] == ["ok", "ok"]


async def test_a_rotated_key_wraps_with_its_new_version_and_unwraps_with_both(world):
    key = world.key()
    old = await world.wrap(key)
    world.crypto_key.rotate()
    new = await world.wrap(key)

    assert await world.unwrap(old, key) == DEK
    world.crypto_key.states[1] = State.DISABLED
    assert await world.unwrap(new, key) == DEK
    assert (await world.unwrap_refused(old)).code is Code.KMS_CONFIGURATION_INVALID


async def test_two_hundred_first_calls_get_one_token(world):
    world.google.accounts.takes_self_signed = False
    key = world.key()

    blobs = await asyncio.gather(*(world.caller.wrap(f"tenant-{n}", key, DEK) for n in range(200)))

    assert len(set(blobs)) == 200
    assert world.google.seen["token"] == 1
    await world.wrap(key)
    assert world.google.seen["token"] == 1


@pytest.mark.parametrize("takes_self_signed", [True, False])
async def test_a_token_that_ended_is_replaced_within_the_call(world, takes_self_signed):
    world.google.accounts.takes_self_signed = takes_self_signed
    key = world.key()
    await world.wrap(key)
    world.google.ahead_s = world.our_clock_off_s = 3700

    await world.wrap(key)

    assert not world.records[-1].retried


async def test_revoked_tokens_are_replaced_within_the_call(world):
    world.google.accounts.takes_self_signed = False
    key = world.key()
    await world.wrap(key)
    world.google.accounts.revoke_all()

    await world.wrap(key)

    assert world.google.seen["token"] == 2


# -- every row of the tables -------------------------------------------------------------------------------------------

ROWS = {name: (for_reason(name), meaning.code) for name, meaning in REASONS.items()}
ROWS |= {name: (refusal(name, "their words"), meaning.code) for name, meaning in STATUSES.items()}
ROWS |= {
    name: (refusal("FAILED_PRECONDITION", "their words", violation(name, "acme-keys")), meaning.code)
    for name, meaning in VIOLATIONS.items()
}
ROWS["EXTERNAL_TIMEOUT"] = (
    refusal("FAILED_PRECONDITION", "their words", violation("EXTERNAL_TIMEOUT", "acme-keys")),
    Code.KMS_UNREACHABLE,
)


@pytest.mark.parametrize("name", ROWS)
async def test_every_refusal_of_cloud_kms_has_its_code_and_its_number_of_attempts(world, name):
    answer, code = ROWS[name]
    world.google.always("encrypt", Mishap(instead=answer))

    assert (await world.wrap_refused()).code is code

    asked_anew = code is Code.KMS_AUTHORIZATION_FAILED
    assert world.google.seen["token"] == asked_anew
    assert world.google.seen["encrypt"] == (2 if asked_anew or code is Code.KMS_UNREACHABLE else 1)
    (record,) = world.records
    assert (record.outcome, record.provider_code) == (str(code.value), name)
    assert record.retried is (code is Code.KMS_UNREACHABLE)


@pytest.mark.parametrize("name", OAUTH)
async def test_every_refusal_of_the_token_service_has_its_code_and_its_number_of_attempts(world, name):
    world.google.accounts.takes_self_signed = False
    world.google.always("token", Mishap(instead=oauth_refusal(name, "their words")))
    code = OAUTH[name].code

    assert (await world.wrap_refused()).code is code

    (record,) = world.records
    assert (record.outcome, record.provider_code) == (str(code.value), name)
    assert world.google.seen["token"] == (2 if code is Code.KMS_UNREACHABLE else 1)


@pytest.mark.parametrize(
    ("mishap", "code"),
    [
        (Mishap(hang_up=True), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(503, b"<html>busy</html>")), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(200, b" " * 100_000)), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(200, b"<html>welcome to our portal</html>")), Code.KMS_WRAP_FAILED),
        (Mishap(instead=Answered(302, b"", (("Location", "https://evil.example/"),))), Code.KMS_WRAP_FAILED),
        (Mishap(instead=Answered(404, b"<html>no such page</html>")), Code.KMS_CONFIGURATION_INVALID),
        (Mishap(instead=refusal("INVALID_ARGUMENT", "their words")), Code.KMS_CONFIGURATION_INVALID),
        (Mishap(instead=refusal("OUT_OF_RANGE", "their words")), Code.KMS_WRAP_FAILED),
    ],
    ids=["hang up", "503", "huge", "portal", "redirect", "no page", "invalid argument", "unlisted"],
)
async def test_every_other_misfortune_has_its_code(world, mishap, code):
    world.google.always("encrypt", mishap)

    assert (await world.wrap_refused()).code is code

    assert world.google.seen["encrypt"] == (2 if code is Code.KMS_UNREACHABLE else 1)


# -- what the fake decides itself, as Google does ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (State.DISABLED, "disabled"),
        (State.DESTROYED, "destroyed"),
        (State.DESTROY_SCHEDULED, "restore"),
        (State.PENDING_GENERATION, "not ready"),
    ],
)
async def test_the_state_of_the_keys_version_is_told(world, state, word):
    blob = await world.wrap(world.key())
    world.crypto_key.states[1] = state

    for fault in (await world.wrap_refused(), await world.unwrap_refused(blob)):
        assert fault.code is Code.KMS_CONFIGURATION_INVALID
        assert word in fault.message


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("BILLING_DISABLED", Code.KMS_ACCOUNT_ISSUE),
        ("CONSUMER_SUSPENDED", Code.KMS_ACCOUNT_ISSUE),
        ("SERVICE_DISABLED", Code.KMS_CONFIGURATION_INVALID),
        ("SECURITY_POLICY_VIOLATED", Code.KMS_CONFIGURATION_INVALID),
    ],
)
async def test_what_is_wrong_with_the_project_is_told(world, reason, code):
    world.google.project().refuses = reason

    assert (await world.wrap_refused()).code is code


async def test_a_used_up_quota_says_when_to_come_back(world):
    world.google.project().calls_left = 1
    await world.wrap(world.key())

    fault = await world.wrap_refused()

    assert (fault.code, fault.retry_after_s) == (Code.KMS_THROTTLED, 7)
    assert world.google.seen["encrypt"] == 2


async def test_a_missing_permission_and_a_missing_key_look_alike_to_the_unprivileged(world):
    stranger = world.google.service_account("stranger")
    other = CryptoKey(world.crypto_key.name + "-gone", "ENCRYPT_DECRYPT")

    for key in (world.key(account=stranger), world.key(other)):
        fault = await world.wrap_refused(key)
        assert fault.code is Code.KMS_CONFIGURATION_INVALID
        assert "roles/cloudkms.cryptoKeyEncrypterDecrypter" in fault.message
        assert world.records[-1].provider_code == "IAM_PERMISSION_DENIED"


async def test_a_missing_key_is_named_so_to_the_privileged(world):
    world.google.allow(world.account.email, "projects/acme-keys")
    other = CryptoKey(world.crypto_key.name + "-gone", "ENCRYPT_DECRYPT")

    assert "no such key" in (await world.wrap_refused(world.key(other))).message


@pytest.mark.parametrize("taken", [ENCRYPT, DECRYPT])
async def test_permissions_are_two(world, taken):
    blob = await world.wrap(world.key())
    world.google.deny(world.account.email, world.crypto_key.name, taken)

    if taken == ENCRYPT:
        assert await world.unwrap(blob, world.key()) == DEK
        assert (await world.wrap_refused()).code is Code.KMS_CONFIGURATION_INVALID
    else:
        await world.wrap(world.key())
        assert (await world.unwrap_refused(blob)).code is Code.KMS_CONFIGURATION_INVALID


async def test_a_key_for_another_purpose_is_refused(world):
    signing = world.google.key("signing", purpose="MAC")
    world.google.allow(world.account.email, signing.name)

    assert (await world.wrap_refused(world.key(signing))).code is Code.KMS_CONFIGURATION_INVALID


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda account: account.keys.clear(), "private key"),
        (lambda account: setattr(account, "enabled", False), "disabled"),
    ],
    ids=["key deleted", "account disabled"],
)
async def test_a_revoked_account_is_told_apart(world, harm, word):
    key = world.key()
    blob = await world.wrap(key)
    harm(world.account)

    fault = await world.unwrap_refused(blob, key)

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert word in fault.message


async def test_a_deleted_account_is_told_apart(world):
    del world.google.accounts.known[world.account.email]

    assert "does not exist" in (await world.wrap_refused()).message


async def test_altered_and_foreign_blobs_cannot_be_unwrapped(world):
    other = world.google.key("other")
    world.google.allow(world.account.email, other.name)
    blob = await world.wrap(world.key())
    foreign = await world.wrap(world.key(other))

    for bad in (blob[:-1] + bytes([blob[-1] ^ 1]), blob[:10], b"x", foreign):
        assert (await world.unwrap_refused(bad)).code is Code.KMS_UNWRAP_FAILED


@pytest.mark.parametrize("off_s", [-7200, 7200])
async def test_our_wrong_clock_is_our_fault(world, off_s):
    world.google.ahead_s = off_s

    fault = await world.wrap_refused()

    assert fault.code is Code.UNKNOWN_ERROR
    assert "clock" in fault.message


@pytest.mark.parametrize("off_s", [-9, 9, 200])
async def test_a_clock_a_little_off_does_no_harm(world, off_s):
    world.google.ahead_s = off_s

    await world.wrap(world.key())

    assert world.google.seen["token"] == 0


# -- damage ------------------------------------------------------------------------------------------------------------

DAMAGE = [
    ("encrypt", {"verifiedPlaintextCrc32c": False}),
    ("encrypt", {"ciphertextCrc32c": "1"}),
    ("encrypt", {"ciphertext": "AAAA"}),
    ("decrypt", {"plaintextCrc32c": "1"}),
    ("decrypt", {"plaintext": "AAAA"}),
]


@pytest.mark.parametrize(("verb", "members"), DAMAGE)
async def test_damage_on_the_way_is_survived_once(world, verb, members):
    key = world.key()
    blob = await world.wrap(key)
    world.google.lies(verb, **members)

    assert await (world.unwrap(blob, key) if verb == "decrypt" else world.unwrap(await world.wrap(key), key)) == DEK

    assert any(record.retried for record in world.records)


@pytest.mark.parametrize(("verb", "members"), DAMAGE)
async def test_damage_that_stays_is_not_handed_on(world, verb, members):
    blob = await world.wrap(world.key())
    world.google.lies(verb, **members)
    world.google.lies(verb, **members)

    fault = await (world.unwrap_refused(blob) if verb == "decrypt" else world.wrap_refused())

    assert fault.code is (Code.KMS_UNWRAP_FAILED if verb == "decrypt" else Code.KMS_WRAP_FAILED)
    assert world.records[-1].provider_code == "ChecksumMismatch"


async def test_an_answer_for_another_key_is_not_handed_on(world):
    world.google.lies("encrypt", name=f"{world.crypto_key.name}-other/cryptoKeyVersions/1")

    assert (await world.wrap_refused()).code is Code.KMS_WRAP_FAILED


@pytest.mark.parametrize("name", ["encrypt", "token"])
async def test_one_misfortune_is_survived(world, name):
    world.google.accounts.takes_self_signed = name == "encrypt"
    world.google.happens(name, Mishap(hang_up=True))

    await world.wrap(world.key())

    assert world.records[0].retried


# -- the proxy's own identity ------------------------------------------------------------------------------------------


class Platform:
    """A cluster outside Google that gives its workloads tokens, and what its operator wrote down."""

    def __init__(self, world: World, folder: Path) -> None:
        self.provider = world.google.provider()
        self.token_file = folder / "token"
        self.file = folder / "google.json"
        self.token_file.write_text(self.provider.subject_token("proxy"))
        self.content = {
            "type": "external_account",
            "audience": self.provider.audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": str(self.token_file)},
        }
        self.file.write_text(json.dumps(self.content))
        self.environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(self.file)}
        self.principal = self.provider.principal(self.token_file.read_text())


@pytest.fixture
def platform(world, tmp_path):
    return Platform(world, tmp_path)


async def test_the_platforms_token_opens_the_vendors_key(world, platform):
    world.google.allow(platform.principal, world.crypto_key.name)
    key = world.key(environ=platform.environ, workload_identity=True)

    assert await world.unwrap(await world.wrap(key), key) == DEK

    assert world.google.seen == {"sts": 1, "encrypt": 1, "decrypt": 1}


async def test_the_platform_may_act_as_a_service_account(world, platform):
    world.google.allow(platform.principal, world.account.email, ACT_AS)
    key = world.key(environ=platform.environ, workload_identity=True, client_email=world.account.email)

    await world.wrap(key)

    assert world.google.seen == {"sts": 1, "act-as": 1, "encrypt": 1}


@pytest.mark.parametrize(
    ("harm", "code", "word"),
    [
        (lambda p: setattr(p.provider, "enabled", False), 206, "pool"),
        (lambda p: setattr(p.provider, "admits", lambda _: False), 206, "attributes"),
        (lambda p: p.token_file.write_text(p.provider.subject_token("proxy", aud="https://other")), 206, "identity"),
        (lambda p: p.token_file.write_text(p.provider.subject_token("proxy", exp=1)), 206, "identity"),
        (lambda p: p.token_file.unlink(), 206, "operator"),
        (lambda p: p.file.write_text("{}"), 206, "operator"),
        (lambda _: None, 207, "grant"),
    ],
    ids=["provider disabled", "not admitted", "wrong audience", "stale", "no token", "no file", "no permission"],
)
async def test_what_is_wrong_with_our_own_identity_is_told(world, platform, harm, code, word):
    harm(platform)

    fault = await world.wrap_refused(world.key(environ=platform.environ, workload_identity=True))

    assert fault.code == code
    assert word in fault.message


async def test_a_service_account_that_we_may_not_be_is_told(world, platform):
    key = world.key(environ=platform.environ, workload_identity=True, client_email=world.account.email)

    fault = await world.wrap_refused(key)

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert "roles/iam.workloadIdentityUser" in fault.message


async def test_the_metadata_server_says_who_we_are(world):
    world.google.node = world.account.email
    key = world.key(workload_identity=True)

    await world.wrap(key)

    assert world.google.seen == {"metadata": 1, "encrypt": 1}


async def test_a_machine_without_an_account_is_told(world):
    fault = await world.wrap_refused(world.key(workload_identity=True))

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
