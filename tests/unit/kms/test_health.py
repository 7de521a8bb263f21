import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tenant_security.errors import Code
from tenant_security.kms.health import HealthLimits, KmsHealth, NotAskedError, Why, _State
from tenant_security.kms.provider import KmsFaultError
from tenant_security.testing.clock import SteppingClock

CONFIG = b"a config's fingerprint"


def fault(code: Code, *, retry_after_s: float | None = None) -> KmsFaultError:
    return KmsFaultError(code, f"words of {int(code)}", provider="test", retry_after_s=retry_after_s)


class World:
    def __init__(self, **limits: float) -> None:
        self.clock = SteppingClock()
        self.health = KmsHealth(HealthLimits(**limits), clock=self.clock, jitter=lambda _low, high: high)

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.health.failed(CONFIG, probe=self.health.begin(CONFIG, "test"))

    def answer(self, code: Code | None = None, **more: float) -> None:
        self.health.begin(CONFIG, "test")
        self.health.answered(CONFIG, None if code is None else fault(code, **more))

    def refused(self) -> NotAskedError:
        with pytest.raises(NotAskedError) as caught:
            self.health.begin(CONFIG, "test")
        same = self.health.refusal(CONFIG, "test")
        assert same is not None
        assert same.message == caught.value.message
        return caught.value


def test_a_config_without_trouble_leaves_nothing_behind():
    world = World()
    for _ in range(100):
        world.answer()
    world.answer(Code.KMS_CONFIGURATION_INVALID)
    world.answer(Code.KMS_THROTTLED)  # without Retry-After there is nothing to obey

    assert len(world.health) == 0


def test_the_breaker_opens_after_some_calls_in_a_row_without_an_answer():
    world = World(open_after=5)
    world.fail(4)
    assert world.health.refusal(CONFIG, "test") is None
    world.fail()

    refusal = world.refused()
    assert (refusal.code, refusal.why, refusal.retry_after_s) == (Code.KMS_UNREACHABLE, Why.OPEN, 1)
    assert world.health.blocked()[Why.OPEN] == 1
    assert world.health.refusal(b"another", "test") is None


def test_one_answer_between_them_and_it_stays_closed():
    world = World(open_after=5, window_calls=1_000)
    for _ in range(20):
        world.fail(4)
        world.answer(Code.KMS_CONFIGURATION_INVALID)

    assert world.health.refusal(CONFIG, "test") is None


def test_the_breaker_opens_when_half_of_many_calls_get_no_answer():
    world = World(open_after=5, window_calls=20, window_share=0.5)
    for _ in range(9):
        world.fail()
        world.answer()
    world.fail()
    assert world.health.refusal(CONFIG, "test") is None
    world.fail()

    assert world.refused().why is Why.OPEN


def test_old_failures_do_not_count():
    world = World(open_after=100, window_s=10)
    for _ in range(30):
        world.fail()
        world.clock.advance(1)
        world.answer()
        world.answer()
    assert world.health.refusal(CONFIG, "test") is None


@pytest.mark.parametrize("code", [code for code in Code if 204 <= code <= 210 and code != 208])
def test_a_kms_that_says_no_does_not_open_the_breaker(code):
    world = World(refused_s=0)
    for _ in range(100):
        world.answer(code)

    assert world.health.refusal(CONFIG, "test") is None
    assert world.health.blocked()[Why.OPEN] == 0


def test_one_call_tries_and_the_others_wait_for_it():
    world = World(open_min_s=1)
    world.fail(5)
    world.clock.advance(0.99)
    world.refused()
    world.clock.advance(0.02)

    assert world.health.begin(CONFIG, "test") is True
    assert world.refused().why is Why.OPEN
    world.health.answered(CONFIG)
    assert world.health.begin(CONFIG, "test") is False


def test_the_moments_grow_while_the_trials_fail_and_start_small_again_after_an_answer():
    world = World(open_min_s=1, open_max_s=8)
    world.fail(5)
    waits = []
    for _ in range(6):
        waits.append(world.refused().retry_after_s)
        world.clock.advance(waits[-1])
        world.fail()
    assert waits == [1, 2, 4, 8, 8, 8]
    world.clock.advance(8)
    world.answer()
    world.fail(5)
    assert world.refused().retry_after_s == 1


def test_a_trial_whose_caller_left_lets_the_next_one_try():
    world = World()
    world.fail(5)
    world.clock.advance(1)
    assert world.health.begin(CONFIG, "test")
    world.health.abandoned(CONFIG, probe=True)

    assert world.health.begin(CONFIG, "test")


