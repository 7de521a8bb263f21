import json
from datetime import timedelta
from urllib.parse import parse_qs

import jwt
import msgspec
import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.gcp.crc32c import crc32c
from tenant_security.kms.gcp.endpoints import is_version_of
from tenant_security.kms.gcp.key import MAX_BLOB_BYTES
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Reason, UnreachableError
from tenant_security.outbound.google_token import EARLY_S

from .conftest import (
    ACCOUNT,
    DEK,
    KEY_PATH,
    NAME,
    UNAUTHENTICATED,
    bearer,
    decrypted,
    encrypted,
    granted,
    refusal,
    reply,
)

URL = f"https://cloudkms.googleapis.com/v1/{NAME}"


def refused(stage, flow, code: Code) -> KmsFaultError:
    with pytest.raises(KmsFaultError) as caught:
        stage.run(flow)
    assert caught.value.code is code
    for word in ("acme-keys", "tenants", "wrapping", "ya29", "PRIVATE KEY"):
        assert word not in caught.value.message
    return caught.value


def claims(token: str) -> dict[str, object]:
    return jwt.decode(
        token,
        ACCOUNT.keys[0],
        algorithms=["RS256"],
        options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
    )


# -- the calls ---------------------------------------------------------------------------------------------------------


def test_wrap_asks_google_to_encrypt_our_key(stage):
    stage.answers = [encrypted()]

    assert stage.run(stage.key().wrap(DEK)) == b"blob"

    request = stage.requests[0]
    assert (request.method, request.url) == ("POST", f"{URL}:encrypt")
    assert dict(request.headers)["Content-Type"] == "application/json"
    assert json.loads(request.body) == {
        "plaintext": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "plaintextCrc32c": str(0x46DD794E),
    }
    assert not request.of_operator


def test_unwrap_asks_google_to_decrypt_the_blob(stage):
    stage.answers = [decrypted()]

    assert stage.run(stage.key().unwrap(b"blob")) == DEK

    request = stage.requests[0]
    assert (request.method, request.url) == ("POST", f"{URL}:decrypt")
    assert json.loads(request.body) == {"ciphertext": "YmxvYg==", "ciphertextCrc32c": str(crc32c(b"blob"))}


def test_numbers_may_come_as_numbers_or_as_texts(stage):
    stage.answers = [encrypted(ciphertextCrc32c=crc32c(b"blob"))]

    assert stage.run(stage.key().wrap(DEK)) == b"blob"


@pytest.mark.parametrize("blob", [b"", b"x" * (MAX_BLOB_BYTES + 1)])
def test_what_google_never_made_is_not_sent_to_it(stage, blob):
    refused(stage, stage.key().unwrap(blob), Code.KMS_UNWRAP_FAILED)

    assert stage.requests == []


def test_no_answer_is_left_to_the_caller(stage):
    stage.answers = [UnreachableError(Reason.RESET)]

    with pytest.raises(UnreachableError):
        stage.run(stage.key().wrap(DEK))


# -- the token ---------------------------------------------------------------------------------------------------------


def test_the_token_is_signed_by_ourselves_for_cloud_kms_and_an_hour(stage):
    stage.answers = [encrypted()]
    stage.run(stage.key().wrap(DEK))

    now = int(stage.now.timestamp())
    assert claims(bearer(stage.requests[0])) == {
        "iss": ACCOUNT.email,
        "sub": ACCOUNT.email,
        "scope": "https://www.googleapis.com/auth/cloudkms",
        "iat": now - 10,
        "exp": now - 10 + 3600,
    }


def test_one_token_serves_until_shortly_before_its_end(stage):
    stage.answers = [encrypted(), decrypted(), encrypted()]
    key = stage.key()
    stage.run(key.wrap(DEK))
    stage.run(key.unwrap(b"blob"))
    stage.run(stage.key().wrap(DEK))

    assert len({bearer(request) for request in stage.requests}) == 1
    assert [kept.fresh_s for kept in stage.kept.values()] == [3590 - EARLY_S]


