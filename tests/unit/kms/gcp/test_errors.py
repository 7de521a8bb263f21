import msgspec
import pytest
from google.api import error_reason_pb2
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.errors import Code
from tenant_security.kms.gcp.errors import classify, fault, read_reply
from tenant_security.kms.gcp.meanings import BY_PHASE, EXTERNAL, OAUTH, PHRASES, REASONS, STATUSES, VIOLATIONS
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.flow import Response
from tenant_security.testing.fakes.gcp_replies import (
    HTTP_STATUS,
    for_reason,
    oauth_refusal,
    reason,
    refusal,
    retry_after,
    violation,
)
from tenant_security.testing.fakes.server import Answered

from .conftest import Stage

NOW = Stage().now

# What the documentation promises, written down a second time so that a slip in the tables shows.
PROMISED = {
    Code.KMS_AUTHORIZATION_FAILED: """UNAUTHENTICATED ACCESS_TOKEN_EXPIRED CREDENTIALS_MISSING JWT_TOKEN_INVALID
        ACCOUNT_STATE_INVALID ACCESS_TOKEN_TYPE_UNSUPPORTED CREDENTIAL_TYPE_UNSUPPORTED ACCOUNT_TYPE_UNSUPPORTED""",
    Code.KMS_CONFIGURATION_INVALID: """PERMISSION_DENIED IAM_PERMISSION_DENIED NOT_FOUND FAILED_PRECONDITION
        KEY_DISABLED SERVICE_DISABLED SECURITY_POLICY_VIOLATED LOCATION_POLICY_VIOLATED LOCATION_ORG_POLICY_VIOLATED
        ORG_RESTRICTION_VIOLATION ORG_RESTRICTION_HEADER_INVALID RESOURCE_PROJECT_INVALID CONSUMER_INVALID
        USER_PROJECT_DENIED ACCESS_TOKEN_SCOPE_INSUFFICIENT EXTERNAL_PERMISSION_DENIED""",
    Code.KMS_UNREACHABLE: "INTERNAL UNAVAILABLE DEADLINE_EXCEEDED UNKNOWN ABORTED EXTERNAL_UNREACHABLE EKM_TIMEOUT",
    Code.KMS_THROTTLED: "RESOURCE_EXHAUSTED RATE_LIMIT_EXCEEDED RESOURCE_QUOTA_EXCEEDED",
    Code.KMS_ACCOUNT_ISSUE: "BILLING_DISABLED CONSUMER_SUSPENDED GCP_SUSPENDED",
}


def response(answer: Answered) -> Response:
    return Response(answer.status, {}, answer.body)


@pytest.mark.parametrize("phase", [Phase.WRAP, Phase.UNWRAP], ids=lambda phase: phase.name)
@pytest.mark.parametrize(("code", "names"), PROMISED.items(), ids=lambda value: getattr(value, "name", ""))
def test_every_code_means_what_is_promised(code, names, phase):
    for name in names.split():
        judged = classify(phase, 400, (name,))
        assert judged.meaning.code is code, name
        assert judged.listed, name


def test_every_reason_that_google_publishes_is_in_the_table():
    published = set(error_reason_pb2.ErrorReason.keys()) - {"ERROR_REASON_UNSPECIFIED"}

    assert len(published) >= 43
    assert published - REASONS.keys() == set()
    assert REASONS.keys() - published == set()


def test_every_canonical_code_is_in_a_table_or_means_what_its_phase_means():
    left_to_the_phase = {"OK", "OUT_OF_RANGE", "ALREADY_EXISTS"}
    for phase in Phase:
        for name in set(code_pb2.Code.keys()) - left_to_the_phase:
            assert name in STATUSES or (phase, name) in BY_PHASE, name


