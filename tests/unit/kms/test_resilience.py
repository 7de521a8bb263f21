import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.resilience import CallLimits, may_retry
from tenant_security.outbound.flow import Reason, UnreachableError

LIMITS = CallLimits(deadline_s=10, retry_share_left=0.4)


def fault(code: Code = Code.KMS_UNREACHABLE, *, once_more: bool) -> KmsFaultError:
    return KmsFaultError(code, "words", provider="test", once_more=once_more)


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.REFUSED])
def test_a_network_failure_is_tried_once_more(reason):
    assert may_retry(UnreachableError(reason), tried=1, left_s=5, limits=LIMITS)


def test_an_address_that_is_not_allowed_is_not_tried_again():
    assert not may_retry(UnreachableError(Reason.REFUSED), tried=1, left_s=5, limits=LIMITS)


def test_a_fault_of_the_provider_is_tried_once_more_and_a_refusal_is_not():
    assert may_retry(fault(once_more=True), tried=1, left_s=5, limits=LIMITS)
    assert not may_retry(fault(Code.KMS_THROTTLED, once_more=False), tried=1, left_s=5, limits=LIMITS)
    assert not may_retry(TenantSecurityError(Code.KMS_THROTTLED, "words"), tried=1, left_s=5, limits=LIMITS)
    assert not may_retry(ValueError(), tried=1, left_s=5, limits=LIMITS)


def test_there_is_one_retry_and_no_second():
    assert not may_retry(fault(once_more=True), tried=2, left_s=9, limits=LIMITS)


@pytest.mark.parametrize(("left_s", "enough"), [(4.0, True), (3.999, False), (0, False), (-1, False)])
def test_a_retry_needs_two_fifths_of_the_deadline(left_s, enough):
    assert may_retry(fault(once_more=True), tried=1, left_s=left_s, limits=LIMITS) is enough


@pytest.mark.parametrize(
    "wrong",
    [
        {"deadline_s": 0},
        {"retry_share_left": 1.1},
        {"retry_pause_min_s": 0.2},
        {"in_flight": 0},
        {"in_flight_per_tenant": 0},
        {"waiting": -1},
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"positive|share"):
        CallLimits(**wrong)
