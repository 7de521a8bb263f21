"""What a tenant admin writes down to let us use a KMS key, one type per provider.

Strict where humans type: unknown members are refused, every member is explained. ``keyPath`` names the key and never
changes; ``credentials`` prove who we are and are rotated. Both travel sealed; the decoded object lives in memory only.

Source: docs/formats.md, "KMS configs"; the vendor bridge's config bodies.
"""

import binascii
from typing import Any, Final

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.secret import Secret
from tenant_security.wire.kms.aws import AwsKmsConfig
from tenant_security.wire.kms.azure import AzureKmsConfig
from tenant_security.wire.kms.gcp import GcpKmsConfig
from tenant_security.wire.kms.local import LocalKmsConfig

KmsConfig = LocalKmsConfig | AwsKmsConfig | AzureKmsConfig | GcpKmsConfig

_KEY_BYTES: Final = 32


def _secret(kind: type, value: Any) -> Any:
    if kind != Secret[bytes] and kind != Secret[str]:
        raise TypeError(f"no decoder for {kind}")
    if not isinstance(value, str) or not value:
        raise ValueError("expected a non-empty string")
    if kind == Secret[str]:
        return Secret(value)
    try:
        decoded = binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        raise ValueError("expected base64") from None
    if len(decoded) != _KEY_BYTES:
        raise ValueError("expected 32 bytes of key")
    return Secret(decoded)


_decoder: Final[msgspec.json.Decoder[KmsConfig]] = msgspec.json.Decoder(KmsConfig, dec_hook=_secret)


def decode_kms_config(text: bytes) -> KmsConfig:
    """Read a config as its author sealed it.

    Raises: TenantSecurityError 207 that names the member, never its value.
    """
    try:
        loose = msgspec.json.decode(text)
        key_path = loose.get("keyPath") if isinstance(loose, dict) else None
        if (
            isinstance(key_path, dict)
            and loose.get("type") == "AWS"
            and "keyId" in key_path
            and "keyID" not in key_path
        ):
            key_path["keyID"] = key_path.pop("keyId")
        return _decoder.decode(msgspec.json.encode(loose))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        detail = str(malformed) if isinstance(malformed, msgspec.ValidationError) else "it is not JSON"
        raise TenantSecurityError(
            Code.KMS_CONFIGURATION_INVALID, f"The KMS configuration cannot be read: {detail}"
        ) from None
