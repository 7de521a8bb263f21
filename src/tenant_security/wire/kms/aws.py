"""The config of a key in AWS KMS. Source: docs/kms/aws.md."""

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.kms.members import Name


class AwsCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An access key, optionally temporary, optionally used only to assume a role.

    ``sessionToken`` goes with temporary keys. With ``roleArn`` the access key calls STS AssumeRole and the role's
    temporary keys make the calls; ``externalId`` is the value that the role's trust policy demands.
    """

    access_key_id: Name
    secret_access_key: Secret[str]
    session_token: Secret[str] | None = None
    role_arn: Name | None = None
    external_id: Name | None = None


class AwsKmsCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Who calls KMS: an access key, or the proxy's own identity at AWS; either may serve only to assume a role.

    The first form is ``accessKeyId`` and ``secretAccessKey``, and ``sessionToken`` where the key is temporary. The
    second is ``workloadIdentity``: the proxy uses what its platform gives it, such as a pod's or an instance's role.
    With ``roleArn`` either calls STS AssumeRole and the role's temporary keys call KMS; ``externalId`` is the value
    that the role's trust policy demands.

    Trust: the second form is good only in a config of the vendor's own, and only where the proxy's operator allows it.
    """

    access_key_id: Name | None = None
    """The access key's id."""
    secret_access_key: Secret[str] | None = None
    """Its secret."""
    session_token: Secret[str] | None = None
    """What goes with a temporary access key. The proxy cannot renew it."""
    workload_identity: bool = False
    """Whether the proxy signs in as itself."""
    role_arn: Name | None = None
    """The role to assume."""
    external_id: Name | None = None
    """The value that the role's trust policy demands."""

    def __post_init__(self) -> None:
        if self.workload_identity:
            if self.access_key_id is not None or self.secret_access_key is not None or self.session_token is not None:
                raise ValueError("workloadIdentity needs no access key: give one of the two")
        elif self.access_key_id is None or self.secret_access_key is None:
            raise ValueError("accessKeyId and secretAccessKey are needed, both")
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("externalId needs roleArn")


class AwsKeyPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``keyID`` (or ``keyId``): key id, key ARN or alias; ``region``: where the key lives, such as ``eu-central-1``."""

    key_id: Name = msgspec.field(name="keyID")
    region: Name


class AwsKmsConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag_field="type", tag="AWS"
):
    """A symmetric AWS KMS key.

    ``fips`` and ``dualStack`` choose among the region's public endpoints. ``endpoint`` and ``stsEndpoint`` override
    them, for private endpoints and tests.
    """

    version: int
    credentials: AwsKmsCredentials
    key_path: AwsKeyPath
    endpoint: Name | None = None
    sts_endpoint: Name | None = None
    fips: bool = False
    dual_stack: bool = False

    def __post_init__(self) -> None:
        if (self.fips or self.dual_stack) and self.endpoint is not None:
            raise ValueError("endpoint says it all: fips and dualStack choose among public endpoints")
