"""One key, wrapped by every KMS that its tenant named, and unwrapped by whichever of them answers.

Usually a tenant has one KMS that wraps, and all of this is one call. Where its record names spares, a key gets an entry
from each KMS that is there, and the loss of one of them loses nothing.

Some clients keep only the first entry of an EDEK. So a DEK that several KMSs wrap has the form of a leased one: a key
that is used once seals the DEK, and it is that key's wrapping, which clients keep as it is, that has several entries.

Source: docs/several-kms.md.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from tenant_security.crypto.aead import IV_BYTES, KEY_BYTES, LeasedKeyCipher, random_bytes
from tenant_security.directory.tenants import Assignment, ConfigHandle, Tenant
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.batch import for_each
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek

WITHOUT: Final = "wrapped_without"
"""A KMS that should have wrapped a key did not."""
INSTEAD: Final = "unwrapped_instead"
"""A key was unwrapped by another KMS than the first that should have."""


class WrapWithKms(NamedTuple):
    """How to reach a KMS: wrap 32 bytes, or unwrap a blob, with one config of one tenant.

    ``note`` hears of what happens with spares.
    """

    wrap: Callable[[str, ConfigHandle, bytes], Awaitable[bytes]]
    unwrap: Callable[[str, ConfigHandle, bytes], Awaitable[bytes]]
    note: Callable[[str], None] = lambda _what: None


ONCE: Final = 1
"""The lease id of a key that is used once and never kept. Leases have larger ones."""


class Wrapped(NamedTuple):
    """A wrapped key (``EncryptedDeks`` bytes), and by whom: at least one, in the order of its entries."""

    wrapped: bytes
    by: tuple[Assignment, ...]


async def wrap_dek(kms: WrapWithKms, tenant: Tenant, dek: bytes) -> Wrapped:
    """Wrap a DEK without a lease, as an EDEK. Raises as :func:`wrap_with_all`."""
    if len(tenant.wrapping) == 1:
        return await wrap_with_all(kms, tenant, dek)
    key = random_bytes(KEY_BYTES)
    made = await wrap_with_all(kms, tenant, key)
    iv = random_bytes(IV_BYTES)
    sealed = LeasedKeyCipher(key).seal(dek, iv)
    entry = EncryptedDek(sealed, made.by[0].config.id, ONCE, iv, made.wrapped)
    return Wrapped(edek.encode(entry), made.by)


async def unwrap_dek(kms: WrapWithKms, tenant: Tenant, entries: Sequence[EncryptedDek]) -> tuple[bytes, Assignment]:
    """Unwrap what :func:`wrap_dek` made, and any other EDEK without a lease. Returns the DEK and what unwrapped it.

    Raises: as :func:`unwrap_with_any`; 203 when the EDEK contradicts itself, 205 when it was altered.
    """
    outer = entries[0]
    if outer.lease_id != ONCE:
        return await unwrap_with_any(kms, tenant, entries)
    inner = edek.decode_all(outer.wrapped_lease)
    if any(entry.leased for entry in inner) or all(entry.config_id != outer.config_id for entry in inner):
        raise TenantSecurityError(
            Code.INVALID_PROVIDED_EDEK, f"{edek.NOT_AN_EDEK}: its wrapped key is not one of its own config"
        )
    key, use = await unwrap_with_any(kms, tenant, inner)
    dek = LeasedKeyCipher(key).open(outer.data, outer.lease_iv)
    if dek is None or len(dek) != edek.DEK_BYTES:
        raise TenantSecurityError(Code.KMS_UNWRAP_FAILED, "The DEK could not be opened: the EDEK was altered")
    return dek, use


async def wrap_with_all(kms: WrapWithKms, tenant: Tenant, key: bytes) -> Wrapped:
    """Wrap a key with the tenant's primary and, beside it, with every spare.

    It succeeds when one of them does: a KMS that is away must not stop those that are there.

    Raises: the fault of the first that failed, when all did.
    """
    uses = tenant.wrapping
    if len(uses) == 1:
        (only,) = uses
        blob = await kms.wrap(tenant.id, only.config, key)
        return Wrapped(edek.encode(EncryptedDek(blob, only.config.id)), uses)
    by_name = {str(use.config.id): use for use in uses}
    outcomes = await for_each(
        by_name, lambda name: kms.wrap(tenant.id, by_name[name].config, key), at_once=len(by_name)
    )
    blobs = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, bytes)}
    if not blobs:
        raise next(outcome for outcome in outcomes.values() if isinstance(outcome, TenantSecurityError))
    if len(blobs) < len(uses):
        kms.note(WITHOUT)
    by = tuple(by_name[name] for name in blobs)
    entries = [EncryptedDek(blob, use.config.id) for blob, use in zip(blobs.values(), by, strict=True)]
    return Wrapped(edek.encode_all(entries), by)


async def unwrap_with_any(
    kms: WrapWithKms, tenant: Tenant, entries: Sequence[EncryptedDek]
) -> tuple[bytes, Assignment]:
    """Unwrap a key by the first of its entries that can be: what each KMS says counts, and so does that it is away.

    Returns the key and what unwrapped it.

    Raises: TenantSecurityError 202 when the tenant may use none of them, else the first KMS's fault.
    """
    uses = usable_of(tenant, entries)
    fault: TenantSecurityError | None = None
    for place, (entry, use) in enumerate(uses):
        try:
            key = await kms.unwrap(tenant.id, use.config, entry.data)
        except TenantSecurityError as refused:
            fault = fault or refused
        else:
            if place or entry is not entries[0]:
                kms.note(INSTEAD)
            return key, use
    assert fault is not None
    raise fault


def usable_of(tenant: Tenant, entries: Sequence[EncryptedDek]) -> list[tuple[EncryptedDek, Assignment]]:
    """Return the entries whose config the tenant may use now, with it; at least one.

    Raises: TenantSecurityError 202 about the first.
    """
    found = [
        (entry, use) for entry in entries if (use := tenant.assignment(entry.config_id)) is not None and use.active
    ]
    if not found:
        usable(tenant, entries[0].config_id)
    return found


def usable(tenant: Tenant, config_id: int) -> Assignment:
    """Find the config that an EDEK names among those the tenant may use now.

    Raises: TenantSecurityError 202.
    """
    assignment = tenant.assignment(config_id)
    if assignment is None:
        raise TenantSecurityError(
            Code.KMS_CONFIGURATION_DISABLED, f"KMS configuration {config_id} is not assigned to tenant {tenant.id}"
        )
    if not assignment.active:
        raise TenantSecurityError(
            Code.KMS_CONFIGURATION_DISABLED, f"KMS configuration {config_id} is disabled for tenant {tenant.id}"
        )
    return assignment
