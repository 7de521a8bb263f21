"""The config of a key in Azure Key Vault or Azure Managed HSM. Source: docs/kms/azure.md."""

from enum import Enum

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.kms.members import Name


class AzureAlgorithm(Enum):
    """How Azure wraps 32 bytes. RSA with PKCS #1 v1.5 padding is left out on purpose: it leaks to whoever may ask."""

    RSA_OAEP_256 = "RSA-OAEP-256"
    """RSA with OAEP over SHA-256: for every RSA key."""
    RSA_OAEP = "RSA-OAEP"
    """RSA with OAEP over SHA-1: for keys whose HSM knows nothing newer."""
    A128KW = "A128KW"
    """AES key wrap (RFC 3394) with a 128-bit key of a Managed HSM."""
    A192KW = "A192KW"
    """AES key wrap with a 192-bit key of a Managed HSM."""
    A256KW = "A256KW"
    """AES key wrap with a 256-bit key of a Managed HSM."""


class AzurePermissions(Enum):
    """Which two permissions on the key the tenant gave us."""

    WRAP = "wrap"
    """``wrapKey`` and ``unwrapKey``."""
    ENCRYPT = "encrypt"
    """``encrypt`` and ``decrypt``. With RSA keys both ways give the same blobs; with AES keys only the first works."""


class AzureCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Who we are: an application in the tenant's directory with a secret, or the proxy's own workload identity.

    The first form is ``clientId``, ``clientSecret`` and ``tenantGuid``, all three. The second is ``workloadIdentity``
    alone: the proxy shows the token file that its platform gives it, as the ``AZURE_...`` variables of its environment
    say; ``clientId`` and ``tenantGuid`` then override those variables.

    Trust: the second form is good only in a config of the vendor's own.
    """

    client_id: Name | None = None
    """The application (client) id: a GUID."""
    client_secret: Secret[str] | None = None
    """The value of a client secret of that application; not the secret's id."""
    tenant_guid: Name | None = None
    """The directory (tenant) id: a GUID."""
    workload_identity: bool = False
    """Whether the proxy signs in as itself."""

    def __post_init__(self) -> None:
        if self.workload_identity:
            if self.client_secret is not None:
                raise ValueError("workloadIdentity needs no clientSecret: give one of the two")
        elif self.client_id is None or self.client_secret is None or self.tenant_guid is None:
            raise ValueError("clientId, clientSecret and tenantGuid are needed, all three")


class AzureKeyPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``vaultBaseUrl``: such as ``https://acme.vault.azure.net``; ``keyName``: the name of the key, no version."""

    key_name: Name
    vault_base_url: Name


class AzureKmsConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag_field="type", tag="AZURE"
):
    """An RSA key of a vault, or an RSA or AES key of a Managed HSM."""

    version: int
    credentials: AzureCredentials
    key_path: AzureKeyPath
    algorithm: AzureAlgorithm = AzureAlgorithm.RSA_OAEP_256
    """How new keys are wrapped. Keys that were wrapped in another way unwrap all the same: their blob says how."""
    permissions: AzurePermissions = AzurePermissions.WRAP
    """Which operations we ask for."""
    legacy_key_version: Name | None = None
    """The key version that unwraps blobs which name none; the current one when absent."""
