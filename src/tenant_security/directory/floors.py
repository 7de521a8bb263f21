"""What this process remembers of entries that it no longer has, so that they cannot come back older."""

from collections.abc import Iterator, Mapping
from typing import Final

from tenant_security.directory.sealed_config import SealedConfig
from tenant_security.directory.tenants import ConfigHandle, Tenant, TenantDirectory
from tenant_security.wire.snapshot import SHARED

RECORD: Final = 0
"""Stands for the record where others have a config id."""
AUTHORS: Final = -1
"""Stands for the tenant's own authors where others have a config id."""


def floors_after(
    previous: TenantDirectory,
    tenants: Mapping[str, Tenant],
    shared: Mapping[int, ConfigHandle],
    idle: Mapping[tuple[str, int], int],
) -> dict[tuple[str, int], int]:
    """Return the highest version seen of everything that these tenants and shared configs do not hold.

    Shape: keys are ``(tenant, 0)`` for a record, ``(tenant, -1)`` for its authors and ``(owner, config id)`` for a
    config; ``idle`` are configs that were brought and are assigned to nobody.
    """
    seen = {**previous.standing.floors}
    _raise(seen, idle)
    _raise(seen, {(SHARED, config.id): config.version for config in previous.shared_configs.values()})
    for tenant in previous:
        if tenants.get(tenant.id) is not tenant and tenant.quarantined is None:
            _raise(seen, dict(_versions(tenant)))
    return {key: version for key, version in seen.items() if version > _held(*key, tenants, shared)}


def _raise(seen: dict[tuple[str, int], int], versions: Mapping[tuple[str, int], int]) -> None:
    for key, version in versions.items():
        seen[key] = max(version, seen.get(key, 0))


def _held(owner: str, number: int, tenants: Mapping[str, Tenant], shared: Mapping[int, ConfigHandle]) -> int:
    if owner == SHARED:
        return shared[number].version if number in shared else 0
    tenant = tenants.get(owner)
    if tenant is None or tenant.quarantined is not None:
        return 0
    return dict(_versions(tenant)).get((owner, number), 0)


def _versions(tenant: Tenant) -> Iterator[tuple[tuple[str, int], int]]:
    yield (tenant.id, RECORD), tenant.version
    if tenant.provenance is not None and tenant.provenance.authors_version:
        yield (tenant.id, AUTHORS), tenant.provenance.authors_version
    for config in (*(assignment.config for assignment in tenant.assignments), *tenant.sinks):
        if _owner(config) == tenant.id:
            yield (tenant.id, config.id), config.version


def _owner(config: ConfigHandle) -> str:
    return config.owner if isinstance(config, SealedConfig) else SHARED
