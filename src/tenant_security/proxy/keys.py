"""Wraps and unwraps DEKs: finds the tenant and its config, decides leased or not, and asks the KMS where it must.

Order of checks, as clients test it: the tenant is known (201), the EDEK is one (203), its config is usable (202), then
what the KMS says. Each method takes the tenant as it was found, so one request sees one directory.
"""

from binascii import b2a_base64
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tenant_security.crypto.aead import IV_BYTES
from tenant_security.crypto.random_pool import POOL
from tenant_security.directory.tenants import Assignment, Tenant, TenantDirectory
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.leasing import Lease, LeaseBook
from tenant_security.proxy.several import ONCE, WrapWithKms, unwrap_dek, usable_of, wrap_dek
from tenant_security.wire import edek
from tenant_security.wire.edek import DEK_BYTES, EncryptedDek


class WrappedDek(NamedTuple):
    """A DEK and its EDEK (``EncryptedDeks`` bytes), and what made it."""

    dek: bytes
    edek: bytes
    assignment: Assignment
    leased: bool


class UnwrappedDek(NamedTuple):
    """A DEK, and what unwrapped it."""

    dek: bytes
    assignment: Assignment
    leased: bool


class Keys:
    """The key operations of one process. Holds no state of its own: the lease book and the KMS caller do."""

    def __init__(self, directory: Callable[[], TenantDirectory], leases: LeaseBook, kms: WrapWithKms) -> None:
        self._directory = directory
        self._leases = leases
        self._kms = kms

    def tenant(self, tenant_id: str) -> Tenant:
        """Find a tenant that has at least one usable config.

        Raises: TenantSecurityError 201, or 207 when its configuration could not be trusted; 100 with HTTP 503 when
        the vendor has revoked this proxy: another may serve.
        """
        directory = self._directory()
        if directory.withdrawn:
            raise TenantSecurityError(
                Code.UNKNOWN_ERROR, f"This proxy serves nobody: {directory.withdrawn}", http_status=503
            )
        tenant = directory.tenant(tenant_id)
        if tenant is not None and tenant.quarantined is not None:
            raise TenantSecurityError(
                Code.KMS_CONFIGURATION_INVALID,
                f"The configuration of this tenant was refused: {tenant.quarantined}",
            )
        if tenant is None or not tenant.has_active:
            raise TenantSecurityError(
                Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS,
                "No configurations available for the provided tenant",
            )
        return tenant

    def concerned(self, tenant_id: str, edek_base64: str | None = None) -> Assignment | None:
        """Return the config that a request is about, for its record: the EDEK's, or the primary. Raises nothing."""
        tenant = self._directory().tenant(tenant_id)
        if tenant is None:
            return None
        if edek_base64 is None:
            return tenant.primary
        try:
            return tenant.assignment(edek.decode_base64(edek_base64).config_id)
        except TenantSecurityError:
            return None

    def primary(self, tenant: Tenant) -> Assignment:
        """Find the config that wraps.

        Raises: TenantSecurityError 200, or 207 when the tenant must lease and the config does not allow it.
        """
        primary = tenant.primary
        if primary is None:
            raise TenantSecurityError(
                Code.NO_PRIMARY_KMS_CONFIGURATION, "No primary KMS configuration for the provided tenant"
            )
        if tenant.leasing_required and not primary.leasing:
            raise TenantSecurityError(
                Code.KMS_CONFIGURATION_INVALID,
                f"Key leasing is required for this tenant, and its primary KMS configuration {primary.config.id} does "
                "not allow it; allow leasing for the configuration or stop requiring it for the tenant",
            )
        return primary

    async def wrap(self, tenant: Tenant, dek: bytes | None = None) -> WrappedDek:
        """Wrap a new DEK, or the one given, with the tenant's primary config. Raises: 200, 204, 206-210."""
        primary = self.primary(tenant)
        if not primary.leasing:
            plain = POOL.take(DEK_BYTES) if dek is None else dek
            made = await wrap_dek(self._kms, tenant, plain)
            return WrappedDek(plain, made.wrapped, made.by[0], leased=False)
        lease = self._leases.ready(tenant)
        if lease is None:
            lease = await self._leases.wrapping(tenant)
        lead = next(use for use in tenant.wrapping if use.config.fingerprint in lease.fingerprints)
        lease.pin(tenant, lead, to_wrap=True)
        return wrap_leased(lease, lead, dek)

    async def unwrap(self, tenant: Tenant, edek_base64: str) -> UnwrappedDek:
        """Unwrap an EDEK with a config that it names. Raises: 202, 203, 205-210."""
        return await self.unwrap_entries(tenant, edek.decode_all_base64(edek_base64))

    async def unwrap_entries(self, tenant: Tenant, entries: Sequence[EncryptedDek]) -> UnwrappedDek:
        """Unwrap an EDEK that is already decoded: any of its entries gives the DEK."""
        if entries[0].lease_id == ONCE and len(entries) == 1:
            dek, assignment = await unwrap_dek(self._kms, tenant, entries)
            return UnwrappedDek(dek, assignment, leased=False)
        if not any(entry.leased for entry in entries):
            usable_of(tenant, entries)
            if any(self._leases.is_leased_key(tenant.id, entry) for entry in entries):
                raise TenantSecurityError(
                    Code.INVALID_PROVIDED_EDEK, f"{edek.NOT_AN_EDEK}: it wraps a leased key and not a DEK"
                )
            dek, assignment = await unwrap_dek(self._kms, tenant, entries)
            return UnwrappedDek(dek, assignment, leased=False)
        if len(entries) > 1:
            raise TenantSecurityError(
                Code.INVALID_PROVIDED_EDEK, f"{edek.NOT_AN_EDEK}: an entry under a leased key stands beside others"
            )
        return await self._unwrap_leased(tenant, entries[0])

    async def _unwrap_leased(self, tenant: Tenant, entry: EncryptedDek) -> UnwrappedDek:
        assignment = tenant.assignment(entry.config_id)
        lease = None
        if assignment is not None and assignment.active:
            lease = self._leases.known(tenant, (assignment,), entry.wrapped_lease)
        if lease is None:
            lease, assignment = await self._leases.unwrapping(tenant, entry.config_id, entry.wrapped_lease)
        assert assignment is not None
        lease.pin(tenant, assignment, named=entry.config_id)
        return UnwrappedDek(unwrap_leased(lease, entry), assignment, leased=True)


