"""OCSF events as a file of Parquet, with the same columns for every file of a class.

Source: Apache Parquet; Amazon Security Lake User Guide, "Requirements for data ingestion": nested columns, Zstandard.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tenant_security.sinks.formats.meanings import OcsfClass

_TEXT, _INT, _LONG = pa.string(), pa.int32(), pa.int64()

_ALL: Final[Mapping[str, Any]] = {
    "activity_id": _INT,
    "activity_name": _TEXT,
    "category_uid": _INT,
    "class_uid": _INT,
    "type_uid": _LONG,
    "severity_id": _INT,
    "time": _LONG,
    "message": _TEXT,
    "status_id": _INT,
    "status": _TEXT,
    "status_code": _TEXT,
    "metadata": pa.struct(
        {
            "version": _TEXT,
            "product": pa.struct({"name": _TEXT, "vendor_name": _TEXT, "version": _TEXT}),
            "uid": _TEXT,
            "tenant_uid": _TEXT,
            "sequence": _LONG,
            "log_name": _TEXT,
            "log_provider": _TEXT,
            "event_code": _TEXT,
            "original_time": _TEXT,
            "correlation_uid": _TEXT,
        }
    ),
    "actor": pa.struct({"user": pa.struct({"uid": _TEXT})}),
    "src_endpoint": pa.struct({"ip": _TEXT, "name": _TEXT, "svc_name": _TEXT}),
    "unmapped": pa.map_(_TEXT, _TEXT),
}

_OWN: Final[Mapping[OcsfClass, Mapping[str, Any]]] = {
    OcsfClass.API_ACTIVITY: {
        "api": pa.struct(
            {
                "operation": _TEXT,
                "service": pa.struct({"name": _TEXT}),
                "request": pa.struct({"uid": _TEXT}),
                "response": pa.struct({"code": _INT}),
            }
        ),
        "resources": pa.list_(pa.struct({"uid": _TEXT, "type": _TEXT})),
        "count": _INT,
    },
    OcsfClass.DATASTORE_ACTIVITY: {
        "databucket": pa.struct({"name": _TEXT, "type": _TEXT, "type_id": _INT, "uid": _TEXT}),
        "type_id": _INT,
        "type": _TEXT,
    },
    OcsfClass.AUTHENTICATION: {"user": pa.struct({"uid": _TEXT}), "service": pa.struct({"name": _TEXT})},
    OcsfClass.ACCOUNT_CHANGE: {"user": pa.struct({"uid": _TEXT})},
    OcsfClass.ENTITY_MANAGEMENT: {"entity": pa.struct({"name": _TEXT, "type": _TEXT})},
}

SCHEMAS: Final[Mapping[OcsfClass, Any]] = {each: pa.schema({**_ALL, **own}) for each, own in _OWN.items()}
"""The columns of each class."""


def parquet(events: Sequence[bytes], ocsf_class: OcsfClass) -> bytes:
    """Return a file of events of one class, each given as JSON."""
    rows = []
    for text in events:
        row = msgspec.json.decode(text)
        row["unmapped"] = [(name, _text(value)) for name, value in row.get("unmapped", {}).items()]
        rows.append(row)
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[ocsf_class]), file, compression="zstd")
    return file.getvalue()


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
