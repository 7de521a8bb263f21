"""Key Vault and Managed HSM through the real driver, over TLS under their real names, with all that can go wrong."""

import asyncio
import base64
from collections.abc import AsyncIterator

import pytest

from tenant_security.errors import Code
from tenant_security.kms.azure.blob import read_blob
from tenant_security.kms.azure.errors import NUMBERS, OAUTH, VAULT, VAULT_BY_PHASE
from tenant_security.kms.provider import KmsFaultError, KmsKey
from tenant_security.kms.refusals import Phase
from tenant_security.testing.fakes.azure import FakeAzure, Vault
from tenant_security.testing.fakes.azure_entra import Application, entra_refusal
from tenant_security.testing.fakes.azure_keys import VaultKey, refusal
from tenant_security.testing.fakes.server import Answered, Mishap, answered
from tenant_security.wire.kms.azure import AzureAlgorithm

from .kms_world import DEK, KmsWorld, standing_in

SUBJECT = "system:serviceaccount:vendor:proxy"


class World(KmsWorld):
    """A tenant's vault with a key, and an application that may use it."""

    TELLTALES = (*KmsWorld.TELLTALES, "Abc8Q~", "eyJ", "acme.vault")

    def __init__(self, azure: FakeAzure) -> None:
        super().__init__(azure)
        self.azure = azure
        self.directory = azure.directory()
        self.application: Application = azure.application(self.directory)
        self.secret = self.application.secret()
        self.vault: Vault = azure.vault(self.directory)
        self.rsa: VaultKey = self.vault.key()
        self.vault.allow(self.application, self.rsa)

    def key(self, vault: Vault | None = None, *, owned: bool = False, environ=None, **changes: object) -> KmsKey:
        """The tenant's key; ``credentials``, ``keyName`` and other members replace the usual ones."""
        usual = {
            "clientId": self.application.client_id,
            "clientSecret": self.secret,
            "tenantGuid": self.directory.guid,
        }
        credentials = changes.pop("credentials", usual)
        path = {"vaultBaseUrl": (vault or self.vault).url, "keyName": changes.pop("keyName", "wrapping")}
        config = {"type": "AZURE", "version": 1, "credentials": credentials, "keyPath": path} | changes
        return self.open(config, vendor_owned=owned, environ=environ)

    def encrypted(self, algorithm: str = "RSA-OAEP-256") -> bytes:
        """What the vault itself makes of our key: the bare blob of old deployments."""
        asked = {"alg": algorithm, "value": base64.urlsafe_b64encode(DEK).rstrip(b"=").decode()}
        value = str(self.rsa.use("wrapkey", "", asked, 0.0)["value"])
        return base64.urlsafe_b64decode(value + "==")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with standing_in(FakeAzure, World) as made:
        yield made


# -- what works --------------------------------------------------------------------------------------------------------


async def test_a_key_is_wrapped_and_unwrapped(world):
    key = world.key()

    blob = await world.wrap(key)

    assert read_blob(blob).version == world.rsa.current
    assert read_blob(blob).algorithm is AzureAlgorithm.RSA_OAEP_256
    assert await world.unwrap(blob, key) == DEK
    assert world.azure.seen == {"token": 1, "wrapkey": 1, "unwrapkey": 1}
    assert [record.outcome for record in world.records] == ["ok", "ok"]


async def test_a_rotated_key_unwraps_with_the_version_that_wrapped(world):
    first, old = world.rsa.current, await world.wrap()
    world.rsa.rotate()
    new = await world.wrap()

    assert [read_blob(each).version for each in (old, new)] == [first, world.rsa.current]
    assert await world.unwrap(old) == await world.unwrap(new) == DEK
    world.rsa.disabled_versions.add(first)
    fault = await world.unwrap_refused(old)
    assert fault.code is Code.KMS_CONFIGURATION_INVALID
    assert "disabled" in fault.message
    assert await world.unwrap(new) == DEK


