from collections import Counter, deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.resilience import CallLimits, may_retry
from tenant_security.outbound.bulkhead import Bulkhead, Verdict
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


def bulkhead(**limits: int) -> Bulkhead[str]:
    return Bulkhead(CallLimits(**limits).room())


def test_a_tenant_beyond_its_bound_waits_and_the_first_to_come_goes_first():
    calls = bulkhead(in_flight_per_tenant=1)

    assert [calls.enter("t", ticket) for ticket in "abc"] == [Verdict.GO, Verdict.WAIT, Verdict.WAIT]
    assert [calls.leave("t"), calls.leave("t"), calls.leave("t")] == ["b", "c", None]


def test_one_tenants_bound_is_not_anothers():
    calls = bulkhead(in_flight_per_tenant=1)
    calls.enter("slow", "a")

    assert calls.enter("slow", "b") is Verdict.WAIT
    assert calls.enter("quick", "c") is Verdict.GO


def test_a_full_queue_turns_away_only_its_own_tenant():
    calls = bulkhead(in_flight_per_tenant=1, waiting_per_tenant=1)

    assert [calls.enter("t", ticket) for ticket in "abc"] == [Verdict.GO, Verdict.WAIT, Verdict.FULL]
    assert [calls.enter("u", ticket) for ticket in "de"] == [Verdict.GO, Verdict.WAIT]


def test_all_queues_together_have_a_bound():
    calls = bulkhead(in_flight=1, waiting=2)

    assert [calls.enter(tenant, tenant) for tenant in "abcd"] == [
        Verdict.GO,
        Verdict.WAIT,
        Verdict.WAIT,
        Verdict.FULL,
    ]


def test_when_all_places_are_taken_tenants_take_turns():
    calls = bulkhead(in_flight=1)
    for ticket in ["greedy 1", "greedy 2", "greedy 3", "modest 1"]:
        calls.enter(ticket.split()[0], ticket)

    order = [calls.leave("greedy"), calls.leave("greedy"), calls.leave("modest"), calls.leave("greedy")]

    assert order == ["greedy 2", "modest 1", "greedy 3", None]


def test_who_leaves_the_queue_is_not_called():
    calls = bulkhead(in_flight_per_tenant=1)
    for ticket in "abc":
        calls.enter("t", ticket)

    calls.abandon("t", "b")

    assert calls.leave("t") == "c"


def test_idle_tenants_leave_nothing_behind():
    calls = bulkhead(in_flight=1)
    for tenant in "abc":
        calls.enter(tenant, tenant)
    calls.abandon("c", "c")
    calls.leave("a")
    calls.leave("b")

    assert len(calls) == calls.running == calls.waiting == 0


class AnyOrderOfCalls(RuleBasedStateMachine):
    """Whatever the order: bounds hold, nobody is forgotten and no place stays empty while somebody could have it."""

    limits = CallLimits(in_flight=4, in_flight_per_tenant=2, waiting_per_tenant=3, waiting=7)

    def __init__(self) -> None:
        super().__init__()
        self.calls: Bulkhead[int] = Bulkhead(self.limits.room())
        self.running: Counter[str] = Counter()
        self.waiting: dict[str, deque[int]] = {tenant: deque() for tenant in "abc"}
        self.owners: dict[int, str] = {}

    def queued(self) -> int:
        return sum(map(len, self.waiting.values()))

    @rule(tenant=st.sampled_from("abc"))
    def enter(self, tenant: str) -> None:
        ticket = len(self.owners)
        self.owners[ticket] = tenant
        match self.calls.enter(tenant, ticket):
            case Verdict.GO:
                self.running[tenant] += 1
            case Verdict.WAIT:
                assert self.running[tenant] == 2 or self.running.total() == 4
                self.waiting[tenant].append(ticket)
            case Verdict.FULL:
                assert len(self.waiting[tenant]) == 3 or self.queued() == 7

    @precondition(lambda self: self.running.total())
    @rule(choice=st.data())
    def leave(self, choice: st.DataObject) -> None:
        tenant = choice.draw(st.sampled_from(sorted(self.running.elements())))
        self.running[tenant] -= 1
        ticket = self.calls.leave(tenant)
        if ticket is not None:
            owner = self.owners[ticket]
            assert self.waiting[owner].popleft() == ticket
            self.running[owner] += 1

    @precondition(lambda self: self.queued())
    @rule(choice=st.data())
    def abandon(self, choice: st.DataObject) -> None:
        tenant = choice.draw(st.sampled_from([tenant for tenant, queue in self.waiting.items() if queue]))
        ticket = choice.draw(st.sampled_from(list(self.waiting[tenant])))
        self.waiting[tenant].remove(ticket)
        self.calls.abandon(tenant, ticket)

    @invariant()
    def bounds_hold(self) -> None:
        assert self.running.total() == self.calls.running <= 4
        assert self.queued() == self.calls.waiting <= 7
        assert all(count <= 2 for count in self.running.values())

    @invariant()
    def no_place_is_wasted(self) -> None:
        if self.running.total() < 4:
            assert all(self.running[tenant] == 2 for tenant, queue in self.waiting.items() if queue)

    @invariant()
    def only_busy_tenants_are_remembered(self) -> None:
        assert len(self.calls) == sum(1 for tenant in "abc" if self.running[tenant] or self.waiting[tenant])


AnyOrderOfCalls.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase
