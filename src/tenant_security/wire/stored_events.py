"""What the logdriver reads of an event before it stores it, and how it marks one that is for a single sink.

Shape of a record of the journal: one line of the native form; or ``01``, the sink's config id in 4 bytes, big-endian,
and then the line: only that sink gets it.

Source: docs/formats.md, "Spool".
"""

from typing import Final, NamedTuple

import msgspec

_ONE_SINK: Final = b"\x01"
_LINE_AT: Final = 5
_TSP_RAY: Final = b'"tspRayId":"'
_LOGDRIVER_RAY: Final = b'"logdriverRayId":'
MOST_LINE_BYTES: Final = 8 * 1_048_576


class _Read(msgspec.Struct, gc=False, rename="camel"):
    tenant_id: str
    event_id: str


class Incoming(NamedTuple):
    """An event as it arrives. ``sink`` is the only one that gets it, or None."""

    line: bytes
    tenant_id: str
    event_id: str
    sink: int | None = None


_decode: Final = msgspec.json.Decoder(_Read).decode


def read_incoming(line: bytes) -> Incoming | None:
    """Read one line of the native form; None when it is none or too long."""
    try:
        read = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(line) > MOST_LINE_BYTES:
        return None
    return Incoming(line, read.tenant_id, read.event_id)


def with_ray(event: Incoming, ray_id: str) -> Incoming:
    """Say in an event under which id it was taken in, unless it says so already. ``ray_id``: 16 characters."""
    line = event.line
    at = line.find(_TSP_RAY)
    end = line.find(b'"', at + len(_TSP_RAY))
    if at < 0 or end < 0 or _LOGDRIVER_RAY in line:
        return event
    made = b'%b,"logdriverRayId":"%b"%b' % (line[: end + 1], ray_id.encode("ascii"), line[end + 1 :])
    return event._replace(line=made)


def to_record(event: Incoming) -> bytes:
    """Return the record of the journal."""
    if event.sink is None:
        return event.line
    return _ONE_SINK + event.sink.to_bytes(4, "big") + event.line


def from_record(record: bytes) -> Incoming | None:
    """Read a record of the journal; None when it is none."""
    if record[:1] != _ONE_SINK:
        return read_incoming(record)
    read = read_incoming(record[_LINE_AT:])
    return None if read is None else read._replace(sink=int.from_bytes(record[1:_LINE_AT], "big"))