@pytest.mark.parametrize("algorithm", ["RSA-OAEP-256", "RSA-OAEP"])
async def test_bare_blobs_of_old_deployments_unwrap(world, algorithm):
    """They say neither version nor algorithm: the current version is asked, in one way and then in the other."""
    bare = world.encrypted(algorithm)

    assert await world.unwrap(bare) == DEK

    assert world.azure.seen["unwrapkey"] == (1 if algorithm == "RSA-OAEP-256" else 2)
    first_tried = world.key(algorithm="RSA-OAEP")
    assert await world.unwrap(bare, first_tried) == DEK


async def test_bare_blobs_unwrap_after_a_rotation_with_the_version_of_the_config(world):
    bare, version = world.encrypted(), world.rsa.current
    world.rsa.rotate()

    assert (await world.unwrap_refused(bare)).code is Code.KMS_UNWRAP_FAILED
    assert await world.unwrap(bare, world.key(legacyKeyVersion=version)) == DEK


async def test_encrypt_and_decrypt_do_where_the_tenant_gave_only_these(world):
    wrapped = await world.wrap()
    world.vault.deny(world.application, world.rsa)
    world.vault.allow(world.application, world.rsa, "encrypt", "decrypt")
    key = world.key(permissions="encrypt")

    assert await world.unwrap(await world.wrap(key), key) == DEK
    assert await world.unwrap(wrapped, key) == DEK
    assert (await world.wrap_refused()).code is Code.KMS_CONFIGURATION_INVALID


@pytest.mark.parametrize("bits", [128, 192, 256])
async def test_a_managed_hsm_wraps_with_aes_keys(world, bits):
    hsm = world.azure.vault(world.directory, "acmehsm", "managedhsm.azure.net")
    aes = hsm.key("wrapping", "oct-HSM", bits)
    hsm.allow(world.application, aes)
    key = world.key(hsm, algorithm=f"A{bits}KW")

    blob = await world.wrap(key)

    assert read_blob(blob).algorithm is AzureAlgorithm(f"A{bits}KW")
    assert await world.unwrap(blob, key) == DEK


async def test_another_cloud_signs_in_elsewhere(world):
    vault = world.azure.vault(world.directory, "acmegov", "vault.usgovcloudapi.net")
    rsa = vault.key()
    vault.allow(world.application, rsa)
    key = world.key(vault)

    assert await world.unwrap(await world.wrap(key), key) == DEK


async def test_two_hundred_first_calls_sign_in_once(world):
    key = world.key()

    blobs = await asyncio.gather(*(world.wrap(key, f"tenant-{n}") for n in range(200)))

    assert len(set(blobs)) == 200
    assert world.azure.seen["token"] == 1


async def test_a_token_is_replaced_five_minutes_before_it_ends(world):
    await world.wrap()
    world.later_s = 3599 - 305
    await world.wrap()
    assert world.azure.seen["token"] == 1

    world.later_s = 3599 - 295
    await world.wrap()

    assert world.azure.seen["token"] == 2


@pytest.mark.parametrize(
    "harm",
    [lambda at: setattr(at.azure, "ahead_s", 3700), lambda at: setattr(at.azure.entra, "revoked_before", 1e12)],
    ids=["ended by their clock", "revoked"],
)
async def test_a_refused_token_is_replaced_once_and_never_twice(world, harm):
    await world.wrap()
    harm(world)

    if world.azure.ahead_s:
        await world.wrap()
        assert not world.records[-1].retried
    else:
        assert (await world.wrap_refused()).code is Code.KMS_AUTHORIZATION_FAILED

    assert world.azure.seen["token"] == 2
    assert world.azure.seen["wrapkey"] == 3


async def test_whoever_knows_only_the_application_does_not_share_its_token(world):
    await world.wrap()
    credentials = {
        "clientId": world.application.client_id,
        "clientSecret": "guessed",
        "tenantGuid": world.directory.guid,
    }

    fault = await world.wrap_refused(world.key(credentials=credentials))

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert "its value and not its id" in fault.message


# -- the proxy's own identity ------------------------------------------------------------------------------------------


