"""Events as log lines: where they go when no logdriver will ever fetch them."""

from typing import Final

import msgspec
import structlog

from tenant_security.proxy.outbox import EventQueue

_BATCH: Final = 500


async def write_event_lines(outbox: EventQueue, log: structlog.typing.FilteringBoundLogger) -> None:
    """Write every event as one line, until the outbox is closed."""
    while (batch := await outbox.lend(_BATCH)).events:
        for line in batch.lines():
            event = msgspec.json.decode(line)
            log.info(
                "security event",
                name=event["iclFields"]["event"],
                ray_id=event["iclFields"]["tspRayId"],
                tenant_id=event["tenantId"],
                security_event=event,
            )
        outbox.acknowledge(batch.number)
