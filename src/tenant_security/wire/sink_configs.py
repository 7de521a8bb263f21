"""What a tenant admin writes down to have events sent somewhere, one type per kind of sink.

A config names one sink; a tenant has as many as it likes. The config travels sealed; the decoded object lives in memory
only.

Source: docs/sinks.md.
"""

from typing import Final, get_args

import msgspec

from tenant_security.wire.secret_members import decode_secret
from tenant_security.wire.sinks.aws import CloudWatchSinkConfig, S3SinkConfig, SecurityLakeSinkConfig
from tenant_security.wire.sinks.azure import AzureSinkConfig
from tenant_security.wire.sinks.datadog import DatadogSinkConfig
from tenant_security.wire.sinks.elastic import ElasticSinkConfig
from tenant_security.wire.sinks.google import GoogleSinkConfig
from tenant_security.wire.sinks.otlp import OtlpSinkConfig
from tenant_security.wire.sinks.receivers import KafkaSinkConfig, RelpSinkConfig, SyslogSinkConfig
from tenant_security.wire.sinks.splunk import SplunkSinkConfig
from tenant_security.wire.sinks.stdout import StdoutSinkConfig
from tenant_security.wire.sinks.sumo import SumoSinkConfig
from tenant_security.wire.sinks.webhook import WebhookSinkConfig

SinkConfig = (
    StdoutSinkConfig
    | WebhookSinkConfig
    | SplunkSinkConfig
    | GoogleSinkConfig
    | AzureSinkConfig
    | CloudWatchSinkConfig
    | S3SinkConfig
    | SecurityLakeSinkConfig
    | DatadogSinkConfig
    | SumoSinkConfig
    | ElasticSinkConfig
    | OtlpSinkConfig
    | SyslogSinkConfig
    | RelpSinkConfig
    | KafkaSinkConfig
)

TYPES: Final = tuple(str(each.__struct_config__.tag) for each in get_args(SinkConfig))
"""What may stand as ``type``."""

_decoder: Final[msgspec.json.Decoder[SinkConfig]] = msgspec.json.Decoder(SinkConfig, dec_hook=decode_secret)


class SinkConfigError(Exception):
    """A config that cannot be read or cannot work. The message names the member, never its value."""


def decode_sink_config(text: bytes) -> SinkConfig:
    """Read a config as its author sealed it. Raises: SinkConfigError."""
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as wrong:
        known = f"; type is one of {', '.join(TYPES)}" if str(wrong).endswith("`$.type`") else ""
        raise SinkConfigError(f"The sink configuration cannot be read: {wrong}{known}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SinkConfigError("The sink configuration cannot be read: it is not JSON") from None
