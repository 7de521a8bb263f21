"""Traces, for whoever asks for them: a request that carries a sampled W3C ``traceparent`` becomes a span.

Below it is one for each KMS call. Nothing else is traced, and requests without one cost a look at one header.

A span says what a log line says: the operation, the outcome, the ray id; no tenant, no key, no body.

Source: W3C Trace Context; OpenTelemetry's semantic conventions for HTTP servers.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from tenant_security import __version__
from tenant_security.errors import SettingsError
from tenant_security.kms.caller import KmsCallRecord
from tenant_security.service.http import Receive, Scope, Send, header
from tenant_security.wire.applications import OPERATIONS
from tenant_security.wire.proxy_api import BASE_PATH

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

TRACEPARENT: Final = b"traceparent"
_SHAPE: Final = 55
"""``00-<32 hex>-<16 hex>-<2 hex>``. Units: bytes."""
_ODD: Final = frozenset(b"13579bdf")
_NS: Final = 1_000_000_000
_FAULT: Final = 500

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def is_sampled(traceparent: bytes | None) -> bool:
    """Whether a caller wants this request traced: the last bit of the flags is set."""
    return traceparent is not None and len(traceparent) == _SHAPE and traceparent[-1] in _ODD


class Tracing:
    """Makes spans and hands them to a collector, in batches, from a thread of its own; what does not fit is dropped."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry import context, propagate, trace  # noqa: PLC0415 - loaded only where traces are wanted

        self._provider = provider
        self._tracer = provider.get_tracer("tenant_security.proxy", __version__)
        self._extract = propagate.extract
        self._trace, self._context = trace, context

    def around(self, app: App) -> App:
        """Return the application with a span around each request that asks for one."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            given = header(scope, TRACEPARENT)
            if not is_sampled(given):
                await app(scope, receive, send)
                return
            assert given is not None
            operation = str(scope["path"]).removeprefix(BASE_PATH)
            route = operation if operation in OPERATIONS else "none"
            parent = self._extract({"traceparent": given.decode("latin-1")})
            with self._tracer.start_as_current_span(
                f"POST {route}",
                context=parent,
                kind=self._trace.SpanKind.SERVER,
                attributes={"http.request.method": str(scope["method"])[:10], "http.route": route},
            ) as span:

                async def sending(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        span.set_attribute("http.response.status_code", message["status"])
                        if message["status"] >= _FAULT:
                            span.set_status(self._trace.StatusCode.ERROR)
                    await send(message)

                await app(scope, receive, sending)

        return traced

    def kms_call(self, call: KmsCallRecord) -> None:
        """Add a call that has just ended to the span of the request that made it."""
        if not self._trace.get_current_span().is_recording():
            return
        end_ns = time.time_ns()
        span = self._tracer.start_span(
            f"kms {call.operation}",
            kind=self._trace.SpanKind.CLIENT,
            start_time=end_ns - int(call.seconds * _NS),
            attributes={"kms.provider": call.provider, "kms.outcome": call.outcome, "kms.retried": call.retried},
        )
        if call.outcome != "ok":
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(end_ns)

    def close(self) -> None:
        """Send what is left, within five seconds. Blocks."""
        self._provider.force_flush(5_000)
        self._provider.shutdown()


def open_tracing(endpoint: str | None) -> Tracing | None:
    """Begin to trace to a collector that speaks OTLP over HTTP; None without one.

    Raises: SettingsError when the extra is not installed.
    """
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError:
        raise SettingsError(
            ["OTEL_EXPORTER_OTLP_ENDPOINT needs OpenTelemetry: pip install 'tenant-security[tracing]'"]
        ) from None
    resource = Resource.create({"service.name": "tenant-security-proxy", "service.version": __version__})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + "/v1/traces", timeout=5)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2_048, schedule_delay_millis=2_000))
    return Tracing(provider)
