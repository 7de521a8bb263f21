"""Security events: what happened to a tenant's keys, and what the vendor's application reports.

An event is recorded on the hot path as references to what is in memory anyway and rendered later. Its id is a
UUIDv7 computed from what the record holds, so rendering twice gives the same id.

Source: docs/formats.md, "Security events"; RFC 9562 for UUIDv7.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from tenant_security.wire.proxy_api import IclFields

WRAP: Final = "DEK_WRAP"
UNWRAP: Final = "DEK_UNWRAP"
REKEY: Final = "DEK_REKEY"
DERIVE: Final = "KEY_DERIVE"
REPORT: Final = "DEK_OPERATIONS"
"""Names of the events that the proxy makes itself. They alone carry an ``operation``: an application may report what it
likes under any name."""

TEST: Final = "SINK_TEST"
"""What a test of a sink sends, so that nobody takes it for an event."""

SUCCESS: Final = "success"
FAILURE: Final = "failure"


class Operation(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """What the proxy did, in events of its own.

    ``count`` keys were served, for ``documentIds`` where the caller named them; ``code`` is the fault where it failed.
    ``kmsConfigId`` and ``kmsConfigVersion`` name the configuration in use, so that a tenant sees in its own SIEM which
    of its configurations the vendor really has.
    """

    outcome: str
    count: int = 1
    code: int | None = None
    kms_config_id: int | None = None
    kms_config_version: int | None = None
    leased: bool | None = None
    document_ids: list[str] | None = None
    new_tenant_id: str | None = None
    previous_tenant_id: str | None = None
    secret_paths: list[str] | None = None
    wraps: int | None = None
    unwraps: int | None = None


class EventRecord(msgspec.Struct, frozen=True, gc=False):
    """One event as the outbox holds it.

    Units: ``time_ms`` is Unix milliseconds. ``serial`` counts all events of this process, ``sequence`` those of this
    tenant in this process from 1: a gap in it is a lost event. ``instance`` is 16 hexadecimal digits, new at every
    start.
    """

    serial: int
    sequence: int
    time_ms: int
    name: str
    tenant_id: str
    instance: str
    ray_id: str
    icl_fields: IclFields
    custom_fields: dict[str, str] | None
    operation: Operation | None = None


class NativeFields(msgspec.Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """``iclFields`` of the native form: nulls are left out, the ray ids of proxy and logdriver are added."""

    event: str
    requesting_id: str
    data_label: str | None = None
    source_ip: str | None = None
    object_id: str | None = None
    request_id: str | None = None
    tsp_ray_id: str | None = None
    logdriver_ray_id: str | None = None


class NativeEvent(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The native form: the original's members, then ours."""

    tenant_id: str
    timestamp: str
    icl_fields: NativeFields
    custom_fields: dict[str, str]
    event_id: str
    sequence: int
    instance: str
    operation: Operation | msgspec.UnsetType = msgspec.UNSET
    truncated: bool | msgspec.UnsetType = msgspec.UNSET
    """Texts were cut to what a sink takes."""


def event_id(record: EventRecord) -> str:
    """UUIDv7: 48 bits of Unix milliseconds, then the serial and the instance in place of randomness."""
    low = record.serial & 0xF_FFFF
    high = record.serial >> 20 & 0xFFF
    node = int(record.instance, 16) & (1 << 42) - 1
    value = (record.time_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low << 42 | node
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def rfc3339(time_ms: int) -> str:
    """UTC with milliseconds, such as ``2026-11-24T09:30:00.000Z``."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def native(record: EventRecord) -> NativeEvent:
    """Render an event in the native form."""
    said = record.icl_fields
    return NativeEvent(
        tenant_id=record.tenant_id,
        timestamp=rfc3339(record.time_ms),
        icl_fields=NativeFields(
            event=record.name,
            requesting_id=said.requesting_id,
            data_label=said.data_label,
            source_ip=said.source_ip,
            object_id=said.object_id,
            request_id=said.request_id,
            tsp_ray_id=record.ray_id,
        ),
        custom_fields=record.custom_fields or {},
        event_id=event_id(record),
        sequence=record.sequence,
        instance=record.instance,
        operation=record.operation if record.operation is not None else msgspec.UNSET,
    )


_encoder: Final = msgspec.json.Encoder()


def native_json(record: EventRecord) -> bytes:
    """The native form as one line of JSON, without a line break."""
    return _encoder.encode(native(record))
