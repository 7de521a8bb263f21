import base64
import json
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.kms.stage import DEK, Stage, reply

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.kms.vault.errors import STATUSES, TEXTS, TOKEN_STATUSES, classify, fault, read_texts
from tenant_security.outbound.flow import Request, Response

ROLE = {"roleId": "role-1", "secretId": "secret-1"}
KEY_PATH = {"address": "https://vault.acme.example:8200", "keyName": "wrapping"}
BLOB = b"vault:v3:AAAA"


CONFIG = {"type": "VAULT", "version": 1, "credentials": ROLE, "keyPath": KEY_PATH}


@pytest.fixture
def stage():
    return Stage(CONFIG)


def granted(token: str = "hvs.one", lease: int = 3600, uses: int = 0) -> Response:
    return reply({"auth": {"client_token": token, "lease_duration": lease, "num_uses": uses, "renewable": True}})


def encrypted(blob: bytes = BLOB) -> Response:
    return reply({"data": {"ciphertext": blob.decode(), "key_version": 3}})


DECRYPTED = reply({"data": {"plaintext": base64.b64encode(DEK).decode()}})
FORBIDDEN = reply({"errors": ["1 error occurred:\n\t* permission denied\n\n"]}, 403)
GOOD_TOKEN = reply({"data": {"ttl": 100}})


def paths(stage) -> list[str]:
    return [request.url.removeprefix("https://vault.acme.example:8200/v1/") for request in stage.requests]


def token_of(request: Request) -> str | None:
    return dict(request.headers).get("X-Vault-Token")


# -- the calls ---------------------------------------------------------------------------------------------------------


def test_wrap_signs_in_and_asks_to_encrypt(stage):
    stage.answers = [granted(), encrypted()]

    assert stage.run(stage.key().wrap(DEK)) == BLOB

    login, call = stage.requests
    assert paths(stage) == ["auth/approle/login", "transit/encrypt/wrapping"]
    assert json.loads(login.body) == {"role_id": "role-1", "secret_id": "secret-1"}
    assert token_of(login) is None
    assert json.loads(call.body) == {"plaintext": base64.b64encode(DEK).decode()}
    assert token_of(call) == "hvs.one"
    assert "X-Vault-Namespace" not in dict(call.headers)
    assert [kept.fresh_s for kept in stage.kept.values()] == [2880]


def test_unwrap_asks_to_decrypt_the_blob_as_it_stands(stage):
    stage.answers = [granted(), DECRYPTED]

    assert stage.run(stage.key().unwrap(BLOB)) == DEK

    assert paths(stage)[1] == "transit/decrypt/wrapping"
    assert json.loads(stage.requests[1].body) == {"ciphertext": "vault:v3:AAAA"}


def test_mounts_namespace_context_and_bound_data_are_sent(stage):
    stage.answers = [granted(), encrypted()]
    path = KEY_PATH | {"mount": "teams/a/transit", "context": "acme", "associatedData": "bound"}
    stage.run(stage.key(credentials=ROLE | {"authMount": "teams/r", "namespace": "ns/a"}, keyPath=path).wrap(DEK))

    assert paths(stage) == ["auth/teams/r/login", "teams/a/transit/encrypt/wrapping"]
    body = json.loads(stage.requests[1].body)
    assert (base64.b64decode(body["context"]), base64.b64decode(body["associated_data"])) == (b"acme", b"bound")
    assert all(dict(request.headers)["X-Vault-Namespace"] == "ns/a" for request in stage.requests)


def test_a_private_authority_alone_vouches_for_every_request(stage):
    pem = trustme.CA().cert_pem.bytes().decode()
    stage.answers = [granted(), encrypted()]
    stage.run(stage.key(caCertificate=pem).wrap(DEK))

    assert all(request.authorities.decode().strip() == pem.strip() for request in stage.requests)


# -- what a 403 means --------------------------------------------------------------------------------------------------


def test_a_refusal_of_a_new_token_that_is_good_is_the_policys(stage):
    stage.answers = [granted(), FORBIDDEN, GOOD_TOKEN]

    stage.refused(stage.key().wrap(DEK), Code.KMS_CONFIGURATION_INVALID)

    assert paths(stage) == ["auth/approle/login", "transit/encrypt/wrapping", "auth/token/lookup-self"]


