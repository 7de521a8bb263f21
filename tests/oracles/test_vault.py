"""hvac judges our fake of Vault and our adapter: it knows the real thing, and has not met either before."""

import base64
from collections.abc import Iterator

import hvac
import pytest
from hvac import exceptions

from tenant_security.testing.fakes.hosted import hosted
from tenant_security.testing.fakes.vault import HOST, FakeVault
from tenant_security.testing.fakes.vault_transit import RSA

from .ours import answered, ours

DEK = bytes(range(32))
TEXT = base64.b64encode(DEK).decode()


@pytest.fixture
def vault(dialled) -> Iterator[FakeVault]:
    with hosted(FakeVault) as fake:
        dialled(fake)
        yield fake


@pytest.fixture
def client(vault, tmp_path) -> Iterator[hvac.Client]:
    """hvac, as installed, signed in with an AppRole."""
    role = vault.root.app_role()
    vault.root.key()
    made = hvac.Client(url=f"https://{HOST}", verify=str(tmp_path / "authority.pem"))
    made.auth.approle.login(role.role_id, role.secret_id())
    yield made
    made.adapter.close()


def test_hvac_signs_in_and_is_authenticated(vault, client):
    assert client.is_authenticated()
    assert client.lookup_token()["data"]["policies"] == ["default", "wrap"]
    assert vault.seen["login"] == 1


def test_hvac_encrypts_and_decrypts(vault, client):
    encrypted = client.secrets.transit.encrypt_data("wrapping", TEXT)["data"]
    vault.root.engines["transit"]["wrapping"].rotate()
    newer = client.secrets.transit.encrypt_data("wrapping", TEXT)["data"]

    assert encrypted["ciphertext"].startswith("vault:v1:")
    assert newer["ciphertext"].startswith("vault:v2:")
    for each in (encrypted, newer):
        assert client.secrets.transit.decrypt_data("wrapping", each["ciphertext"])["data"]["plaintext"] == TEXT


def test_hvac_binds_context_and_associated_data(vault, client):
    vault.root.key(derived=True)
    context, bound = base64.b64encode(b"acme").decode(), base64.b64encode(b"bound").decode()
    encrypted = client.secrets.transit.encrypt_data("wrapping", TEXT, context=context, associated_data=bound)["data"]

    def decrypt(context: str | None, bound: str | None) -> str:
        return client.secrets.transit.decrypt_data(
            "wrapping", encrypted["ciphertext"], context=context, associated_data=bound
        )["data"]["plaintext"]

    assert decrypt(context, bound) == TEXT
    with pytest.raises(exceptions.InvalidRequest, match="message authentication failed"):
        decrypt(context, None)
    with pytest.raises(exceptions.InvalidRequest, match="missing 'context'"):
        decrypt(None, bound)


def test_hvac_reaches_a_namespace(vault, tmp_path):
    space = vault.namespace("teams/a")
    space.key()
    role = space.app_role()
    with_space = hvac.Client(url=f"https://{HOST}", namespace="teams/a", verify=str(tmp_path / "authority.pem"))
    with_space.auth.approle.login(role.role_id, role.secret_id())

    assert with_space.secrets.transit.encrypt_data("wrapping", TEXT)["data"]["key_version"] == 1
    with_space.adapter.close()


HARMS = {
    "sealed": (lambda fake: setattr(fake, "sealed", True), exceptions.VaultDown, "sealed"),
    "standby": (lambda fake: setattr(fake, "standby", True), exceptions.VaultDown, "not active"),
    "quota": (lambda fake: setattr(fake, "requests_left", 0), exceptions.RateLimitExceeded, "quota exceeded"),
    "token gone": (lambda fake: fake.root.tokens.revoke_all(), exceptions.Forbidden, "permission denied"),
    "token ended": (lambda fake: setattr(fake, "ahead_s", 7200), exceptions.Forbidden, "permission denied"),
    "policy": (lambda fake: fake.root.policy(rules={}), exceptions.Forbidden, "permission denied"),
    "key gone": (lambda fake: fake.root.engines["transit"].clear(), exceptions.Forbidden, "permission denied"),
    "key deleted": (
        lambda fake: setattr(fake.root.engines["transit"]["wrapping"], "soft_deleted", True),
        exceptions.InvalidRequest,
        "soft-deleted",
    ),
}


@pytest.mark.parametrize(("harm", "error", "match"), HARMS.values(), ids=HARMS.keys())
def test_refusals_are_hvacs_own_typed_errors(vault, client, harm, error, match):
    harm(vault)

    with pytest.raises(error, match=match):
        client.secrets.transit.encrypt_data("wrapping", TEXT)


@pytest.mark.parametrize(
    ("ciphertext", "match"),
    [
        ("nonsense", "no prefix"),
        ("vault:v9:AAAA", "too new"),
        ("vault:v1:?", "decode base64"),
        ("vault:vx:AAAA", "could not be decoded"),
        ("vault:v1", "number of fields"),
        ("vault:v1:" + base64.b64encode(bytes(60)).decode(), "message authentication failed"),
    ],
)
def test_bad_ciphertexts_are_refused_in_vaults_words(client, ciphertext, match):
    with pytest.raises(exceptions.InvalidRequest, match=match):
        client.secrets.transit.decrypt_data("wrapping", ciphertext)


def test_a_bad_ciphertext_of_an_rsa_key_is_a_500(vault, client):
    vault.root.key(kind=RSA)

    with pytest.raises(exceptions.InternalServerError, match="decryption error"):
        client.secrets.transit.decrypt_data("wrapping", "vault:v1:" + base64.b64encode(bytes(256)).decode())


@pytest.mark.parametrize("secret_id", ["wrong", ""])
def test_bad_credentials_are_refused_in_vaults_words(vault, client, secret_id):
    role = vault.root.app_role()

    with pytest.raises(exceptions.InvalidRequest, match=r"invalid role or secret ID|missing secret_id"):
        client.auth.approle.login(role.role_id, secret_id)


def test_a_token_ends_with_its_last_use(vault, client):
    role = vault.root.app_role()
    role.token_num_uses = 1
    client.auth.approle.login(role.role_id, role.secret_id())

    client.secrets.transit.encrypt_data("wrapping", TEXT)
    with pytest.raises(exceptions.Forbidden):
        client.secrets.transit.encrypt_data("wrapping", TEXT)


def test_hvac_signs_in_with_a_service_account(vault, client):
    vault.root.platform_role()
    client.auth.kubernetes.login("proxy", vault.platform_token())

    assert client.secrets.transit.encrypt_data("wrapping", TEXT)["data"]["key_version"] == 1
    with pytest.raises(exceptions.Forbidden):
        client.auth.kubernetes.login("proxy", vault.platform_token("system:serviceaccount:other:other"))


def test_what_we_wrap_hvac_unwraps_and_the_other_way_round(vault, client):
    config = {
        "type": "VAULT",
        "version": 1,
        "credentials": {"token": client.token},
        "keyPath": {"address": f"https://{HOST}", "keyName": "wrapping", "associatedData": "bound"},
    }
    key, bound = ours(config), base64.b64encode(b"bound").decode()
    blob = answered(vault, key.wrap(DEK))
    theirs = client.secrets.transit.encrypt_data("wrapping", TEXT, associated_data=bound)["data"]["ciphertext"]

    decrypted = client.secrets.transit.decrypt_data("wrapping", blob.decode(), associated_data=bound)
    assert decrypted["data"]["plaintext"] == TEXT
    assert answered(vault, key.unwrap(theirs.encode())) == DEK
