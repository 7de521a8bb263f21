"""Traces of requests that ask for one, with OpenTelemetry's own SDK as the reader."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tenant_security.kms.caller import KmsCallRecord
from tenant_security.proxy.tracing import Tracing, is_sampled, open_tracing

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{PARENT}-01".encode()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(SAMPLED, True), (SAMPLED[:-1] + b"0", False), (SAMPLED[:-1], False), (b"", False), (None, False), (b"1", False)],
)
def test_the_callers_flag_decides(given: bytes | None, wanted: bool) -> None:
    assert is_sampled(given) is wanted


class Traced:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracing = Tracing(provider)
        self.status = 200
        self.calls: list[KmsCallRecord] = []

    async def app(self, _scope: Any, _receive: Any, send: Any) -> None:
        for call in self.calls:
            self.tracing.kms_call(call)
        await send({"type": "http.response.start", "status": self.status, "headers": []})

    async def ask(self, path: str = "/api/1/document/wrap", traceparent: bytes | None = SAMPLED) -> list[ReadableSpan]:
        headers = [] if traceparent is None else [(b"traceparent", traceparent)]
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": path, "headers": headers}
        await self.tracing.around(self.app)(scope, None, send)  # type: ignore[arg-type]
        assert [each["status"] for each in sent] == [self.status]
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.tracing.close()


def call(outcome: str = "ok") -> KmsCallRecord:
    return KmsCallRecord("aws", "wrap", outcome, "", 0.25, False, "request-1")


async def test_a_sampled_request_is_a_span_below_the_callers(traced: Traced) -> None:
    (span,) = await traced.ask()
    assert span.name == "POST document/wrap"
    assert f"{span.context.trace_id:032x}" == TRACE
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "document/wrap",
        "http.response.status_code": 200,
    }


async def test_each_kms_call_is_a_span_below_the_request(traced: Traced) -> None:
    traced.calls = [call(), call("208")]
    good, bad, request = await traced.ask()
    assert good.parent is not None
    assert good.parent.span_id == request.context.span_id
    assert good.end_time is not None
    assert good.start_time is not None
    assert good.end_time - good.start_time == 250_000_000
    assert dict(good.attributes or {}) == {"kms.provider": "aws", "kms.outcome": "ok", "kms.retried": False}
    assert (good.status.is_ok, bad.status.is_ok) == (True, False)


@pytest.mark.parametrize("traceparent", [None, SAMPLED[:-1] + b"0", b"garbage"])
async def test_nobody_else_is_traced(traced: Traced, traceparent: bytes | None) -> None:
    traced.calls = [call()]
    assert await traced.ask(traceparent=traceparent) == []


async def test_paths_that_outsiders_make_up_are_no_names(traced: Traced) -> None:
    (span,) = await traced.ask("/api/1/document/wrap/canary")
    assert "canary" not in span.to_json()
    assert span.name == "POST none"


async def test_a_fault_of_ours_is_an_error(traced: Traced) -> None:
    traced.status = 500
    (span,) = await traced.ask()
    assert not span.status.is_ok


def test_without_a_collector_there_is_nothing() -> None:
    assert open_tracing(None) is None


def test_a_collector_that_is_down_costs_nothing_at_the_end() -> None:
    tracing = open_tracing("http://127.0.0.1:1")
    assert tracing is not None
    tracing.close()
