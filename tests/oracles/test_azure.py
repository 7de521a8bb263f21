"""Microsoft's own libraries judge our fake and our adapter: they know the real thing, and have not met either before.

azure-identity and azure-keyvault-keys talk to the fake under Azure's real names, as they are installed.
"""

import itertools
import json
from collections.abc import Iterator

import jwt
import pytest
from azure.core import exceptions
from azure.identity import ClientAssertionCredential, ClientSecretCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, EncryptionAlgorithm, KeyWrapAlgorithm

from tenant_security.testing.fakes.azure import FakeAzure, Vault
from tenant_security.testing.fakes.azure_entra import Application
from tenant_security.testing.fakes.azure_keys import VaultKey
from tenant_security.testing.fakes.hosted import hosted

from .ours import answered, ours

DEK = bytes(range(32))
OAEP = KeyWrapAlgorithm.rsa_oaep_256
ONCE = {"retry_total": 0}

NUMBERS = itertools.count()
"""Azure's client remembers for ever which directory a vault belongs to: every test has a vault of its own."""


class Scene:
    """A tenant's vault with a key, and an application that may use it."""

    def __init__(self, fake: FakeAzure) -> None:
        self.fake = fake
        self.directory = fake.directory()
        self.application: Application = fake.application(self.directory)
        self.vault: Vault = fake.vault(self.directory, f"acme{next(NUMBERS)}")
        self.key: VaultKey = self.vault.key()
        self.vault.allow(self.application, self.key)
        self.secret = self.application.secret()
        self._open: list[object] = []

    def credential(self, secret: str | None = None, client_id: str | None = None, tenant: str | None = None) -> object:
        made = ClientSecretCredential(
            tenant or self.directory.guid, client_id or self.application.client_id, secret or self.secret, **ONCE
        )
        self._open.append(made)
        return made

    def crypto(self, key: str = "", credential: object = None) -> CryptographyClient:
        made = CryptographyClient(key or self.key.url, credential or self.credential(), **ONCE)
        self._open.append(made)
        return made

    def keys(self) -> KeyClient:
        made = KeyClient(self.vault.url, self.credential(), **ONCE)
        self._open.append(made)
        return made

    def close(self) -> None:
        for each in self._open:
            each.close()


@pytest.fixture
def scene(dialled) -> Iterator[Scene]:
    with hosted(FakeAzure) as fake:
        dialled(fake)
        made = Scene(fake)
        yield made
        made.close()


def test_azures_client_wraps_and_unwraps(scene):
    """It may not read the key, so it cannot wrap on its own: the vault does."""
    crypto = scene.crypto()

    wrapped = crypto.wrap_key(OAEP, DEK)

    assert crypto.unwrap_key(OAEP, wrapped.encrypted_key).key == DEK
    assert (scene.fake.seen["wrapkey"], scene.fake.seen["unwrapkey"], scene.fake.seen["token"]) == (1, 1, 1)


def test_azures_client_reads_the_key_and_wraps_by_itself(scene):
    scene.vault.allow(scene.application, scene.key, "get")

    wrapped = scene.crypto().wrap_key(OAEP, DEK)

    assert scene.fake.seen["wrapkey"] == 0
    assert scene.crypto().unwrap_key(OAEP, wrapped.encrypted_key).key == DEK
    described = scene.keys().get_key("wrapping")
    assert (described.properties.version, described.properties.enabled) == (scene.key.current, True)
    assert set(described.key_operations) == {"wrapKey", "unwrapKey", "encrypt", "decrypt"}


def test_azures_client_uses_an_old_version(scene):
    old = scene.key.current
    wrapped = scene.crypto().wrap_key(OAEP, DEK)
    scene.key.rotate()

    assert scene.crypto(f"{scene.key.url}/{old}").unwrap_key(OAEP, wrapped.encrypted_key).key == DEK
    with pytest.raises(exceptions.HttpResponseError, match="parameter is incorrect"):
        scene.crypto(f"{scene.key.url}/{scene.key.current}").unwrap_key(OAEP, wrapped.encrypted_key)


def test_azures_client_encrypts_and_decrypts_where_only_that_is_allowed(scene):
    scene.vault.deny(scene.application, scene.key)
    scene.vault.allow(scene.application, scene.key, "encrypt", "decrypt")
    crypto = scene.crypto()

    sealed = crypto.encrypt(EncryptionAlgorithm.rsa_oaep_256, DEK).ciphertext

    assert crypto.decrypt(EncryptionAlgorithm.rsa_oaep_256, sealed).plaintext == DEK
    with pytest.raises(exceptions.HttpResponseError) as refused:
        crypto.wrap_key(OAEP, DEK)
    assert refused.value.status_code == 403