def test_a_refused_token_is_exchanged_for_one_of_googles(stage):
    stage.answers = [UNAUTHENTICATED, granted(), encrypted(), encrypted()]
    key = stage.key()

    assert stage.run(key.wrap(DEK)) == b"blob"
    assert stage.run(key.wrap(DEK)) == b"blob"

    _, exchange, *calls = stage.requests
    assert (exchange.method, exchange.url) == ("POST", "https://oauth2.googleapis.com/token")
    form = {name: value[0] for name, value in parse_qs(exchange.body.decode(), strict_parsing=True).items()}
    assertion = claims(form.pop("assertion"))
    assert form == {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}
    assert assertion["aud"] == "https://oauth2.googleapis.com/token"
    assert assertion["scope"] == "https://www.googleapis.com/auth/cloudkms"
    assert [bearer(call) for call in calls] == ["ya29.granted"] * 2
    assert [kept.fresh_s for kept in stage.kept.values()] == [3599 - EARLY_S]


def test_a_token_of_googles_that_is_refused_too_ends_it(stage):
    stage.answers = [UNAUTHENTICATED, granted(), UNAUTHENTICATED]

    fault = refused(stage, stage.key().wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)

    assert fault.provider_code == "JWT_TOKEN_INVALID"
    assert stage.answers == []
    assert not fault.once_more


def test_the_exchange_says_better_what_is_wrong(stage):
    stage.answers = [
        UNAUTHENTICATED,
        reply({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400),
    ]

    fault = refused(stage, stage.key().wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)

    assert "private key" in fault.message


@pytest.mark.parametrize(
    "answer", [reply(b"<html>portal</html>"), reply({}), granted("two words"), granted("new\nline"), granted("")]
)
def test_an_answer_without_a_token_is_no_token(stage, answer):
    stage.answers = [UNAUTHENTICATED, answer]

    refused(stage, stage.key().wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)


def test_other_refusals_do_not_cost_the_token(stage):
    stage.answers = [refusal("PERMISSION_DENIED", 403)]

    refused(stage, stage.key().wrap(DEK), Code.KMS_CONFIGURATION_INVALID)

    assert stage.forgotten == 0
    assert len(stage.kept) == 1


def test_whoever_has_only_the_name_of_a_service_account_does_not_share_its_token(stage):
    from tenant_security.testing.fakes.gcp_accounts import ServiceAccount
    from tenant_security.testing.fakes.rsa_keys import rsa_key

    other = ServiceAccount(ACCOUNT.email, rsa_key(1))
    stage.answers = [encrypted(), encrypted()]
    stage.run(stage.key().wrap(DEK))
    credentials = {"client_email": other.email, "private_key": other.private_key}
    stage.run(stage.key(credentials=credentials).wrap(DEK))

    assert len(stage.kept) == 2


# -- what is checked of an answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        encrypted(verifiedPlaintextCrc32c=None),
        encrypted(verifiedPlaintextCrc32c=False),
        encrypted(ciphertextCrc32c=str(crc32c(b"blob") ^ 1)),
        refusal("INVALID_ARGUMENT", 400, message="The checksum in field plaintext_crc32c did not match the data"),
    ],
)
def test_damage_on_the_way_of_a_wrap_is_tried_once_more(stage, answer):
    stage.answers = [answer]

    fault = refused(stage, stage.key().wrap(DEK), Code.KMS_WRAP_FAILED)

    assert fault.once_more
    assert fault.provider_code == "ChecksumMismatch"


@pytest.mark.parametrize("answer", [decrypted(plaintextCrc32c=str(crc32c(DEK) ^ 1)), decrypted(plaintextCrc32c="0")])
def test_damage_on_the_way_of_an_unwrap_is_tried_once_more(stage, answer):
    stage.answers = [answer]

    assert refused(stage, stage.key().unwrap(b"blob"), Code.KMS_UNWRAP_FAILED).once_more


