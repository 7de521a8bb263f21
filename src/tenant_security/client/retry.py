"""When to ask again: a pure rule over what came of an attempt."""

from typing import Final

import msgspec

from tenant_security.client.errors import ClientError
from tenant_security.outbound.flow import Reason

NOT_SENT: Final = frozenset({Reason.NAME, Reason.CONNECT})
"""No answer came, and the proxy cannot have acted on the request."""
_LOST: Final = NOT_SENT | {Reason.TIMEOUT, Reason.RESET}
_SERVER_FAULT: Final = 500
_BUSY: Final = 503


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often to ask again, and how long to wait before it.

    The wait before the n-th repetition is random between half of and all of ``first_wait_s * 2**(n-1)``, at most
    ``longest_wait_s``; where the proxy says for how long, its word counts instead, up to the same bound.

    Units: seconds; ``repetitions`` is a count, 0 for never.
    """

    repetitions: int = 2
    first_wait_s: float = 0.1
    longest_wait_s: float = 2.0

    def __post_init__(self) -> None:
        if self.repetitions < 0 or self.first_wait_s < 0 or self.longest_wait_s < 0:
            raise ValueError("a retry policy holds no negative number")

    def wait_after_no_answer(self, reason: Reason, nth: int, chance: float, *, repeatable: bool) -> float | None:
        """How long to wait after the n-th attempt got no answer; None: give up. ``chance`` lies in [0, 1)."""
        if nth > self.repetitions or reason not in (_LOST if repeatable else NOT_SENT):
            return None
        return self._wait_s(nth, chance)

    def wait_after_error(self, error: ClientError, nth: int, chance: float, *, repeatable: bool) -> float | None:
        """How long to wait after the n-th attempt was answered with an error; None: give up."""
        if nth > self.repetitions or not error.retryable:
            return None
        if not repeatable and not _refused(error.http_status):
            return None
        if error.retry_after_s is not None:
            return min(error.retry_after_s, self.longest_wait_s)
        return self._wait_s(nth, chance)

    def _wait_s(self, nth: int, chance: float) -> float:
        longest: float = min(self.first_wait_s * 2 ** (nth - 1), self.longest_wait_s)
        return longest * (0.5 + chance / 2)


def _refused(status: int | None) -> bool:
    """Whether the answer says that the proxy did not act on the request; one that failed midway may have."""
    return status is not None and (status < _SERVER_FAULT or status == _BUSY)
