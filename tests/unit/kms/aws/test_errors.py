import botocore.session
import pytest
from botocore.parsers import JSONParser, QueryParser
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.errors import Code
from tenant_security.kms.aws.errors import MEANINGS, MEANINGS_BY_PHASE, classify, fault, read_refusal
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.flow import Response

SESSION = botocore.session.Session()

# What the documentation promises, written down a second time so that a slip in the table shows.
PROMISED = {
    Code.KMS_UNWRAP_FAILED: "InvalidCiphertextException IncorrectKeyException",
    Code.KMS_AUTHORIZATION_FAILED: """UnrecognizedClientException InvalidClientTokenId InvalidSignatureException
        SignatureDoesNotMatch IncompleteSignature IncompleteSignatureException MissingAuthenticationToken
        MissingAuthenticationTokenException ExpiredToken ExpiredTokenException InvalidAccessKeyId NotAuthorized""",
    Code.KMS_CONFIGURATION_INVALID: """AccessDeniedException AccessDenied DisabledException KMSInvalidStateException
        NotFoundException InvalidArnException InvalidKeyUsageException InvalidGrantTokenException
        UnsupportedOperationException ValidationException DryRunOperationException RegionDisabledException""",
    Code.KMS_UNREACHABLE: """KMSInternalException DependencyTimeoutException KeyUnavailableException InternalFailure
        ServiceUnavailable ServiceUnavailableException""",
    Code.KMS_THROTTLED: """ThrottlingException Throttling ThrottledException RequestThrottled RequestThrottledException
        TooManyRequestsException RequestLimitExceeded LimitExceededException SlowDown""",
    Code.KMS_ACCOUNT_ISSUE: "OptInRequired SubscriptionRequiredException",
}


@pytest.mark.parametrize(("code", "names"), PROMISED.items(), ids=lambda value: getattr(value, "name", ""))
def test_every_code_means_what_is_promised(code, names):
    for name in names.split():
        assert classify(Phase.UNWRAP, 400, name)[0].code is code, name


OPERATIONS = [("kms", "Encrypt"), ("kms", "Decrypt"), ("sts", "AssumeRole"), ("sts", "AssumeRoleWithWebIdentity")]


@pytest.mark.parametrize(("service", "operation"), OPERATIONS)
def test_every_error_of_awss_model_is_in_the_table(service, operation):
    phases = {"Encrypt": Phase.WRAP, "Decrypt": Phase.UNWRAP, "AssumeRole": Phase.TOKEN}
    phases["AssumeRoleWithWebIdentity"] = Phase.TOKEN
    shapes = SESSION.get_service_model(service).operation_model(operation).error_shapes

    assert shapes
    for shape in shapes:
        name = shape.metadata.get("error", {}).get("code", shape.name)
        assert name in MEANINGS or (phases[operation], name) in MEANINGS_BY_PHASE, name
        if shape.metadata.get("fault"):
            assert classify(phases[operation], 500, name)[0].code is Code.KMS_UNREACHABLE, name


def test_a_role_that_may_not_be_assumed_is_a_matter_of_who_we_are():
    assert classify(Phase.TOKEN, 403, "AccessDenied")[0].code is Code.KMS_AUTHORIZATION_FAILED
    assert classify(Phase.WRAP, 403, "AccessDenied")[0].code is Code.KMS_CONFIGURATION_INVALID


@pytest.mark.parametrize(
    ("phase", "status", "code"),
    [
        (Phase.WRAP, 400, Code.KMS_WRAP_FAILED),
        (Phase.UNWRAP, 404, Code.KMS_UNWRAP_FAILED),
        (Phase.TOKEN, 400, Code.KMS_AUTHORIZATION_FAILED),
        (Phase.WRAP, 302, Code.KMS_WRAP_FAILED),
        (Phase.WRAP, 429, Code.KMS_THROTTLED),
        (Phase.UNWRAP, 500, Code.KMS_UNREACHABLE),
        (Phase.TOKEN, 599, Code.KMS_UNREACHABLE),
    ],
)
@pytest.mark.parametrize("name", ["", "BrandNewException"])
def test_a_code_that_is_not_listed_is_judged_by_its_status(phase, status, code, name):
    assert classify(phase, status, name)[0].code is code


def test_codes_of_unwrap_mean_nothing_in_wrap():
    assert classify(Phase.WRAP, 400, "InvalidCiphertextException")[0].code is Code.KMS_WRAP_FAILED


@pytest.mark.parametrize("status", [400, 500])
def test_a_fault_of_the_service_may_be_tried_once_more_and_nothing_else(status):
    for name in MEANINGS:
        made = fault(Phase.WRAP, Response(status, {}, b'{"__type":"%s"}' % name.encode()))
        assert made.once_more is (made.code is Code.KMS_UNREACHABLE)


