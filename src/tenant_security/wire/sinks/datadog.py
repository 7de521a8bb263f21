"""The config of Datadog's log intake. Source: docs/sinks.md, "Datadog"."""

from typing import Annotated, Literal

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.sinks.members import JsonFormat, SinkMembers, check_header

Site = Literal[
    "datadoghq.com",
    "us3.datadoghq.com",
    "us5.datadoghq.com",
    "datadoghq.eu",
    "ap1.datadoghq.com",
    "ap2.datadoghq.com",
    "ddog-gov.com",
]
"""Source: Datadog, "Getting started with Datadog sites"."""
Word = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.:/-]{1,200}\Z")]


class DatadogSinkConfig(SinkMembers, frozen=True, tag="DATADOG", kw_only=True):
    """An organization of Datadog's."""

    api_key: Secret[str]
    site: Site = "datadoghq.com"
    service: Word = "tenant-security"
    tags: Annotated[tuple[Word, ...], msgspec.Meta(max_length=20)] = ()
    """Such as ``env:prod``."""
    format: JsonFormat = "native"

    def __post_init__(self) -> None:
        check_header(self.api_key, "apiKey")