def test_a_refusal_of_an_older_token_is_tried_with_a_new_one_at_once(stage):
    stage.answers = [granted("one"), encrypted()]
    stage.run(stage.key().wrap(DEK))
    stage.now += timedelta(seconds=31)
    stage.answers = [FORBIDDEN, granted("two"), encrypted()]

    assert stage.run(stage.key().wrap(DEK)) == BLOB

    assert [token_of(request) for request in stage.requests[2:]] == ["one", None, "two"]


def test_a_token_that_is_refused_by_itself_too_is_replaced_once_and_never_twice(stage):
    stage.answers = [granted("one"), FORBIDDEN, FORBIDDEN, granted("two"), FORBIDDEN, FORBIDDEN]

    fault_made = stage.refused(stage.key().wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)

    assert fault_made.provider_code == "TokenEnded"
    assert stage.answers == []
    assert stage.kept == {}


def test_a_static_token_that_ended_cannot_be_replaced(stage):
    stage.answers = [FORBIDDEN, FORBIDDEN]

    stage.refused(stage.key(credentials={"token": "hvs.static"}).wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)

    assert [token_of(request) for request in stage.requests] == ["hvs.static"] * 2


def test_a_token_with_its_last_use_gone_is_not_asked_about_itself(stage):
    stage.answers = [granted(uses=1), FORBIDDEN]

    stage.refused(stage.key().wrap(DEK), Code.KMS_CONFIGURATION_INVALID)


def test_uses_are_counted(stage):
    stage.answers = [granted("one", uses=2), encrypted(), encrypted(), granted("two", uses=2), encrypted()]
    for _ in range(3):
        stage.run(stage.key().wrap(DEK))

    assert [token_of(request) for request in stage.requests] == [None, "one", "one", None, "two"]


@pytest.mark.parametrize(("lease", "fresh_s"), [(600, 480), (0, 69_120), (10**9, 69_120)])
def test_a_token_is_used_for_four_fifths_of_its_lease_and_a_day_at_most(stage, lease, fresh_s):
    stage.answers = [granted(lease=lease), encrypted()]
    stage.run(stage.key().wrap(DEK))

    assert [kept.fresh_s for kept in stage.kept.values()] == [fresh_s]


# -- the proxy's own service account -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        ({}, "/var/run/secrets/kubernetes.io/serviceaccount/token"),
        ({"VAULT_SERVICE_ACCOUNT_TOKEN_FILE": "/var/run/vault"}, "/var/run/vault"),
    ],
)
def test_the_pods_token_signs_in(stage, environ, path):
    stage.vendor_owned, stage.environ, stage.files = True, environ, {Path(path): b"eyJ.pod\n"}
    stage.answers = [granted(), encrypted()]
    stage.run(stage.key(credentials={"workloadIdentity": True, "role": "proxy"}).wrap(DEK))

    assert paths(stage)[0] == "auth/kubernetes/login"
    assert json.loads(stage.requests[0].body) == {"role": "proxy", "jwt": "eyJ.pod"}


def test_a_tenants_config_never_gets_our_identity(stage):
    with pytest.raises(KmsFaultError, match="vendor's own"):
        stage.key(credentials={"workloadIdentity": True, "role": "proxy"})


