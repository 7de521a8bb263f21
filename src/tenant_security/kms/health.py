"""How each config's KMS has been doing, and what follows: whom not to ask for now. Pure; ``caller`` obeys it.

* **A breaker for each config.** After some calls without an answer (208) nobody is asked for a moment, then one call
  tries; while it fails the moments grow. Answers of any kind, refusals included, close it: 204 to 207, 209 and 210 are
  a KMS that works and says no.
* **Refused credentials (206)** are not shown again for half a minute: whoever keeps trying locks accounts.
* **Retry-After** of a KMS that is asked too often (209) is obeyed and passed on, up to a minute.
* **A retry budget.** Retries are few to begin with and are earned by answers, so that a failing KMS sees little more
  than its callers' own load.

A config without trouble has no state at all. Nothing here is about tenants: ``outbound.bulkhead`` divides the room.

Source: the AWS Builders' Library, "Timeouts, retries and backoff with jitter"; docs/kms-calls.md.
"""

import time
from collections.abc import Callable
from enum import Enum
from typing import Final

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError

RETRY_AFTER_CAP_S: Final = 60.0


class HealthLimits(msgspec.Struct, frozen=True, kw_only=True):
    """When a KMS is left alone. Units: seconds where the name ends in ``_s``, shares of 1, else counts of calls."""

    open_after: int = 5
    """Calls in a row without an answer that open the breaker."""
    window_s: float = 10.0
    """The window for the share below; it begins with a failure."""
    window_calls: int = 20
    """Calls in the window before the share counts."""
    window_share: float = 0.5
    """The share of them without an answer that opens the breaker."""
    open_min_s: float = 1.0
    """How long the breaker stays open first; twice as long each time a trial call fails."""
    open_max_s: float = 30.0
    """The longest that it stays open."""
    refused_s: float = 30.0
    """How long credentials that were refused are not shown again."""
    retries: float = 2.0
    """Retries that a config may have in hand."""
    retry_earned: float = 0.1
    """What one answered call adds to them."""
    forget_s: float = 300.0
    """After so long without a call a config's troubles are forgotten."""

    def __post_init__(self) -> None:
        if self.open_after < 1 or self.window_calls < 1 or not 0 < self.window_share <= 1:
            raise ValueError("bounds must be positive")
        if not 0 < self.open_min_s <= self.open_max_s or min(self.window_s, self.refused_s, self.forget_s) < 0:
            raise ValueError("times must be positive and in order")


class Why(Enum):
    """Why a config's KMS is not asked."""

    OPEN = "breaker"
    REFUSED = "credentials"
    PAUSED = "pause"


class NotAskedError(KmsFaultError):
    """The answer to a call that was not sent, because of how earlier ones ended."""

    def __init__(self, code: Code, message: str, provider: str, wait_s: float, why: Why) -> None:
        super().__init__(code, message, provider=provider, retry_after_s=max(1.0, wait_s))
        self.why = why


class _State:
    """One config that has had trouble lately."""

    __slots__ = (
        "calls",
        "failures",
        "fault",
        "in_a_row",
        "opened",
        "probing",
        "retries",
        "seen",
        "since",
        "until",
        "why",
    )

    def __init__(self, now: float, retries: float) -> None:
        self.in_a_row = 0
        self.calls = 0
        self.failures = 0
        self.since = now
        self.seen = now
        self.until = 0.0
        self.why: Why | None = None
        self.fault: TenantSecurityError | None = None
        self.opened = 0
        self.probing = False
        self.retries = retries


