"""Google Cloud Logging: entries of one log, written with a service account's own token.

An entry's ``insertId`` is the event's id, so that the same event twice is one entry for whoever reads the log.

Source: Cloud Logging API v2, ``entries.write``, ``LogEntry``, "WriteLogEntriesPartialErrors"; Cloud Logging,
"Quotas and limits".
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tenant_security.outbound import google_token
from tenant_security.outbound.flow import Flow, Lasting, Response, forget, send, shared
from tenant_security.outbound.google_key import read_private_key
from tenant_security.secret import Secret
from tenant_security.sinks.answers import judge, web_page
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.formats.meanings import succeeded
from tenant_security.sinks.http import post
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SignInError, SinkBase
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.addresses import origin
from tenant_security.wire.events import rfc3339
from tenant_security.wire.sink_configs import SinkConfigError
from tenant_security.wire.sinks.google import GoogleSinkConfig

SCOPE: Final = "https://www.googleapis.com/auth/logging.write"
"""What our tokens are good for: writing to logs and nothing else."""

_PARTIAL: Final = "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"
_BAD_EVENT: Final = frozenset({3, 9, 11})
"""Codes that are said of an entry: invalid argument, failed precondition, out of range."""
_US: Final = frozenset({7, 16})
"""Codes that are said of us: permission denied, unauthenticated."""
_OK: Final = 200
_UNAUTHENTICATED: Final = 401


class _Status(msgspec.Struct):
    code: int = 0


class _Detail(msgspec.Struct):
    kind: str = msgspec.field(name="@type", default="")
    errors: dict[str, _Status] = msgspec.field(name="logEntryErrors", default_factory=dict)


class _Error(msgspec.Struct):
    details: list[_Detail] = msgspec.field(default_factory=list)


class _Reply(msgspec.Struct):
    error: _Error | None = None


class GoogleSink(SinkBase):
    """One log of one project.

    Raises: SinkConfigError when the service account's key cannot work.
    """

    kind = "google"
    title = "Google Cloud Logging"
    around = 1_024

    def __init__(self, config: GoogleSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["GOOGLE_CLOUD_LOGGING"], config.filter, context)
        self._url = (
            "https://logging.googleapis.com" if config.endpoint is None else origin(config.endpoint, "endpoint")
        ) + "/v2/entries:write"
        self._format = JSON_FORMATS[config.format]
        self._email = config.credentials.client_email
        try:
            self._key = read_private_key(config.credentials.private_key)
        except ValueError as wrong:
            raise SinkConfigError(f"The sink configuration cannot work: {wrong}") from None
        proof = hashlib.sha256(self._key.reveal())
        proof.update(self._email.encode())
        self._shared = b"gcp-logging:" + proof.digest()
        about: dict[str, Any] = {
            "logName": f"projects/{config.project_id}/logs/{config.log_id}",
            "resource": {"type": "global", "labels": {"project_id": config.project_id}},
            "partialSuccess": True,
        }
        self._start = msgspec.json.encode(about)[:-1] + b',"entries":['

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:
        """Return one log entry."""
        said = event.said
        entry = {
            "insertId": said.event_id,
            "timestamp": rfc3339(shown_ms),
            "severity": "WARNING" if succeeded(event) is False else "INFO",
            "labels": {"tenantId": said.tenant_id, "event": said.icl_fields.event},
            "jsonPayload": msgspec.Raw(self._format(event)),
        }
        return msgspec.json.encode(entry)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Write entries; where the token that we signed is refused, once more with one of Google's."""
        body = self._start + b",".join(piece.body for piece in pieces) + b"]}"
        response = yield from self._write(body, (yield from shared(self._shared, self._own_token)))
        if response.status == _UNAUTHENTICATED:
            yield from forget(self._shared)
            response = yield from self._write(body, (yield from shared(self._shared, self._exchanged_token)))
        if response.status == _OK:
            return web_page(self.title, response) or DELIVERED
        return _partly(response, len(pieces)) or judge(self.title, response, self.context.now())

    def _write(self, body: bytes, token: Secret[str]) -> Flow[Response]:
        return post(self._url, [("Authorization", f"Bearer {token.reveal()}")], body)

    def _own_token(self) -> Flow[Lasting[Secret[str]]]:
        yield from ()
        try:
            return google_token.self_signed(self._key, self._email, SCOPE, self.context.now())
        except ValueError as wrong:
            raise SignInError(f"Google Cloud Logging cannot be asked: {wrong}.") from None

    def _exchanged_token(self) -> Flow[Lasting[Secret[str]]]:
        try:
            response = yield from send(google_token.exchange(self._key, self._email, SCOPE, self.context.now()))
            if response.status == _OK:
                return google_token.read_granted(response)
        except ValueError as wrong:
            raise SignInError(f"Google did not sign us in: {wrong}.") from None
        raise SignInError(
            f"Google did not sign us in (HTTP {response.status}). Check that the service account and its key exist."
        )


def _partly(response: Response, count: int) -> Sequence[Outcome] | None:
    """What became of each entry, where the answer says so; those that it does not name were written."""
    try:
        reply = msgspec.json.decode(response.body, type=_Reply)
        details = reply.error.details if reply.error else []
        errors = {
            int(index): each.code
            for detail in details
            if detail.kind == _PARTIAL
            for index, each in detail.errors.items()
        }
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None
    if not errors or not all(0 <= index < count for index in errors):
        return None
    return [_outcome(errors.get(index, 0)) for index in range(count)]


def _outcome(code: int) -> Outcome:
    if code == 0:
        return DELIVERED
    if code in _BAD_EVENT:
        return Refused(f"Google Cloud Logging does not take the event (code {code}).")
    if code in _US:
        return Later("Google Cloud Logging does not let the service account write to the log.", blocked=True)
    return Later(f"Google Cloud Logging could not write the event (code {code}).")
