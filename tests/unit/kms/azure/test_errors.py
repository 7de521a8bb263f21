import azure.identity
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msal.authority import WELL_KNOWN_AUTHORITY_HOSTS

from tenant_security.errors import Code
from tenant_security.kms.azure.clouds import CLOUDS
from tenant_security.kms.azure.errors import (
    NUMBERS,
    OAUTH,
    VAULT,
    VAULT_BY_PHASE,
    classify,
    classify_token,
    fault,
    token_fault,
)
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.flow import Response

GUID = "5c35db15-ffcd-4aaa-b985-082e8181a3e4"

# What the documentation promises, written down a second time so that a slip in a table shows.
PROMISED = {
    206: "Unauthorized",
    207: """Forbidden AccessDenied ForbiddenByRbac ForbiddenByPolicy ForbiddenByFirewall ForbiddenByConnection
        KeyDisabled KeyOperationForbidden KeyNotYetValid KeyExpired KeyNotFound
        ObjectIsDeletedButRecoverable AKV10032 AKV10022""",
    208: "InternalServerError ServiceUnavailable",
    209: "Throttled TooManyRequests",
    210: "SubscriptionDisabled",
}
PROMISED_OF_ENTRA = {
    206: "invalid_client unauthorized_client access_denied invalid_grant",
    207: "invalid_request invalid_scope invalid_resource invalid_tenant",
    208: "temporarily_unavailable server_error",
    209: "slow_down",
}
PROMISED_NUMBERS = {
    206: [7000215, 7000222, 700016, 7000112, 53003, 700213, 700024],
    207: [90002, 500011],
    210: [500014, 5000224],
}


@pytest.mark.parametrize("code", PROMISED)
def test_every_code_of_the_vault_means_what_is_promised(code):
    for name in PROMISED[code].split():
        assert classify(Phase.UNWRAP, 400, "", name) == classify(Phase.UNWRAP, 400, name, "")
        assert classify(Phase.UNWRAP, 400, name, "")[0].code == code, name


@pytest.mark.parametrize("code", PROMISED_OF_ENTRA)
def test_every_error_of_entra_id_means_what_is_promised(code):
    for name in PROMISED_OF_ENTRA[code].split():
        assert classify_token(400, name, [])[0].code == code, name


@pytest.mark.parametrize("code", PROMISED_NUMBERS)
def test_every_number_means_what_is_promised_whatever_error_it_comes_with(code):
    for number in PROMISED_NUMBERS[code]:
        for error in ("invalid_client", "invalid_request", "brand_new"):
            assert classify_token(400, error, [number])[0].code == code, number


def test_without_a_known_number_the_error_decides():
    assert classify_token(401, "invalid_client", [999_999_999]) == (OAUTH["invalid_client"], True)


@pytest.mark.parametrize(
    ("phase", "code"), [(Phase.WRAP, Code.KMS_CONFIGURATION_INVALID), (Phase.UNWRAP, Code.KMS_UNWRAP_FAILED)]
)
def test_a_bad_parameter_means_the_config_or_the_ciphertext(phase, code):
    assert classify(phase, 400, "BadParameter", "")[0].code is code


@pytest.mark.parametrize(
    ("phase", "status", "code"),
    [
        (Phase.WRAP, 400, Code.KMS_WRAP_FAILED),
        (Phase.UNWRAP, 409, Code.KMS_UNWRAP_FAILED),
        (Phase.WRAP, 401, Code.KMS_AUTHORIZATION_FAILED),
        (Phase.WRAP, 429, Code.KMS_THROTTLED),
        (Phase.UNWRAP, 503, Code.KMS_UNREACHABLE),
    ],
)
def test_a_code_that_is_not_listed_is_judged_by_its_status_and_counted(phase, status, code):
    meaning, listed = classify(phase, status, "BrandNew", "BrandNewToo")

    assert (meaning.code, listed) == (code, False)


def test_the_log_names_both_codes_and_the_request():
    error = {"code": "Forbidden", "innererror": {"code": "ForbiddenByRbac"}, "message": "x"}
    body = msgspec.json.encode({"error": error})
    made = fault(Phase.WRAP, Response(403, {"x-ms-request-id": "r-1"}, body), GUID)

    assert (made.provider_code, made.request_id, made.listed) == ("Forbidden.ForbiddenByRbac", "r-1", True)


def test_the_log_names_error_number_and_trace():
    body = msgspec.json.encode({"error": "invalid_client", "error_codes": [7000222], "trace_id": "t-1"})
    made = token_fault(Response(401, {}, body))

    assert (made.provider_code, made.request_id) == ("invalid_client.AADSTS7000222", "t-1")
    assert "expired" in made.message


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_call_says_when_to_come_back_and_nothing_else_does(status):
    made = fault(Phase.WRAP, Response(status, {"retry-after": "7"}, b""), GUID)

    assert made.retry_after_s == (7 if status == 429 else None)
    assert made.once_more is (status == 503)


def test_every_message_is_a_sentence():
    for meaning in [*OAUTH.values(), *NUMBERS.values(), *VAULT.values(), *VAULT_BY_PHASE.values()]:
        assert meaning.words[-1] not in ".; "
        assert meaning.words[0].islower()


def test_the_login_hosts_are_those_of_microsofts_own_libraries():
    hosts = azure.identity.AzureAuthorityHosts
    theirs = {hosts.AZURE_PUBLIC_CLOUD, hosts.AZURE_GOVERNMENT}
    ours = {cloud.login_host for cloud in CLOUDS}

    assert theirs <= ours
    assert ours <= WELL_KNOWN_AUTHORITY_HOSTS
    # azure-identity names China's by its older name, which MSAL knows as an alias.
    assert "login.partner.microsoftonline.cn" in ours


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "code", "innererror", "message", "error_codes", "trace_id"]), inner
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.binary(max_size=300) | json_values, st.integers(300, 599), st.text(max_size=40))
def test_no_answer_whatever_crashes_the_readers(body, status, header):
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    response = Response(status, {"www-authenticate": header, "x-ms-request-id": header}, encoded)
    for made in (token_fault(response), *(fault(phase, response, GUID) for phase in (Phase.WRAP, Phase.UNWRAP))):
        assert 204 <= made.code <= 210
        assert made.message.endswith(".")