class KmsHealth:
    """The health of every config's KMS, by the config's fingerprint.

    For each call: :meth:`refusal` before queueing, :meth:`begin` before sending, then exactly one of :meth:`answered`,
    :meth:`failed` and :meth:`abandoned`.
    """

    def __init__(
        self,
        limits: HealthLimits | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[float, float], float] = lambda low, high: (low + high) / 2,
    ) -> None:
        self._limits = limits or HealthLimits()
        self._clock = clock
        self._jitter = jitter
        self._states: dict[bytes, _State] = {}

    def __len__(self) -> int:
        """How many configs have had trouble lately."""
        return len(self._states)

    def blocked(self) -> dict[Why, int]:
        """How many configs are not asked now, by why."""
        now = self._clock()
        found = dict.fromkeys(Why, 0)
        for state in self._states.values():
            if state.why is not None and (now < state.until or state.why is Why.OPEN):
                found[state.why] += 1
        return found

    def refusal(self, config: bytes, provider: str) -> NotAskedError | None:
        """Return the answer to give without asking, if there is one."""
        state = self._states.get(config)
        if state is None or state.why is None:
            return None
        left_s = state.until - self._clock()
        if left_s <= 0 and not (state.why is Why.OPEN and state.probing):
            return None
        match state.why:
            case Why.OPEN:
                words = "The tenant's KMS could not be reached the last times; it is asked again in a moment."
                return NotAskedError(Code.KMS_UNREACHABLE, words, provider, left_s, state.why)
            case Why.PAUSED:
                words = "The tenant's KMS asked for a pause: its request quota is used up. Call less often."
                return NotAskedError(Code.KMS_THROTTLED, words, provider, left_s, state.why)
            case Why.REFUSED:
                assert state.fault is not None
                return NotAskedError(state.fault.code, state.fault.message, provider, left_s, state.why)

    def begin(self, config: bytes, provider: str) -> bool:
        """Take leave to call. Returns whether this is the one call that tries a KMS that had failed.

        Raises: NotAskedError.
        """
        refusal = self.refusal(config, provider)
        if refusal is not None:
            raise refusal
        state = self._states.get(config)
        if state is not None and state.why is Why.OPEN:
            state.probing = True
            return True
        return False

    def take_retry(self, config: bytes, *, probe: bool) -> bool:
        """Whether a failed call may be sent once more; if so, the budget pays for it."""
        state = self._states.get(config) or self._remember(config)
        if probe or state.retries < 1:
            return False
        state.retries -= 1
        return True

    def answered(self, config: bytes, fault: TenantSecurityError | None = None) -> None:
        """A call ended with an answer: a key, or a refusal."""
        code = None if fault is None else fault.code
        pause_s = 0.0 if fault is None or code is not Code.KMS_THROTTLED else fault.retry_after_s or 0.0
        state = self._states.get(config)
        if state is None:
            if code is not Code.KMS_AUTHORIZATION_FAILED and not pause_s:
                return
            state = self._remember(config)
        now, limits = self._clock(), self._limits
        self._roll(state, now)
        state.calls += 1
        state.in_a_row, state.opened, state.probing = 0, 0, False
        state.retries = min(limits.retries, state.retries + limits.retry_earned)
        if state.why is Why.OPEN:
            state.why, state.until = None, 0.0
            state.calls = state.failures = 0
        if code is Code.KMS_AUTHORIZATION_FAILED:
            assert fault is not None
            state.why, state.fault, state.until = Why.REFUSED, fault.with_traceback(None), now + limits.refused_s
        elif pause_s:
            state.why, state.until = Why.PAUSED, now + min(pause_s, RETRY_AFTER_CAP_S)
        if self._at_rest(state, now):
            del self._states[config]

    def failed(self, config: bytes, *, probe: bool) -> None:
        """A call ended without an answer (208)."""
        now, limits = self._clock(), self._limits
        state = self._states.get(config) or self._remember(config)
        if state.why is Why.OPEN and not probe:
            return  # it had begun before the breaker opened, and says nothing new
        self._roll(state, now)
        state.calls += 1
        state.failures += 1
        state.in_a_row += 1
        state.probing = False
        often = state.calls >= limits.window_calls and state.failures >= limits.window_share * state.calls
        if probe or often or state.in_a_row >= limits.open_after:
            moment = min(limits.open_max_s, limits.open_min_s * 2.0 ** min(state.opened, 16))
            state.opened += 1
            # Not all at the same moment: configs that failed together share a provider.
            state.why, state.until = Why.OPEN, now + self._jitter(0.8 * moment, moment)

    def abandoned(self, config: bytes, *, probe: bool) -> None:
        """A call ended because its own caller left: it says nothing of the KMS."""
        state = self._states.get(config)
        if state is not None and probe:
            state.probing = False

    def sweep(self) -> None:
        """Forget old troubles."""
        now = self._clock()
        for config, state in list(self._states.items()):
            if self._at_rest(state, now) or (not state.probing and now - state.seen >= self._limits.forget_s):
                del self._states[config]

    def _remember(self, config: bytes) -> _State:
        state = self._states[config] = _State(self._clock(), self._limits.retries)
        return state

    def _roll(self, state: _State, now: float) -> None:
        state.seen = now
        if now - state.since >= self._limits.window_s:
            state.since, state.calls, state.failures = now, 0, 0

    def _at_rest(self, state: _State, now: float) -> bool:
        return (
            state.why is not Why.OPEN
            and now >= state.until
            and not state.in_a_row
            and not state.failures
            and state.retries >= self._limits.retries
        )