@pytest.mark.parametrize(
    "answer",
    [
        reply(b"<html>welcome</html>"),
        reply(b"\xff\xfe"),
        reply({}),
        encrypted(ciphertext=None),
        encrypted(ciphertext="?"),
        encrypted(ciphertextCrc32c=None),
        encrypted(ciphertextCrc32c="many"),
        encrypted(name=None),
        encrypted(name=NAME),
        encrypted(name=f"{NAME}9/cryptoKeyVersions/3"),
        encrypted(name=f"{NAME.replace('acme-keys', 'evil-keys')}/cryptoKeyVersions/3"),
    ],
)
def test_an_answer_that_is_none_is_not_handed_on(stage, answer):
    stage.answers = [answer]

    assert not refused(stage, stage.key().wrap(DEK), Code.KMS_WRAP_FAILED).once_more


@pytest.mark.parametrize("answer", [reply({}), decrypted(plaintext=None), decrypted(plaintextCrc32c=None)])
def test_an_unwrap_without_what_is_promised_is_none(stage, answer):
    stage.answers = [answer]

    refused(stage, stage.key().unwrap(b"blob"), Code.KMS_UNWRAP_FAILED)


@pytest.mark.parametrize("project", ["12345", "acme-keys"])
def test_google_may_name_a_project_by_its_number(project):
    name = NAME.replace("acme-keys", project)

    assert is_version_of(f"{NAME.replace('acme-keys', '987')}/cryptoKeyVersions/1", name)
    assert is_version_of(f"{name}/cryptoKeyVersions/1", name)
    assert not is_version_of(f"{name}/cryptoKeyVersions/x", name)
    assert not is_version_of("", name)


# -- our clock ---------------------------------------------------------------------------------------------------------

SHORT_LIVED = reply(
    {
        "error": "invalid_grant",
        "error_description": "Invalid JWT: Token must be a short-lived token (60 minutes)"
        " and in a reasonable timeframe.",
    },
    400,
)
AN_HOUR_OFF = msgspec.structs.replace(UNAUTHENTICATED, headers={"date": "Tue, 24 Nov 2026 04:00:00 GMT"})


@pytest.mark.parametrize("answers", [[UNAUTHENTICATED, SHORT_LIVED], [AN_HOUR_OFF]])
def test_a_wrong_clock_is_our_fault_and_not_the_tenants(stage, answers):
    stage.answers = list(answers)

    fault = refused(stage, stage.key().wrap(DEK), Code.UNKNOWN_ERROR)

    assert "clock" in fault.message
    assert fault.http_status == 500


@pytest.mark.parametrize("date", ["Tue, 24 Nov 2026 03:04:00 GMT", "Tue, 24 Nov 2026 02:56:00 GMT", "soon", ""])
def test_a_clock_that_is_nearly_right_is_not_blamed(stage, date):
    dated = msgspec.structs.replace(UNAUTHENTICATED, headers={"date": date})
    stage.answers = [dated, granted(), dated]

    refused(stage, stage.key().wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)


def test_an_endpoint_of_the_tenants_own_cannot_make_us_answer_5xx(stage):
    stage.answers = [AN_HOUR_OFF]

    fault = refused(stage, stage.key(endpoint="https://tenant.example").wrap(DEK), Code.UNKNOWN_ERROR)

    assert fault.http_status == 422


def test_a_clock_a_little_fast_still_signs_what_google_takes(stage):
    stage.now += timedelta(seconds=9)
    stage.answers = [encrypted()]
    stage.run(stage.key().wrap(DEK))

    issued = claims(bearer(stage.requests[0]))["iat"]
    assert issued < stage.now.timestamp() - 9