def test_every_message_is_a_sentence():
    for phase in Phase:
        for meaning in [*MEANINGS.values(), *MEANINGS_BY_PHASE.values()]:
            assert meaning.words[-1] not in ".; "
        assert fault(phase, Response(400, {}, b"")).message.endswith(".")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("3600", 60.0), ("-1", None), ("soon", None), ("", None), ("\u0667", None), ("9" * 400, 60.0)],
)
def test_a_throttled_call_says_when_to_come_back(header, seconds):
    throttled = Response(400, {"retry-after": header}, b'{"__type":"ThrottlingException"}')

    assert fault(Phase.WRAP, throttled).retry_after_s == seconds


def test_only_a_throttled_call_says_when_to_come_back():
    unavailable = Response(503, {"retry-after": "7"}, b"")

    assert fault(Phase.WRAP, unavailable).retry_after_s is None


@pytest.mark.parametrize("member", ["message", "Message"])
@pytest.mark.parametrize("prefix", ["", "com.amazonaws.kms#"])
def test_json_errors_are_read(member, prefix):
    body = b'{"__type":"%sDisabledException","%s":"off"}' % (prefix.encode(), member.encode())

    refusal = read_refusal(Response(400, {"x-amzn-requestid": "r-1"}, body))

    assert refusal == ("DisabledException", "off", "r-1")


def test_a_header_may_name_the_code():
    response = Response(400, {"x-amzn-errortype": "DisabledException:http://internal.amazon.com/"}, b"")

    assert read_refusal(response).code == "DisabledException"


@pytest.mark.parametrize(
    "body",
    [
        (
            b"<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error>"
            b"<RequestId>r-1</RequestId></ErrorResponse>"
        ),
        (
            b"<Response><Errors><Error><Code>AccessDenied</Code><Message>no</Message></Error></Errors>"
            b"<RequestID>r-1</RequestID></Response>"
        ),
        (
            b'\n<?xml version="1.0"?><a xmlns="urn:x"><Code> AccessDenied </Code><Message>no</Message>'
            b"<RequestId>r-1</RequestId></a>"
        ),
    ],
    ids=["query", "ec2", "namespace"],
)
def test_xml_errors_are_read(body):
    assert read_refusal(Response(403, {}, body.strip())) == ("AccessDenied", "no", "r-1")


BOMB = b"""<!DOCTYPE a [<!ENTITY b "AccessDenied">]><a><Code>&b;</Code></a>"""


@pytest.mark.parametrize("body", [BOMB, BOMB.decode().encode("utf-16"), b"<", b"<a><b></a>", b"<\xff>", b"<" * 60_000])
def test_xml_with_declarations_or_without_sense_is_not_read(body):
    assert read_refusal(Response(403, {}, body)).code == ""


@pytest.mark.parametrize("name", ["a b", "<script>", "a\nb", "x" * 65, "\u00e9"])
def test_what_is_no_code_does_not_reach_the_log(name):
    assert read_refusal(Response(400, {"x-amzn-requestid": name}, b'{"__type":"%s"}' % name.encode())) == ("", "", "")


def test_a_refusal_without_a_code_is_logged_by_its_status():
    assert fault(Phase.WRAP, Response(418, {}, b"")).provider_code == "HTTP418"


@given(st.binary(max_size=300), st.integers(300, 599))
def test_no_answer_whatever_crashes_the_reader(body, status):
    for phase in Phase:
        assert 200 <= fault(phase, Response(status, {}, body)).code <= 210


names = st.from_regex(r"[A-Z][A-Za-z]{1,30}", fullmatch=True)
plain = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='<>&"\\'), min_size=1, max_size=30
)


@given(names, plain, st.sampled_from(["", "com.amazonaws.kms#"]), st.sampled_from(["message", "Message"]))
def test_json_errors_are_read_as_botocore_reads_them(name, message, prefix, member):
    body = f'{{"__type":"{prefix}{name}","{member}":"{message}"}}'.encode()
    shape = SESSION.get_service_model("kms").operation_model("Encrypt").output_shape
    theirs = JSONParser().parse({"status_code": 400, "headers": {}, "body": body}, shape)["Error"]

    assert read_refusal(Response(400, {}, body))[:2] == (theirs["Code"], theirs["Message"])


@given(names, plain)
def test_xml_errors_are_read_as_botocore_reads_them(name, message):
    body = f"<ErrorResponse><Error><Code>{name}</Code><Message>{message}</Message></Error></ErrorResponse>".encode()
    shape = SESSION.get_service_model("sts").operation_model("AssumeRole").output_shape
    theirs = QueryParser().parse({"status_code": 400, "headers": {}, "body": body}, shape)["Error"]

    assert read_refusal(Response(400, {}, body))[:2] == (theirs["Code"], theirs["Message"])
