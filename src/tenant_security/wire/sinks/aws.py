"""The configs of sinks in AWS: CloudWatch Logs, S3, Security Lake. Source: docs/sinks.md."""

from typing import Annotated, Final

import msgspec

from tenant_security.wire.addresses import origin
from tenant_security.wire.kms.aws import AwsCredentials
from tenant_security.wire.sinks.members import JsonFormat, Name, SinkMembers

_GROUP: Final = r"^[A-Za-z0-9_/.#-]{1,512}\Z"
_STREAM: Final = r"^[^:*\x00-\x1f\x7f]{1,512}\Z"
_BUCKET: Final = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z"
_PREFIX: Final = r"^([A-Za-z0-9!_.'()=-]+/)*\Z"

Region = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,5}(-[a-z]{1,20}){1,3}-[0-9]{1,2}\Z")]
"""Such as ``eu-central-1``."""
BucketName = Annotated[str, msgspec.Meta(pattern=_BUCKET)]
"""Source: Amazon S3 User Guide, "General purpose bucket naming rules"."""
AccountId = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{12}\Z")]
SourceName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,60}\Z")]


class AwsSinkMembers(SinkMembers, frozen=True, kw_only=True):
    """What sinks in AWS have in common. ``endpoint`` and ``stsEndpoint`` override the public addresses."""

    credentials: AwsCredentials
    """An access key, or one that is used only to assume the role in it: as in KMS configs."""
    region: Region
    endpoint: Name | None = None
    sts_endpoint: Name | None = None

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            origin(self.endpoint, "endpoint")
        if self.sts_endpoint is not None:
            origin(self.sts_endpoint, "stsEndpoint")
        if self.credentials.external_id is not None and self.credentials.role_arn is None:
            raise ValueError("credentials.externalId needs credentials.roleArn")


class CloudWatchSinkConfig(AwsSinkMembers, frozen=True, tag="AWS_CLOUDWATCH", kw_only=True):
    """A log group of CloudWatch Logs. The group must exist; the stream is made when it is missing."""

    log_group: Annotated[str, msgspec.Meta(pattern=_GROUP)]
    log_stream: Annotated[str, msgspec.Meta(pattern=_STREAM)] = "tenant-security"
    format: JsonFormat = "native"


class S3SinkConfig(AwsSinkMembers, frozen=True, tag="AWS_S3", kw_only=True):
    """A bucket that gets compressed files of lines."""

    bucket: BucketName
    prefix: Annotated[str, msgspec.Meta(pattern=_PREFIX, max_length=256)] = ""
    """What stands before every name, with a slash at its end, such as ``logs/tenant-security/``."""
    format: JsonFormat = "native"


class SecurityLakeSinkConfig(AwsSinkMembers, frozen=True, tag="AWS_SECURITY_LAKE", kw_only=True):
    """Custom sources of an Amazon Security Lake: OCSF in Parquet, one source for each class."""

    bucket: BucketName
    """The bucket of the lake in this region: ``aws-security-data-lake-...``."""
    account_id: AccountId
    """The account that the events are from, as it stands in the names of the objects."""
    source: SourceName = "tenant-security"
    """How the names of the custom sources begin; the number of the class follows: ``tenant-security-6003``."""
