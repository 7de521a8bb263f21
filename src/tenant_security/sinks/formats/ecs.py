"""ECS, the Elastic Common Schema, version 8.11.0.

What ECS has no field for stands under ``tenant_security``; what the application wrote stands under ``labels``.

Source: ECS 8.11, field reference; "Custom fields"; docs/events-formats.md.
"""

from typing import Any, Final

import msgspec

from tenant_security.sinks.formats.clean import ip_address, json_line
from tenant_security.sinks.formats.meanings import meaning, provider, succeeded
from tenant_security.sinks.stored import StoredEvent

VERSION: Final = "8.11.0"
_DATASET: Final = "tenant_security.events"

_encoder: Final = msgspec.json.Encoder()


def ecs(event: StoredEvent) -> bytes:
    """Return one ECS document as JSON."""
    said, means, worked = event.said, meaning(event), succeeded(event)
    fields, operation = said.icl_fields, said.operation or None
    about: dict[str, Any] = {
        "id": said.event_id,
        "kind": "event",
        "category": [means.ecs_category],
        "type": [means.ecs_type],
        "action": fields.event,
        "outcome": "unknown" if worked is None else "success" if worked else "failure",
        "provider": provider(event),
        "module": "tenant_security",
        "dataset": _DATASET,
        "sequence": said.sequence,
    }
    if operation is not None and operation.code is not None:
        about["code"] = str(operation.code)
    own: dict[str, Any] = {
        "instance": said.instance,
        "data_label": fields.data_label,
        "object_id": fields.object_id,
        "tsp_ray_id": fields.tsp_ray_id,
        "logdriver_ray_id": fields.logdriver_ray_id,
        "operation": operation,
        "truncated": said.truncated or None,
    }
    document: dict[str, Any] = {
        "@timestamp": said.timestamp,
        "ecs": {"version": VERSION},
        "message": means.title,
        "event": about,
        "organization": {"id": said.tenant_id},
        "user": {"id": fields.requesting_id},
        "tenant_security": {name: value for name, value in own.items() if value is not None},
    }
    if fields.source_ip:
        ip = ip_address(fields.source_ip)
        document["source"] = {"address": fields.source_ip} if ip is None else {"address": fields.source_ip, "ip": ip}
    if fields.request_id is not None:
        document["trace"] = {"id": fields.request_id}
    if said.custom_fields:
        # A dot would make an object of a label. Source: ECS, "Base fields", labels.
        document["labels"] = {name.replace(".", "_"): value for name, value in said.custom_fields.items()}
    return json_line(_encoder.encode(document))
