"""What each kind of sink takes: one table, by the ``type`` of its config.

Source: each row names its own; docs/sinks.md shows the table.
"""

from collections.abc import Mapping
from typing import Final

from tenant_security.sinks.sink import Assurance, Limits

KIB: Final = 1024
MIB: Final = 1024 * 1024

LIMITS: Final[Mapping[str, Limits]] = {
    "STDOUT": Limits(
        most_events=1_000,
        most_bytes=MIB,
        most_event_bytes=MIB,
        success="the lines are written",
        repeats="`eventId` in the line",
        assurance=Assurance.BEST_EFFORT,
        source="POSIX, write",
    ),
    "WEBHOOK": Limits(
        most_events=500,
        most_bytes=MIB,
        most_event_bytes=256 * KIB,
        retry_after=True,
        repeats="`webhook-id`, the same for the same batch; `eventId` in each event",
        source="Standard Webhooks 1.0.0",
    ),
}
