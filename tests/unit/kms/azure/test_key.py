import base64
import json
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from tests.unit.kms.stage import DEK, Stage, bearer, reply

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.azure.blob import Blob, read_blob, write_blob
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Reason, Request, UnreachableError
from tenant_security.wire.kms.azure import AzureAlgorithm

GUID = "5C35DB15-ffcd-4aaa-b985-082e8181a3e4"
APP = "8181a3e4-082e-4aaa-b985-5c35db15ffcd"
VERSION = "0123456789abcdef0123456789abcdef"
URL = "https://acme.vault.azure.net/keys/wrapping"
CREDENTIALS = {"clientId": APP, "clientSecret": "Abc8Q~secret", "tenantGuid": GUID}
KEY_PATH = {"vaultBaseUrl": "https://acme.vault.azure.net", "keyName": "wrapping"}
WRAPPED = bytes(range(256))


CONFIG = {"type": "AZURE", "version": 1, "credentials": CREDENTIALS, "keyPath": KEY_PATH}


@pytest.fixture
def stage():
    return Stage(CONFIG)


def base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def done(value: bytes = WRAPPED, version: str = VERSION, url: str = URL):
    return reply({"kid": f"{url}/{version}", "value": base64url(value)})


def granted(token: str = "eyJ.token", **more: object):
    return reply({"token_type": "Bearer", "expires_in": 3599, "access_token": token} | more)


def form(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode(), strict_parsing=True).items()}


UNAUTHORIZED = reply({"error": {"code": "Unauthorized", "message": "their words"}}, 401)

# -- the calls ---------------------------------------------------------------------------------------------------------


def test_wrap_signs_in_and_asks_for_the_current_version(stage):
    stage.answers = [granted(), done()]

    blob = stage.run(stage.key().wrap(DEK))

    assert read_blob(blob) == Blob(WRAPPED, VERSION, AzureAlgorithm.RSA_OAEP_256)
    token, call = stage.requests
    assert (token.method, token.url) == ("POST", f"https://login.microsoftonline.com/{GUID.lower()}/oauth2/v2.0/token")
    assert form(token) == {
        "client_id": APP,
        "client_secret": "Abc8Q~secret",
        "grant_type": "client_credentials",
        "scope": "https://vault.azure.net/.default",
    }
    assert (call.method, call.url) == ("POST", f"{URL}/wrapkey?api-version=7.4")
    assert json.loads(call.body) == {"alg": "RSA-OAEP-256", "value": base64url(DEK)}
    assert bearer(call) == "eyJ.token"
    assert [kept.fresh_s for kept in stage.kept.values()] == [3299]


def test_unwrap_asks_for_the_version_and_algorithm_of_the_blob(stage):
    stage.answers = [granted(), done(DEK, "old")]
    blob = write_blob(WRAPPED, "old", AzureAlgorithm.RSA_OAEP)

    assert stage.run(stage.key().unwrap(blob)) == DEK

    call = stage.requests[1]
    assert call.url == f"{URL}/old/unwrapkey?api-version=7.4"
    assert json.loads(call.body) == {"alg": "RSA-OAEP", "value": base64url(WRAPPED)}


@pytest.mark.parametrize(
    ("address", "login", "scope"),
    [
        ("https://ACME.vault.azure.net:443/", "login.microsoftonline.com", "https://vault.azure.net"),
        ("https://acme.managedhsm.azure.net", "login.microsoftonline.com", "https://managedhsm.azure.net"),
        ("https://acme.vault.azure.cn", "login.partner.microsoftonline.cn", "https://vault.azure.cn"),
        ("https://acme.vault.usgovcloudapi.net", "login.microsoftonline.us", "https://vault.usgovcloudapi.net"),
    ],
)
def test_the_address_decides_the_cloud(stage, address, login, scope):
    stage.answers = [granted(), UnreachableError(Reason.RESET)]
    with pytest.raises(UnreachableError):
        stage.run(stage.key(keyPath=KEY_PATH | {"vaultBaseUrl": address}).wrap(DEK))

    assert stage.requests[0].url.startswith(f"https://{login}/")
    assert form(stage.requests[0])["scope"] == f"{scope}/.default"


