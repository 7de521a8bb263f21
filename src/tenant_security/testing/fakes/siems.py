"""What all fakes of systems that take events share: limits on what they take, and what they have taken."""

from abc import abstractmethod
from collections import Counter
from typing import Any, Final, NamedTuple

import msgspec

from tenant_security.testing.fakes.server import Answered, Asked, FakeServer, answered

_CAP_BYTES: Final = 16 * 1_048_576


class Stored(NamedTuple):
    """One event as it was taken."""

    event_id: str
    document: Any


class Shelf:
    """What was taken, in the order in which it came, and what is to be found wrong with it.

    Units: bytes before compression.
    """

    def __init__(self, most_bytes: int, most_events: int) -> None:
        self.most_bytes = most_bytes
        self.most_events = most_events
        self.stored: list[Stored] = []
        self.poisoned: set[str] = set()
        """Ids of events that are never taken."""
        self.batches: list[int] = []
        """How many events each batch had that was taken, wholly or in part."""

    @property
    def ids(self) -> list[str]:
        """The ids of the events that were taken, each as often as it was."""
        return [each.event_id for each in self.stored]

    @property
    def repeated(self) -> dict[str, int]:
        """The events that were taken more than once, and how often."""
        return {each: count for each, count in Counter(self.ids).items() if count > 1}


class RefusedError(Exception):
    """A refusal, on its way to whoever asked."""

    def __init__(self, answer: Answered) -> None:
        super().__init__(answer.status)
        self.answer = answer


class FakeSiem(FakeServer):
    """A fake that takes events. ``seen`` counts ``events`` and whatever else its real one is asked."""

    cap_bytes = _CAP_BYTES

    def __init__(self, most_bytes: int, most_events: int) -> None:
        super().__init__()
        self.shelf = Shelf(most_bytes, most_events)

    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word."""
        return "events" if asked.method == "POST" else "unknown"

    def answer(self, asked: Asked) -> Answered:
        """Return what the real one would."""
        try:
            return self.take(asked)
        except RefusedError as refused:
            return refused.answer

    @abstractmethod
    def take(self, asked: Asked) -> Answered:
        """Take a batch. Raises: RefusedError."""


def body_of(asked: Asked, most_bytes: int) -> bytes:
    """Return a body without its compression. Raises: RefusedError 413."""
    # The server that fakes are built on has undone the compression; a body that is not compressed as it says never
    # gets here.
    if len(asked.body) > most_bytes:
        raise RefusedError(answered(413, {"error": "too large"}))
    return asked.body


def json_of(body: bytes) -> Any:
    """Return a body's JSON. Raises: RefusedError 400."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise RefusedError(answered(400, {"error": "this is no JSON"})) from None


def expect(asked: Asked, name: str, value: str, status: int = 403) -> None:
    """Check a header. Raises: RefusedError."""
    if asked.headers.get(name) != value:
        raise RefusedError(answered(status, {"error": "forbidden"}))
