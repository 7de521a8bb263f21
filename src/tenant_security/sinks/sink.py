"""What every sink can do for us: say its limits, make batches of events, send one batch.

The delivery engine does for each sink: collect events for ``limits.collect_s`` or until ``limits.collect_bytes``, hand
them to :meth:`Sink.encode`, run :meth:`Sink.deliver` for each batch, and look at the outcome of each event. What is
:class:`Delivered` or :class:`Refused` is settled; what is :class:`Later` is handed to ``encode`` again.

Source: docs/sinks.md, "How events are delivered".
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import Enum
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from tenant_security.outbound.flow import Flow


class Delivered(NamedTuple):
    """The sink has the event; where its assurance is BEST_EFFORT, it was written to the sink."""


class Later(NamedTuple):
    """The sink has no say in this event: it could not be reached, it is busy, or it refuses us and not the event.

    Units: ``after_s`` is how long the sink asks to be left alone; None when it does not say.
    """

    why: str
    """For the tenant's admin, in whole sentences."""
    after_s: float | None = None
    blocked: bool = False
    """Nothing will be taken until somebody changes something: credentials, an address, a quota. Keep the events, tell
    the tenant, and try again every few minutes."""


class Refused(NamedTuple):
    """The sink will never take this event as it is. Dead-letter it; do not send it again."""

    why: str
    """For the tenant's admin, in whole sentences."""


Outcome = Delivered | Later | Refused
DELIVERED = Delivered()


class Assurance(Enum):
    """What an event's being Delivered means."""

    ACKNOWLEDGED = "at least once"
    """The sink said that it has the event."""
    BEST_EFFORT = "best effort"
    """The sink says nothing: what was under way when a connection broke may be lost."""


class Partial(Enum):
    """How a sink says that it took some events of a batch and not others."""

    NEVER = "takes all of a batch or none"
    BY_EVENT = "says so for each event"
    COUNT = "says how many it did not take, and not which"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink takes, and how to treat it.

    Units: bytes before compression, seconds where the name ends in ``_s``.
    """

    most_events: int
    """Events in one batch."""
    most_bytes: int
    """One batch, with everything around the events."""
    most_event_bytes: int
    """One event. A longer one is shortened, and says so."""
    collect_s: float = 2.0
    """How long to collect events before a batch that is not full is sent."""
    collect_bytes: int = 1_000_000
    """How many bytes of the native form to collect at most before a batch is sent."""
    at_once: int = 1
    """How many batches may be under way together. 1 keeps the order of events."""
    deadline_s: float = 30.0
    """How long the sending of one batch may take, all its requests together."""
    past_s: int | None = None
    """How old an event's time may be. An older one is sent with the oldest time that is taken, its own beside it."""
    future_s: int | None = None
    """How far in the future an event's time may be."""
    span_s: int | None = None
    """How far the first and the last event of one batch may lie apart."""
    gzip: bool = False
    """Whether batches are compressed."""
    partial: Partial = Partial.NEVER
    retry_after: bool = False
    """Whether the sink says how long it wants to be left alone."""
    success: str = "any HTTP status 2xx"
    """What counts as having the events."""
    repeats: str
    """How a receiver knows an event that comes twice."""
    assurance: Assurance = Assurance.ACKNOWLEDGED
    source: str
    """Where the sink's maker documents it."""


class Piece(NamedTuple):
    """One event as a sink is sent it. Units: ``time_ms`` is Unix milliseconds, within what the sink takes."""

    event_id: str
    time_ms: int
    body: bytes


class Batch(NamedTuple):
    """Events that travel together. ``indexes`` say which they were of those handed to :meth:`Sink.encode`."""

    indexes: tuple[int, ...]
    pieces: tuple[Piece, ...]


class Encoded(NamedTuple):
    """What became of some events: batches in their order, and the outcome of those that cannot be sent at all."""

    batches: tuple[Batch, ...]
    refused: tuple[tuple[int, Refused], ...]


class SinkContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink needs beside its config.

    Trust: standard output, and files of the operator's, are good only where ``vendor_owned`` is true.
    """

    now: Callable[[], datetime]
    """The time in UTC."""
    vendor_owned: bool = False
    """Whether the vendor, and not a tenant, owns the config."""
    kafka_allowed: bool = False
    """Whether tenants may use Kafka, whose brokers may send us to addresses that no policy has looked at."""
    stdout: BinaryIO | None = None
    """Where the sink of tenants without one writes."""
    tenant_id: str = ""
    """Whose sink it is: part of the names of objects and topics' keys."""


class Sink(Protocol):
    """One sink of one tenant, ready to use."""

    @property
    def kind(self) -> str:
        """The kind of sink in metrics and logs: ``webhook``, ``splunk``, ..."""

    @property
    def limits(self) -> Limits:
        """What it takes."""

    def encode(self, events: Sequence[bytes]) -> Encoded:
        """Make batches of events, each given as one line of the native form. Pure; 10 to 50 µs for an event.

        Events that the config's filter leaves out are in no batch and not refused: they are settled.
        """

    def deliver(self, batch: Batch) -> Flow[tuple[Outcome, ...]]:
        """Send one batch; return the outcome of each of its events. Raises nothing: what fails is an outcome."""