def test_a_managed_hsm_has_aes_keys(scene):
    hsm = scene.fake.vault(scene.directory, f"acmehsm{next(NUMBERS)}", "managedhsm.azure.net")
    key = hsm.key("wrapping", "oct-HSM", 256)
    hsm.allow(scene.application, key)
    crypto = scene.crypto(key.url)

    wrapped = crypto.wrap_key(KeyWrapAlgorithm.aes_256, DEK)

    assert len(wrapped.encrypted_key) == 40
    assert crypto.unwrap_key(KeyWrapAlgorithm.aes_256, wrapped.encrypted_key).key == DEK


FIREWALL = "ForbiddenByFirewall"
VAULT_HARMS = {
    "disabled": (lambda at: setattr(at.key, "enabled", False), "Forbidden", "KeyDisabled", "disabled key"),
    "expired": (lambda at: setattr(at.key, "expires", 1.0), "Forbidden", "KeyExpired", "expired key"),
    "not yet": (lambda at: setattr(at.key, "not_before", 1e12), "Forbidden", "KeyNotYetValid", "not yet valid"),
    "key_ops": (lambda at: at.key.permitted.clear(), "Forbidden", "KeyOperationForbidden", "not permitted"),
    "role": (lambda at: at.vault.deny(at.application, at.key), "Forbidden", "ForbiddenByRbac", "not authorized"),
    "firewall": (lambda at: setattr(at.vault, "refuses", FIREWALL), "Forbidden", FIREWALL, "address"),
    "no key": (lambda at: at.vault.keys.clear(), "KeyNotFound", None, "not found"),
    "throttled": (lambda at: setattr(at.vault, "calls_left", 0), "Throttled", None, "too many requests"),
}


@pytest.mark.parametrize(("harm", "code", "inner", "match"), VAULT_HARMS.values(), ids=VAULT_HARMS.keys())
def test_the_vaults_refusals_are_read_by_azures_client(scene, harm, code, inner, match):
    crypto = scene.crypto()
    harm(scene)

    with pytest.raises(exceptions.HttpResponseError, match=match) as refused:
        crypto.wrap_key(OAEP, DEK)

    assert refused.value.error.code == code
    assert (refused.value.error.innererror or {}).get("code") == inner


@pytest.mark.parametrize(
    ("harm", "number"),
    [
        (lambda at: at.application.secrets.clear(), 7000215),
        (lambda at: at.application.secrets.update({at.secret: 0.0}), 7000222),
        (lambda at: setattr(at.application, "enabled", False), 7000112),
        (lambda at: setattr(at.application, "blocked", True), 53003),
        (lambda at: at.directory.applications.clear(), 700016),
        (lambda at: setattr(at.directory, "refuses", 5000224), 5000224),
    ],
)
def test_entras_refusals_are_read_by_azure_identity(scene, harm, number):
    credential = scene.credential()
    harm(scene)

    with pytest.raises(exceptions.ClientAuthenticationError, match=f"AADSTS{number}"):
        credential.get_token("https://vault.azure.net/.default")


def test_a_token_says_what_azures_tokens_say(scene):
    token = scene.credential().get_token("https://vault.azure.net/.default").token
    claims = jwt.decode(token, options={"verify_signature": False})

    assert claims["aud"] == "https://vault.azure.net"
    assert (claims["tid"], claims["appid"]) == (scene.directory.guid, scene.application.client_id)
    assert claims["exp"] - claims["iat"] == 3600


def test_azure_identity_signs_in_with_a_platforms_token(scene):
    scene.application.trust("system:serviceaccount:vendor:proxy")
    credential = ClientAssertionCredential(
        scene.directory.guid,
        scene.application.client_id,
        lambda: scene.fake.entra.platform_token("system:serviceaccount:vendor:proxy"),
        **ONCE,
    )

    assert credential.get_token("https://vault.azure.net/.default").token
    credential.close()


def test_an_unauthenticated_call_is_challenged(scene):
    """azure-keyvault-keys sends its first request without a token, to learn whom to ask for one."""
    scene.crypto().wrap_key(OAEP, DEK)

    assert scene.fake.seen["get"] + scene.fake.seen["wrapkey"] > 1


def test_what_we_wrap_azures_client_unwraps_and_the_other_way_round(scene):
    config = {
        "type": "AZURE",
        "version": 1,
        "credentials": {
            "clientId": scene.application.client_id,
            "clientSecret": scene.secret,
            "tenantGuid": scene.directory.guid,
        },
        "keyPath": {"vaultBaseUrl": scene.vault.url, "keyName": scene.key.name},
    }
    key = ours(config)
    asked: list[object] = []
    blob = answered(scene.fake, key.wrap(DEK), asked)
    ciphertext = blob[blob.index(b"\x0a\x80\x02") + 3 :][:256]

    assert scene.crypto().unwrap_key(OAEP, ciphertext).key == DEK
    theirs = scene.crypto().wrap_key(OAEP, DEK[::-1]).encrypted_key
    assert answered(scene.fake, key.unwrap(theirs)) == DEK[::-1]
    assert json.loads(asked[-1].body).keys() == {"alg", "value"}
