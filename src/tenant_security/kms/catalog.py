"""Which class serves which kind of KMS configuration."""

from collections.abc import Callable
from datetime import datetime
from typing import assert_never

from tenant_security.kms.aws import AwsKmsKey
from tenant_security.kms.local import LocalKmsKey
from tenant_security.kms.provider import KmsKey
from tenant_security.wire.kms_configs import AwsKmsConfig, KmsConfig, LocalKmsConfig


def open_key(config: KmsConfig, *, now: Callable[[], datetime]) -> KmsKey:
    """Make a configuration's key ready to use. Calls nobody.

    ``now`` tells the time in UTC, for signatures and the lives of temporary credentials.

    Raises: TenantSecurityError 207 when the configuration cannot work.
    """
    match config:
        case LocalKmsConfig():
            return LocalKmsKey(config)
        case AwsKmsConfig():
            return AwsKmsKey(config, now=now)
        case _:
            assert_never(config)
