"""The one table of faults."""

import pytest

from tenant_security.errors import FAULTS, Code, Fixer, SettingsError, TenantSecurityError

ALL = pytest.mark.parametrize("code", Code, ids=lambda code: code.name)


def test_every_code_is_in_the_table_and_nothing_else():
    assert set(FAULTS) == set(Code)


def test_the_numbers_are_those_that_clients_know():
    assert [int(code) for code in Code] == [100, 101, 102, *range(200, 211), 301, 401]


@ALL
def test_only_a_wrong_api_key_answers_401(code):
    assert (FAULTS[code].http_status == 401) is (code is Code.UNAUTHORIZED_REQUEST)


@ALL
def test_only_our_own_faults_answer_5xx(code):
    """A load balancer takes an instance that answers 5xx out of service, for every tenant."""
    assert 400 <= FAULTS[code].http_status < 600
    assert (FAULTS[code].http_status >= 500) is (code is Code.UNKNOWN_ERROR)


@ALL
def test_a_fault_says_what_the_table_knows(code):
    fault = TenantSecurityError(code, "what happened")

    assert (fault.http_status, fault.retryable, fault.fixer) == FAULTS[code]
    assert str(fault) == fault.message == "what happened"
    assert fault.retry_after_s is None


def test_a_place_that_knows_better_chooses_the_status():
    assert TenantSecurityError(Code.INVALID_REQUEST_BODY, "too large", http_status=413).http_status == 413


@pytest.mark.parametrize(
    ("code", "retryable"),
    [(Code.KMS_THROTTLED, True), (Code.KMS_UNREACHABLE, True), (Code.KMS_AUTHORIZATION_FAILED, False)],
)
def test_a_retry_is_advised_only_where_it_can_help(code, retryable):
    assert TenantSecurityError(code, "x").retryable is retryable


def test_a_tenants_kms_is_the_tenants_to_mend():
    assert {FAULTS[code].fixer for code in Code if 204 <= code <= 210} == {Fixer.TENANT}


def test_settings_problems_are_told_all_at_once():
    wrong = SettingsError(["A is missing", "B must be a number"])

    assert wrong.problems == ["A is missing", "B must be a number"]
    assert str(wrong) == "A is missing; B must be a number"
