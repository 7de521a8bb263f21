"""What each kind of sink needs to be allowed, in the words of its maker.

Source: docs/sinks.md, which has policies to paste.
"""

from collections.abc import Mapping
from typing import Final

NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "STDOUT": (),
    "WEBHOOK": ("the receiver knows the signing secret and answers 2xx",),
    "SPLUNK": ("an enabled token of the HTTP Event Collector that may write to the index",),
    "GOOGLE_CLOUD_LOGGING": ("logging.logEntries.create on the project (role roles/logging.logWriter)",),
    "AZURE_MONITOR": ("the role Monitoring Metrics Publisher on the data collection rule, for the application",),
    "AWS_CLOUDWATCH": (
        "logs:PutLogEvents on the log stream",
        "logs:CreateLogStream on the log group, while the stream does not exist",
    ),
    "AWS_S3": ("s3:PutObject on the objects under the prefix", "kms:GenerateDataKey where the bucket has a key"),
    "AWS_SECURITY_LAKE": ("s3:PutObject on ext/<source>/*", "kms:GenerateDataKey where the lake has a key"),
    "DATADOG": ("an API key of the organization, on the site that the config names",),
    "SUMO_LOGIC": ("the address of an enabled HTTP Logs and Metrics source",),
    "ELASTICSEARCH": ("the index privilege create_doc on the index or data stream",),
    "OTLP": ("the collector has an OTLP receiver over HTTP with logs",),
    "SYSLOG": ("the receiver takes TLS and octet counting; where it asks for certificates, it takes ours",),
    "RELP": ("the receiver takes RELP over TLS; where it asks for certificates, it takes ours",),
    "KAFKA": ("WRITE and DESCRIBE on the topic", "IDEMPOTENT_WRITE on the cluster, before Kafka 2.8"),
}
"""By the ``type`` of the config."""
