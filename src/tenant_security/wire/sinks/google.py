"""The config of a log in Google Cloud Logging. Source: docs/sinks.md, "Google Cloud Logging"."""

from typing import Annotated, Final

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.addresses import origin
from tenant_security.wire.kms.gcp import ProjectId, ServiceAccountEmail
from tenant_security.wire.sinks.members import JsonFormat, Name, SinkMembers

_LOG: Final = r"^[A-Za-z0-9._-]{1,200}\Z"

LogId = Annotated[str, msgspec.Meta(pattern=_LOG)]
"""A log's name. Source: Cloud Logging API, "LogEntry", without the slash, which would have to be escaped."""


class GoogleAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service account, its members named as in the key file that Google hands out."""

    client_email: ServiceAccountEmail
    """The service account."""
    private_key: Secret[str]
    """An RSA private key of it, in PEM."""


class GoogleSinkConfig(SinkMembers, frozen=True, tag="GOOGLE_CLOUD_LOGGING", kw_only=True):
    """A log in a project of Google Cloud's."""

    credentials: GoogleAccount
    project_id: ProjectId
    log_id: LogId = "tenant-security"
    """The log in that project."""
    endpoint: Name | None = None
    """Overrides ``https://logging.googleapis.com``: for Private Service Connect."""
    format: JsonFormat = "native"

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            origin(self.endpoint, "endpoint")
