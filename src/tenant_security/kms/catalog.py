"""Which class serves which kind of KMS configuration."""

from typing import assert_never

from tenant_security.kms.aws.key import AwsKmsKey
from tenant_security.kms.azure.key import AzureKmsKey
from tenant_security.kms.gcp.key import GcpKmsKey
from tenant_security.kms.local import LocalKmsKey
from tenant_security.kms.provider import KmsContext, KmsKey
from tenant_security.kms.thales.key import ThalesKmsKey
from tenant_security.kms.vault.key import VaultKmsKey
from tenant_security.wire.kms.aws import AwsKmsConfig
from tenant_security.wire.kms.azure import AzureKmsConfig
from tenant_security.wire.kms.gcp import GcpKmsConfig
from tenant_security.wire.kms.local import LocalKmsConfig
from tenant_security.wire.kms.thales import ThalesKmsConfig
from tenant_security.wire.kms.vault import VaultKmsConfig
from tenant_security.wire.kms_configs import KmsConfig


def open_key(config: KmsConfig, context: KmsContext) -> KmsKey:
    """Make a configuration's key ready to use. Calls nobody.

    Raises: TenantSecurityError 207 when the configuration cannot work.
    """
    match config:
        case LocalKmsConfig():
            return LocalKmsKey(config)
        case AwsKmsConfig():
            return AwsKmsKey(config, context)
        case AzureKmsConfig():
            return AzureKmsKey(config, context)
        case GcpKmsConfig():
            return GcpKmsKey(config, context)
        case ThalesKmsConfig():
            return ThalesKmsKey(config, context)
        case VaultKmsConfig():
            return VaultKmsKey(config, context)
        case _:
            assert_never(config)
