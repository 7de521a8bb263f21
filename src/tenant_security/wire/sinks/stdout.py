"""The config of standard output. Source: docs/sinks.md, "Standard output"."""

from tenant_security.wire.sinks.members import LineFormat, SinkMembers


class StdoutSinkConfig(SinkMembers, frozen=True, tag="STDOUT", kw_only=True):
    """The logdriver's own standard output: where events of tenants without a sink go.

    Trust: good only in a config of the vendor's own, who reads it.
    """

    format: LineFormat = "native"