@pytest.fixture
def platform(world, tmp_path):
    world.application.trust(SUBJECT)
    file = tmp_path / "token"
    file.write_text(world.azure.entra.platform_token(SUBJECT))
    return file, {
        "AZURE_FEDERATED_TOKEN_FILE": str(file),
        "AZURE_CLIENT_ID": world.application.client_id,
        "AZURE_TENANT_ID": world.directory.guid,
    }


async def test_the_platforms_token_opens_the_vendors_key(world, platform):
    _, environ = platform
    key = world.key(credentials={"workloadIdentity": True}, owned=True, environ=environ)

    assert await world.unwrap(await world.wrap(key), key) == DEK
    with pytest.raises(KmsFaultError, match="vendor's own"):
        world.key(credentials={"workloadIdentity": True}, environ=environ)


@pytest.mark.parametrize(
    ("claims", "word"),
    [({"sub": "other"}, "federated"), ({"aud": "other"}, "federated"), ({"exp": 1}, "operator"), (None, "operator")],
    ids=["subject", "audience", "stale", "no file"],
)
async def test_what_is_wrong_with_our_own_identity_is_told(world, platform, claims, word):
    file, environ = platform
    if claims is None:
        file.unlink()
    else:
        file.write_text(world.azure.entra.platform_token(**({"subject": SUBJECT} | claims)))
    key = world.key(credentials={"workloadIdentity": True}, owned=True, environ=environ)

    fault = await world.wrap_refused(key)

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert word in fault.message


# -- every row of the tables -------------------------------------------------------------------------------------------

OPERATIONS = {Phase.WRAP: "wrapkey", Phase.UNWRAP: "unwrapkey"}
STATUS_OF = {"Unauthorized": 401, "AKV10032": 401, "AKV10022": 401, "Throttled": 429, "TooManyRequests": 429}


def as_vault(code: str) -> Answered:
    """The vault's refusal with this code, where Azure puts it."""
    if code.startswith("AKV"):
        return refusal(401, "Unauthorized", f"{code}: their words")
    outer = {"Unauthorized", "Forbidden", "KeyNotFound", "Throttled", "BadParameter"}
    status = STATUS_OF.get(code, 400)
    return refusal(status, code, "their words") if code in outer else refusal(status, "Forbidden", "their words", code)


@pytest.mark.parametrize("code", VAULT)
@pytest.mark.parametrize("phase", [Phase.WRAP, Phase.UNWRAP])
async def test_every_code_of_the_vault_has_its_meaning_and_its_number_of_attempts(world, phase, code):
    blob = await world.wrap()
    world.azure.seen.clear()
    world.azure.always(OPERATIONS[phase], Mishap(instead=as_vault(code)))
    meaning = VAULT_BY_PHASE.get((phase, code)) or VAULT[code]

    fault = await (world.unwrap_refused(blob) if phase is Phase.UNWRAP else world.wrap_refused())

    assert fault.code is meaning.code
    asked_anew = code == "Unauthorized"
    assert world.azure.seen["token"] == asked_anew
    once_more = asked_anew or fault.code is Code.KMS_UNREACHABLE
    assert world.azure.seen[OPERATIONS[phase]] == (2 if once_more else 1)
    assert code in world.records[-1].provider_code


@pytest.mark.parametrize(("phase", "code"), VAULT_BY_PHASE)
async def test_codes_that_mean_something_else_in_each_phase(world, phase, code):
    blob = await world.wrap()
    world.azure.always(OPERATIONS[phase], Mishap(instead=refusal(400, code, "their words")))

    fault = await (world.unwrap_refused(blob) if phase is Phase.UNWRAP else world.wrap_refused())

    assert fault.code is VAULT_BY_PHASE[phase, code].code


