"""Events to batches within a sink's limits: pure rules.

An event that is too long for the sink is shortened, step by step, and refused only when even its bare bones are too
long. Times that the sink does not take are moved to the nearest that it does; the event itself still says its own.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tenant_security.sinks.sink import Batch, Encoded, Limits, Piece, Refused
from tenant_security.sinks.stored import StoredEvent, read_event, shortened
from tenant_security.wire.sinks.members import EventFilter

Render = Callable[[StoredEvent, int], bytes]
"""One event as the sink takes it. The number is the time to show for it. Units: Unix milliseconds."""

_STEPS: Final = (1024, 256, 64, 16, 4)
"""To how many characters texts are cut, until the event fits."""

# A time at the very edge of what the sink takes would be outside by the time it arrives.
_MARGIN_MS: Final = 60_000


def make_pieces(
    events: Sequence[bytes], limits: Limits, chosen: EventFilter, render: Render, now_ms: int
) -> Iterator[tuple[int, Piece | Refused]]:
    """Return what becomes of each event that the filter lets pass, with its index."""
    for index, line in enumerate(events):
        event = read_event(line)
        if event is None:
            yield index, Refused("The event is not in the form that proxies write.")
        elif chosen.passes(event.said.icl_fields.event, event.outcome):
            yield index, _piece(event, limits, render, now_ms)


def make_batches(
    pieces: Sequence[tuple[int, Piece | Refused]], limits: Limits, *, around: int, between: int
) -> Encoded:
    """Put pieces into batches, in their order.

    Units: bytes; ``around`` stands once in every batch, ``between`` is added for each event.
    """
    batches: list[Batch] = []
    refused: list[tuple[int, Refused]] = []
    held: list[tuple[int, Piece]] = []
    size = around
    first_ms = last_ms = 0
    for index, piece in pieces:
        if isinstance(piece, Refused):
            refused.append((index, piece))
            continue
        added = len(piece.body) + between
        first_ms, last_ms = (
            (min(first_ms, piece.time_ms), max(last_ms, piece.time_ms)) if held else (piece.time_ms, piece.time_ms)
        )
        full = len(held) >= limits.most_events or size + added > limits.most_bytes
        if held and (full or (limits.span_s is not None and last_ms - first_ms >= limits.span_s * 1000)):
            batches.append(_batch(held))
            held, size = [], around
            first_ms = last_ms = piece.time_ms
        held.append((index, piece))
        size += added
    if held:
        batches.append(_batch(held))
    return Encoded(tuple(batches), tuple(refused))


def _batch(held: Sequence[tuple[int, Piece]]) -> Batch:
    return Batch(tuple(index for index, _ in held), tuple(piece for _, piece in held))


def _piece(event: StoredEvent, limits: Limits, render: Render, now_ms: int) -> Piece | Refused:
    shown_ms = _shown(event.time_ms, limits, now_ms)
    body = render(event, shown_ms)
    steps = iter(_STEPS)
    while len(body) > limits.most_event_bytes:
        most = next(steps, None)
        if most is None:
            return Refused(
                f"The event is too long for this sink even without its texts: {len(body)} bytes, "
                f"and {limits.most_event_bytes} are taken."
            )
        body = render(shortened(event, most), shown_ms)
    return Piece(event.said.event_id, shown_ms, body)


def _shown(time_ms: int, limits: Limits, now_ms: int) -> int:
    if limits.past_s is not None:
        time_ms = max(time_ms, now_ms - limits.past_s * 1000 + _MARGIN_MS)
    if limits.future_s is not None:
        time_ms = min(time_ms, now_ms + limits.future_s * 1000 - _MARGIN_MS)
    return time_ms