# -- the configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"keyPath": KEY_PATH | {"address": "http://vault.acme.example"}}, "https"),
        ({"keyPath": KEY_PATH | {"address": "https://vault.acme.example/v1"}}, "address"),
        ({"keyPath": KEY_PATH | {"keyName": "a/b"}}, "keyName"),
        ({"keyPath": KEY_PATH | {"keyName": ".."}}, "keyName"),
        ({"keyPath": KEY_PATH | {"mount": "/transit"}}, "mount"),
        ({"keyPath": KEY_PATH | {"mount": "a/../b"}}, "mount"),
        ({"keyPath": KEY_PATH | {"mount": "transit?x"}}, "mount"),
        ({"keyPath": KEY_PATH | {"context": ""}}, "context"),
        ({"credentials": {}}, "one of three"),
        ({"credentials": ROLE | {"token": "hvs.x"}}, "one of three"),
        ({"credentials": {"roleId": "r"}}, "both"),
        ({"credentials": {"workloadIdentity": True}}, "both"),
        ({"credentials": {"token": "hvs.x", "authMount": "approle"}}, "authMount"),
        ({"credentials": {"token": "two words"}}, "token"),
        ({"credentials": ROLE | {"secretId": "a\nb"}}, "secretId"),
        ({"credentials": ROLE | {"namespace": "a\nb"}}, "namespace"),
        ({"credentials": ROLE | {"namespace": "a/"}}, "namespace"),
        ({"caCertificate": ""}, "caCertificate"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_by_the_members_name(stage, changes, word):
    with pytest.raises(TenantSecurityError) as caught:
        stage.key(**changes)

    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert word in caught.value.message
    assert "secret-1" not in caught.value.message


def test_nothing_prints_the_secret(stage):
    for key in (stage.key(), stage.key(credentials={"token": "hvs.static"})):
        for thing in (key, key._way, key._static):
            assert "secret-1" not in repr(thing)
            assert "hvs.static" not in repr(thing)


# -- the tables --------------------------------------------------------------------------------------------------------

# What the real servers say, word for word where their sources have it, and what we make of it.
SAID = [
    (Phase.TOKEN, 400, "invalid role or secret ID", 206),
    (Phase.TOKEN, 400, "missing secret_id", 206),
    (Phase.TOKEN, 400, 'invalid role name "proxy"', 206),
    (Phase.TOKEN, 400, 'role "proxy" could not be found', 206),
    (Phase.TOKEN, 403, "service account name not authorized", 206),
    (Phase.TOKEN, 403, "namespace not authorized", 206),
    (Phase.TOKEN, 403, "permission denied", 206),
    (Phase.TOKEN, 404, 'no handler for route "auth/x/login"', 207),
    (Phase.WRAP, 403, "permission denied", 207),
    (Phase.WRAP, 404, 'no handler for route "x/encrypt/y". route entry not found.', 207),
    (Phase.UNWRAP, 400, "encryption key not found", 207),
    (Phase.WRAP, 400, "refusing to use soft-deleted key", 207),
    (Phase.UNWRAP, 400, "no such key version", 207),
    (Phase.WRAP, 400, "message encryption not supported for key type ed25519", 207),
    (Phase.WRAP, 400, "missing 'context' for key derivation; the key was created using a derived key", 207),
    (Phase.WRAP, 400, "'[0].associated_data' provided for non-AEAD cipher suite rsa-2048", 207),
    (Phase.UNWRAP, 400, "invalid ciphertext: no prefix", 205),
    (Phase.UNWRAP, 400, "invalid ciphertext: version is too new", 205),
    (Phase.UNWRAP, 400, "cipher: message authentication failed", 205),
    (Phase.UNWRAP, 400, "ciphertext or signature version is disallowed by policy (too old)", 205),
    (Phase.UNWRAP, 500, "failed to RSA decrypt the ciphertext: crypto/rsa: decryption error", 205),
    (Phase.WRAP, 503, "Vault is sealed", 208),
    (Phase.WRAP, 503, "local node not active but active cluster node not found", 208),
    (Phase.WRAP, 500, "internal error", 208),
    (Phase.WRAP, 429, 'request path "transit/encrypt/x": rate limit quota exceeded', 209),
    (Phase.TOKEN, 429, 'request path "auth/approle/login": rate limit quota exceeded', 209),
]


@pytest.mark.parametrize(("phase", "status", "text", "code"), SAID)
@pytest.mark.parametrize("wrapped", [False, True])
def test_every_text_means_what_is_promised(phase, status, text, code, wrapped):
    body = {"errors": [f"1 error occurred:\n\t* {text}\n\n" if wrapped else text]}

    assert fault(phase, reply(body, status)).code == code


@pytest.mark.parametrize(
    ("phase", "status", "code"),
    [
        (Phase.WRAP, 400, Code.KMS_WRAP_FAILED),
        (Phase.UNWRAP, 418, Code.KMS_UNWRAP_FAILED),
        (Phase.WRAP, 599, Code.KMS_UNREACHABLE),
    ],
)
def test_a_text_that_is_not_listed_is_judged_by_its_status_and_counted(phase, status, code):
    _, meaning, listed = classify(phase, status, ["brand new"])

    assert (meaning.code, listed) == (code, False)


def test_every_message_is_a_sentence():
    for meaning in [*STATUSES.values(), *TOKEN_STATUSES.values(), *(text.meaning for text in TEXTS)]:
        assert meaning.words[-1] not in ".; "


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["errors", "data"]), inner),
    max_leaves=8,
)


@given(st.binary(max_size=300) | json_values, st.integers(300, 599))
def test_no_answer_whatever_crashes_the_reader(body, status):
    response = Response(status, {}, body if isinstance(body, bytes) else msgspec.json.encode(body))
    assert all(isinstance(line, str) for line in read_texts(response))
    for phase in Phase:
        made = fault(phase, response)
        assert 204 <= made.code <= 210
        assert made.message.endswith(".")