@pytest.mark.parametrize("error", OAUTH)
async def test_every_error_of_entra_id_has_its_meaning(world, error):
    status = 503 if OAUTH[error].code is Code.KMS_UNREACHABLE else 400
    body = {"error": error, "error_description": "AADSTS1: their words", "error_codes": [1]}
    world.azure.always("token", Mishap(instead=answered(status, body)))

    fault = await world.wrap_refused()

    assert fault.code is OAUTH[error].code
    assert world.records[-1].provider_code == f"{error}.AADSTS1"
    assert world.azure.seen["token"] == (2 if fault.code is Code.KMS_UNREACHABLE else 1)
    assert world.azure.seen["wrapkey"] == 0


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("error", ["invalid_client", "invalid_request"])
async def test_every_number_of_entra_id_has_its_meaning_whatever_stands_beside_it(world, number, error):
    world.azure.always("token", Mishap(instead=entra_refusal(number, error=error, status=401)))

    fault = await world.wrap_refused()

    assert fault.code is NUMBERS[number].code
    assert NUMBERS[number].words in fault.message
    assert world.records[-1].provider_code == f"{error}.AADSTS{number}"
    assert world.records[-1].request_id


@pytest.mark.parametrize(
    ("mishap", "code"),
    [
        (Mishap(hang_up=True), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(503, b"<html>busy</html>")), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(200, b" " * 100_000)), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(200, b"<html>welcome to our portal</html>")), Code.KMS_WRAP_FAILED),
        (Mishap(instead=Answered(302, b"", (("Location", "https://evil.example/"),))), Code.KMS_WRAP_FAILED),
        (Mishap(instead=Answered(418, b"{}")), Code.KMS_WRAP_FAILED),
    ],
    ids=["hang up", "503", "huge", "portal", "redirect", "unlisted"],
)
async def test_every_other_misfortune_has_its_code(world, mishap, code):
    world.azure.always("wrapkey", mishap)

    assert (await world.wrap_refused()).code is code

    assert world.azure.seen["wrapkey"] == (2 if code is Code.KMS_UNREACHABLE else 1)


@pytest.mark.parametrize(
    ("kid", "value"),
    [
        ("https://acme.vault.azure.net/keys/wrapping/{version}", "AAAA"),
        ("https://acme.vault.azure.net/keys/other/{version}", "A" * 342),
        ("https://evil.vault.azure.net/keys/wrapping/{version}", "A" * 342),
        ("https://acme.vault.azure.net/keys/wrapping/", "A" * 342),
        ("https://acme.vault.azure.net/keys/wrapping/../x", "A" * 342),
        ("", "A" * 342),
        ("https://acme.vault.azure.net/keys/wrapping/{version}", "?"),
        ("https://acme.vault.azure.net/keys/wrapping/{version}", ""),
    ],
)
async def test_an_answer_that_is_not_for_our_key_is_not_handed_on(world, kid, value):
    body = {"kid": kid.format(version="0" * 32), "value": value}
    world.azure.always("wrapkey", Mishap(instead=answered(200, body)))

    assert (await world.wrap_refused()).code is Code.KMS_WRAP_FAILED


async def test_an_unwrap_by_another_version_is_not_believed(world):
    blob = await world.wrap()
    body = {"kid": f"{world.rsa.url}/{'0' * 32}", "value": "A" * 43}
    world.azure.always("unwrapkey", Mishap(instead=answered(200, body)))

    assert (await world.unwrap_refused(blob)).code is Code.KMS_UNWRAP_FAILED


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"access_token": "two words", "expires_in": 3599},
        {"access_token": "a\nb", "expires_in": 3599},
        {"access_token": "t", "expires_in": "soon"},
        {"access_token": "t", "expires_in": 3599, "token_type": "pop"},
    ],
)
async def test_a_sign_in_without_a_usable_token_is_none(world, body):
    world.azure.always("token", Mishap(instead=answered(200, body)))

    assert (await world.wrap_refused()).code is Code.KMS_AUTHORIZATION_FAILED


