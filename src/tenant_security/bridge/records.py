"""A tenant's next record: what it is assigned, changed in one place and signed by the bridge.

Rules, without I/O:

* A new assignment is active and not primary, and leases where its config allows that.
* Only what is active can be primary; a new primary takes the place of the old one.
* A tenant that must lease is assigned only configs that allow leasing.
* A spare that becomes the primary changes places with the old one; one that may no longer be a spare is none any more.
"""

from collections.abc import Iterable, Mapping

import msgspec

from tenant_security.authoring import documents
from tenant_security.authoring.versions import next_version
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.trust.entries import spares_after
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import TenantChange, TenantDocuments

Assignments = Mapping[int, words.RecordAssignment]


class NotPossibleError(Exception):
    """A change that the rules do not allow. The message says what to do instead."""


def assignments_of(tenant: TenantDocuments) -> dict[int, words.RecordAssignment]:
    """Return what a tenant is assigned, by the number of the config."""
    if tenant.record is None:
        return {}
    return {each.config: each for each in words.decode(words.TenantRecord, tenant.record.body).assignments}


def must_lease(tenant: TenantDocuments, *, otherwise: bool) -> bool:
    """Return whether the record says that all of the tenant's keys must be leased."""
    record = _last(tenant)
    return otherwise if record is None else record.leasing_required


def assigned(current: Assignments, config: int, *, leasing: bool, must_lease: bool) -> Assignments:
    """Assign a config. What is assigned already stays as it is. Raises: NotPossibleError."""
    if config in current:
        return current
    if must_lease and not leasing:
        raise NotPossibleError(f"the tenant requires key leasing and config {config} does not allow it; allow it first")
    return {**current, config: words.RecordAssignment(config, active=True, primary=False, leasing=leasing)}


def updated(current: Assignments, config: int, *, active: bool | None, primary: bool | None) -> Assignments:
    """Switch an assignment on or off, or make it primary or not. Raises: NotPossibleError."""
    before = _require(current, config)
    active = before.active if active is None else active
    primary = before.primary if primary is None else primary
    if primary and not active:
        raise NotPossibleError(
            f"config {config} cannot be primary while it is not active; set active to true, or primary to false"
        )
    after = msgspec.structs.replace(before, active=active, primary=primary)
    return {
        number: after
        if number == config
        else msgspec.structs.replace(each, primary=False)
        if primary and each.primary
        else each
        for number, each in current.items()
    }


def removed(current: Assignments, config: int) -> Assignments:
    """Take an assignment away. Raises: NotPossibleError."""
    _require(current, config)
    return {number: each for number, each in current.items() if number != config}


def leasing(current: Assignments, config: int, *, allowed: bool) -> Assignments:
    """Lease with a config from now on, or not any more."""
    before = current.get(config)
    if before is None or before.leasing == allowed:
        return current
    return {**current, config: msgspec.structs.replace(before, leasing=allowed)}


def require_leases(current: Assignments) -> None:
    """Check that a tenant may be required to lease. Raises: NotPossibleError that names what stands in the way."""
    without = sorted(number for number, each in current.items() if not each.leasing)
    if without:
        numbers = ", ".join(map(str, without))
        raise NotPossibleError(f"the tenant is assigned configs that do not lease: {numbers}; allow that first")


def next_record(
    vendor: str,
    tenant: TenantDocuments,
    wanted: Iterable[words.RecordAssignment],
    author: SigningKey,
    *,
    must_lease: bool,
    now_s: int,
) -> TenantChange:
    """Sign a tenant's next version. What the last record vouched for is checked by its own signature again."""
    document = words.TenantRecord(
        vendor=vendor,
        tenant=tenant.tenant,
        version=next_version(tenant.record_version, now_s),
        leasing_required=must_lease,
        assignments=tuple(wanted),
    )
    if (last := _last(tenant)) is not None:
        # Whatever else the record says stays as it is.
        document = msgspec.structs.replace(
            last,
            version=document.version,
            leasing_required=must_lease,
            assignments=document.assignments,
            spares=spares_after(last.assignments, document.assignments, last.spares),
            vouches=(),
        )
    return TenantChange(record=documents.sign(Kind.RECORD, document, author), base_version=tenant.record_version)


def _last(tenant: TenantDocuments) -> words.TenantRecord | None:
    return None if tenant.record is None else words.decode(words.TenantRecord, tenant.record.body)


def _require(current: Assignments, config: int) -> words.RecordAssignment:
    found = current.get(config)
    if found is None:
        raise NotPossibleError(f"the tenant is not assigned config {config}")
    return found
