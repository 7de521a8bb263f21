"""A bad event does not hold up the good ones, and a sink that refuses everything costs no event."""

import msgspec
import pytest
from tests.unit.sinks.conftest import NOW, Stage, event, reply

from tenant_security.outbound.flow import Reason, Request, Response, UnreachableError
from tenant_security.sinks.sink import DELIVERED, Delivered, Later, Refused

WEBHOOK = {"type": "WEBHOOK", "url": "https://hooks.acme.example/", "signingSecret": "x" * 42 + "w="}


def events_in(request: Request) -> list[str]:
    return [each["iclFields"]["requestingId"] for each in msgspec.json.decode(request.body)["data"]]


def refusing(*bad: str, status: int = 400) -> object:
    def answer(request: Request) -> Response:
        return reply(status if set(bad) & set(events_in(request)) else 200)

    return answer


def test_success_is_success_for_every_event(stage: Stage) -> None:
    stage.answers = [reply(202)]
    assert stage.deliver(stage.sink(**WEBHOOK), [event(each) for each in range(3)]) == [DELIVERED] * 3
    assert len(stage.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_bad_event_is_found_and_the_others_get_through(stage: Stage, status: int) -> None:
    stage.answers = [refusing("user-37", status=status)]
    outcomes = stage.deliver(stage.sink(**WEBHOOK), [event(each, requesting_id=f"user-{each}") for each in range(100)])
    assert [index for index, outcome in enumerate(outcomes) if isinstance(outcome, Refused)] == [37]
    assert outcomes.count(DELIVERED) == 99
    assert len(stage.requests) <= 22
    delivered = [who for request in stage.requests for who in events_in(request)]
    assert delivered.index("user-36") < delivered.index("user-38")


def test_a_sink_that_refuses_everything_is_not_asked_a_thousand_times(stage: Stage) -> None:
    stage.answers = [reply(400)]
    outcomes = stage.deliver(stage.sink(**WEBHOOK), [event(each) for each in range(500)])
    assert len(stage.requests) <= 26
    waiting = [outcome for outcome in outcomes if isinstance(outcome, Later)]
    assert len(waiting) > 480
    assert all(outcome.blocked for outcome in waiting)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_busy_sink_gets_everything_later(stage: Stage, status: int) -> None:
    stage.answers = [reply(status, retry_after="17")]
    [outcome] = stage.deliver(stage.sink(**WEBHOOK), [event()])
    assert isinstance(outcome, Later)
    assert (outcome.after_s, outcome.blocked) == (17.0, False)


@pytest.mark.parametrize("status", [301, 307, 401, 403, 404, 405, 410])
def test_what_is_said_of_us_or_of_the_address_costs_no_event(stage: Stage, status: int) -> None:
    stage.answers = [reply(status)]
    outcomes = stage.deliver(stage.sink(**WEBHOOK), [event(1), event(2)])
    assert all(isinstance(outcome, Later) and outcome.blocked for outcome in outcomes)
    assert len(stage.requests) == 1


@pytest.mark.parametrize("reason", list(Reason))
def test_an_unreachable_sink_gets_everything_later(stage: Stage, reason: Reason) -> None:
    stage.answers = [UnreachableError(reason)]
    [outcome] = stage.deliver(stage.sink(**WEBHOOK), [event()])
    assert isinstance(outcome, Later)
    assert reason.value in outcome.why


def test_a_sink_that_fails_in_the_midst_of_halving_keeps_what_is_left(stage: Stage) -> None:
    stage.answers = [reply(413), reply(200), reply(503)]
    outcomes = stage.deliver(stage.sink(**WEBHOOK), [event(each) for each in range(8)])
    assert outcomes[:4] == [DELIVERED] * 4
    assert all(isinstance(outcome, Later) for outcome in outcomes[4:])


@pytest.mark.parametrize(
    ("said", "after_s"),
    [
        ("0", 0.0),
        ("7200", 3600.0),
        ("-1", None),
        ("soon", None),
        ("\u0661", None),
        ("Tue, 24 Nov 2026 09:31:00 GMT", 60.0),
        ("Tue, 24 Nov 2020 09:31:00 GMT", 0.0),
        ("", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(stage: Stage, said: str, after_s: float | None) -> None:
    stage.answers = [reply(503, retry_after=said)]
    assert stage.now == NOW
    [outcome] = stage.deliver(stage.sink(**WEBHOOK), [event()])
    assert isinstance(outcome, Later)
    assert outcome.after_s == after_s


def test_nothing_to_send_asks_nobody(stage: Stage) -> None:
    sink = stage.sink(**WEBHOOK, filter={"only": ["USER_LOGOUT"]})
    assert sink.encode([event()]).batches == ()
    assert stage.deliver(sink, [event()]) == []
    assert Delivered() == DELIVERED
