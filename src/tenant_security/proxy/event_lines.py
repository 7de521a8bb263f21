"""Events as log lines: where they go when no logdriver will ever fetch them."""

from typing import Final

import msgspec
import structlog

from tenant_security.proxy.outbox import Outbox
from tenant_security.wire.events import native

_BATCH: Final = 500


async def write_event_lines(outbox: Outbox, log: structlog.typing.FilteringBoundLogger) -> None:
    """Write every event as one line, until the outbox is closed."""
    while (batch := await outbox.lend(_BATCH)).events:
        for event in batch.events:
            log.info(
                "security event",
                name=event.name,
                ray_id=event.ray_id,
                tenant_id=event.tenant_id,
                security_event=msgspec.to_builtins(native(event)),
            )
        outbox.acknowledge(batch.number)
