"""A webhook: batches of events, posted to an address of the tenant's and signed with a secret that both know.

Shape: ``{"type": "security.events", "timestamp": ..., "data": [event, ...]}``. The signature covers id, time and body,
so that a receiver can tell who sends, whether it was changed, and that it is not an old one played back.

Source: Standard Webhooks specification 1.0.0, "Webhook headers", "Signature scheme".
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from tenant_security.outbound.flow import Flow, Request, send
from tenant_security.secret import Secret
from tenant_security.sinks.answers import judge
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase, batch_id, unix_ms
from tenant_security.sinks.sink import Piece, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.addresses import address_with_path
from tenant_security.wire.events import rfc3339
from tenant_security.wire.sinks.webhook import WebhookSinkConfig, signing_key

EVENTS: Final = "security.events"
"""What the ``type`` of every batch says."""
_CAP_BYTES: Final = 65_536


class WebhookSink(SinkBase):
    """One address of a tenant's."""

    kind = "webhook"
    title = "The webhook"
    around = 96

    def __init__(self, config: WebhookSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["WEBHOOK"], config.filter, context)
        self._url = address_with_path(config.url, "url")
        self._format = JSON_FORMATS[config.format]
        self._keys = [signing_key(config.signing_secret, "signingSecret")]
        if config.old_signing_secret is not None:
            self._keys.append(signing_key(config.old_signing_secret, "oldSigningSecret"))
        self._authorization = config.authorization

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:  # noqa: ARG002 - the event says its own time
        """Return one object of JSON."""
        return self._format(event)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Post one signed batch."""
        now = self.context.now()
        start = b'{"type":"%b","timestamp":"%b","data":[' % (EVENTS.encode(), rfc3339(unix_ms(now)).encode())
        body = start + b",".join(piece.body for piece in pieces) + b"]}"
        headers = [
            ("Content-Type", "application/json"),
            *signed(self._keys, batch_id(pieces), int(now.timestamp()), body),
        ]
        if self._authorization is not None:
            headers.append(("Authorization", self._authorization.reveal()))
        response = yield from send(Request("POST", self._url, tuple(headers), body, _CAP_BYTES))
        return judge(self.title, response, now)


def signed(keys: Sequence[Secret[bytes]], message_id: str, at_s: int, body: bytes) -> list[tuple[str, str]]:
    """Return the headers that prove who sends a body, one signature for each key. Units: Unix seconds."""
    content = f"{message_id}.{at_s}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(key.reveal(), content, hashlib.sha256)).decode() for key in keys)
    return [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(at_s)),
        ("webhook-signature", " ".join(f"v1,{signature}" for signature in signatures)),
    ]
