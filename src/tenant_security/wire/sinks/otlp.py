"""The config of an OpenTelemetry collector. Source: docs/sinks.md, "OpenTelemetry"."""

import re
from typing import Annotated, Final

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.addresses import address_with_path
from tenant_security.wire.kms.authorities import check_authorities
from tenant_security.wire.sinks.members import JsonFormat, Name, SinkMembers, check_header

_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_OURS: Final = frozenset({"content-type", "content-length", "content-encoding", "host", "transfer-encoding"})


class OtlpSinkConfig(SinkMembers, frozen=True, tag="OTLP", kw_only=True):
    """Whatever takes OpenTelemetry's log records over HTTP."""

    url: Name
    """The whole address, such as ``https://collector.acme.example:4318/v1/logs``."""
    headers: Annotated[dict[str, Secret[str]], msgspec.Meta(max_length=16)] = msgspec.field(default_factory=dict)
    """Headers to send, such as ``Authorization`` or an API key."""
    ca_certificate: str | None = None
    """The private authorities that alone vouch for ``url``, in PEM; the public ones when absent."""
    format: JsonFormat = "native"
    """How the body of each record is written."""

    def __post_init__(self) -> None:
        address_with_path(self.url, "url")
        for name, value in self.headers.items():
            if not _TOKEN.fullmatch(name) or name.lower() in _OURS:
                raise ValueError("headers names a header that cannot be set")
            check_header(value, f"headers.{name}")
        if self.ca_certificate is not None:
            check_authorities(self.ca_certificate, "caCertificate")
