"""Vault's Transit engine through the real driver, over TLS with a private authority, with all that can go wrong."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import trustme

from tenant_security.errors import Code
from tenant_security.kms.provider import KmsFaultError, KmsKey
from tenant_security.kms.refusals import Phase
from tenant_security.kms.vault.errors import STATUSES, TEXTS, TOKEN_STATUSES
from tenant_security.testing.fakes.server import Answered, Mishap, answered
from tenant_security.testing.fakes.vault import HOST, SUBJECT, TO_WRAP, FakeVault
from tenant_security.testing.fakes.vault_transit import RSA

from .kms_world import DEK, KmsWorld, standing_in


class World(KmsWorld):
    """A tenant with a Transit key and an AppRole."""

    TELLTALES = (*KmsWorld.TELLTALES, "hvs.", HOST)

    def __init__(self, vault: FakeVault) -> None:
        super().__init__(vault)
        self.vault = vault
        self.space = vault.root
        self.transit_key = self.space.key()
        self.role = self.space.app_role()
        self.secret_id = self.role.secret_id()

    def key(self, *, ca: str | None = None, owned: bool = False, environ=None, **changes: object) -> KmsKey:
        """The tenant's key; ``credentials`` and other members of the key path replace the usual ones."""
        credentials = changes.pop("credentials", {"roleId": self.role.role_id, "secretId": self.secret_id})
        config = {
            "type": "VAULT",
            "version": 1,
            "credentials": credentials,
            "keyPath": {"address": f"https://{HOST}", "keyName": "wrapping"} | changes,
            "caCertificate": ca or self.vault.authority_pem.decode(),
        }
        return self.open(config, vendor_owned=owned, environ=environ)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with standing_in(FakeVault, World) as made:
        yield made


# -- what works --------------------------------------------------------------------------------------------------------


async def test_a_key_is_wrapped_and_unwrapped(world):
    key = world.key()

    blob = await world.wrap(key)

    assert re.fullmatch(rb"vault:v1:[A-Za-z0-9+/]+=*", blob)
    assert await world.unwrap(blob, key) == DEK
    assert world.vault.seen == {"login": 1, "encrypt": 1, "decrypt": 1}
    assert [record.outcome for record in world.records] == ["ok", "ok"]


async def test_a_rotated_key_wraps_with_its_new_version_and_unwraps_with_both(world):
    old = await world.wrap()
    world.transit_key.rotate()
    new = await world.wrap()

    assert new.startswith(b"vault:v2:")
    assert await world.unwrap(old) == await world.unwrap(new) == DEK
    world.transit_key.min_decryption_version = 2
    assert await world.unwrap(new) == DEK
    fault = await world.unwrap_refused(old)
    assert fault.code is Code.KMS_UNWRAP_FAILED
    assert "min_decryption_version" in fault.message


async def test_two_hundred_first_calls_sign_in_once(world):
    key = world.key()

    blobs = await asyncio.gather(*(world.wrap(key, f"tenant-{n}") for n in range(200)))

    assert len(set(blobs)) == 200
    assert world.vault.seen["login"] == 1


async def test_a_token_is_replaced_before_it_ends(world):
    world.role.token_ttl_s = 600
    await world.wrap()
    world.later_s = 600 * 0.8 - 5
    await world.wrap()
    assert world.vault.seen["login"] == 1

    world.later_s = 600 * 0.8 + 5
    await world.wrap()

    # Nobody waits for the new one while the old one is good.
    while world.vault.seen["login"] < 2:
        await asyncio.sleep(0.001)
    assert world.vault.seen["lookup"] == 0


async def test_a_revoked_token_is_replaced_within_the_call(world):
    await world.wrap()
    world.space.tokens.revoke_all()
    world.our_clock_off_s = 60

    await world.wrap()

    assert world.vault.seen["login"] == 2
    assert not world.records[-1].retried


async def test_a_token_revoked_right_after_it_was_made_is_replaced_too(world):
    await world.wrap()
    world.space.tokens.revoke_all()

    await world.wrap()

    assert world.vault.seen["login"] == 2
    assert world.vault.seen["lookup"] == 1


async def test_tokens_with_few_uses_are_counted_and_never_overdrawn(world):
    world.role.token_num_uses = 3

    for _ in range(7):
        await world.wrap()

    assert world.vault.seen["login"] == 3
    assert world.vault.seen["encrypt"] == 7


async def test_many_at_once_share_tokens_with_few_uses(world):
    world.role.token_num_uses = 5
    key = world.key()

    await asyncio.gather(*(world.wrap(key, f"tenant-{n}") for n in range(20)))

    assert world.vault.seen["encrypt"] == 20
    assert world.vault.seen["login"] == 4


