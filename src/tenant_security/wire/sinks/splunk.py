"""The config of a Splunk HTTP Event Collector. Source: docs/sinks.md, "Splunk"."""

from tenant_security.secret import Secret
from tenant_security.wire.addresses import origin
from tenant_security.wire.kms.authorities import check_authorities
from tenant_security.wire.sinks.members import JsonFormat, Name, SinkMembers, check_header


class SplunkSinkConfig(SinkMembers, frozen=True, tag="SPLUNK", kw_only=True):
    """A token of Splunk's HTTP Event Collector."""

    url: Name
    """Where the collector listens, such as ``https://http-inputs-acme.splunkcloud.com`` or ``https://splunk:8088``."""
    token: Secret[str]
    """The token of the HTTP Event Collector."""
    index: Name | None = None
    """The index to write to; the token's own when absent."""
    source: Name = "tenant-security"
    sourcetype: Name = "_json"
    host: Name | None = None
    """What stands as the host of each event; the tenant's name when absent."""
    acknowledge: bool = False
    """Whether to wait until the indexers have the events. The token must have acknowledgement switched on."""
    ca_certificate: str | None = None
    """The private authorities that alone vouch for ``url``, in PEM; the public ones when absent."""
    format: JsonFormat = "native"

    def __post_init__(self) -> None:
        origin(self.url, "url")
        check_header(self.token, "token")
        if self.ca_certificate is not None:
            check_authorities(self.ca_certificate, "caCertificate")