def test_calls_that_were_under_way_do_not_prolong_it_and_may_end_it():
    world = World()
    early = [world.health.begin(CONFIG, "test") for _ in range(10)]
    for probe in early[:9]:
        world.health.failed(CONFIG, probe=probe)
    assert world.refused().retry_after_s == 1
    world.health.answered(CONFIG)

    assert world.health.begin(CONFIG, "test") is False


def test_refused_credentials_are_not_shown_again_for_half_a_minute():
    world = World(refused_s=30)
    world.answer(Code.KMS_AUTHORIZATION_FAILED)

    refusal = world.refused()
    assert (refusal.code, refusal.message) == (Code.KMS_AUTHORIZATION_FAILED, "words of 206")
    assert refusal.retry_after_s == 30
    world.clock.advance(30)
    world.answer()
    assert len(world.health) == 0


@pytest.mark.parametrize(("asked_for", "obeyed"), [(7, 7), (60, 60), (3_600, 60)])
def test_retry_after_is_obeyed_and_passed_on(asked_for, obeyed):
    world = World()
    world.answer(Code.KMS_THROTTLED, retry_after_s=asked_for)

    refusal = world.refused()
    assert (refusal.code, refusal.why, refusal.retry_after_s) == (Code.KMS_THROTTLED, Why.PAUSED, obeyed)
    world.clock.advance(obeyed - 2)
    assert world.refused().retry_after_s == 2
    world.clock.advance(2)
    assert world.health.begin(CONFIG, "test") is False


def test_retries_are_few_and_earned_by_answers():
    world = World(retries=2, retry_earned=0.5)
    taken = [world.health.take_retry(CONFIG, probe=False) for _ in range(3)]
    assert taken == [True, True, False]
    world.answer()
    assert not world.health.take_retry(CONFIG, probe=False)
    world.answer()
    assert world.health.take_retry(CONFIG, probe=False)
    assert not world.health.take_retry(b"trial", probe=True)


def test_old_troubles_are_forgotten():
    world = World(forget_s=300)
    world.fail(5)
    world.clock.advance(299)
    world.health.sweep()
    assert len(world.health) == 1
    world.clock.advance(1)
    world.health.sweep()
    assert len(world.health) == 0


def test_the_state_of_a_config_in_trouble_is_small():
    state = _State(1_000.0, 2.0)
    own = sys.getsizeof(state) + sum(sys.getsizeof(each) for each in (state.since, state.until, state.retries))

    assert own < 256


@pytest.mark.parametrize(
    "wrong", [{"open_after": 0}, {"window_share": 0}, {"open_min_s": 9, "open_max_s": 1}, {"refused_s": -1}]
)
def test_limits_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="positive"):
        HealthLimits(**wrong)


class AnyOrderOfEnds(RuleBasedStateMachine):
    """Whatever the order: one trial at a time, every block ends, and what answered is asked."""

    @initialize()
    def begin_world(self) -> None:
        self.world = World(open_after=3, open_max_s=8, refused_s=5)
        self.under_way: list[bool] = []

    @rule()
    def begin(self) -> None:
        refusal = self.world.health.refusal(CONFIG, "test")
        if refusal is None:
            self.under_way.append(self.world.health.begin(CONFIG, "test"))
        else:
            assert refusal.retry_after_s is not None
            assert 1 <= refusal.retry_after_s <= 60

    @precondition(lambda self: self.under_way)
    @rule(end=st.sampled_from(["key", "failed", "abandoned", 204, 205, 206, 207, 209, 210]), choice=st.data())
    def end(self, end: str | int, choice: st.DataObject) -> None:
        probe = self.under_way.pop(choice.draw(st.integers(0, len(self.under_way) - 1)))
        match end:
            case "failed":
                self.world.health.failed(CONFIG, probe=probe)
            case "abandoned":
                self.world.health.abandoned(CONFIG, probe=probe)
            case "key":
                self.world.health.answered(CONFIG)
                assert self.world.health.blocked()[Why.OPEN] == 0
            case int():
                self.world.health.answered(CONFIG, fault(Code(end), retry_after_s=3 if end == 209 else None))
                assert self.world.health.blocked()[Why.OPEN] == 0

    @rule(seconds=st.sampled_from([0.5, 1, 4, 8, 30]))
    def wait(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        self.world.health.sweep()

    @precondition(lambda self: not any(self.under_way))
    @rule()
    def every_block_ends(self) -> None:
        """With no trial under way, a minute later somebody may ask."""
        self.world.clock.advance(60)
        assert self.world.health.refusal(CONFIG, "test") is None


AnyOrderOfEnds.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyOrderOfEnds = AnyOrderOfEnds.TestCase
