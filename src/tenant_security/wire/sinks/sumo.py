"""The config of an HTTP source of Sumo Logic. Source: docs/sinks.md, "Sumo Logic"."""

from typing import Annotated

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.addresses import address_with_path
from tenant_security.wire.sinks.members import JsonFormat, SinkMembers

Header = Annotated[str, msgspec.Meta(pattern=r"^[!-~]([ -~]{0,198}[!-~])?\Z")]


class SumoSinkConfig(SinkMembers, frozen=True, tag="SUMO_LOGIC", kw_only=True):
    """An HTTP Logs and Metrics source."""

    url: Secret[str]
    """The source's address. Whoever has it may write to the source: it is a secret."""
    category: Header | None = None
    """The source category; the source's own when absent."""
    host: Header | None = None
    name: Header | None = None
    format: JsonFormat = "native"

    def __post_init__(self) -> None:
        address_with_path(self.url.reveal(), "url")