# -- what the fake decides itself, as Azure does -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("harm", "code", "word"),
    [
        (lambda at: at.application.secrets.clear(), 206, "wrong"),
        (lambda at: at.application.secrets.update({at.secret: 0.0}), 206, "expired"),
        (lambda at: setattr(at.application, "enabled", False), 206, "disabled"),
        (lambda at: setattr(at.application, "blocked", True), 206, "conditional access"),
        (lambda at: at.directory.applications.clear(), 206, "not known"),
        (lambda at: at.azure.entra.directories.clear(), 207, "tenantGuid"),
        (lambda at: at.azure.entra.resources.clear(), 207, "Key Vault"),
        (lambda at: setattr(at.directory, "refuses", 5000224), 210, "billing"),
        (lambda at: at.vault.deny(at.application, at.rsa), 207, "Crypto Service Encryption User"),
        (lambda at: (at.vault.deny(at.application, at.rsa), setattr(at.vault, "rbac", False)), 207, "access policies"),
        (lambda at: setattr(at.vault, "refuses", "ForbiddenByFirewall"), 207, "firewall"),
        (lambda at: setattr(at.vault, "refuses", "ForbiddenByConnection"), 207, "private endpoint"),
        (lambda at: setattr(at.vault, "refuses", "SubscriptionDisabled"), 210, "subscription"),
        (lambda at: setattr(at.rsa, "enabled", False), 207, "disabled"),
        (lambda at: setattr(at.rsa, "expires", 1.0), 207, "expired"),
        (lambda at: setattr(at.rsa, "not_before", 1e12), 207, "not yet valid"),
        (lambda at: at.rsa.permitted.clear(), 207, "permitted operations"),
        (lambda at: at.vault.keys.clear(), 207, "recover"),
        (lambda at: setattr(at.vault, "deleted", True), 208, "deleted or misspelt"),
        (lambda at: setattr(at.vault, "directory", at.azure.directory()), 207, "another directory"),
    ],
    ids=[
        "secret", "secret expired", "app disabled", "conditional access", "no app", "no directory", "no vaults",
        "directory lapsed", "role", "policy", "firewall", "private", "subscription", "key disabled", "key expired",
        "key not yet", "key_ops", "no key", "no vault", "other directory",
    ],
)  # fmt: skip
async def test_what_is_wrong_is_told(world, harm, code, word):
    harm(world)

    fault = await world.wrap_refused()

    assert fault.code == code
    assert word in fault.message


async def test_an_expired_key_still_unwraps(world):
    blob = await world.wrap()
    world.rsa.expires = 1.0

    assert await world.unwrap(blob) == DEK


async def test_permissions_are_two(world):
    blob = await world.wrap()
    world.vault.deny(world.application, world.rsa, "unwrapKey")

    await world.wrap()
    assert (await world.unwrap_refused(blob)).code is Code.KMS_CONFIGURATION_INVALID


async def test_a_used_up_limit_says_when_to_come_back(world):
    await world.wrap()
    world.vault.calls_left = 0

    fault = await world.wrap_refused()

    assert (fault.code, fault.retry_after_s) == (Code.KMS_THROTTLED, 7)


async def test_altered_and_foreign_blobs_cannot_be_unwrapped(world):
    blob = await world.wrap()
    whole = read_blob(blob)
    other = world.vault.key("other")
    world.vault.allow(world.application, other)

    altered = blob.replace(whole.ciphertext, whole.ciphertext[::-1])
    assert (await world.unwrap_refused(altered)).code is Code.KMS_UNWRAP_FAILED
    # Versions of one key are unknown to another.
    assert (await world.unwrap_refused(blob, world.key(keyName="other"))).code is Code.KMS_CONFIGURATION_INVALID


async def test_what_azure_never_made_is_not_sent_to_it(world):
    blob = await world.wrap()
    world.azure.seen.clear()

    for bad in (b"", b"x", blob + b"\x08\x01", blob[:-4], bytes(255), bytes(700), blob + b"\x28\x01"):
        assert (await world.unwrap_refused(bad)).code is Code.KMS_UNWRAP_FAILED

    assert world.azure.seen == {}


@pytest.mark.parametrize("off_s", [-86_400, 86_400])
async def test_our_wrong_clock_harms_nobody(world, off_s):
    world.our_clock_off_s = off_s

    assert await world.unwrap(await world.wrap()) == DEK