def test_a_refused_token_is_replaced_once_and_never_twice(stage):
    stage.answers = [granted("one"), UNAUTHORIZED, granted("two"), UNAUTHORIZED]

    fault = stage.refused(stage.key().wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)

    assert [bearer(each) for each in stage.requests if "keys" in each.url] == ["one", "two"]
    assert not fault.once_more


@pytest.mark.parametrize("word", ["AKV10032: Invalid issuer.", "AKV10022: Invalid audience."])
def test_a_token_for_elsewhere_is_not_replaced(stage, word):
    stage.answers = [granted(), reply({"error": {"code": "Unauthorized", "message": word}}, 401)]

    stage.refused(stage.key().wrap(DEK), Code.KMS_CONFIGURATION_INVALID)

    assert stage.answers == []


def test_the_challenge_tells_whose_vault_it_is(stage):
    challenge = 'Bearer authorization="https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000"'
    stage.answers = [granted(), reply({"error": {"code": "Unauthorized"}}, 401, www_authenticate=challenge)]

    assert "another directory" in stage.refused(stage.key().wrap(DEK), Code.KMS_CONFIGURATION_INVALID).message


def test_a_name_that_is_not_known_may_be_a_deleted_vault(stage):
    stage.answers = [granted(), UnreachableError(Reason.NAME)]

    fault = stage.refused(stage.key().wrap(DEK), Code.KMS_UNREACHABLE)

    assert fault.once_more
    assert "deleted" in fault.message


def test_permissions_choose_the_verbs(stage):
    stage.answers = [granted(), done(), done(DEK)]
    key = stage.key(permissions="encrypt")
    stage.run(key.unwrap(stage.run(key.wrap(DEK))))

    assert [each.url.rsplit("/", 1)[1] for each in stage.requests[1:]] == [
        "encrypt?api-version=7.4",
        "decrypt?api-version=7.4",
    ]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (done(url="https://acme.vault.azure.net:443/keys/wrapping"), None),
        (done(url="https://ACME.vault.azure.net/keys/Wrapping"), None),
        (done(url="https://acme.vault.azure.net.evil.example/keys/wrapping"), Code.KMS_WRAP_FAILED),
        (done(url=URL + "2"), Code.KMS_WRAP_FAILED),
        (done(version="../x"), Code.KMS_WRAP_FAILED),
        (done(b"short"), Code.KMS_WRAP_FAILED),
        (reply({"kid": URL}), Code.KMS_WRAP_FAILED),
        (reply(b"\xff"), Code.KMS_WRAP_FAILED),
    ],
)
def test_what_an_answer_says_of_its_key_is_checked(stage, answer, code):
    stage.answers = [granted(), answer]

    if code is None:
        stage.run(stage.key().wrap(DEK))
    else:
        stage.refused(stage.key().wrap(DEK), code)


# -- the proxy's own identity ------------------------------------------------------------------------------------------


def test_a_workload_identity_shows_the_platforms_token(stage):
    stage.vendor_owned = True
    stage.environ = {
        "AZURE_FEDERATED_TOKEN_FILE": "/var/run/token",
        "AZURE_CLIENT_ID": APP,
        "AZURE_TENANT_ID": GUID,
        "AZURE_AUTHORITY_HOST": "https://login.example/",
    }
    stage.files = {Path("/var/run/token"): b"eyJ.platform\n"}
    stage.answers = [granted(), done()]
    stage.run(stage.key(credentials={"workloadIdentity": True}).wrap(DEK))

    token = stage.requests[0]
    assert token.url == f"https://login.example/{GUID.lower()}/oauth2/v2.0/token"
    assert token.of_operator
    assert form(token)["client_assertion"] == "eyJ.platform"
    assert "client_secret" not in form(token)