async def test_a_secret_id_with_one_use_serves_as_long_as_its_token(world):
    world.secret_id = world.role.secret_id(uses=1)
    key = world.key()
    await world.wrap(key)
    world.later_s = 3600

    fault = await world.wrap_refused(key)

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert "secret id" in fault.message


async def test_a_namespace_holds_everything(world):
    space = world.vault.namespace("teams/a")
    space.key()
    role = space.app_role()
    credentials = {"roleId": role.role_id, "secretId": role.secret_id(), "namespace": "teams/a"}

    assert await world.unwrap(await world.wrap(world.key(credentials=credentials)), world.key(credentials=credentials))
    elsewhere = credentials | {"namespace": "teams/b"}
    assert (await world.wrap_refused(world.key(credentials=elsewhere))).code is Code.KMS_AUTHORIZATION_FAILED


async def test_other_mounts_are_reached(world):
    space = world.space
    space.key("other", mount="teams/a/transit")
    path = "teams/a/transit/{}/other"
    space.policy("other", {path.format(verb): frozenset({"update"}) for verb in ("encrypt", "decrypt")})
    role = space.app_role("other", mount="teams/approle")
    credentials = {"roleId": role.role_id, "secretId": role.secret_id(), "authMount": "teams/approle"}
    key = world.key(credentials=credentials, mount="teams/a/transit", keyName="other")

    assert await world.unwrap(await world.wrap(key), key) == DEK


async def test_derived_keys_and_bound_data_stay_apart(world):
    world.space.key(derived=True)
    acme = world.key(context="acme", associatedData="bound")
    blob = await world.wrap(acme)

    assert await world.unwrap(blob, acme) == DEK
    for other in ({"context": "other", "associatedData": "bound"}, {"context": "acme", "associatedData": "other"}):
        assert (await world.unwrap_refused(blob, world.key(**other))).code is Code.KMS_UNWRAP_FAILED
    assert (await world.wrap_refused(world.key())).code is Code.KMS_CONFIGURATION_INVALID


async def test_an_rsa_key_works_too(world):
    world.space.key(kind=RSA)
    key = world.key()
    blob = await world.wrap(key)

    assert await world.unwrap(blob, key) == DEK
    altered = blob[:-8] + b"AAAAAAA="
    assert (await world.unwrap_refused(altered, key)).code is Code.KMS_UNWRAP_FAILED
    fault = await world.wrap_refused(world.key(associatedData="bound"))
    assert "associatedData" in fault.message


async def test_a_token_as_it_stands_is_used_and_never_renewed(world):
    token = world.space.tokens.issue(("wrap",), ttl_s=600)
    key = world.key(credentials={"token": token.id})
    await world.wrap(key)
    assert world.vault.seen["login"] == 0

    world.vault.ahead_s = 601
    fault = await world.wrap_refused(key)

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert "AppRole" in fault.message
    assert world.vault.seen["lookup"] == 1


@pytest.mark.parametrize("mount", ["kubernetes", "jwt-cluster"])
async def test_the_proxys_own_service_account_signs_in_for_the_vendor(world, tmp_path, mount):
    world.space.platform_role(mount=mount)
    file = tmp_path / "token"
    file.write_text(world.vault.platform_token())
    credentials = {"workloadIdentity": True, "role": "proxy", "authMount": mount}
    environ = {"VAULT_SERVICE_ACCOUNT_TOKEN_FILE": str(file)}

    key = world.key(credentials=credentials, owned=True, environ=environ)
    assert await world.unwrap(await world.wrap(key), key) == DEK

    with pytest.raises(KmsFaultError, match="vendor's own"):
        world.key(credentials=credentials, environ=environ)


@pytest.mark.parametrize(
    "token",
    [
        lambda vault: vault.platform_token("system:serviceaccount:other:other"),
        lambda vault: vault.platform_token(aud="elsewhere"),
        lambda vault: vault.platform_token(exp=1),
        lambda _: "",
    ],
    ids=["another account", "audience", "ended", "empty file"],
)
@pytest.mark.parametrize("mount", ["kubernetes", "jwt"])
async def test_what_is_wrong_with_our_own_account_is_told(world, tmp_path, token, mount):
    world.space.platform_role(mount=mount)
    file = tmp_path / "token"
    file.write_text(token(world.vault))
    credentials = {"workloadIdentity": True, "role": "proxy", "authMount": mount}
    key = world.key(credentials=credentials, owned=True, environ={"VAULT_SERVICE_ACCOUNT_TOKEN_FILE": str(file)})

    fault = await world.wrap_refused(key)

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert SUBJECT not in fault.message


# -- every row of the tables -------------------------------------------------------------------------------------------


