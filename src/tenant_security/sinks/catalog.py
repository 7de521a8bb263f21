"""Which class serves which kind of sink config."""

from typing import assert_never

from tenant_security.sinks.azure import AzureSink
from tenant_security.sinks.cloudwatch import CloudWatchSink
from tenant_security.sinks.datadog import DatadogSink
from tenant_security.sinks.elastic import ElasticSink
from tenant_security.sinks.google import GoogleSink
from tenant_security.sinks.kafka import KafkaSink
from tenant_security.sinks.s3 import S3Sink
from tenant_security.sinks.security_lake import SecurityLakeSink
from tenant_security.sinks.sink import Sink, SinkContext
from tenant_security.sinks.splunk import SplunkSink
from tenant_security.sinks.stdout import StdoutSink
from tenant_security.sinks.sumo import SumoSink
from tenant_security.sinks.syslog import RelpSink, SyslogSink
from tenant_security.sinks.webhook import WebhookSink
from tenant_security.wire.sink_configs import SinkConfig
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


def open_sink(config: SinkConfig, context: SinkContext) -> Sink:  # noqa: C901, PLR0911, PLR0912 - one line for each kind
    """Make a config's sink ready to use. Calls nobody.

    Raises: SinkConfigError when the config cannot work.
    """
    match config:
        case StdoutSinkConfig():
            return StdoutSink(config, context)
        case WebhookSinkConfig():
            return WebhookSink(config, context)
        case SplunkSinkConfig():
            return SplunkSink(config, context)
        case GoogleSinkConfig():
            return GoogleSink(config, context)
        case AzureSinkConfig():
            return AzureSink(config, context)
        case DatadogSinkConfig():
            return DatadogSink(config, context)
        case SumoSinkConfig():
            return SumoSink(config, context)
        case ElasticSinkConfig():
            return ElasticSink(config, context)
        case OtlpSinkConfig():
            from tenant_security.sinks.otlp import OtlpSink  # noqa: PLC0415 - protobuf loads only where it is wanted

            return OtlpSink(config, context)
        case CloudWatchSinkConfig():
            return CloudWatchSink(config, context)
        case S3SinkConfig():
            return S3Sink(config, context)
        case SecurityLakeSinkConfig():
            return SecurityLakeSink(config, context)
        case SyslogSinkConfig():
            return SyslogSink(config, context)
        case RelpSinkConfig():
            return RelpSink(config, context)
        case KafkaSinkConfig():
            return KafkaSink(config, context)
        case _:
            assert_never(config)
