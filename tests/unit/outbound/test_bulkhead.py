from collections import Counter, deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tenant_security.outbound.bulkhead import Bulkhead, Room, Verdict


def bulkhead(**room: int) -> Bulkhead[str]:
    ample = {"running": 1_000, "per_owner": 1_000, "per_group": 1_000, "waiting": 1_000, "waiting_per_owner": 1_000}
    return Bulkhead(Room(**ample | room))


def test_a_tenant_beyond_its_bound_waits_and_the_first_to_come_goes_first():
    calls = bulkhead(per_owner=1)

    assert [calls.enter("t", ticket) for ticket in "abc"] == [Verdict.GO, Verdict.WAIT, Verdict.WAIT]
    assert [calls.leave("t"), calls.leave("t"), calls.leave("t")] == ["b", "c", None]


def test_one_tenants_bound_is_not_anothers():
    calls = bulkhead(per_owner=1)
    calls.enter("slow", "a")

    assert calls.enter("slow", "b") is Verdict.WAIT
    assert calls.enter("quick", "c") is Verdict.GO


def test_a_full_queue_turns_away_only_its_own_tenant():
    calls = bulkhead(per_owner=1, waiting_per_owner=1)

    assert [calls.enter("t", ticket) for ticket in "abc"] == [Verdict.GO, Verdict.WAIT, Verdict.FULL]
    assert [calls.enter("u", ticket) for ticket in "de"] == [Verdict.GO, Verdict.WAIT]


def test_all_queues_together_have_a_bound():
    calls = bulkhead(running=1, waiting=2)

    assert [calls.enter(tenant, tenant) for tenant in "abcd"] == [
        Verdict.GO,
        Verdict.WAIT,
        Verdict.WAIT,
        Verdict.FULL,
    ]


def test_when_all_places_are_taken_tenants_take_turns():
    calls = bulkhead(running=1)
    for ticket in ["greedy 1", "greedy 2", "greedy 3", "modest 1"]:
        calls.enter(ticket.split()[0], ticket)

    order = [calls.leave("greedy"), calls.leave("greedy"), calls.leave("modest"), calls.leave("greedy")]

    assert order == ["greedy 2", "modest 1", "greedy 3", None]


def test_who_leaves_the_queue_is_not_called():
    calls = bulkhead(per_owner=1)
    for ticket in "abc":
        calls.enter("t", ticket)

    calls.abandon("t", "b")

    assert calls.leave("t") == "c"


def test_idle_tenants_leave_nothing_behind():
    calls = bulkhead(running=1)
    for tenant in "abc":
        calls.enter(tenant, tenant)
    calls.abandon("c", "c")
    calls.leave("a")
    calls.leave("b")

    assert len(calls) == calls.running == calls.waiting == 0


def test_a_group_at_its_bound_holds_up_its_own_owners_only_and_they_take_turns():
    calls = bulkhead(per_group=2)
    for number in range(4):
        calls.enter("greedy", f"greedy {number}", b"g")
    calls.enter("modest", "modest 0", b"g")

    assert calls.enter("other", "other 0", b"h") is Verdict.GO
    assert calls.enter("greedy", "greedy h", b"h") is Verdict.GO
    order = [calls.leave("greedy", b"g"), calls.leave("greedy", b"g"), calls.leave("greedy", b"g")]
    assert order == ["greedy 2", "modest 0", "greedy 3"]


class AnyOrderOfCalls(RuleBasedStateMachine):
    """Whatever the order: bounds hold, nobody is forgotten and no place stays empty while somebody could have it."""

    room = Room(running=5, per_owner=2, per_group=3, waiting_per_owner=3, waiting=9)
    lanes = tuple((owner, group) for owner in "abc" for group in (b"g", b"h"))

    def __init__(self) -> None:
        super().__init__()
        self.calls: Bulkhead[int] = Bulkhead(self.room)
        self.running: Counter[tuple[str, bytes]] = Counter()
        self.waiting: dict[tuple[str, bytes], deque[int]] = {lane: deque() for lane in self.lanes}
        self.owners: dict[int, tuple[str, bytes]] = {}

    def queued(self) -> int:
        return sum(map(len, self.waiting.values()))

    def in_group(self, group: bytes) -> int:
        return sum(count for lane, count in self.running.items() if lane[1] == group)

    def could_go(self, lane: tuple[str, bytes]) -> bool:
        return self.running.total() < 5 and self.running[lane] < 2 and self.in_group(lane[1]) < 3

    @rule(lane=st.sampled_from(lanes))
    def enter(self, lane: tuple[str, bytes]) -> None:
        ticket = len(self.owners)
        self.owners[ticket] = lane
        match self.calls.enter(lane[0], ticket, lane[1]):
            case Verdict.GO:
                assert self.could_go(lane)
                self.running[lane] += 1
            case Verdict.WAIT:
                assert not self.could_go(lane)
                self.waiting[lane].append(ticket)
            case Verdict.FULL:
                assert len(self.waiting[lane]) == 3 or self.queued() == 9

    @precondition(lambda self: self.running.total())
    @rule(choice=st.data())
    def leave(self, choice: st.DataObject) -> None:
        lane = choice.draw(st.sampled_from(sorted(self.running.elements())))
        self.running[lane] -= 1
        ticket = self.calls.leave(*lane)
        if ticket is not None:
            owner = self.owners[ticket]
            assert self.waiting[owner].popleft() == ticket
            self.running[owner] += 1

    @precondition(lambda self: self.queued())
    @rule(choice=st.data())
    def abandon(self, choice: st.DataObject) -> None:
        lane = choice.draw(st.sampled_from([lane for lane, queue in self.waiting.items() if queue]))
        ticket = choice.draw(st.sampled_from(list(self.waiting[lane])))
        self.waiting[lane].remove(ticket)
        self.calls.abandon(lane[0], ticket, lane[1])

    @invariant()
    def bounds_hold(self) -> None:
        assert self.running.total() == self.calls.running <= 5
        assert self.queued() == self.calls.waiting <= 9
        assert all(count <= 2 for count in self.running.values())
        assert all(self.in_group(group) <= 3 for group in (b"g", b"h"))

    @invariant()
    def no_place_is_wasted(self) -> None:
        assert not any(queue and self.could_go(lane) for lane, queue in self.waiting.items())

    @invariant()
    def only_busy_lanes_are_remembered(self) -> None:
        assert len(self.calls) == sum(1 for lane in self.lanes if self.running[lane] or self.waiting[lane])


AnyOrderOfCalls.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
TestAnyOrderOfCalls = AnyOrderOfCalls.TestCase
