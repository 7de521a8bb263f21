"""Which permissions a config needs, in its provider's own words.

Source: AWS KMS, "AWS KMS permissions"; Cloud KMS, "Permissions and roles"; Azure, "Key Vault built-in roles" and
"Managed HSM local RBAC built-in roles"; CipherTrust Manager, "Key permissions"; Vault, "Transit secrets engine".
"""

from typing import NamedTuple, assert_never

from tenant_security.wire.kms.aws import AwsKmsConfig
from tenant_security.wire.kms.azure import AzureKmsConfig, AzurePermissions
from tenant_security.wire.kms.gcp import GcpKmsConfig
from tenant_security.wire.kms.local import LocalKmsConfig
from tenant_security.wire.kms.thales import ThalesKmsConfig
from tenant_security.wire.kms.vault import VaultKmsConfig
from tenant_security.wire.kms_configs import KmsConfig


class Needs(NamedTuple):
    """What must be granted, by what it is needed for. ``identity`` names what signs in, for sentences."""

    identity: str
    sign_in: tuple[str, ...]
    wrap: str
    unwrap: str

    def all(self) -> tuple[str, ...]:
        """Every permission once, in order."""
        return tuple(dict.fromkeys(each for each in (*self.sign_in, self.wrap, self.unwrap) if each))


def needs_of(config: KmsConfig) -> Needs:
    """Say what a config needs."""
    match config:
        case LocalKmsConfig():
            return Needs("the configuration", (), "", "")
        case AwsKmsConfig():
            return _aws(config)
        case GcpKmsConfig():
            return _gcp(config)
        case AzureKmsConfig():
            return _azure(config)
        case ThalesKmsConfig():
            key = config.key_path.key_id
            return Needs(
                f"the user {config.credentials.username}",
                (),
                f"EncryptWithKey on the key {key} (the key's permissions for a group of the user, or Key Users)",
                f"DecryptWithKey on the key {key} (the same)",
            )
        case VaultKmsConfig():
            mount, key = config.key_path.mount, config.key_path.key_name
            return Needs(
                "the token" if config.credentials.token is not None else "the role",
                (),
                f'path "{mount}/encrypt/{key}" {{ capabilities = ["update"] }}',
                f'path "{mount}/decrypt/{key}" {{ capabilities = ["update"] }}',
            )
        case _:
            assert_never(config)


def _aws(config: AwsKmsConfig) -> Needs:
    role, key = config.credentials.role_arn, config.key_path.key_id
    signer = "the proxy's own role" if config.credentials.workload_identity else "the access key"
    sign_in: tuple[str, ...] = ()
    if role is not None:
        sign_in = (f"sts:AssumeRole on {role}, in {signer}'s policy and in the role's trust policy",)
    identity = signer if role is None else "the role"
    return Needs(identity, sign_in, f"kms:Encrypt on {key}", f"kms:Decrypt on {key}")


def _gcp(config: GcpKmsConfig) -> Needs:
    who, path = config.credentials.client_email, config.key_path
    key = f"{path.project_id}/{path.location_id}/{path.key_ring_id}/{path.crypto_key_id}"
    sign_in: tuple[str, ...] = ()
    if config.credentials.workload_identity and who is not None:
        sign_in = (f"iam.serviceAccounts.getAccessToken on {who} (role roles/iam.serviceAccountTokenCreator)",)
    return Needs(
        "the service account" if who is None else f"the service account {who}",
        sign_in,
        f"cloudkms.cryptoKeyVersions.useToEncrypt on {key} (role roles/cloudkms.cryptoKeyEncrypterDecrypter)",
        f"cloudkms.cryptoKeyVersions.useToDecrypt on {key} (the same role)",
    )


def _azure(config: AzureKmsConfig) -> Needs:
    wraps = config.permissions is AzurePermissions.WRAP
    wrap, unwrap = ("wrap", "unwrap") if wraps else ("encrypt", "decrypt")
    hsm = ".managedhsm." in config.key_path.vault_base_url.lower()
    resource, role = ("managedHsm", "Managed HSM Crypto User") if hsm else ("vaults", "Key Vault Crypto User")
    policy = "" if hsm else f", or {wrap}{'Key' if wraps else ''} in an access policy"
    other = "" if hsm else f", or {unwrap}{'Key' if wraps else ''} in an access policy"
    return Needs(
        "the application",
        (),
        f"Microsoft.KeyVault/{resource}/keys/{wrap}/action on {config.key_path.key_name} (role {role}{policy})",
        f"Microsoft.KeyVault/{resource}/keys/{unwrap}/action on {config.key_path.key_name} (role {role}{other})",
    )
