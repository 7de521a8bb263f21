"""What a proxy tells the broker of itself: how it is, and what its tenants did since the last report.

Counts are kept per tenant of the directory and bounded: a report names the busiest tenants and adds up the others.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from tenant_security.directory.tenants import TenantDirectory
from tenant_security.wire.service_api import KMS_BUCKETS_S, MOST_TENANTS_REPORTED, OTHERS, TenantActivity

_MOST_COUNTED: Final = 20_000
"""How many tenants are counted between two reports; the others count as one."""


class _Counts:
    __slots__ = ("errors", "kms", "operations")

    def __init__(self) -> None:
        self.operations = 0
        self.errors: dict[str, int] = {}
        self.kms = [0] * (len(KMS_BUCKETS_S) + 1)

    def add(self, other: "_Counts") -> None:
        self.operations += other.operations
        for code, count in other.errors.items():
            self.errors[code] = self.errors.get(code, 0) + count
        self.kms = [mine + theirs for mine, theirs in zip(self.kms, other.kms, strict=True)]


class Activity:
    """Counts of one process since they were last taken. Owner: its event loop."""

    __slots__ = ("_by_tenant", "_others")

    def __init__(self) -> None:
        self._by_tenant: dict[str, _Counts] = {}
        self._others = _Counts()

    def operation(self, tenant_id: str, count: int, fault: int | None) -> None:
        """Count what one operation served, or with which fault code it failed."""
        counts = self._counts(tenant_id)
        if fault is None:
            counts.operations += count
        else:
            code = str(fault)
            counts.errors[code] = counts.errors.get(code, 0) + 1

    def kms_call(self, tenant_id: str, seconds: float) -> None:
        """Count one call of a tenant's KMS."""
        self._counts(tenant_id).kms[bisect_left(KMS_BUCKETS_S, seconds)] += 1

    def _counts(self, tenant_id: str) -> _Counts:
        counts = self._by_tenant.get(tenant_id)
        if counts is None:
            if len(self._by_tenant) >= _MOST_COUNTED:
                return self._others
            counts = self._by_tenant[tenant_id] = _Counts()
        return counts

    def take(self, directory: TenantDirectory) -> tuple[TenantActivity, ...]:
        """Return what was counted, and begin anew. Whom the directory does not know is added to the others."""
        taken, others = self._by_tenant, self._others
        self._by_tenant, self._others = {}, _Counts()
        known = {name: counts for name, counts in taken.items() if directory.tenant(name) is not None}
        for name, counts in taken.items():
            if name not in known:
                others.add(counts)
        busiest = sorted(known, key=lambda name: known[name].operations, reverse=True)
        for name in busiest[MOST_TENANTS_REPORTED:]:
            others.add(known[name])
        named = [(name, known[name]) for name in sorted(busiest[:MOST_TENANTS_REPORTED])]
        return tuple(_said([*named, (OTHERS, others)]))


def _said(counted: Iterable[tuple[str, _Counts]]) -> Iterable[TenantActivity]:
    for name, counts in counted:
        if counts.operations or counts.errors or any(counts.kms):
            yield TenantActivity(name, counts.operations, counts.errors, tuple(counts.kms))
