"""The config of a key in AWS KMS. Source: docs/kms/aws.md."""

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.kms.members import Name


class AwsCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An access key, optionally temporary, optionally used only to assume a role.

    ``sessionToken`` goes with temporary keys. With ``roleArn`` the access key calls STS AssumeRole and the role's
    temporary keys call KMS; ``externalId`` is the value that the role's trust policy demands.
    """

    access_key_id: Name
    secret_access_key: Secret[str]
    session_token: Secret[str] | None = None
    role_arn: Name | None = None
    external_id: Name | None = None


class AwsKeyPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``keyID`` (or ``keyId``): key id, key ARN or alias; ``region``: where the key lives, such as ``eu-central-1``."""

    key_id: Name = msgspec.field(name="keyID")
    region: Name


class AwsKmsConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag_field="type", tag="AWS"
):
    """A symmetric AWS KMS key. ``endpoint`` overrides the public endpoint, for private endpoints and tests."""

    version: int
    credentials: AwsCredentials
    key_path: AwsKeyPath
    endpoint: Name | None = None
    sts_endpoint: Name | None = None
