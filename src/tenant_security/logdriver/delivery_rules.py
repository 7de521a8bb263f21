"""When to send, and how long to wait after it did not work: pure rules.

Nothing is ever given up here: a sink that is away for a week gets its events afterwards.
"""

from collections.abc import Sequence
from typing import Final

from tenant_security.sinks.sink import Later, Outcome

_FIRST_S: Final = 1.0
_MOST_S: Final = 60.0
_BLOCKED_S: Final = 300.0
_MOST_ASKED_S: Final = 3600.0
_LEAST: Final = 0.5


def wait_s(later: Later, failures: int, chance: float) -> float:
    """How long to leave a sink alone after so many failures in a row, ``chance`` from 0 to 1.

    Jittered, so that lanes that failed together do not come back together. What the sink asks for is kept, up to an
    hour. A sink that is blocked waits for a human, and is tried every few minutes.
    """
    if later.blocked:
        usual = _BLOCKED_S if failures > 1 else _MOST_S
        return max(usual * (_LEAST + (1 - _LEAST) * chance), _asked(later))
    spread = min(_MOST_S, _FIRST_S * 2.0 ** min(failures - 1, 16))
    return max(spread * (_LEAST + (1 - _LEAST) * chance), _asked(later))


def _asked(later: Later) -> float:
    return min(max(later.after_s or 0.0, 0.0), _MOST_ASKED_S)


def due_in_s(*, waited_s: float, collect_s: float, full: bool, failed: bool) -> float:
    """How long to go on collecting: not at all when a batch is full or was tried before."""
    return 0.0 if full or failed else max(0.0, collect_s - waited_s)


def worst(outcomes: Sequence[Outcome]) -> Later | None:
    """What holds a batch up most, or None when all of it is settled."""
    waiting = [each for each in outcomes if isinstance(each, Later)]
    return max(waiting, key=lambda each: (each.blocked, each.after_s or 0.0), default=None)
