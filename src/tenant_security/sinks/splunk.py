"""Splunk, through its HTTP Event Collector, with or without waiting for the indexers.

Shape: JSON objects one after the other, not an array: ``{"time": ..., "event": ..., "fields": {"eventId": ...}}``.

Source: Splunk, "Format events for HTTP Event Collector", "Troubleshoot HTTP Event Collector", "About HTTP Event
Collector Indexer Acknowledgment".
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from tenant_security.outbound.flow import Flow, Response, pause
from tenant_security.sinks.answers import judge
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.http import post
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, Halve, SinkBase
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.addresses import origin
from tenant_security.wire.kms.authorities import authorities_pem
from tenant_security.wire.sinks.splunk import SplunkSinkConfig

ACK_WAITS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0)
"""How long to wait before each question whether the indexers have a batch."""

_INVALID_FORMAT: Final = 6
_ABOUT_EVENTS: Final = frozenset({5, 12, 13, 15})
"""No data, event missing, event blank, indexed fields: said of the events."""
_ACK_OFF: Final = 14
_WRONG: Final = {
    1: "the token is disabled",
    2: "a token is required",
    3: "the token is not valid",
    4: "the token is not known",
    7: "the index in the configuration is not one that the token may write to",
    10: "the token has indexer acknowledgement switched on; set acknowledge to true",
    11: "the token has indexer acknowledgement switched on; set acknowledge to true",
}
"""What is said of the token and the configuration."""


class _Reply(msgspec.Struct):
    """What the collector says."""

    code: int = -1
    ack_id: int | None = msgspec.field(name="ackId", default=None)
    invalid: int | None = msgspec.field(name="invalid-event-number", default=None)


class _Acks(msgspec.Struct):
    acks: dict[str, bool]


class SplunkSink(SinkBase):
    """One token of one collector."""

    kind = "splunk"
    title = "Splunk"

    def __init__(self, config: SplunkSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["SPLUNK"], config.filter, context)
        self._base = origin(config.url, "url")
        self._token = config.token
        self._format = JSON_FORMATS[config.format]
        self._authorities = authorities_pem(config.ca_certificate) if config.ca_certificate else b""
        about: dict[str, Any] = {
            "host": config.host or context.tenant_id or "tenant-security",
            "source": config.source,
            "sourcetype": config.sourcetype,
        }
        if config.index is not None:
            about["index"] = config.index
        self._about = msgspec.json.encode(about)[1:-1]
        self._channel = (
            str(uuid5(NAMESPACE_URL, f"{self._base}/{context.tenant_id}/{config.source}")) if config.acknowledge else ""
        )

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:
        """Return one object with the event in it."""
        fields = msgspec.json.encode({"eventId": event.said.event_id, "tenantId": event.said.tenant_id})
        time = b"%d.%03d" % divmod(shown_ms, 1000)
        return b'{"time":%b,%b,"fields":%b,"event":%b}' % (time, self._about, fields, self._format(event))

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Post a batch and, where acknowledgement is wanted, wait for the indexers."""
        body = b"\n".join(piece.body for piece in pieces)
        url = f"{self._base}/services/collector/event"
        response = yield from post(url, self._headers(), body, authorities=self._authorities)
        reply = _read(response)
        if response.status == 200 and reply.code == 0:  # noqa: PLR2004 - what the collector's success is
            return (yield from self._acknowledged(reply))
        return self._refusal(response, reply, len(pieces))

    def _headers(self) -> list[tuple[str, str]]:
        headers = [("Authorization", f"Splunk {self._token.reveal()}")]
        if self._channel:
            headers.append(("X-Splunk-Request-Channel", self._channel))
        return headers

    def _acknowledged(self, reply: _Reply) -> Flow[Answer]:
        if not self._channel:
            return DELIVERED
        if reply.ack_id is None:
            return Later(
                "Splunk gives no acknowledgement. Switch indexer acknowledgement on for the token, or set acknowledge "
                "to false.",
                blocked=True,
            )
        url = f"{self._base}/services/collector/ack?channel={self._channel}"
        body = msgspec.json.encode({"acks": [reply.ack_id]})
        for wait_s in ACK_WAITS_S:
            yield from pause(wait_s)
            response = yield from post(url, self._headers(), body, authorities=self._authorities, zipped=False)
            if response.status != 200:  # noqa: PLR2004
                break
            if _indexed(response, reply.ack_id):
                return DELIVERED
        return Later("Splunk has taken the events but does not say that they are indexed; they are sent again.")

    def _refusal(self, response: Response, reply: _Reply, count: int) -> Answer:
        code = reply.code
        if code == _INVALID_FORMAT and reply.invalid is not None and 0 <= reply.invalid < count:
            return _all_but(reply.invalid, count)
        if code in _ABOUT_EVENTS or code == _INVALID_FORMAT:
            return Halve(f"Splunk does not take the event (code {code}).")
        if code in _WRONG:
            return Later(f"Splunk refuses us: {_WRONG[code]} (code {code}).", blocked=True)
        if code == _ACK_OFF:
            return Later(
                "Splunk has acknowledgement switched off for the token; set acknowledge to false.", blocked=True
            )
        if response.status == 200:  # noqa: PLR2004
            return Later("Splunk answered something that its collector does not say. Check the address.", blocked=True)
        return judge(self.title, response, self.context.now())


def _all_but(bad: int, count: int) -> Sequence[Outcome]:
    again = Later("Splunk refused another event of the batch; this one is sent again.", after_s=0.0)
    outcomes: list[Outcome] = [again] * count
    outcomes[bad] = Refused("Splunk cannot read the event (code 6).")
    return outcomes


def _read(response: Response) -> _Reply:
    try:
        return msgspec.json.decode(response.body, type=_Reply)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Reply()


def _indexed(response: Response, ack_id: int) -> bool:
    try:
        return msgspec.json.decode(response.body, type=_Acks).acks.get(str(ack_id), False)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
