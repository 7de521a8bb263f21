"""The native form: as the proxy wrote it."""

from tenant_security.sinks.stored import StoredEvent


def native(event: StoredEvent) -> bytes:
    """Return the event's own line."""
    return event.line
