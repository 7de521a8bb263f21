"""The config of a key in Google Cloud KMS. Source: docs/kms/gcp.md.

Ids end up in an address and in the claims of a token, so each is held to the shape that Google gives it.
"""

from typing import Annotated, Final

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.kms.members import Name

_SERVICE_ACCOUNT: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}@[a-z0-9][a-z0-9.-]{0,127}\.gserviceaccount\.com\Z"
_PROJECT: Final = r"^(([a-z0-9.-]{1,63}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]{1,20})\Z"
_LOCATION: Final = r"^[a-z]{1,20}(-[a-z]{1,20}){0,3}[0-9]{0,2}\Z"
_RESOURCE: Final = r"^[A-Za-z0-9_-]{1,63}\Z"

ServiceAccountEmail = Annotated[str, msgspec.Meta(pattern=_SERVICE_ACCOUNT, max_length=256)]
"""Such as ``proxy@acme-keys.iam.gserviceaccount.com``. Source: Google Cloud IAM, "Service accounts overview"."""
ProjectId = Annotated[str, msgspec.Meta(pattern=_PROJECT, max_length=100)]
"""A project's id, old ones with their domain in front, or its number. Source: Resource Manager, "Projects"."""
LocationId = Annotated[str, msgspec.Meta(pattern=_LOCATION, max_length=64)]
"""Such as ``europe-west3``, ``eur4`` or ``global``. Source: Cloud KMS, "Cloud KMS locations"."""
ResourceId = Annotated[str, msgspec.Meta(pattern=_RESOURCE)]
"""A key ring's or a key's name. Source: Cloud KMS, "Object hierarchy"."""


class GcpCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who we are: a service account with a key of it, or the proxy's own workload identity.

    The first form is ``client_email`` and ``private_key``, both, named as in the key file that Google hands out. The
    second is ``workload_identity`` alone: the proxy shows what its platform gives it, as
    ``GOOGLE_APPLICATION_CREDENTIALS`` or Google's metadata server says; ``client_email`` then names a service account
    that it acts as.

    Trust: the second form is good only in a config of the vendor's own.
    """

    client_email: ServiceAccountEmail | None = None
    """The service account."""
    private_key: Secret[str] | None = None
    """An RSA private key of the service account, in PEM."""
    workload_identity: bool = False
    """Whether the proxy signs in as itself."""

    def __post_init__(self) -> None:
        if self.workload_identity:
            if self.private_key is not None:
                raise ValueError("workload_identity needs no private_key: give one of the two")
        elif self.client_email is None or self.private_key is None:
            raise ValueError("client_email and private_key are needed, both")


class GcpKeyPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The four ids that name a key: project, location, key ring, key. New keys are wrapped by its primary version."""

    project_id: ProjectId
    location_id: LocationId
    key_ring_id: ResourceId
    crypto_key_id: ResourceId


class GcpKmsConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag_field="type", tag="GCP"
):
    """A symmetric Cloud KMS key, of any protection level.

    ``endpoint`` overrides ``https://cloudkms.googleapis.com``: for Private Service Connect, regional endpoints, tests.
    """

    version: int
    credentials: GcpCredentials
    key_path: GcpKeyPath
    endpoint: Name | None = None
