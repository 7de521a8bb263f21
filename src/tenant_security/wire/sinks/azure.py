"""The config of a table in an Azure Monitor workspace, such as Microsoft Sentinel's. Source: docs/sinks.md, "Azure"."""

import re
from typing import Annotated, Final

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.addresses import origin
from tenant_security.wire.sinks.members import JsonFormat, Name, SinkMembers, check_header

_GUID: Final = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z"

Guid = Annotated[str, msgspec.Meta(pattern=_GUID)]
RuleId = Annotated[str, msgspec.Meta(pattern=r"^dcr-[0-9a-f]{16,64}\Z")]
"""A data collection rule's immutable id."""
StreamName = Annotated[str, msgspec.Meta(pattern=r"^Custom-[A-Za-z0-9_]{1,64}\Z")]
"""A stream of the rule's."""

# The token goes to nobody but Microsoft. Source: Azure Monitor, "Logs Ingestion API"; national clouds.
_HOSTS: Final = re.compile(r"https://[a-z0-9][a-z0-9.-]{0,200}\.ingest\.monitor\.azure\.(com|us|cn)")


class AzureApplication(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An application of Entra ID's, with a secret."""

    tenant_guid: Guid
    """The directory that the application is registered in."""
    client_id: Guid
    client_secret: Secret[str]


class AzureSinkConfig(SinkMembers, frozen=True, tag="AZURE_MONITOR", kw_only=True):
    """A stream of a data collection rule, through the Logs Ingestion API."""

    credentials: AzureApplication
    endpoint: Name
    """The ingestion address of the rule or of its data collection endpoint, in ``.ingest.monitor.azure.com``."""
    rule_id: RuleId
    stream: StreamName = "Custom-TenantSecurity"
    format: JsonFormat = "native"

    def __post_init__(self) -> None:
        if not _HOSTS.fullmatch(origin(self.endpoint, "endpoint")):
            raise ValueError("endpoint must be an address in .ingest.monitor.azure.com, .azure.us or .azure.cn")
        check_header(self.credentials.client_secret, "credentials.clientSecret")
