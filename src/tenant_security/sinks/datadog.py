"""Datadog: the log intake.

The event stands in an attribute of its own, so that none of its members is taken for one that Datadog reserves.

Source: Datadog API reference, "Send logs"; "Log configuration, Reserved attributes".
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from tenant_security.outbound.flow import Flow
from tenant_security.sinks.answers import judge
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.formats.meanings import meaning, succeeded
from tenant_security.sinks.http import post
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase
from tenant_security.sinks.sink import Piece, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.events import rfc3339
from tenant_security.wire.sinks.datadog import DatadogSinkConfig


class DatadogSink(SinkBase):
    """One organization's intake."""

    kind = "datadog"
    title = "Datadog"
    around = 2

    def __init__(self, config: DatadogSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["DATADOG"], config.filter, context)
        self._url = f"https://http-intake.logs.{config.site}/api/v2/logs"
        self._key = config.api_key
        self._format = JSON_FORMATS[config.format]
        self._about = {
            "ddsource": "tenant-security",
            "service": config.service,
            "ddtags": ",".join(config.tags),
        }

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:
        """Return one log."""
        said = event.said
        log: dict[str, Any] = self._about | {
            "timestamp": rfc3339(shown_ms),
            "status": "warn" if succeeded(event) is False else "info",
            "message": f"{meaning(event).title}: {said.icl_fields.event} by {said.icl_fields.requesting_id}",
            "eventId": said.event_id,
            "tenantId": said.tenant_id,
            "event": msgspec.Raw(self._format(event)),
        }
        return msgspec.json.encode(log)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Post an array of logs."""
        body = b"[" + b",".join(piece.body for piece in pieces) + b"]"
        response = yield from post(self._url, [("DD-API-KEY", self._key.reveal())], body)
        return judge(self.title, response, self.context.now())
