"""What each kind of sink takes: one table, by the ``type`` of its config.

Source: each row names its own; docs/sinks.md shows the table.
"""

from collections.abc import Mapping
from typing import Final

from tenant_security.sinks.sink import Assurance, Limits, Partial

KIB: Final = 1024
MIB: Final = 1024 * 1024
HOUR_S: Final = 3600

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
    "SPLUNK": Limits(
        most_events=1_000,
        most_bytes=1_000_000,
        most_event_bytes=250_000,
        deadline_s=60.0,
        gzip=True,
        partial=Partial.BY_EVENT,
        success="code 0; with `acknowledge`, that the indexers have it",
        repeats="the indexed field `eventId`",
        source="Splunk, limits.conf, [http_input]; OpenTelemetry collector contrib, splunkhecexporter",
    ),
    "GOOGLE_CLOUD_LOGGING": Limits(
        most_events=1_000,
        most_bytes=5 * MIB,
        most_event_bytes=250_000,
        future_s=24 * HOUR_S,
        gzip=True,
        partial=Partial.BY_EVENT,
        repeats="`insertId`, by which Cloud Logging itself drops repeats from what it shows",
        source="Cloud Logging, Quotas and limits",
    ),
    "AZURE_MONITOR": Limits(
        most_events=1_000,
        most_bytes=1_000_000,
        most_event_bytes=60_000,
        gzip=True,
        retry_after=True,
        repeats="the column `EventId`",
        source="Azure Monitor service limits, Logs Ingestion API: 1 MB a call, 64 KB a field",
    ),
    "AWS_CLOUDWATCH": Limits(
        most_events=10_000,
        most_bytes=1_048_576,
        most_event_bytes=256_000,
        past_s=14 * 24 * HOUR_S,
        future_s=2 * HOUR_S,
        span_s=24 * HOUR_S,
        partial=Partial.BY_EVENT,
        repeats="`eventId` in the message",
        source="CloudWatch Logs API reference, PutLogEvents",
    ),
    "AWS_S3": Limits(
        most_events=100_000,
        most_bytes=64 * MIB,
        most_event_bytes=MIB,
        collect_s=60.0,
        collect_bytes=16 * MIB,
        deadline_s=120.0,
        gzip=True,
        success="HTTP 200, or 412: the object is there already",
        repeats="the object's name, the same for the same events; `eventId` in the line",
        source="Amazon S3 API reference, PutObject",
    ),
    "DATADOG": Limits(
        most_events=1_000,
        most_bytes=4_250_000,
        most_event_bytes=900_000,
        past_s=18 * HOUR_S,
        gzip=True,
        repeats="the attribute `eventId`",
        source="Datadog API reference, Send logs",
    ),
    "SUMO_LOGIC": Limits(
        most_events=1_000,
        most_bytes=1_000_000,
        most_event_bytes=64 * KIB,
        gzip=True,
        repeats="`eventId` in the line",
        source="Sumo Logic, Upload logs to an HTTP source: 100 kB to 1 MB, 64 KB a message",
    ),
    "ELASTICSEARCH": Limits(
        most_events=1_000,
        most_bytes=5 * MIB,
        most_event_bytes=MIB,
        gzip=True,
        partial=Partial.BY_EVENT,
        success="status 2xx of each document, or 409: it is there already",
        repeats="the document's `_id`, which is the event's id",
        source="Elasticsearch, http.max_content_length",
    ),
    "OTLP": Limits(
        most_events=1_000,
        most_bytes=MIB,
        most_event_bytes=256 * KIB,
        gzip=True,
        retry_after=True,
        partial=Partial.COUNT,
        repeats="the attribute `event.id`",
        source="OpenTelemetry protocol specification, OTLP/HTTP",
    ),
    "SYSLOG": Limits(
        most_events=1_000,
        most_bytes=MIB,
        most_event_bytes=8_192,
        success="the system has taken the bytes",
        repeats="`eventId` in the text",
        assurance=Assurance.BEST_EFFORT,
        source="RFC 5425; RFC 5424, section 6.1: 2,048 bytes should be taken, more may be",
    ),
    "RELP": Limits(
        most_events=1_000,
        most_bytes=MIB,
        most_event_bytes=8_192,
        partial=Partial.BY_EVENT,
        success="status 200 for each message",
        repeats="`eventId` in the text",
        source="librelp; rsyslog, maxMessageSize: 8 KiB unless set",
    ),
    "KAFKA": Limits(
        most_events=1_000,
        most_bytes=4 * MIB,
        most_event_bytes=900_000,
        partial=Partial.BY_EVENT,
        success="all replicas in sync have it",
        repeats="the header `eventId`; the key is the tenant",
        source="Apache Kafka, message.max.bytes: 1 MB unless set",
    ),
}
