"""Events that the logdriver makes itself: how many were given up, and counts in place of single uses of leased keys.

Pure. An event's id follows from what it sums up, so the same sum has the same id however often it is sent.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from tenant_security.logdriver.lane import Held, Shed
from tenant_security.wire.events import SUCCESS, UNWRAP, WRAP, NativeEvent, NativeFields, Operation, rfc3339

DROPPED: Final = "EVENTS_DROPPED"
"""The name of the event that says how many are missing."""
_REQUESTING: Final = "tenant-security-logdriver"
_decode: Final = msgspec.json.Decoder(NativeEvent).decode
_MINUTE: Final = len("2026-11-24T09:30")
_Group = tuple[str, str, int | None, int | None]


def dropped_event(tenant: str, sink: int, shed: Shed) -> bytes:
    """Tell a tenant of events that were given up."""
    return msgspec.json.encode(
        NativeEvent(
            tenant_id=tenant,
            timestamp=rfc3339(shed.until_ms),
            icl_fields=NativeFields(event=DROPPED, requesting_id=_REQUESTING),
            custom_fields={
                "count": str(shed.count),
                "since": rfc3339(shed.since_ms),
                "until": rfc3339(shed.until_ms),
                "sinkConfigId": str(sink),
            },
            event_id=_event_id(shed.until_ms, f"{tenant}\n{sink}\n{shed.count}\n{shed.since_ms}"),
            sequence=0,
            instance="0" * 16,
        )
    )


class Summed(msgspec.Struct, frozen=True):
    """An event to send, and the positions of the events that it stands for."""

    line: bytes
    positions: tuple[int, ...]


def as_they_are(held: Sequence[Held]) -> list[Summed]:
    """Every event for itself."""
    return [Summed(each.line, (each.position,)) for each in held]


def summed(held: Sequence[Held]) -> list[Summed]:
    """Put one event in place of all uses of a leased key that went well in the same minute, for each config.

    What is not the use of a leased key, or did not go well, stays as it is. A sum stands where its first event stood.
    """
    found: list[Summed | list[tuple[Held, NativeEvent]]] = []
    groups: dict[_Group, list[tuple[Held, NativeEvent]]] = {}
    for each in held:
        event = _leased_use(each.line)
        if event is None:
            found.append(Summed(each.line, (each.position,)))
            continue
        assert event.operation
        use = event.operation
        key = (event.timestamp[:_MINUTE], event.instance, use.kms_config_id, use.kms_config_version)
        if key not in groups:
            groups[key] = []
            found.append(groups[key])
        groups[key].append((each, event))
    return [each if isinstance(each, Summed) else _sum(each) for each in found]


def _leased_use(line: bytes) -> NativeEvent | None:
    try:
        event = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    use = event.operation
    if not use or not use.leased or use.outcome != SUCCESS or event.icl_fields.event not in (WRAP, UNWRAP):
        return None
    return event


def _sum(group: Sequence[tuple[Held, NativeEvent]]) -> Summed:
    if len(group) == 1:
        held, _ = group[0]
        return Summed(held.line, (held.position,))
    first, last = group[0][1], group[-1][1]
    counts = {WRAP: 0, UNWRAP: 0}
    for _, event in group:
        assert event.operation
        counts[event.icl_fields.event] += event.operation.count
    assert first.operation
    operation = Operation(
        outcome=SUCCESS,
        count=sum(counts.values()),
        kms_config_id=first.operation.kms_config_id,
        kms_config_version=first.operation.kms_config_version,
        leased=True,
        wraps=counts[WRAP],
        unwraps=counts[UNWRAP],
    )
    made = NativeEvent(
        tenant_id=first.tenant_id,
        timestamp=first.timestamp,
        icl_fields=NativeFields(event=MINUTE_OF_USES, requesting_id=_REQUESTING),
        custom_fields={"until": last.timestamp, "events": str(len(group))},
        event_id=_event_id(
            int(first.event_id.replace("-", "")[:12], 16), "".join(event.event_id for _, event in group)
        ),
        sequence=first.sequence,
        instance=first.instance,
        operation=operation,
    )
    return Summed(msgspec.json.encode(made), tuple(held.position for held, _ in group))


MINUTE_OF_USES: Final = "DEK_LEASED_USES"
"""The name of the event that stands for a minute's uses of a leased key."""


def _event_id(time_ms: int, content: str) -> str:
    """A UUIDv7 whose random part is a hash of what the event says."""
    digest = int.from_bytes(hashlib.sha256(content.encode()).digest()[:10], "big")
    value = (time_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | (digest >> 62 & 0xFFF) << 64 | 0b10 << 62
    value |= digest & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
