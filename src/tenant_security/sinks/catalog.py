"""Which class serves which kind of sink config."""

from typing import assert_never

from tenant_security.sinks.sink import Sink, SinkContext
from tenant_security.sinks.stdout import StdoutSink
from tenant_security.sinks.webhook import WebhookSink
from tenant_security.wire.sink_configs import SinkConfig
from tenant_security.wire.sinks.stdout import StdoutSinkConfig
from tenant_security.wire.sinks.webhook import WebhookSinkConfig


def open_sink(config: SinkConfig, context: SinkContext) -> Sink:
    """Make a config's sink ready to use. Calls nobody.

    Raises: SinkConfigError when the config cannot work.
    """
    match config:
        case StdoutSinkConfig():
            return StdoutSink(config, context)
        case WebhookSinkConfig():
            return WebhookSink(config, context)
        case _:
            assert_never(config)
