"""The config of a key in the Transit engine of HashiCorp Vault or OpenBao. Source: docs/kms/vault.md.

Mounts, names and namespaces end up in addresses and headers, so each is held to a shape that needs no escaping.
"""

from typing import Annotated, Final

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.kms.authorities import check_authorities
from tenant_security.wire.kms.members import Name

_SEGMENT: Final = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}"

MountPath = Annotated[str, msgspec.Meta(pattern=rf"^{_SEGMENT}(/{_SEGMENT}){{0,7}}\Z")]
"""Where an engine, an auth method or a namespace is, such as ``teams/a/transit``. No slash at its ends."""
KeyName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?\Z")]
"""A Transit key's name. Source: Vault's SDK, ``framework.GenericNameRegex``."""
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
"""What is bound to every ciphertext. It travels in request bodies only."""
RoleName = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x20\x7f]+\Z")]
"""A role of an auth method. It travels in request bodies only."""


class VaultCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Who we are: an AppRole, a token, or the proxy's own service account.

    The first form is ``roleId`` and ``secretId``; the second is ``token``; the third is ``workloadIdentity`` and
    ``role``: the proxy shows the token that Kubernetes gives it, to the Kubernetes or the JWT auth method.

    Trust: the third form is good only in a config of the vendor's own.
    """

    role_id: RoleName | None = None
    """The AppRole's role id."""
    secret_id: Secret[str] | None = None
    """A secret id of that role."""
    token: Secret[str] | None = None
    """A token. It is used as it is and never renewed."""
    workload_identity: bool = False
    """Whether the proxy signs in as itself."""
    role: RoleName | None = None
    """The role of the Kubernetes or JWT auth method."""
    auth_mount: MountPath | None = None
    """Where the auth method is mounted, without ``auth/``; ``approle`` or ``kubernetes`` when absent."""
    namespace: MountPath | None = None
    """The namespace of the auth method and of the key."""

    def __post_init__(self) -> None:
        ways = [
            self.role_id is not None or self.secret_id is not None,
            self.token is not None,
            self.workload_identity or self.role is not None,
        ]
        if sum(ways) != 1:
            raise ValueError("give one of three: roleId and secretId; token; workloadIdentity and role")
        if (self.role_id is None) != (self.secret_id is None):
            raise ValueError("roleId and secretId are needed, both")
        if self.workload_identity != (self.role is not None):
            raise ValueError("workloadIdentity and role are needed, both")
        if self.token is not None and self.auth_mount is not None:
            raise ValueError("authMount is for signing in, and a token needs none")


class VaultKeyPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which key: ``address``, such as ``https://vault.acme.example:8200``, ``mount`` of the engine, ``keyName``."""

    address: Name
    key_name: KeyName
    mount: MountPath = "transit"
    context: Text | None = None
    """For keys with ``derived=true``: what the key is derived for. Data that was wrapped with it needs it for ever."""
    associated_data: Text | None = None
    """Bound to every ciphertext, and needed for ever to unwrap it."""


class VaultKmsConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag_field="type", tag="VAULT"
):
    """A Transit key that encrypts and decrypts."""

    version: int
    credentials: VaultCredentials
    key_path: VaultKeyPath
    ca_certificate: str | None = None
    """The private authorities that alone vouch for ``address``, in PEM; the public ones when absent."""

    def __post_init__(self) -> None:
        if self.ca_certificate is not None:
            check_authorities(self.ca_certificate, "caCertificate")
