import base64
import json

import msgspec
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kms.stage import DEK, Stage, bearer, reply

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.kms.thales.blob import Blob, read_blob, write_blob
from tenant_security.kms.thales.errors import MEANINGS, MEANINGS_BY_PHASE, STATUSES, WORDS, classify, fault
from tenant_security.outbound.flow import Response

KEY_ID = "ab" * 32
CREDENTIALS = {"username": "proxy", "password": "Pass-word-1!"}
KEY_PATH = {"keyId": KEY_ID, "serviceUrl": "https://ciphertrust.acme.example"}
CIPHERTEXT, IV, TAG = bytes(32), bytes(12), bytes(16)
BLOB = write_blob(Blob(CIPHERTEXT, IV, TAG, 3))


CONFIG = {"type": "THALES", "version": 1, "credentials": CREDENTIALS, "keyPath": KEY_PATH}


@pytest.fixture
def stage():
    return Stage(CONFIG)


def base64_of(value: bytes) -> str:
    return base64.b64encode(value).decode()


def encrypted(**changes: object) -> Response:
    parts = {"ciphertext": base64_of(CIPHERTEXT), "iv": base64_of(IV), "tag": base64_of(TAG)}
    return reply(parts | {"id": KEY_ID, "version": 3, "mode": "gcm"} | changes)


def granted(jwt: str = "eyJ.token", duration: float = 300) -> Response:
    return reply({"jwt": jwt, "duration": duration, "token_type": "Bearer", "refresh_token": "r"})


UNAUTHORIZED = reply({"code": 5, "codeDesc": "NCERRUnauthorizedAccess: x", "message": "Token has been revoked"}, 401)


def test_wrap_signs_in_and_asks_to_encrypt(stage):
    stage.answers = [granted(), encrypted()]

    assert read_blob(stage.run(stage.key().wrap(DEK))) == Blob(CIPHERTEXT, IV, TAG, 3)

    login, call = stage.requests
    assert (login.method, login.url) == ("POST", "https://ciphertrust.acme.example/api/v1/auth/tokens/")
    assert json.loads(login.body) == {
        "grant_type": "password",
        "username": "proxy",
        "password": "Pass-word-1!",
        "connection": "local_account",
        "auth_domain": "root",
    }
    assert (call.method, call.url) == ("POST", "https://ciphertrust.acme.example/api/v1/crypto/encrypt")
    assert json.loads(call.body) == {"id": KEY_ID, "mode": "gcm", "plaintext": base64_of(DEK)}
    for request in (login, call):
        assert dict(request.headers)["Accept"] == "application/json"
        assert not request.of_operator
    assert bearer(call) == "eyJ.token"
    assert [kept.fresh_s for kept in stage.kept.values()] == [240]


def test_unwrap_sends_the_parts_of_the_blob_and_the_configured_key(stage):
    stage.answers = [granted(), reply({"plaintext": base64_of(DEK)})]

    assert stage.run(stage.key().unwrap(BLOB)) == DEK

    assert json.loads(stage.requests[1].body) == {
        "id": KEY_ID,
        "mode": "gcm",
        "ciphertext": base64_of(CIPHERTEXT),
        "iv": base64_of(IV),
        "tag": base64_of(TAG),
        "version": 3,
    }


def test_where_the_user_and_the_key_live_is_said(stage):
    stage.answers = [granted(), encrypted()]
    where = {"authDomain": "acme", "connection": "ldap", "domain": "keys"}
    stage.run(stage.key(credentials=CREDENTIALS | where).wrap(DEK))

    said = json.loads(stage.requests[0].body)
    assert (said["auth_domain"], said["connection"], said["domain"]) == ("acme", "ldap", "keys")


def test_a_refused_token_is_replaced_once_and_never_twice(stage):
    stage.answers = [granted("one"), UNAUTHORIZED, granted("two"), UNAUTHORIZED]

    stage.refused(stage.key().wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)

    assert [bearer(each) for each in stage.requests if "crypto" in each.url] == ["one", "two"]


def test_a_private_authority_alone_vouches_for_every_request(stage):
    pem = trustme.CA().cert_pem.bytes().decode()
    stage.answers = [granted(), encrypted()]
    stage.run(stage.key(caCertificate="a note\n" + pem).wrap(DEK))

    for request in stage.requests:
        assert request.authorities.decode().strip() == pem.strip()


def test_a_key_that_is_named_may_answer_with_its_id(stage):
    stage.answers = [granted(), encrypted(id="cd" * 32)]
    stage.run(stage.key(keyPath=KEY_PATH | {"keyId": "wrapping"}).wrap(DEK))

    stage.answers = [encrypted(id="cd" * 32)]
    assert "another key" in stage.refused(stage.key().wrap(DEK), Code.KMS_WRAP_FAILED).message


