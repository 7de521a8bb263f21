"""Sumo Logic: an HTTP source that takes lines. Its address is the secret, so it is never printed.

Source: Sumo Logic, "Upload logs to an HTTP source", "HTTP source troubleshooting".
"""

from collections.abc import Sequence
from typing import Final

from tenant_security.outbound.flow import Flow
from tenant_security.sinks.answers import judge
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.http import post
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase
from tenant_security.sinks.sink import Later, Piece, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.addresses import address_with_path
from tenant_security.wire.sinks.sumo import SumoSinkConfig

_UNAUTHORIZED: Final = 401


class SumoSink(SinkBase):
    """One HTTP source."""

    kind = "sumo"
    title = "Sumo Logic"

    def __init__(self, config: SumoSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["SUMO_LOGIC"], config.filter, context)
        self._url = config.url
        self._format = JSON_FORMATS[config.format]
        named = {"X-Sumo-Category": config.category, "X-Sumo-Host": config.host, "X-Sumo-Name": config.name}
        self._headers = [(name, value) for name, value in named.items() if value is not None]

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:  # noqa: ARG002 - the event says its own time
        """Return one line, without its end."""
        return self._format(event)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Post lines."""
        body = b"\n".join(piece.body for piece in pieces)
        url = address_with_path(self._url.reveal(), "url")
        response = yield from post(url, self._headers, body, kind="application/x-ndjson")
        if response.status == _UNAUTHORIZED:
            return Later("Sumo Logic does not know the address of the source (HTTP 401). Copy it again.", blocked=True)
        return judge(self.title, response, self.context.now())