@pytest.mark.parametrize(
    ("error", "description", "code", "word"),
    [
        ("invalid_grant", "Invalid JWT Signature.", Code.KMS_AUTHORIZATION_FAILED, "private key"),
        ("invalid_grant", "Invalid grant: account not found", Code.KMS_AUTHORIZATION_FAILED, "does not exist"),
        ("invalid_grant", "", Code.KMS_AUTHORIZATION_FAILED, "credentials"),
        ("invalid_client", "The OAuth client was not found.", Code.KMS_AUTHORIZATION_FAILED, "credentials"),
        ("disabled_client", "The OAuth client was disabled.", Code.KMS_AUTHORIZATION_FAILED, "disabled"),
        ("unauthorized_client", "", Code.KMS_AUTHORIZATION_FAILED, "credentials"),
        ("invalid_target", "", Code.KMS_AUTHORIZATION_FAILED, "pool"),
        ("invalid_scope", "", Code.KMS_CONFIGURATION_INVALID, "scopes"),
        ("internal_failure", "", Code.KMS_UNREACHABLE, "failed"),
        ("quota_exceeded", "", Code.KMS_THROTTLED, "quota"),
        ("brand_new_error", "", Code.KMS_AUTHORIZATION_FAILED, "refused"),
    ],
)
def test_refusals_of_the_token_services_are_read(error, description, code, word):
    made = fault(Phase.TOKEN, response(oauth_refusal(error, description)), NOW)

    assert made.code is code
    assert word in made.message
    assert made.provider_code == error
    assert made.listed is (error in OAUTH)


@pytest.mark.parametrize(
    ("phase", "code"),
    [
        (Phase.WRAP, Code.KMS_CONFIGURATION_INVALID),
        (Phase.UNWRAP, Code.KMS_UNWRAP_FAILED),
        (Phase.TOKEN, Code.KMS_AUTHORIZATION_FAILED),
    ],
)
def test_an_invalid_argument_means_something_else_in_each_phase(phase, code):
    assert fault(phase, response(refusal("INVALID_ARGUMENT", "Decryption failed")), NOW).code is code


@pytest.mark.parametrize(
    ("answer", "code", "word"),
    [
        (refusal("FAILED_PRECONDITION", "x", violation("KEY_DISABLED", "k")), 207, "disabled"),
        (refusal("FAILED_PRECONDITION", "k is not enabled, current state is: DISABLED."), 207, "disabled"),
        (refusal("FAILED_PRECONDITION", "k is not enabled, current state is: DESTROYED."), 207, "destroyed"),
        (refusal("FAILED_PRECONDITION", "k is not enabled, current state is: DESTROY_SCHEDULED."), 207, "restore"),
        (refusal("FAILED_PRECONDITION", "current state is: PENDING_GENERATION."), 207, "not ready"),
        (refusal("FAILED_PRECONDITION", "Cloud KMS API has not been used in project 1 before"), 207, "API"),
        (refusal("FAILED_PRECONDITION", "its purpose is: MAC."), 207, "state"),
        (refusal("PERMISSION_DENIED", "Permission 'x' denied on resource 'y' (or it may not exist)."), 207, "grant"),
        (refusal("PERMISSION_DENIED", "Request is prohibited by organization's policy."), 207, "policy"),
        (refusal("PERMISSION_DENIED", "This API method requires billing to be enabled."), 210, "billing"),
        (refusal("PERMISSION_DENIED", "Consumer 'project:1' has been suspended."), 210, "suspended"),
        (refusal("PERMISSION_DENIED", "Request had insufficient authentication scopes."), 207, "scopes"),
    ],
)
def test_googles_words_say_it_better_than_its_codes(answer, code, word):
    made = fault(Phase.WRAP, response(answer), NOW)

    assert made.code == code
    assert word in made.message


def test_of_an_external_keys_violations_the_second_tells():
    answer = refusal("FAILED_PRECONDITION", "x", violation("KEY_DISABLED", "k"), violation("EXTERNAL_TIMEOUT", "k"))

    made = fault(Phase.WRAP, response(answer), NOW)

    assert made.code is Code.KMS_UNREACHABLE
    assert made.once_more
    assert made.provider_code == "EXTERNAL_TIMEOUT"


@pytest.mark.parametrize(
    ("phase", "status", "code"),
    [
        (Phase.WRAP, 400, Code.KMS_WRAP_FAILED),
        (Phase.UNWRAP, 400, Code.KMS_UNWRAP_FAILED),
        (Phase.WRAP, 401, Code.KMS_AUTHORIZATION_FAILED),
        (Phase.UNWRAP, 403, Code.KMS_CONFIGURATION_INVALID),
        (Phase.TOKEN, 403, Code.KMS_AUTHORIZATION_FAILED),
        (Phase.WRAP, 404, Code.KMS_CONFIGURATION_INVALID),
        (Phase.WRAP, 302, Code.KMS_WRAP_FAILED),
        (Phase.WRAP, 429, Code.KMS_THROTTLED),
        (Phase.UNWRAP, 500, Code.KMS_UNREACHABLE),
        (Phase.TOKEN, 599, Code.KMS_UNREACHABLE),
    ],
)
@pytest.mark.parametrize("names", [(), ("BRAND_NEW_REASON",)])
def test_a_code_that_is_not_listed_is_judged_by_its_status(phase, status, code, names):
    judged = classify(phase, status, names)

    assert judged.meaning.code is code
    assert not judged.listed