@pytest.mark.parametrize("spelling", ["keyId", "keyID"])
def test_both_spellings_name_the_key(stage, spelling):
    stage.answers = [granted(), encrypted()]
    path = {spelling: KEY_ID, "serviceUrl": KEY_PATH["serviceUrl"]}
    stage.run(stage.key(keyPath=path).wrap(DEK))

    assert json.loads(stage.requests[1].body)["id"] == KEY_ID


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"keyPath": KEY_PATH | {"serviceUrl": "http://ciphertrust.acme.example"}}, "https"),
        ({"keyPath": KEY_PATH | {"serviceUrl": "https://ciphertrust.acme.example/other"}}, "serviceUrl"),
        ({"keyPath": KEY_PATH | {"serviceUrl": "https://a@b"}}, "serviceUrl"),
        ({"keyPath": KEY_PATH | {"keyId": "a b"}}, "keyId"),
        ({"keyPath": KEY_PATH | {"keyId": ""}}, "keyId"),
        ({"keyPath": KEY_PATH | {"keyID": "x"}}, "keyID"),
        ({"keyPath": {"serviceUrl": KEY_PATH["serviceUrl"]}}, "keyId"),
        ({"credentials": {"username": "proxy"}}, "password"),
        ({"credentials": CREDENTIALS | {"password": "a\nb"}}, "password"),
        ({"credentials": CREDENTIALS | {"username": "a\nb"}}, "username"),
        ({"credentials": CREDENTIALS | {"authDomain": ""}}, "authDomain"),
        ({"credentials": CREDENTIALS | {"workloadIdentity": True}}, "workloadIdentity"),
        ({"caCertificate": "none"}, "caCertificate"),
        ({"caCertificate": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "caCertificate"),
        ({"caCertificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"}, "caCertificate"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_by_the_members_name(stage, changes, word):
    with pytest.raises(TenantSecurityError) as caught:
        stage.key(**changes)

    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert word in caught.value.message
    assert "Pass-word-1!" not in caught.value.message


def test_nothing_prints_the_password(stage):
    key = stage.key()

    for thing in (key, key._user):
        assert "Pass-word" not in repr(thing)


# -- the tables --------------------------------------------------------------------------------------------------------

PROMISED = {
    206: "NCERRUnauthorizedAccess NCERRUnauthorized",
    207: "NCERRForbidden NCERRResourceNotFound NCERRInvalidParamValue NCERRBadRequest",
    208: "NCERRInternalServerError NCERRServiceUnavailable",
    209: "NCERRTooManyRequests",
}


@pytest.mark.parametrize("code", PROMISED)
def test_every_code_means_what_is_promised(code):
    for name in PROMISED[code].split():
        assert classify(Phase.UNWRAP, 400, name, "")[1].code == code, name


def test_at_a_login_everything_but_a_fault_of_the_service_is_about_who_we_are():
    for (phase, name), meaning in MEANINGS_BY_PHASE.items():
        if phase is Phase.TOKEN:
            assert meaning.code is Code.KMS_AUTHORIZATION_FAILED, name
    assert classify(Phase.TOKEN, 403, "", "")[1].code is Code.KMS_AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    ("phase", "status", "code"),
    [
        (Phase.WRAP, 400, Code.KMS_WRAP_FAILED),
        (Phase.UNWRAP, 409, Code.KMS_UNWRAP_FAILED),
        (Phase.TOKEN, 400, Code.KMS_AUTHORIZATION_FAILED),
        (Phase.WRAP, 429, Code.KMS_THROTTLED),
        (Phase.UNWRAP, 503, Code.KMS_UNREACHABLE),
    ],
)
def test_a_code_that_is_not_listed_is_judged_by_its_status_and_counted(phase, status, code):
    _, meaning, listed = classify(phase, status, "NCERRBrandNew", "")

    assert (meaning.code, listed) == (code, False)


def test_words_decide_nothing_where_the_service_itself_failed():
    assert classify(Phase.WRAP, 503, "", "The license has expired")[1].code is Code.KMS_UNREACHABLE


def test_every_message_is_a_sentence():
    meanings = [*MEANINGS.values(), *MEANINGS_BY_PHASE.values(), *STATUSES.values(), *(each.meaning for each in WORDS)]
    for meaning in meanings:
        assert meaning.words[-1] not in ".; "


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.dictionaries(st.sampled_from(["code", "codeDesc", "message", "requestID"]), inner),
    max_leaves=8,
)


@given(st.binary(max_size=300) | json_values, st.integers(300, 599))
def test_no_answer_whatever_crashes_the_reader(body, status):
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    for phase in Phase:
        made = fault(phase, Response(status, {}, encoded))
        assert isinstance(made, KmsFaultError)
        assert 204 <= made.code <= 210
        assert made.message.endswith(".")