def wrap_leased(lease: Lease, primary: Assignment, dek: bytes | None = None) -> WrappedDek:
    """Wrap a new DEK, or the one given, under a lease that is ready."""
    if dek is None:
        return WrappedDek(*new_leased_dek(lease), primary, leased=True)
    return WrappedDek(dek, _seal(lease, dek, POOL.take(IV_BYTES)), primary, leased=True)


def new_leased_dek(lease: Lease) -> tuple[bytes, bytes]:
    """Make a DEK and its EDEK under a lease that is ready. One random read makes DEK and IV."""
    randomness = POOL.take(DEK_BYTES + IV_BYTES)
    dek = randomness[:DEK_BYTES]
    return dek, _seal(lease, dek, randomness[DEK_BYTES:])


def new_leased_dek_base64(lease: Lease) -> tuple[bytes, bytes]:
    """Make a DEK and its EDEK under a lease that is ready, both as they stand in a response."""
    randomness = POOL.take(DEK_BYTES + IV_BYTES)
    dek, iv = randomness[:DEK_BYTES], randomness[DEK_BYTES:]
    assert lease.template is not None
    lease.wraps_left -= 1
    return b2a_base64(dek, newline=False), lease.template.fill_base64(lease.cipher.seal(dek, iv), iv)


def _seal(lease: Lease, dek: bytes, iv: bytes) -> bytes:
    assert lease.template is not None
    lease.wraps_left -= 1
    return lease.template.fill(lease.cipher.seal(dek, iv), iv)


def unwrap_leased(lease: Lease, entry: EncryptedDek) -> bytes:
    """Unwrap an EDEK under the lease that made it. Raises: TenantSecurityError 205."""
    dek = lease.cipher.open(entry.data, entry.lease_iv)
    if dek is None or len(dek) != DEK_BYTES:
        raise TenantSecurityError(
            Code.KMS_UNWRAP_FAILED, "The leased key could not unwrap the DEK: the EDEK was altered"
        )
    return dek
