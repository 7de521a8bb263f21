"""Events become batches within the sink's limits, whatever stands in them."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sinks.conftest import NOW_MS, event

from tenant_security.sinks.batching import make_batches, make_pieces
from tenant_security.sinks.sink import Limits, Piece, Refused
from tenant_security.sinks.stored import StoredEvent, read_event, shortened
from tenant_security.wire.events import Operation
from tenant_security.wire.sinks.members import EventFilter

LIMITS = Limits(most_events=5, most_bytes=2_000, most_event_bytes=600, repeats="", source="")
HOUR_MS = 3_600_000


def line(stored: StoredEvent, _shown_ms: int) -> bytes:
    return stored.line


def changed(**changes: object) -> Limits:
    return msgspec.structs.replace(LIMITS, **changes)


@given(st.lists(st.integers(min_value=0, max_value=600), max_size=40), st.integers(0, 100), st.integers(0, 3))
def test_no_batch_is_above_the_limits_and_no_event_is_left_out(sizes: list[int], around: int, between: int) -> None:
    pieces = [(index, Piece(str(index), 0, b"x" * size)) for index, size in enumerate(sizes)]
    batches = make_batches(pieces, LIMITS, around=around, between=between).batches
    assert [index for batch in batches for index in batch.indexes] == list(range(len(sizes)))
    for batch in batches:
        assert 1 <= len(batch.pieces) <= LIMITS.most_events
        assert around + sum(len(piece.body) + between for piece in batch.pieces) <= LIMITS.most_bytes


@given(st.lists(st.integers(min_value=0, max_value=100 * HOUR_MS), max_size=30))
def test_no_batch_spans_more_time_than_the_sink_takes(times: list[int]) -> None:
    pieces = [(index, Piece(str(index), time_ms, b"")) for index, time_ms in enumerate(times)]
    for batch in make_batches(pieces, changed(span_s=86_400), around=0, between=1).batches:
        moments = [piece.time_ms for piece in batch.pieces]
        assert max(moments) - min(moments) < 24 * HOUR_MS


@given(st.dictionaries(st.text(max_size=300), st.text(max_size=3000), max_size=30), st.text(min_size=1, max_size=3000))
def test_an_event_that_is_too_long_is_cut_and_says_so(custom: dict[str, str], who: str) -> None:
    lines = [event(1, custom=custom, requesting_id=who)]
    [(_, piece)] = make_pieces(lines, LIMITS, EventFilter(), line, NOW_MS)
    assert isinstance(piece, Piece)
    assert len(piece.body) <= LIMITS.most_event_bytes
    said = msgspec.json.decode(piece.body)
    whole = msgspec.json.decode(lines[0])
    assert said.get("truncated", False) == (len(lines[0]) > LIMITS.most_event_bytes)
    assert {each: said[each] for each in ("eventId", "tenantId", "timestamp", "sequence")} == {
        each: whole[each] for each in ("eventId", "tenantId", "timestamp", "sequence")
    }


def test_an_event_whose_bare_bones_are_too_long_is_refused_in_plain_words() -> None:
    [(_, refused)] = make_pieces([event(1)], changed(most_event_bytes=20), EventFilter(), line, NOW_MS)
    assert isinstance(refused, Refused)
    assert "20 are taken" in refused.why


def test_what_is_no_event_is_refused_and_holds_up_nobody() -> None:
    lines = [b"not json", event(1), b'{"tenantId":"acme"}', b"[" * 100_000]
    pieces = list(make_pieces(lines, LIMITS, EventFilter(), line, NOW_MS))
    assert [isinstance(piece, Refused) for _, piece in pieces] == [True, False, True, True]


def test_times_that_the_sink_does_not_take_are_moved_to_the_nearest() -> None:
    limits = changed(past_s=3600, future_s=60 * 10)
    lines = [event(1, at_ms=NOW_MS - 5 * HOUR_MS), event(2), event(3, at_ms=NOW_MS + 5 * HOUR_MS)]
    shown = [piece.time_ms for _, piece in make_pieces(lines, limits, EventFilter(), line, NOW_MS)]
    assert shown == [NOW_MS - HOUR_MS + 60_000, NOW_MS, NOW_MS + 600_000 - 60_000]


def test_a_filter_chooses_by_name_and_outcome() -> None:
    failed = Operation(outcome="failure", code=206)
    worked = Operation(outcome="success")
    lines = [
        event(1, name="USER_LOGIN"),
        event(2, name="USER_LOGOUT"),
        event(3, name="DEK_UNWRAP", operation=failed),
        event(4, name="DEK_UNWRAP", operation=worked),
    ]

    def chosen(**members: object) -> list[int]:
        return [index for index, _ in make_pieces(lines, LIMITS, EventFilter(**members), line, NOW_MS)]

    assert chosen() == [0, 1, 2, 3]
    assert chosen(only=("USER_*",)) == [0, 1]
    assert chosen(only=("USER_*",), never=("USER_LOGOUT",)) == [0]
    assert chosen(outcome="failure") == [0, 1, 2]
    assert chosen(only=("DEK_UNWRAP",), outcome="success") == [3]


def test_cutting_keeps_the_form() -> None:
    stored = read_event(event(1, operation=Operation(outcome="success", document_ids=["d" * 900] * 900)))
    assert stored is not None
    cut = shortened(stored, 4)
    assert read_event(cut.line) is not None
    assert cut.said.operation
    assert cut.said.operation.document_ids == ["dddd..."] * 4