def said(pattern: re.Pattern[str]) -> str:
    """A text that the pattern matches, made of its first alternatives."""
    examples = {
        "KeyType": "message encryption not supported for key type ed25519",
        "AssociatedData": "'associated_data' provided for non-AEAD cipher suite",
        "SourceAddress": 'source address "10.0.0.1" unauthorized through CIDR restrictions',
        "RoleName": 'invalid role name "x"',
        "OwnToken": "error validating token: expired",
        "NoActiveNode": "local node not active but active cluster node not found",
        "RoleOrSecretId": "invalid role or secret ID",
        "SecretId": "invalid secret id",
        "Sealed": "Vault is sealed",
        "OwnAccount": "service account name not authorized",
        "KeyNotFound": "encryption key not found",
        "Context": "missing 'context' for key derivation",
        "Altered": "invalid ciphertext: no prefix",
    }
    for text in TEXTS:
        if text.pattern is pattern:
            example = examples.get(text.name, pattern.pattern)
            return example if pattern.match(example) else "failed to RSA decrypt the ciphertext"
    raise AssertionError(pattern)


TEXT_ROWS = [
    pytest.param(phase, text, id=f"{text.name}-{phase.name}-{number}")
    for number, text in enumerate(TEXTS)
    for phase in sorted(text.phases, key=lambda phase: phase.name)
]
NAMES = {Phase.TOKEN: "login", Phase.WRAP: "encrypt", Phase.UNWRAP: "decrypt"}


@pytest.mark.parametrize(("phase", "text"), TEXT_ROWS)
async def test_every_text_has_its_code_and_its_number_of_attempts(world, phase, text):
    blob = await world.wrap()
    world.later_s = 1e6 if phase is Phase.TOKEN else 0
    status = 503 if text.meaning.code is Code.KMS_UNREACHABLE else 400
    world.vault.seen.clear()
    world.vault.always(NAMES[phase], Mishap(instead=answered(status, {"errors": [said(text.pattern)]})))

    fault = await (world.unwrap_refused(blob) if phase is Phase.UNWRAP else world.wrap_refused())

    assert fault.code is text.meaning.code
    assert text.meaning.words in fault.message
    assert world.vault.seen[NAMES[phase]] == (2 if fault.code is Code.KMS_UNREACHABLE else 1)
    assert (world.records[-1].outcome, world.records[-1].provider_code) == (str(int(fault.code)), text.name)


@pytest.mark.parametrize("status", STATUSES)
async def test_every_status_has_its_code_and_its_number_of_attempts(world, status):
    await world.wrap()
    world.vault.seen.clear()
    world.vault.always("encrypt", Mishap(instead=answered(status, {"errors": ["their words"]})))

    fault = await world.wrap_refused()

    assert fault.code is STATUSES[status].code
    # A 403 may be the token's fault: it is asked about itself, and was good.
    assert world.vault.seen["lookup"] == (status == 403)
    assert world.vault.seen["encrypt"] == (2 if fault.code is Code.KMS_UNREACHABLE else 1)
    assert world.records[-1].provider_code == f"HTTP{status}"


@pytest.mark.parametrize("status", sorted({*TOKEN_STATUSES, *STATUSES}))
async def test_every_status_of_a_login_has_its_code(world, status):
    world.vault.always("login", Mishap(instead=answered(status, {"errors": ["their words"]})))

    fault = await world.wrap_refused()

    meaning = TOKEN_STATUSES.get(status) or STATUSES[status]
    assert fault.code is meaning.code
    assert world.vault.seen["encrypt"] == 0
    assert world.vault.seen["login"] == (2 if fault.code is Code.KMS_UNREACHABLE else 1)


@pytest.mark.parametrize(
    ("mishap", "code"),
    [
        (Mishap(hang_up=True), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(503, b"<html>busy</html>")), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(200, b" " * 100_000)), Code.KMS_UNREACHABLE),
        (Mishap(instead=Answered(200, b"<html>welcome to our portal</html>")), Code.KMS_WRAP_FAILED),
        (Mishap(instead=answered(200, {"data": {"ciphertext": "nonsense"}})), Code.KMS_WRAP_FAILED),
        (Mishap(instead=answered(200, {"data": {"ciphertext": "vault:v1:" + "A" * 9000}})), Code.KMS_WRAP_FAILED),
        (Mishap(instead=Answered(302, b"", (("Location", "https://evil.example/"),))), Code.KMS_CONFIGURATION_INVALID),
        (Mishap(instead=answered(418, {"errors": []})), Code.KMS_WRAP_FAILED),
    ],
    ids=["hang up", "503", "huge", "portal", "no ciphertext", "long ciphertext", "redirect", "unlisted"],
)
async def test_every_other_misfortune_has_its_code(world, mishap, code):
    world.vault.always("encrypt", mishap)

    assert (await world.wrap_refused()).code is code

    assert world.vault.seen["encrypt"] == (2 if code is Code.KMS_UNREACHABLE else 1)


