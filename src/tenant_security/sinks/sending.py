"""What all sinks do alike: make batches, and send one so that a bad event does not hold up the good ones.

Where a sink refuses a batch for its size, or for something in it that it does not name, the batch is halved until the
events that it will not take stand alone. A sink that refuses nearly everything is not asked a thousand times: after
some requests the rest waits, and the tenant is told.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

from tenant_security.outbound.flow import Flow, Reason, UnreachableError
from tenant_security.sinks.batching import make_batches, make_pieces
from tenant_security.sinks.sink import Batch, Encoded, Later, Limits, Outcome, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.sinks.members import EventFilter

_EXTRA_REQUESTS: Final = 8


class Halve(NamedTuple):
    """The batch was refused as a whole, and may be taken in parts. ``why`` is said of an event that stands alone."""

    why: str


class SignInError(Exception):
    """The sink was not asked, because whoever vouches for us did not. ``outcome`` says what to do about it."""

    def __init__(self, why: str, *, blocked: bool = True) -> None:
        super().__init__(why)
        self.outcome = Later(why, blocked=blocked)


Answer = Outcome | Halve | Sequence[Outcome]
"""What came of some events: one outcome for all, or one for each."""


class SinkBase(ABC):
    """What the sinks of this package are built on.

    Shape: a batch is ``around`` bytes, and for each event its piece and ``between`` bytes.
    """

    kind: str
    title: str
    """The sink's name in sentences."""
    around: int = 0
    between: int = 1

    def __init__(self, limits: Limits, chosen: EventFilter, context: SinkContext) -> None:
        self.limits = limits
        self.context = context
        self._chosen = chosen

    @abstractmethod
    def render(self, event: StoredEvent, shown_ms: int) -> bytes:
        """Return one event as the sink takes it. Units: ``shown_ms`` is the time to show, in Unix milliseconds."""

    @abstractmethod
    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Send some events together. Raises: UnreachableError, SignInError."""

    def encode(self, events: Sequence[bytes]) -> Encoded:
        """Make batches within the limits."""
        pieces = list(make_pieces(events, self.limits, self._chosen, self.render, unix_ms(self.context.now())))
        return make_batches(pieces, self.limits, around=self.around, between=self.between)

    def deliver(self, batch: Batch) -> Flow[tuple[Outcome, ...]]:
        """Send one batch and return the outcome of each of its events."""
        pieces = batch.pieces
        waiting = deque([(0, len(pieces))]) if pieces else deque()
        outcomes: list[Outcome | None] = [None] * len(pieces)
        requests_left = 2 * len(pieces).bit_length() + _EXTRA_REQUESTS
        while waiting:
            low, high = waiting.popleft()
            answer: Answer
            if not requests_left:
                answer = Later(f"{self.title} refuses most of what we send; the rest waits.", blocked=True)
            else:
                requests_left -= 1
                answer = yield from self._try(pieces[low:high])
            if isinstance(answer, Halve) and high - low > 1:
                middle = (low + high) // 2
                waiting.extendleft(((middle, high), (low, middle)))
                continue
            settled = _each(answer, high - low)
            outcomes[low:high] = settled
            if isinstance(settled[0], Later) and len(set(settled)) == 1:
                # What keeps these waiting keeps the others waiting too.
                for rest_low, rest_high in waiting:
                    outcomes[rest_low:rest_high] = [settled[0]] * (rest_high - rest_low)
                waiting.clear()
        return tuple(outcome for outcome in outcomes if outcome is not None)

    def _try(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        try:
            return (yield from self.send(pieces))
        except UnreachableError as failure:
            return unreachable(self.title, failure)
        except SignInError as refused:
            return refused.outcome


def unreachable(title: str, failure: UnreachableError) -> Later:
    """Say in words that no answer came."""
    return Later(
        f"{title} could not be reached: {failure.reason.value}.",
        blocked=failure.reason in {Reason.REFUSED, Reason.TLS},
    )


def batch_id(pieces: Sequence[Piece]) -> str:
    """Return a name that the same events always have, whoever sends them and whenever. Shape: 32 hexadecimal digits."""
    digest = sha256()
    for piece in pieces:
        digest.update(piece.event_id.encode())
    return digest.hexdigest()[:32]


def unix_ms(moment: datetime) -> int:
    """Return a time in Unix milliseconds."""
    return round(moment.timestamp() * 1000)


def _each(answer: Answer, count: int) -> list[Outcome]:
    if isinstance(answer, Halve):
        return [Refused(answer.why)]
    if isinstance(answer, Outcome):
        return [answer] * count
    assert len(answer) == count
    return list(answer)
