"""A verified config that is still sealed: the directory's ConfigHandle."""

import msgspec

from tenant_security.crypto.unseal import CannotOpenError, open_payload
from tenant_security.directory.keyring import SegmentKey
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.wire.kms_configs import KmsConfig, decode_kms_config
from tenant_security.wire.snapshot import SHARED


class SealedConfig(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One config as its author signed it. Holds ciphertext only, and a reference to the key of its segment.

    Shape: ``fingerprint`` is SHA-256 of what was signed, which covers header, payload and commitment but not the wrap.
    ``owner`` is the tenant's id, or empty for a config of the vendor. ``author`` is the signer's key id, ``through``
    that of the author of the manifest on whose word it is one. ``kind`` is what the config is for.
    """

    id: int
    version: int
    fingerprint: bytes
    owner: str
    author: str
    through: str
    kind: str
    header: bytes
    payload: bytes
    commit: bytes
    sealed: bytes
    segment: SegmentKey

    @property
    def shared(self) -> bool:
        """Whether it belongs to the vendor and other tenants may use it too."""
        return self.owner == SHARED

    def open(self) -> KmsConfig:
        """Unwrap the DEK, check the commitment, decrypt and decode.

        Raises: TenantSecurityError 207.
        """
        return decode_kms_config(self.plaintext())

    def plaintext(self) -> bytes:
        """Return the config's JSON. It is secret.

        Raises: TenantSecurityError 207.
        """
        try:
            dek = self.segment.open_dek(self.header, self.sealed)
            return open_payload(dek, self.header, self.payload, self.commit)
        except CannotOpenError as refused:
            raise TenantSecurityError(
                Code.KMS_CONFIGURATION_INVALID, f"The KMS configuration {self.id} cannot be opened: {refused}"
            ) from None

    def __repr__(self) -> str:
        return f"<SealedConfig {self.id} version {self.version} of {self.owner or 'the vendor'}>"
