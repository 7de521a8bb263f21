"""How events travel through NATS JetStream, where it stands between proxies and logdrivers.

Shape of a message: :class:`tenant_security.wire.event_feed.LeasedEvents` as JSON, the same batches as over HTTP. Its
``Nats-Msg-Id`` is the same however often it is published within two minutes.

Source: docs/logdriver.md, "Through NATS".
"""

from typing import Final

STREAM: Final = "TENANT_SECURITY_EVENTS"
SUBJECT: Final = "tenant-security.events"
CONSUMER: Final = "logdriver"
MESSAGE_BYTES: Final = 524_288
"""About how large a message gets; a NATS server takes 1 MiB unless it is told otherwise."""
STREAM_BYTES: Final = 8 * 1024**3
"""How much the stream holds before it takes no more: then the proxies' outboxes fill."""
ACKNOWLEDGE_WITHIN_S: Final = 30.0


def transport(value: str) -> str:
    """Read ``EVENT_TRANSPORT``: ``http``, or where NATS is."""
    if value != "http" and not value.startswith(("nats://", "tls://")):
        raise ValueError("http, or the address of NATS such as nats://localhost:4222")
    return value
