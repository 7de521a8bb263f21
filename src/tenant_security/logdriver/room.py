"""What to do when there is no room: pure rules.

``BLOCK`` gives nothing up: no event is taken until there is room, and the proxies keep them. The other two keep taking
events and give some up: the oldest that wait, or the newest, of the tenant that takes most.
"""

from enum import Enum

import msgspec


class WhenFull(Enum):
    """The operator's choice."""

    BLOCK = "block"
    SHED_OLDEST = "shed-oldest"
    SHED_NEWEST = "shed-newest"


class Room(msgspec.Struct, frozen=True):
    """How much may be used. Units: bytes."""

    disk_bytes: int = 10 * 1024**3
    """The whole spool on the disk."""
    tenant_bytes: int = 1024**3
    """What waits for one sink of one tenant."""
    memory_bytes: int = 256 * 1024**2
    """Waiting events in memory."""
    when_full: WhenFull = WhenFull.SHED_OLDEST


class Verdict(Enum):
    """What becomes of a new event for a lane."""

    TAKE = "take"
    MAKE_ROOM = "make room"
    """Take it, after giving up older ones of the same lane."""
    GIVE_UP = "give up"


def verdict(room: Room, *, lane_bytes: int, full: bool) -> Verdict:
    """Judge a new event for a lane that has so much on the disk; ``full``: the whole spool has no room."""
    over = lane_bytes > room.tenant_bytes or (full and lane_bytes > 0)
    if not over or room.when_full is WhenFull.BLOCK:
        return Verdict.TAKE
    return Verdict.MAKE_ROOM if room.when_full is WhenFull.SHED_OLDEST else Verdict.GIVE_UP
