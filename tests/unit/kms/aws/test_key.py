import base64
from datetime import timedelta
from urllib.parse import parse_qs

import msgspec
import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.aws.key import MAX_BLOB_BYTES
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Flow, Reason, Request, Response, UnreachableError
from tenant_security.outbound.sigv4 import sign
from tenant_security.secret import Secret

DEK = bytes(range(32))
KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/0123abcd-0000-1111-2222-333344445555"
ROLE = {"roleArn": "arn:aws:iam::210987654321:role/unwrap", "externalId": "tenant 42 & more"}


def reply(body: object, status: int = 200, **headers: str) -> Response:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, encoded)


def encrypted(key_id: str = KEY_ARN) -> Response:
    return reply({"CiphertextBlob": b"blob", "KeyId": key_id, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})


def decrypted(key_id: str = KEY_ARN) -> Response:
    return reply({"Plaintext": DEK, "KeyId": key_id, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"})


def refusal(code: str, message: str = "their words", status: int = 400) -> Response:
    return reply({"__type": code, "message": message}, status, x_amzn_requestid="r-1")


def refused(stage, flow: Flow[bytes], code: Code) -> KmsFaultError:
    with pytest.raises(KmsFaultError) as caught:
        stage.run(flow)
    assert caught.value.code is code
    return caught.value


def signed(stage, request: Request, **identity: Secret[str] | str | None) -> Request:
    """The same request as our signer signs it for this identity."""
    bare = tuple(field for field in request.headers if field[0] in ("Content-Type", "X-Amz-Target"))
    unsigned = Request(request.method, request.url, bare, request.body, request.cap_bytes)
    return sign(unsigned, region="eu-central-1", now=stage.now, **identity)


def test_wrap_asks_aws_to_encrypt_our_key(stage):
    stage.answers = [encrypted()]

    assert stage.run(stage.key().wrap(DEK)) == b"blob"

    request = stage.requests[0]
    assert (request.method, request.url) == ("POST", "https://kms.eu-central-1.amazonaws.com/")
    headers = dict(request.headers)
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    assert headers["X-Amz-Target"] == "TrentService.Encrypt"
    assert msgspec.json.decode(request.body) == {"KeyId": KEY_ARN, "Plaintext": base64.b64encode(DEK).decode()}


def test_unwrap_always_names_the_key(stage):
    stage.answers = [decrypted()]

    assert stage.run(stage.key().unwrap(b"blob")) == DEK

    request = stage.requests[0]
    assert dict(request.headers)["X-Amz-Target"] == "TrentService.Decrypt"
    assert msgspec.json.decode(request.body) == {"KeyId": KEY_ARN, "CiphertextBlob": base64.b64encode(b"blob").decode()}


def test_requests_are_signed_with_the_access_key(stage):
    stage.answers = [encrypted()]
    stage.run(stage.key(sessionToken="session").wrap(DEK))

    request = stage.requests[0]
    assert request == signed(
        stage,
        request,
        service="kms",
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret("very/secret+key"),
        session_token=Secret("session"),
    )


def test_a_chinese_region_has_chinas_suffix(stage):
    stage.answers = [encrypted("k")]
    stage.run(stage.key(region="cn-north-1", key_id="k").wrap(DEK))

    assert stage.requests[0].url == "https://kms.cn-north-1.amazonaws.com.cn/"


def test_endpoints_of_the_configuration_are_used(stage):
    stage.answers = [stage.session(), encrypted()]
    stage.run(stage.key(endpoint="https://vpce-1.example", stsEndpoint="http://localhost:9999", **ROLE).wrap(DEK))

    assert [request.url for request in stage.requests] == ["http://localhost:9999/", "https://vpce-1.example/"]


@pytest.mark.parametrize("length", [0, MAX_BLOB_BYTES + 1])
def test_a_blob_that_cannot_be_awss_is_not_sent(stage, length):
    refused(stage, stage.key().unwrap(bytes(length)), Code.KMS_UNWRAP_FAILED)

    assert stage.requests == []


UNUSABLE = [
    reply(b""),
    reply(b"<html>"),
    reply(b"\xff\xfe"),
    reply(b"[" * 60_000),
    reply([]),
    reply({}),
    reply({"KeyId": KEY_ARN}),
    reply({"CiphertextBlob": b"blob", "Plaintext": DEK}),
    reply({"CiphertextBlob": "&&&", "Plaintext": "&&&", "KeyId": KEY_ARN}),
    reply({"CiphertextBlob": 1, "Plaintext": None, "KeyId": KEY_ARN}),
    reply({"CiphertextBlob": b"blob", "Plaintext": DEK, "KeyId": ""}),
    reply({"CiphertextBlob": b"blob", "Plaintext": DEK, "KeyId": KEY_ARN[:-1] + "6"}),
]


@pytest.mark.parametrize("answer", UNUSABLE)
def test_a_success_that_is_none_is_refused(stage, answer):
    stage.answers = [answer, answer]

    refused(stage, stage.key().wrap(DEK), Code.KMS_WRAP_FAILED)
    refused(stage, stage.key().unwrap(b"blob"), Code.KMS_UNWRAP_FAILED)


@pytest.mark.parametrize(
    "key_id",
    ["0123abcd-0000-1111-2222-333344445555", "alias/a", "arn:aws:kms:eu-central-1:123456789012:alias/a", KEY_ARN],
)
def test_a_key_may_be_named_in_every_way_that_aws_knows(stage, key_id):
    stage.answers = [encrypted()]

    assert stage.run(stage.key(key_id=key_id).wrap(DEK)) == b"blob"


def test_words_of_the_provider_and_secrets_stay_out_of_messages(stage):
    stage.answers = [refusal("AccessDeniedException", "User arn:aws:iam::1:user/u may not; AKIDEXAMPLE")]

    fault = refused(stage, stage.key().wrap(DEK), Code.KMS_CONFIGURATION_INVALID)

    for word in ("arn:", "AKID", "secret", "AccessDenied"):
        assert word not in fault.message
    assert (fault.provider, fault.provider_code, fault.request_id) == ("aws", "AccessDeniedException", "r-1")


def test_no_answer_is_left_to_the_caller(stage):
    stage.answers = [UnreachableError(Reason.RESET)]

    with pytest.raises(UnreachableError):
        stage.run(stage.key().wrap(DEK))


CLOCK = [
    refusal("InvalidSignatureException", "Signature expired: 20261124T030000Z is now earlier than 20261124T040000Z"),
    refusal("SignatureDoesNotMatch", "Signature not yet current: 20261124T030000Z is still later than", 403),
    refusal("RequestTimeTooSkewed", "", 403),
    refusal("RequestExpired"),
]


@pytest.mark.parametrize("answer", CLOCK)
def test_a_wrong_clock_is_our_fault_and_not_the_tenants(stage, answer):
    stage.answers = [answer]

    fault = refused(stage, stage.key().wrap(DEK), Code.UNKNOWN_ERROR)

    assert "clock" in fault.message
    assert fault.http_status == 500


@pytest.mark.parametrize("answer", CLOCK)
def test_an_endpoint_of_the_tenants_own_cannot_make_us_answer_5xx(stage, answer):
    stage.answers = [answer]

    fault = refused(stage, stage.key(endpoint="https://tenant.example").wrap(DEK), Code.UNKNOWN_ERROR)

    assert fault.http_status == 422


def test_a_role_is_assumed_with_the_external_id(stage):
    stage.answers = [stage.session("ONE"), encrypted()]

    assert stage.run(stage.key(**ROLE).wrap(DEK)) == b"blob"

    sts, kms = stage.requests
    assert (sts.method, sts.url) == ("POST", "https://sts.eu-central-1.amazonaws.com/")
    assert parse_qs(sts.body.decode(), strict_parsing=True) == {
        "Action": ["AssumeRole"],
        "Version": ["2011-06-15"],
        "RoleArn": [ROLE["roleArn"]],
        "RoleSessionName": ["tenant-security-proxy"],
        "DurationSeconds": ["3600"],
        "ExternalId": [ROLE["externalId"]],
    }
    own = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": Secret("very/secret+key"), "session_token": None}
    assert sts == signed(stage, sts, service="sts", **own)
    temporary = {"access_key_id": "ASIAONE", "secret_access_key": Secret("secret-ONE")}
    assert kms == signed(stage, kms, service="kms", session_token=Secret("token-ONE"), **temporary)


def test_a_role_without_an_external_id_sends_none(stage):
    stage.answers = [stage.session(), encrypted()]
    stage.run(stage.key(roleArn=ROLE["roleArn"]).wrap(DEK))

    assert b"ExternalId" not in stage.requests[0].body


def test_temporary_keys_are_shared_until_five_minutes_before_their_end(stage):
    stage.answers = [stage.session(lives=timedelta(minutes=60)), encrypted(), encrypted()]
    key = stage.key(**ROLE)
    stage.run(key.wrap(DEK))
    stage.run(key.wrap(DEK))

    assert len(stage.requests) == 3
    assert [lasting.fresh_s for lasting in stage.kept.values()] == [55 * 60]


@pytest.mark.parametrize(
    "other",
    [
        {"secretAccessKey": "another"},
        {"accessKeyId": "AKIDANOTHER"},
        {"sessionToken": "token"},
        {"externalId": "another"},
        {"externalId": None},
        {"roleArn": "arn:aws:iam::210987654321:role/another"},
        {"stsEndpoint": "https://sts.example"},
        {"region": "eu-west-1"},
    ],
)
def test_temporary_keys_are_shared_only_by_those_with_the_same_right_to_them(stage, other):
    stage.answers = [stage.session("ONE"), encrypted(), stage.session("TWO"), encrypted()]
    stage.run(stage.key(**ROLE).wrap(DEK))
    stage.run(stage.key(**{**ROLE, **other}).wrap(DEK))

    assert len(stage.kept) == 2
    assert "very/secret" not in repr(stage.kept)


@pytest.mark.parametrize(
    "code", ["ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"]
)
def test_refused_temporary_keys_are_renewed_once(stage, code):
    stage.answers = [stage.session("ONE"), refusal(code), stage.session("TWO"), decrypted()]

    assert stage.run(stage.key(**ROLE).unwrap(b"blob")) == DEK
    assert "ASIATWO" in dict(stage.requests[3].headers)["Authorization"]


def test_temporary_keys_that_are_refused_again_are_a_refusal(stage):
    expired = refusal("ExpiredTokenException")
    stage.answers = [stage.session("ONE"), expired, stage.session("TWO"), expired]

    refused(stage, stage.key(**ROLE).wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)

    assert len(stage.requests) == 4


def test_an_expired_session_token_of_the_configuration_cannot_be_renewed(stage):
    stage.answers = [refusal("ExpiredTokenException")]

    refused(stage, stage.key(sessionToken="session").wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)

    assert len(stage.requests) == 1


def test_other_refusals_do_not_renew_temporary_keys(stage):
    stage.answers = [stage.session(), refusal("DisabledException")]

    refused(stage, stage.key(**ROLE).wrap(DEK), Code.KMS_CONFIGURATION_INVALID)

    assert len(stage.requests) == 2


GOOD_SESSION = (
    "<r><AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>{token}</SessionToken>{end}</r>"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<a>",
        b"<a/>",
        GOOD_SESSION.format(token="t", end="").encode(),
        GOOD_SESSION.format(token="t", end="<Expiration>soon</Expiration>").encode(),
        GOOD_SESSION.format(token="t", end="<Expiration>2026-11-24T04:00:00</Expiration>").encode(),
        GOOD_SESSION.format(token="a&#10;Header: b", end="<Expiration>2026-11-24T04:00:00Z</Expiration>").encode(),
        b"<!DOCTYPE r>" + GOOD_SESSION.format(token="t", end="<Expiration>2026-11-24T04:00:00Z</Expiration>").encode(),
        GOOD_SESSION.format(token="t", end="<Expiration>2026-11-24T04:00:00Z</Expiration>").encode("utf-16"),
    ],
)
def test_an_answer_of_sts_that_holds_no_keys_is_refused(stage, body):
    stage.answers = [Response(200, {}, body)]

    refused(stage, stage.key(**ROLE).wrap(DEK), Code.KMS_AUTHORIZATION_FAILED)


def test_a_session_that_would_end_at_once_is_used_and_not_kept_fresh(stage):
    stage.answers = [stage.session(lives=timedelta(minutes=4)), encrypted()]
    stage.run(stage.key(**ROLE).wrap(DEK))

    assert all(lasting.fresh_s <= 0 for lasting in stage.kept.values())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"region": "evil.example/#"}, "region"),
        ({"region": "eu-central-1.evil.example"}, "region"),
        ({"region": "EU-CENTRAL-1"}, "region"),
        ({"accessKeyId": "AKID EXAMPLE"}, "credentials"),
        ({"secretAccessKey": "secret\n"}, "credentials"),
        ({"sessionToken": "t\u00f6ken"}, "credentials"),
        ({"externalId": "alone"}, "roleArn"),
        ({"endpoint": "http://kms.example"}, "https"),
        ({"stsEndpoint": "ftp://sts.example"}, "stsEndpoint"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_before_any_call(stage, changes, word):
    with pytest.raises(TenantSecurityError) as caught:
        stage.key(**changes)

    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert word in caught.value.message
