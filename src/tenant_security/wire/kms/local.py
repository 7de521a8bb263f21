"""The config of a key of the local KMS."""

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.kms.members import Name


class LocalCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``keys``: base64 of 32 bytes by version number; the highest version wraps, every version unwraps."""

    keys: dict[int, Secret[bytes]]


class LocalKeyPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``keyId``: the name of the key, part of every blob it makes."""

    key_id: Name


class LocalKmsConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag_field="type", tag="LOCAL"
):
    """A key that lives in this config itself: for development, tests and rehearsals, never for custody."""

    version: int
    credentials: LocalCredentials
    key_path: LocalKeyPath
