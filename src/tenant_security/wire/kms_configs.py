"""What a tenant admin writes down to let us use a KMS key, one type per provider.

Strict where humans type: unknown members are refused, every member is explained. ``keyPath`` names the key and never
changes; ``credentials`` prove who we are and are rotated. Both travel sealed; the decoded object lives in memory only.

Source: docs/formats.md, "KMS configs"; the vendor bridge's config bodies.
"""

from typing import Any, Final

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.wire.kms.aws import AwsKmsConfig
from tenant_security.wire.kms.azure import AzureKmsConfig
from tenant_security.wire.kms.gcp import GcpKmsConfig
from tenant_security.wire.kms.local import LocalKmsConfig
from tenant_security.wire.kms.thales import ThalesKmsConfig
from tenant_security.wire.kms.vault import VaultKmsConfig
from tenant_security.wire.secret_members import decode_secret

KmsConfig = LocalKmsConfig | AwsKmsConfig | AzureKmsConfig | GcpKmsConfig | ThalesKmsConfig | VaultKmsConfig

# The vendor's schema says `keyID` for AWS and `keyId` for Thales. People write either for both.
_SPELLINGS: Final = {"AWS": ("keyId", "keyID"), "THALES": ("keyID", "keyId")}


_decoder: Final[msgspec.json.Decoder[KmsConfig]] = msgspec.json.Decoder(KmsConfig, dec_hook=decode_secret)


def decode_kms_config(text: bytes) -> KmsConfig:
    """Read a config as its author sealed it.

    Raises: TenantSecurityError 207 that names the member, never its value.
    """
    try:
        loose = msgspec.json.decode(text)
        if isinstance(loose, dict):
            _respell(loose)
        return _decoder.decode(msgspec.json.encode(loose))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        detail = str(malformed) if isinstance(malformed, msgspec.ValidationError) else "it is not JSON"
        raise TenantSecurityError(
            Code.KMS_CONFIGURATION_INVALID, f"The KMS configuration cannot be read: {detail}"
        ) from None


def _respell(config: dict[Any, Any]) -> None:
    """Put a key id under the name that its type has for it."""
    key_path, kind = config.get("keyPath"), config.get("type")
    if not isinstance(key_path, dict) or not isinstance(kind, str) or kind not in _SPELLINGS:
        return
    other, own = _SPELLINGS[kind]
    if other in key_path and own not in key_path:
        key_path[own] = key_path.pop(other)
