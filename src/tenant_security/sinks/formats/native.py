"""The native form: as the proxy wrote it."""

from tenant_security.sinks.formats.clean import json_line
from tenant_security.sinks.stored import StoredEvent


def native(event: StoredEvent) -> bytes:
    """Return the event's own line."""
    return json_line(event.line)
