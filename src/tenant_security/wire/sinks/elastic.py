"""The config of an index of Elasticsearch or OpenSearch. Source: docs/sinks.md, "Elasticsearch and OpenSearch"."""

from typing import Annotated, Final, Literal

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.addresses import origin
from tenant_security.wire.kms.authorities import check_authorities
from tenant_security.wire.kms.aws import AwsCredentials
from tenant_security.wire.sinks.aws import Region
from tenant_security.wire.sinks.members import JsonFormat, Name, SinkMembers, check_header

_INDEX: Final = r"^[a-z0-9][a-z0-9_.-]{0,199}\Z"

IndexName = Annotated[str, msgspec.Meta(pattern=_INDEX)]
"""An index, an alias or a data stream. Source: Elasticsearch, "Create index", naming."""


class ElasticApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag="apiKey"):
    """An API key of Elasticsearch's, in its encoded form."""

    api_key: Secret[str]


class ElasticPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag="password"):
    """A user and its password."""

    username: Annotated[str, msgspec.Meta(pattern=r"^[!-9;-~]{1,256}\Z")]
    password: Secret[str]


class ElasticAws(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag="aws"):
    """Keys of AWS, for Amazon OpenSearch Service (``es``) or Serverless (``aoss``)."""

    credentials: AwsCredentials
    region: Region
    service: Literal["es", "aoss"] = "es"
    sts_endpoint: Name | None = None


class ElasticSinkConfig(SinkMembers, frozen=True, tag="ELASTICSEARCH", kw_only=True):
    """An index or a data stream, through the bulk API."""

    url: Name
    """Where the cluster answers, such as ``https://acme.es.eu-central-1.aws.cloud.es.io``."""
    index: IndexName
    """An index or a data stream, such as ``logs-tenant_security-default``."""
    auth: ElasticApiKey | ElasticPassword | ElasticAws
    """``{"type": "apiKey", ...}``, ``{"type": "password", ...}`` or ``{"type": "aws", ...}``."""
    ca_certificate: str | None = None
    """The private authorities that alone vouch for ``url``, in PEM; the public ones when absent."""
    format: JsonFormat = "ecs"

    def __post_init__(self) -> None:
        origin(self.url, "url")
        match self.auth:
            case ElasticApiKey(api_key):
                check_header(api_key, "auth.apiKey")
            case ElasticPassword(_, password):
                check_header(password, "auth.password")
            case ElasticAws(_, _, _, sts_endpoint):
                if sts_endpoint is not None:
                    origin(sts_endpoint, "auth.stsEndpoint")
        if self.ca_certificate is not None:
            check_authorities(self.ca_certificate, "caCertificate")
