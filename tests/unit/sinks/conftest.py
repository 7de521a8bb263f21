"""A stage on which a sink plays against scripted answers, without a socket or a clock."""

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
import pytest

from tenant_security.outbound.flow import (
    Compute,
    Flow,
    Forget,
    Lasting,
    Pause,
    Request,
    Response,
    Shared,
    Transmit,
    UnreachableError,
)
from tenant_security.outbound.receivers import Message, Unsent
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sending import SignInError
from tenant_security.sinks.sink import Outcome, Sink, SinkContext
from tenant_security.wire.events import EventRecord, Operation, native_json
from tenant_security.wire.proxy_api import IclFields
from tenant_security.wire.sink_configs import decode_sink_config

T = TypeVar("T")
Answers = Response | UnreachableError | Callable[[Request], Response | UnreachableError]

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def event(serial: int = 0, *, name: str = "USER_LOGIN", at_ms: int = NOW_MS, **changes: object) -> bytes:
    """One line of the native form."""
    operation = changes.pop("operation", None)
    custom = changes.pop("custom", {"team": "a"})
    fields = IclFields(**({"requesting_id": "user-7", "source_ip": "192.0.2.7"} | changes))
    assert operation is None or isinstance(operation, Operation)
    return native_json(
        EventRecord(serial, serial + 1, at_ms, name, "acme", "00000000000000ab", "ray", fields, custom, operation)
    )


class Stage:
    """Runs a flow, answering its requests from ``answers`` in order, the last one for ever."""

    def __init__(self) -> None:
        self.now = NOW
        self.answers: list[Answers] = []
        self.requests: list[Request] = []
        self.kept: dict[object, Lasting[object]] = {}
        self.messages: list[Message] = []
        self.paused: list[float] = []
        self.unsent: list[Unsent | None] = []
        self.stdout = io.BytesIO()

    def sink(self, *, vendor_owned: bool = False, **config: object) -> Sink:
        decoded = decode_sink_config(msgspec.json.encode({"version": 1} | config))
        context = SinkContext(now=lambda: self.now, vendor_owned=vendor_owned, stdout=self.stdout, tenant_id="acme")
        return open_sink(decoded, context)

    def deliver(self, sink: Sink, events: Sequence[bytes]) -> list[Outcome]:
        """Encode and deliver; what came of each event that was sent, in order."""
        encoded = sink.encode(events)
        found: dict[int, Outcome] = dict(encoded.refused)
        for batch in encoded.batches:
            outcomes = self.run(sink.deliver(batch))
            assert len(outcomes) == len(batch.indexes)
            found |= dict(zip(batch.indexes, outcomes, strict=True))
        return [found[index] for index in sorted(found)]

    def run(self, flow: Flow[T]) -> T:
        try:
            effect = flow.send(None)
            while True:
                answer = self.answer(effect)
                effect = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        except StopIteration as end:
            return end.value

    def answer(self, effect: object) -> object:  # noqa: PLR0911 - one line for each kind
        match effect:
            case Request():
                self.requests.append(effect)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                return answer(effect) if callable(answer) else answer
            case Compute(work):
                try:
                    return work()
                except Exception as fault:  # noqa: BLE001
                    return fault
            case Shared(key, make):
                if key not in self.kept:
                    try:
                        self.kept[key] = self.run(make())
                    except (SignInError, UnreachableError) as fault:
                        return fault
                return self.kept[key].value
            case Pause(wait_s):
                self.paused.append(wait_s)
                return None
            case Transmit(_, messages):
                self.messages += messages
                return self.unsent or [None] * len(messages)
            case Forget(key):
                del self.kept[key]
                return None
        raise AssertionError(effect)


def reply(status: int = 200, body: object = None, **headers: str) -> Response:
    encoded = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, encoded)


@pytest.fixture
def stage() -> Stage:
    return Stage()