@pytest.mark.parametrize(
    ("environ", "word"),
    [
        ({}, "AZURE_FEDERATED_TOKEN_FILE"),
        ({"AZURE_FEDERATED_TOKEN_FILE": "/t", "AZURE_TENANT_ID": GUID}, "AZURE_CLIENT_ID"),
        ({"AZURE_FEDERATED_TOKEN_FILE": "/t", "AZURE_CLIENT_ID": APP}, "AZURE_TENANT_ID"),
        (
            {
                "AZURE_FEDERATED_TOKEN_FILE": "/t",
                "AZURE_CLIENT_ID": APP,
                "AZURE_TENANT_ID": GUID,
                "AZURE_AUTHORITY_HOST": "http://login.example",
            },
            "AZURE_AUTHORITY_HOST",
        ),
    ],
)
def test_what_the_platform_did_not_say_is_named(stage, environ, word):
    stage.vendor_owned, stage.environ = True, environ

    with pytest.raises(KmsFaultError, match=word):
        stage.key(credentials={"workloadIdentity": True})


def test_a_tenants_config_never_gets_our_identity(stage):
    with pytest.raises(KmsFaultError, match="vendor's own"):
        stage.key(credentials={"workloadIdentity": True})


# -- the configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "http://acme.vault.azure.net", "https://acme.vault.azure.net.evil.example", "https://vault.azure.net",
        "https://a.vault.azure.net", "https://acme.vault.azure.net:8443", "https://user@acme.vault.azure.net",
        "https://acme.vault.azure.net/keys", "https://acme.vault.azure.net?x", "https://acme.vault.azure.net#x",
        "https://-acme.vault.azure.net", "https://ac--me.vault.azure.net", "https://acme.evil.vault.azure.net",
        "https://127.0.0.1", "acme.vault.azure.net", "https://acme.vault.azure.net\n", "https://\u00e4cme.vault.azure.net",
    ],
)  # fmt: skip
def test_what_is_no_vault_of_azures_is_never_called(stage, address):
    with pytest.raises(KmsFaultError, match="vaultBaseUrl"):
        stage.key(keyPath=KEY_PATH | {"vaultBaseUrl": address})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"keyPath": KEY_PATH | {"keyName": "wrapping/1"}}, "keyName"),
        ({"keyPath": KEY_PATH | {"keyName": "a b"}}, "keyName"),
        ({"keyPath": KEY_PATH | {"keyName": "k" * 128}}, "keyName"),
        ({"keyPath": {"vaultBaseUrl": "https://acme.vault.azure.net"}}, "keyName"),
        ({"keyPath": KEY_PATH | {"keyVersion": "1"}}, "keyVersion"),
        ({"credentials": CREDENTIALS | {"clientId": "app"}}, "clientId"),
        ({"credentials": CREDENTIALS | {"tenantGuid": "acme.onmicrosoft.com"}}, "tenantGuid"),
        ({"credentials": CREDENTIALS | {"clientSecret": "secret\n"}}, "clientSecret"),
        ({"credentials": CREDENTIALS | {"clientSecret": ""}}, "clientSecret"),
        ({"credentials": {"clientId": APP}}, "all three"),
        ({"credentials": CREDENTIALS | {"workloadIdentity": True}}, "one of the two"),
        ({"algorithm": "RSA1_5"}, "algorithm"),
        ({"algorithm": "A256KW"}, "Managed HSM"),
        ({"algorithm": "A256KW", "permissions": "encrypt", "keyPath": KEY_PATH | {
            "vaultBaseUrl": "https://acme.managedhsm.azure.net"}}, "wrapKey"),
        ({"permissions": "sign"}, "permissions"),
        ({"legacyKeyVersion": "../x"}, "legacyKeyVersion"),
        ({"version": "1"}, "version"),
        ({"endpoint": "https://evil.example"}, "endpoint"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_work_is_refused_by_the_members_name(stage, changes, word):
    with pytest.raises(TenantSecurityError) as caught:
        stage.key(**changes)

    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert word in caught.value.message
    assert "Abc8Q~secret" not in caught.value.message


def test_nothing_prints_the_secret(stage):
    key = stage.key()

    for thing in (key, key._way):
        assert "Abc8Q~" not in repr(thing)