@pytest.mark.parametrize("plaintext", ["AAAA", "", "?", None])
async def test_a_plaintext_that_is_no_key_is_not_handed_on(world, plaintext):
    blob = await world.wrap()
    world.vault.always("decrypt", Mishap(instead=answered(200, {"data": {"plaintext": plaintext}})))

    assert (await world.unwrap_refused(blob)).code is Code.KMS_UNWRAP_FAILED


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"auth": {"client_token": "two words", "lease_duration": 1}},
        {"auth": {"client_token": "a\nb", "lease_duration": 1}},
        {"auth": {"client_token": "t", "lease_duration": -1}},
        {"auth": None},
    ],
)
async def test_a_login_without_a_usable_token_is_none(world, auth):
    world.vault.always("login", Mishap(instead=answered(200, auth)))

    assert (await world.wrap_refused()).code is Code.KMS_AUTHORIZATION_FAILED


# -- what the fake decides itself, as Vault does -----------------------------------------------------------------------


async def test_a_sealed_server_is_told(world):
    await world.wrap()
    world.vault.sealed = True

    fault = await world.wrap_refused()

    assert fault.code is Code.KMS_UNREACHABLE
    assert "unseal" in fault.message


async def test_a_used_up_quota_says_when_to_come_back(world):
    await world.wrap()
    world.vault.requests_left = 0

    fault = await world.wrap_refused()

    assert (fault.code, fault.retry_after_s) == (Code.KMS_THROTTLED, 7)


async def test_a_missing_permission_is_told_from_a_token_that_ended(world):
    """Vault answers both with the same 403."""
    blob = await world.wrap()
    world.space.policy("wrap", {path: TO_WRAP[path] for path in TO_WRAP if "encrypt" in path})

    fault = await world.unwrap_refused(blob)

    assert fault.code is Code.KMS_CONFIGURATION_INVALID
    assert "`update`" in fault.message
    assert world.vault.seen["lookup"] == 1
    await world.wrap()


async def test_a_policy_that_only_updates_never_makes_a_key(world):
    world.space.engines["transit"].clear()

    assert (await world.wrap_refused()).code is Code.KMS_CONFIGURATION_INVALID

    assert world.space.engines["transit"] == {}


async def test_deleted_trimmed_and_restored_keys_are_told_apart(world):
    old = await world.wrap()
    world.transit_key.rotate()
    new = await world.wrap()

    world.transit_key.lose(1)
    lost = await world.unwrap_refused(old)
    assert lost.code is Code.KMS_CONFIGURATION_INVALID
    assert "gone" in lost.message
    world.transit_key.trim(2)
    trimmed = await world.unwrap_refused(old)
    assert trimmed.code is Code.KMS_UNWRAP_FAILED
    assert "min_decryption_version" in trimmed.message
    world.transit_key.soft_deleted = True
    deleted = await world.unwrap_refused(new)
    assert deleted.code is Code.KMS_CONFIGURATION_INVALID
    assert "restore" in deleted.message
    world.space.key()
    restored = await world.unwrap_refused(new)
    assert restored.code is Code.KMS_UNWRAP_FAILED
    assert "backup" in restored.message


async def test_altered_and_foreign_blobs_cannot_be_unwrapped(world):
    blob = await world.wrap()
    world.space.key()

    for bad in (blob, b"vault:v1:AAAA"):
        assert (await world.unwrap_refused(bad)).code is Code.KMS_UNWRAP_FAILED


async def test_what_transit_never_made_is_not_sent_to_it(world):
    long = b"vault:v1:" + b"A" * 9000
    for bad in (b"", b"x", b"vault:v0:AAAA", b"vault:v1:A A", b"vault:v1:AAAA\n", b"hashicorp", long):
        assert (await world.unwrap_refused(bad)).code is Code.KMS_UNWRAP_FAILED

    assert world.vault.seen == {}


@pytest.mark.parametrize("off_s", [-86_400, 86_400])
async def test_our_wrong_clock_harms_nobody(world, off_s):
    world.our_clock_off_s = off_s

    assert await world.unwrap(await world.wrap()) == DEK


async def test_an_address_that_the_authority_does_not_vouch_for_is_not_talked_to(world):
    other = trustme.CA().cert_pem.bytes().decode()

    fault = await world.wrap_refused(world.key(ca=other))

    assert fault.code is Code.KMS_UNREACHABLE
    assert "TLS" in fault.message
    assert world.vault.seen == {}


async def test_whoever_knows_only_the_role_id_does_not_share_its_token(world):
    await world.wrap()
    credentials = {"roleId": world.role.role_id, "secretId": "guessed"}

    assert (await world.wrap_refused(world.key(credentials=credentials))).code is Code.KMS_AUTHORIZATION_FAILED
