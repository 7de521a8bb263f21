"""OCSF, the Open Cybersecurity Schema Framework, version 1.8.0.

What has no place in a class stands under ``unmapped``, under the names of the native form: nothing is lost.

Source: OCSF schema 1.8.0, https://schema.ocsf.io; docs/events-formats.md has the table of classes.
"""

from typing import Any, Final

import msgspec

from tenant_security import __version__
from tenant_security.sinks.formats.clean import ip_address, json_line
from tenant_security.sinks.formats.meanings import OTHER, Meaning, OcsfClass, meaning, provider, succeeded
from tenant_security.sinks.stored import StoredEvent

VERSION: Final = "1.8.0"

_PRODUCT: Final = {"name": "Tenant Security Proxy", "vendor_name": "tenant-security", "version": __version__}
_THOUSANDS: Final = 1000

_INFORMATIONAL: Final = 1
_MEDIUM: Final = 3

_SUCCESS: Final = (1, "Success")
_FAILURE: Final = (2, "Failure")
_UNKNOWN: Final = (0, "Unknown")

_encoder: Final = msgspec.json.Encoder()


def ocsf(event: StoredEvent) -> bytes:
    """Return one OCSF event as JSON."""
    return json_line(_encoder.encode(ocsf_members(event)))


def ocsf_members(event: StoredEvent) -> dict[str, Any]:
    """Return the members of one OCSF event."""
    said, means, worked = event.said, meaning(event), succeeded(event)
    fields, operation = said.icl_fields, said.operation or None
    status_id, status = _UNKNOWN if worked is None else _SUCCESS if worked else _FAILURE
    metadata = {
        "version": VERSION,
        "product": _PRODUCT,
        "uid": said.event_id,
        "tenant_uid": said.tenant_id,
        "sequence": said.sequence,
        "log_name": "security-events",
        "log_provider": provider(event),
        "event_code": fields.event,
        "original_time": said.timestamp,
    }
    if fields.request_id is not None:
        metadata["correlation_uid"] = fields.request_id
    members: dict[str, Any] = {
        "activity_id": means.activity,
        "category_uid": means.ocsf_class // _THOUSANDS,
        "class_uid": means.ocsf_class.value,
        "type_uid": means.ocsf_class * 100 + means.activity,
        "severity_id": _MEDIUM if worked is False else _INFORMATIONAL,
        "time": event.time_ms,
        "message": means.title,
        "status_id": status_id,
        "status": status,
        "metadata": metadata,
        "actor": {"user": {"uid": fields.requesting_id}},
        "src_endpoint": _source(fields.source_ip),
    }
    if means.activity == OTHER:
        members["activity_name"] = fields.event
    if operation is not None and operation.code is not None:
        members["status_code"] = str(operation.code)
    members |= _of_class(event, means)
    unmapped = _unmapped(event)
    if unmapped:
        members["unmapped"] = unmapped
    return members


def _of_class(event: StoredEvent, means: Meaning) -> dict[str, Any]:
    """What the class asks for beside what all have."""
    fields = event.said.icl_fields
    match means.ocsf_class:
        case OcsfClass.API_ACTIVITY:
            return _api(event)
        case OcsfClass.DATASTORE_ACTIVITY:
            bucket: dict[str, Any] = {"name": fields.data_label or "data", "type": "data", "type_id": OTHER}
            if fields.object_id is not None:
                bucket["uid"] = fields.object_id
            return {"databucket": bucket, "type_id": OTHER, "type": "data"}
        case OcsfClass.AUTHENTICATION:
            return {"user": {"uid": fields.requesting_id}, "service": {"name": "application"}}
        case OcsfClass.ACCOUNT_CHANGE:
            return {"user": {"uid": fields.object_id or fields.requesting_id}}
        case OcsfClass.ENTITY_MANAGEMENT:
            return {"entity": {"name": fields.object_id or fields.data_label or "setting", "type": "setting"}}


def _api(event: StoredEvent) -> dict[str, Any]:
    fields, operation = event.said.icl_fields, event.said.operation or None
    api: dict[str, Any] = {
        "operation": fields.event,
        "service": {"name": provider(event)},
        "request": {"uid": fields.request_id or fields.tsp_ray_id or event.said.event_id},
    }
    members: dict[str, Any] = {"api": api}
    if operation is None:
        return members
    if operation.code is not None:
        api["response"] = {"code": operation.code}
    if operation.document_ids:
        members["resources"] = [{"uid": each, "type": "document"} for each in operation.document_ids]
    if operation.count != 1:
        members["count"] = operation.count
    return members


def _source(address: str | None) -> dict[str, str]:
    ip = ip_address(address)
    if ip is not None:
        return {"ip": ip}
    return {"name": address} if address else {"svc_name": "application"}


def _unmapped(event: StoredEvent) -> dict[str, Any]:
    said, fields = event.said, event.said.icl_fields
    found: dict[str, Any] = {
        "instance": said.instance,
        "dataLabel": fields.data_label,
        "objectId": fields.object_id,
        "tspRayId": fields.tsp_ray_id,
        "logdriverRayId": fields.logdriver_ray_id,
        "customFields": said.custom_fields or None,
        "truncated": said.truncated or None,
    }
    if said.operation:
        found["operation"] = said.operation
    return {name: value for name, value in found.items() if value is not None}
