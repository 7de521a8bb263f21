"""OpenTelemetry: log records over HTTP, in protobuf.

Each record has the event as its body and what one filters by as attributes. An answer may say that some records were
rejected, and not which; the specification forbids to send them again.

Source: OpenTelemetry protocol specification 1.x, "OTLP/HTTP"; opentelemetry-proto, ``logs/v1/logs.proto``; semantic
conventions, "General attributes".
"""

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tenant_security import __version__
from tenant_security.outbound.flow import Flow, Response
from tenant_security.sinks.answers import judge, retry_after_s, web_page
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.formats.meanings import succeeded
from tenant_security.sinks.http import post
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase, unix_ms
from tenant_security.sinks.sink import DELIVERED, Later, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.addresses import address_with_path
from tenant_security.wire.kms.authorities import authorities_pem
from tenant_security.wire.protobuf import delimited
from tenant_security.wire.sinks.otlp import OtlpSinkConfig

PROTOBUF: Final = "application/x-protobuf"
_RETRY: Final = frozenset({429, 502, 503, 504})
_NS_PER_MS: Final = 1_000_000

# Field numbers of ExportLogsServiceRequest, ResourceLogs and ScopeLogs. A batch is put together from records that are
# encoded already; a test reads it with the library.
_RESOURCE_LOGS: Final = 1
_RESOURCE: Final = 1
_SCOPE_LOGS: Final = 2
_SCOPE: Final = 1
_LOG_RECORDS: Final = 2


class OtlpSink(SinkBase):
    """One collector."""

    kind = "otlp"
    title = "The OpenTelemetry collector"
    around = 256
    between = 8

    def __init__(self, config: OtlpSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["OTLP"], config.filter, context)
        self._url = address_with_path(config.url, "url")
        self._headers = config.headers
        self._authorities = authorities_pem(config.ca_certificate) if config.ca_certificate else b""
        self._format = JSON_FORMATS[config.format]
        about = {"service.name": "tenant-security", "service.version": __version__, "tenant.id": context.tenant_id}
        self._resource = delimited(
            _RESOURCE, Resource(attributes=[_attribute(*each) for each in about.items()]).SerializeToString()
        )
        self._scope = delimited(
            _SCOPE, InstrumentationScope(name="tenant_security.events", version=__version__).SerializeToString()
        )

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:
        """Return one log record."""
        said, fields = event.said, event.said.icl_fields
        failed = succeeded(event) is False
        about = {
            "event.id": said.event_id,
            "tenant.id": said.tenant_id,
            "enduser.id": fields.requesting_id,
            "client.address": fields.source_ip,
            "event.outcome": event.outcome,
            "tenant_security.request_id": fields.request_id,
            "tenant_security.object_id": fields.object_id,
            "tenant_security.data_label": fields.data_label,
        }
        return LogRecord(
            time_unix_nano=shown_ms * _NS_PER_MS,
            observed_time_unix_nano=unix_ms(self.context.now()) * _NS_PER_MS,
            severity_number=SeverityNumber.SEVERITY_NUMBER_WARN if failed else SeverityNumber.SEVERITY_NUMBER_INFO,
            severity_text="WARN" if failed else "INFO",
            event_name=f"tenant_security.{fields.event}",
            body=AnyValue(string_value=self._format(event).decode()),
            attributes=[_attribute(name, value) for name, value in about.items() if value is not None],
        ).SerializeToString()

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Export records."""
        records = b"".join(delimited(_LOG_RECORDS, piece.body) for piece in pieces)
        body = delimited(_RESOURCE_LOGS, self._resource + delimited(_SCOPE_LOGS, self._scope + records))
        headers = [(name, value.reveal()) for name, value in self._headers.items()]
        response = yield from post(self._url, headers, body, kind=PROTOBUF, authorities=self._authorities)
        if 200 <= response.status < 300:  # noqa: PLR2004 - the specification says 200, collectors say 201 too
            return web_page(self.title, response) or _taken(response, len(pieces))
        if response.status >= 500 and response.status not in _RETRY:  # noqa: PLR2004
            # The specification calls these final. They say nothing of our events, though, so the events are kept.
            return Later(
                f"{self.title} fails (HTTP {response.status}).",
                retry_after_s(response, self.context.now()),
                blocked=True,
            )
        return judge(self.title, response, self.context.now())


def _taken(response: Response, count: int) -> Answer:
    try:
        rejected = ExportLogsServiceResponse.FromString(response.body).partial_success.rejected_log_records
    except DecodeError:
        return DELIVERED
    if rejected <= 0:
        return DELIVERED
    return Refused(
        f"The OpenTelemetry collector rejected {rejected} of the {count} events sent together, and does not say which."
    )


def _attribute(name: str, value: str | None) -> KeyValue:
    return KeyValue(key=name, value=AnyValue(string_value=value or ""))
