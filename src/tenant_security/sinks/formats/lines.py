"""CEF and LEEF: one line of text, understood by most SIEMs.

Both hold what identifies an event and says what happened; what has no key of its own stands as JSON in one field.

Source: Micro Focus Security ArcSight, "Common Event Format" (CEF 0), revision 26; IBM QRadar, "Log Event Extended
Format" (LEEF 2.0), "Predefined LEEF event attributes"; docs/events-formats.md.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from tenant_security import __version__
from tenant_security.sinks.formats.clean import ip_address, one_line
from tenant_security.sinks.formats.meanings import meaning, provider, succeeded
from tenant_security.sinks.stored import StoredEvent

_VENDOR: Final = "tenant-security"
_PRODUCT: Final = "Tenant Security Proxy"

_USUAL: Final = 3
_BAD: Final = 7
"""Severities, of 0 to 10."""

_encoder: Final = msgspec.json.Encoder()

_CEF: Final = f"CEF:0|{_VENDOR}|{_PRODUCT}|{__version__}|"
_LEEF: Final = f"LEEF:2.0|{_VENDOR}|{_PRODUCT}|{__version__}|"


def cef(event: StoredEvent) -> bytes:
    """Return one line of CEF."""
    name = _header(event.said.icl_fields.event)
    return f"{_CEF}{name}|{meaning(event).title}|{_severity(event)}|{' '.join(_cef_pairs(event))}".encode()


def leef(event: StoredEvent) -> bytes:
    """Return one line of LEEF, its attributes separated by tabs."""
    name = one_line(event.said.icl_fields.event).replace("|", "/")
    attributes = "\t".join(f"{key}={one_line(value)}" for key, value in _leef_pairs(event))
    return f"{_LEEF}{name}|x09|{attributes}".encode()


def _cef_pairs(event: StoredEvent) -> Iterator[str]:
    said, fields, operation = event.said, event.said.icl_fields, event.said.operation or None
    worked = succeeded(event)
    pairs: list[tuple[str, str | None]] = [
        ("rt", str(event.time_ms)),
        ("externalId", said.event_id),
        ("act", fields.event),
        ("outcome", None if worked is None else "success" if worked else "failure"),
        ("suid", fields.requesting_id),
        ("src", ip_address(fields.source_ip)),
        ("deviceExternalId", said.instance),
        ("deviceFacility", provider(event)),
    ]
    if operation is not None:
        pairs += [
            ("cnt", str(operation.count)),
            ("reason", None if operation.code is None else str(operation.code)),
            *_labelled("cn1", "kmsConfigId", operation.kms_config_id),
        ]
    pairs += [
        *_labelled("cn2", "sequence", said.sequence),
        *_labelled("cs1", "tenantId", said.tenant_id),
        *_labelled("cs2", "dataLabel", fields.data_label),
        *_labelled("cs3", "objectId", fields.object_id),
        *_labelled("cs4", "requestId", fields.request_id),
        *_labelled("cs5", "tspRayId", fields.tsp_ray_id),
        *_labelled("cs6", "more", _more(event)),
    ]
    for key, value in pairs:
        if value is not None:
            yield f"{key}={_extension(value)}"


def _header(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace("|", "\\|")


def _extension(text: str) -> str:
    if "\\" in text or "=" in text:
        text = text.replace("\\", "\\\\").replace("=", "\\=")
    if not text.isprintable():
        # The two line breaks that CEF can write are kept, everything else that is not printable goes.
        text = one_line(text.replace("\n", "\\n").replace("\r", "\\r"))
    return text


def _labelled(key: str, label: str, value: str | int | None) -> list[tuple[str, str | None]]:
    return [] if value is None else [(f"{key}Label", label), (key, str(value))]


def _leef_pairs(event: StoredEvent) -> Iterator[tuple[str, str]]:
    said, fields, operation = event.said, event.said.icl_fields, event.said.operation or None
    worked = succeeded(event)
    ip = ip_address(fields.source_ip)
    pairs: list[tuple[str, str | int | None]] = [
        ("devTime", said.timestamp),
        ("devTimeFormat", "yyyy-MM-dd'T'HH:mm:ss.SSSX"),
        ("cat", meaning(event).ecs_category),
        ("sev", _severity(event)),
        ("usrName", fields.requesting_id),
        ("src", ip),
        ("srcText", fields.source_ip if ip is None else None),
        ("outcome", None if worked is None else "success" if worked else "failure"),
        ("reportedBy", provider(event)),
        ("eventId", said.event_id),
        ("tenantId", said.tenant_id),
        ("sequence", said.sequence),
        ("instance", said.instance),
        ("dataLabel", fields.data_label),
        ("objectId", fields.object_id),
        ("requestId", fields.request_id),
        ("tspRayId", fields.tsp_ray_id),
    ]
    if operation is not None:
        pairs += [
            ("count", operation.count),
            ("code", operation.code),
            ("kmsConfigId", operation.kms_config_id),
        ]
    pairs.append(("more", _more(event)))
    return ((key, str(value)) for key, value in pairs if value is not None)


def _more(event: StoredEvent) -> str | None:
    """What has no key of its own, as JSON."""
    said = event.said
    found: dict[str, object] = {}
    if said.custom_fields:
        found["customFields"] = said.custom_fields
    if said.icl_fields.source_ip and ip_address(said.icl_fields.source_ip) is None:
        found["sourceIp"] = said.icl_fields.source_ip
    if said.icl_fields.logdriver_ray_id:
        found["logdriverRayId"] = said.icl_fields.logdriver_ray_id
    if said.operation:
        found["operation"] = said.operation
    if said.truncated:
        found["truncated"] = True
    return _encoder.encode(found).decode() if found else None


def _severity(event: StoredEvent) -> int:
    return _BAD if succeeded(event) is False else _USUAL
