"""Tenants in memory: a directory without a snapshot, for tests of what happens after one was read."""

import hashlib

import msgspec

from tenant_security.directory.tenants import Assignment, Tenant, TenantDirectory
from tenant_security.secret import Secret
from tenant_security.wire.kms.local import LocalCredentials, LocalKeyPath, LocalKmsConfig
from tenant_security.wire.kms_configs import KmsConfig


class PlainConfig(msgspec.Struct, frozen=True):
    """A config handle that was never sealed: a local KMS whose key follows from ``owner`` and ``id``.

    A new ``version`` has a new fingerprint and the same key, as after a rotation of credentials.
    """

    id: int
    version: int = 1
    owner: str = ""

    @property
    def fingerprint(self) -> bytes:
        """32 bytes, one value for each content."""
        return hashlib.sha256(f"{self.owner}/{self.id}/{self.version}".encode()).digest()

    @property
    def shared(self) -> bool:
        """Whether it belongs to the vendor."""
        return not self.owner

    def open(self) -> KmsConfig:
        """Return the config."""
        name = f"{self.owner}/{self.id}"
        keys = {1: Secret(hashlib.sha256(name.encode()).digest())}
        return LocalKmsConfig(self.version, LocalCredentials(keys), LocalKeyPath(name))


def use(config: PlainConfig, *, primary: bool = True, active: bool = True, leasing: bool = False) -> Assignment:
    """Let a tenant use a config: by default as its primary, unleased."""
    return Assignment(config, active, primary, leasing)


def tenant(
    tenant_id: str,
    *assignments: Assignment,
    leasing_required: bool = False,
    quarantined: str | None = None,
    spares: tuple[int, ...] = (),
) -> Tenant:
    """Describe a tenant."""
    return Tenant(tenant_id, 1, leasing_required, assignments, quarantined, spares=spares)


def directory(*tenants: Tenant) -> TenantDirectory:
    """Put tenants together as the proxy sees them."""
    return TenantDirectory({each.id: each for each in tenants}, version=1)