# -- the configuration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("endpoint", "called"),
    [
        ("https://kms.tenant.example", "https://kms.tenant.example/"),
        ("https://kms.tenant.example/", "https://kms.tenant.example/"),
        ("https://10.0.0.7:8443", "https://10.0.0.7:8443/"),
        ("https://cloudkms.europe-west3.rep.googleapis.com", "https://cloudkms.europe-west3.rep.googleapis.com/"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
        ("http://localhost:1", "http://localhost:1/"),
    ],
)
def test_an_endpoint_of_ones_own_is_called_instead(stage, endpoint, called):
    stage.answers = [encrypted()]
    stage.run(stage.key(endpoint=endpoint).wrap(DEK))

    assert stage.requests[0].url == f"{called}v1/{NAME}:encrypt"


@pytest.mark.parametrize(
    "endpoint",
    [
        "kms.example", "http://kms.example", "http://127.0.0.1.example", "https://", "https://a@b", "https://a/v1",
        "https://a?b", "https://a#b", "https://a:b", "https://a:123456", "https://A", "https://\u00e9.example",
        "https://a\n", "https://a b", "https://a\\b", "file:///etc/passwd", "https://[::1]", "https://-a",
    ],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(stage, endpoint):
    with pytest.raises(KmsFaultError) as caught:
        stage.key(endpoint=endpoint)
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert "endpoint" in caught.value.message


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("projectId", "short"), ("projectId", "Acme-Keys"), ("projectId", "acme-keys-"), ("projectId", "../acme-keys"),
        ("projectId", "acme-keys\n"), ("projectId", ""), ("projectId", "a" * 31), ("projectId", "a:b:acme-keys"),
        ("locationId", "europe_west3"), ("locationId", "Europe-west3"), ("locationId", "x/y"), ("locationId", ""),
        ("locationId", "europe-west3\n"), ("locationId", "3"),
        ("keyRingId", "a b"), ("keyRingId", ""), ("keyRingId", "r" * 64), ("keyRingId", "r/../s"),
        ("keyRingId", "r%2F"),
        ("cryptoKeyId", "k:decrypt"), ("cryptoKeyId", "k?x"), ("cryptoKeyId", "k\n"), ("cryptoKeyId", "\u00e9"),
        ("cryptoKeyId", "k/cryptoKeyVersions/1"),
    ],
)  # fmt: skip
def test_what_is_no_id_of_googles_is_refused(stage, member, text):
    with pytest.raises(TenantSecurityError) as caught:
        stage.config(keyPath=KEY_PATH | {member: text})
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert f"$.keyPath.{member}" in caught.value.message


@pytest.mark.parametrize(
    ("member", "text"),
    [
        ("projectId", "example.com:acme-keys"), ("projectId", "123456789012"), ("projectId", "acme-1"),
        ("locationId", "global"), ("locationId", "nam4"), ("locationId", "northamerica-northeast1"),
        ("locationId", "us"), ("keyRingId", "R_1-"), ("cryptoKeyId", "k" * 63),
    ],
)  # fmt: skip
def test_every_id_of_googles_is_taken(stage, member, text):
    assert stage.config(keyPath=KEY_PATH | {member: text})


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"client_email": ACCOUNT.email},
        {"private_key": "x"},
        {"client_email": "myClientEmail", "private_key": "x"},
        {"client_email": f"{ACCOUNT.email}\n", "private_key": "x"},
        {"client_email": f"a/{ACCOUNT.email}", "private_key": "x"},
        {"client_email": ACCOUNT.email, "private_key": ""},
        {"client_email": ACCOUNT.email, "private_key": "x", "private_key_id": "y"},
        {"workload_identity": True, "private_key": "x"},
    ],
)
def test_credentials_are_of_one_form_or_of_the_other(stage, credentials):
    with pytest.raises(TenantSecurityError) as caught:
        stage.config(credentials=credentials)
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert "credentials" in caught.value.message


def test_nothing_prints_the_private_key(stage):
    config = stage.config()
    key = stage.key()
    for thing in (config, config.credentials, key, key._identity):
        assert "BEGIN" not in repr(thing)
        assert "<secret>" in repr(thing) or "object at" in repr(thing)