def test_a_new_reason_is_judged_by_the_code_beside_it_and_counted():
    made = fault(Phase.WRAP, response(refusal("PERMISSION_DENIED", "x", reason("BRAND_NEW"))), NOW)

    assert made.code is Code.KMS_CONFIGURATION_INVALID
    assert made.provider_code == "BRAND_NEW"
    assert not made.listed


def test_a_reason_that_says_nothing_is_left_out():
    made = fault(Phase.WRAP, response(refusal("UNAVAILABLE", "x", reason("ERROR_REASON_UNSPECIFIED"))), NOW)

    assert (made.code, made.provider_code) == (Code.KMS_UNREACHABLE, "UNAVAILABLE")


def test_only_a_fault_of_the_service_may_be_tried_once_more():
    for name in REASONS:
        made = fault(Phase.WRAP, response(for_reason(name)), NOW)
        assert made.once_more is (made.code is Code.KMS_UNREACHABLE), name
        assert made.provider_code == name
    for name in STATUSES:
        made = fault(Phase.UNWRAP, response(refusal(name, "x")), NOW)
        assert made.once_more is (made.code is Code.KMS_UNREACHABLE), name


def test_a_throttled_call_says_when_to_come_back():
    exhausted = refusal("RESOURCE_EXHAUSTED", "x", reason("RATE_LIMIT_EXCEEDED"), retry_after(2.5))
    assert fault(Phase.WRAP, response(exhausted), NOW).retry_after_s == 2.5
    assert fault(Phase.WRAP, Response(429, {"retry-after": "7"}, exhausted.body), NOW).retry_after_s == 7
    assert fault(Phase.WRAP, response(refusal("RESOURCE_EXHAUSTED", "x", retry_after(3600))), NOW).retry_after_s == 60
    assert fault(Phase.WRAP, response(refusal("UNAVAILABLE", "x", retry_after(1))), NOW).retry_after_s is None


def test_a_request_id_is_kept_for_the_log():
    info = {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r-1"}

    assert fault(Phase.WRAP, response(refusal("INTERNAL", "x", info)), NOW).request_id == "r-1"


def test_every_message_is_a_sentence():
    tables = [*REASONS.values(), *VIOLATIONS.values(), *STATUSES.values(), *OAUTH.values(), *BY_PHASE.values()]
    tables += [meaning for _, _, meaning in PHRASES] + [meaning for _, meaning in EXTERNAL]
    for meaning in tables:
        assert meaning.words[-1] not in ".; "
        assert meaning.words[0].islower() or not meaning.words[0].isalpha()


def test_phrases_are_compared_in_lower_case_and_belong_to_known_codes():
    for code, phrase, _ in PHRASES:
        assert phrase == phrase.lower()
        assert code in STATUSES or code in OAUTH or code in VIOLATIONS


def test_http_statuses_of_the_fake_are_googles():
    for name, http in HTTP_STATUS.items():
        assert name in code_pb2.Code.DESCRIPTOR.values_by_name
        assert 400 <= http < 600


@pytest.mark.parametrize("name", ["a b", "<script>", "a\nb", "x" * 65, "\u00e9", 7, None, ["x"]])
def test_what_is_no_code_does_not_reach_the_log(name):
    body = msgspec.json.encode(
        {"error": {"status": name, "message": name, "details": [{"@type": name, "reason": name}]}}
    )

    assert read_reply(Response(400, {}, body)).codes == ()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "status", "details", "@type", "reason", "violations", "type", "message"]), inner
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.binary(max_size=300) | json_values, st.integers(300, 599), st.text(max_size=40))
def test_no_answer_whatever_crashes_the_reader(body, status, date):
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    for phase in Phase:
        made = fault(phase, Response(status, {"date": date}, encoded), NOW)
        assert 200 <= made.code <= 210
        assert made.message.endswith(".")
