"""Leased keys: a random key of ours, wrapped once by the tenant's KMS, that wraps many DEKs without asking it again.

A leased key travels, wrapped, inside every EDEK it made, so losing it loses nothing: any proxy, any day, unwraps it
with one KMS call. What is bounded here is for how long and how often the plain key is used: that is how long a
tenant that revokes its KMS key keeps being served. The numbers are argued in docs/leasing.md.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, NewType

import msgspec

from tenant_security.crypto.aead import KEY_BYTES, MAX_RANDOM_IVS, LeasedKeyCipher, random_bytes
from tenant_security.directory.tenants import Assignment, Tenant
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.several import WrapWithKms, unwrap_with_any, usable, usable_of, wrap_with_all
from tenant_security.proxy.single_flight import SingleFlight
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek, LeasedEdekTemplate
from tenant_security.wire.events import SUCCESS, Operation

Purpose = NewType("Purpose", str)
TO_WRAP: Final = Purpose("wrap")
TO_UNWRAP: Final = Purpose("unwrap")

LEASE_ID_RANGE: Final = (128, 16_384)
"""A lease's number is a label for people and logs. It always takes two bytes as a varint, so that EDEKs of one
config have one length, and it may repeat: what identifies a lease is its wrapped key."""

_REVOKING: Final = frozenset({Code.KMS_AUTHORIZATION_FAILED, Code.KMS_CONFIGURATION_INVALID, Code.KMS_ACCOUNT_ISSUE})
"""Answers by which a tenant's KMS says no. A lease ends on them at once instead of running out."""


class LeasePolicy(msgspec.Struct, frozen=True):
    """How long and how often a leased key may be used.

    Units: seconds; wraps per lease; leases kept for unwrapping. ``refresh_at`` is the part of the life after which
    the next use renews the lease in the background.
    """

    life_s: float = 600.0
    most_wraps: int = 2**24
    most_unwrapping: int = 10_000
    refresh_at: float = 0.8

    def __post_init__(self) -> None:
        if self.most_wraps > MAX_RANDOM_IVS:
            raise ValueError("a leased key may not be used with more than 2^32 random IVs")


class Lease:
    """One leased key in use. Owner: the lease book.

    ``wraps_left`` counts down; below ``renew_below`` or past ``refresh_at`` a renewal is due, and both may move.
    ``tenant`` is the directory entry for which the lease was last found usable: while the directory still holds that
    very entry, nobody need look again. ``fingerprints`` are of the configs on whose word it is used: those that wrapped
    it, or the one that unwrapped it. ``meant_for`` are those that should have wrapped it.
    """

    __slots__ = (
        "cipher",
        "config_id",
        "done",
        "expires_at",
        "fingerprints",
        "lease_id",
        "meant_for",
        "refresh_at",
        "renew_below",
        "template",
        "tenant",
        "wrapped",
        "wraps_for",
        "wraps_left",
    )

    def __init__(
        self,
        cipher: LeasedKeyCipher,
        fingerprints: tuple[bytes, ...],
        *,
        policy: LeasePolicy,
        now: float,
        template: LeasedEdekTemplate | None = None,
        lease_id: int = 0,
        wrapped: bytes = b"",
        meant_for: tuple[bytes, ...] = (),
    ) -> None:
        self.cipher = cipher
        self.fingerprints = fingerprints
        self.meant_for = meant_for
        self.expires_at = now + policy.life_s
        self.refresh_at = now + policy.life_s * policy.refresh_at
        self.template = template
        self.lease_id = lease_id
        self.wrapped = wrapped
        self.wraps_left = policy.most_wraps if template is not None else 0
        self.renew_below = int(self.wraps_left * (1 - policy.refresh_at))
        self.tenant: Tenant | None = None
        self.wraps_for: Tenant | None = None
        self.config_id = 0
        self.done: Operation | None = None

    def pin(self, tenant: Tenant, assignment: Assignment, *, named: int = 0, to_wrap: bool = False) -> None:
        """Remember that the lease was found usable for a tenant through an assignment, and what to record of it.

        ``named`` is the config that its EDEKs name, when that is another. Usable to unwrap is not usable to wrap: a
        config may have lost its leasing or its place as the primary.
        """
        config = assignment.config
        if config.fingerprint not in self.fingerprints:
            return
        if to_wrap:
            self.wraps_for = tenant
        if self.tenant is not tenant:
            self.tenant, self.config_id = tenant, named or config.id
            self.done = Operation(
                outcome=SUCCESS, kms_config_id=config.id, kms_config_version=config.version, leased=True
            )


class LeaseBook:
    """All leased keys of this process: at most one per tenant to wrap with, a bounded number to unwrap with.

    Whoever asks has already found, in the directory, that the tenant may use the config: a lease never outlives that
    check. Leases are kept by tenant and by config content, so one tenant never uses another's lease.
    """

    def __init__(
        self,
        kms: WrapWithKms,
        policy: LeasePolicy,
        start: Callable[[Coroutine[Any, Any, None]], object],
        *,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[Purpose, str], None] = lambda _purpose, _what: None,
    ) -> None:
        self._kms = kms
        self._policy = policy
        self._clock = clock
        self._observe = observe
        self._wrapping: dict[str, Lease] = {}
        self._unwrapping: OrderedDict[tuple[str, bytes], Lease] = OrderedDict()
        self._entries: dict[tuple[str, bytes], tuple[str, bytes]] = {}
        """Each entry of a leased key with several, as an EDEK of its own, to what that key is kept under."""
        self._making: SingleFlight[tuple[str, tuple[bytes, ...]], Lease] = SingleFlight(start)
        self._opening: SingleFlight[tuple[str, tuple[bytes, ...], bytes], Lease] = SingleFlight(start)

    def count(self) -> dict[str, int]:
        """How many leases are held, by what for."""
        return {TO_WRAP: len(self._wrapping), TO_UNWRAP: len(self._unwrapping)}

    def pinned_to_wrap(self, tenant: Tenant) -> Lease | None:
        """Return a lease that needs no second look: found usable for this very entry, fresh, with wraps left."""
        lease = self._wrapping.get(tenant.id)
        if (
            lease is None
            or lease.wraps_for is not tenant
            or lease.wraps_left <= lease.renew_below
            or self._clock() >= lease.refresh_at
        ):
            return None
        return lease

    def pinned_to_unwrap(self, tenant: Tenant, config_id: int, wrapped: bytes) -> Lease | None:
        """Return the lease that made an EDEK if it needs no second look."""
        lease = self._unwrapping.get((tenant.id, wrapped))
        if (
            lease is None
            or lease.tenant is not tenant
            or lease.config_id != config_id
            or self._clock() >= lease.refresh_at
        ):
            return None
        self._unwrapping.move_to_end((tenant.id, wrapped))
        return lease

    # -- to wrap ---------------------------------------------------------------------------------------------------

    def ready(self, tenant: Tenant) -> Lease | None:
        """Return a lease that can wrap now, without waiting for anything; renew it in the background when it is due."""
        lease, wanted = self._wrapping.get(tenant.id), _fingerprints(tenant.wrapping)
        if lease is None or lease.meant_for != wanted or lease.wraps_left <= 0:
            return None
        now = self._clock()
        if now >= lease.expires_at:
            return None
        if now >= lease.refresh_at or lease.wraps_left <= lease.renew_below:
            self._making.launch((tenant.id, wanted), lambda: self._renew(tenant))
        return lease

    async def wrapping(self, tenant: Tenant) -> Lease:
        """Return a lease that can wrap, made with one call to each KMS if there is none.

        Raises what the KMS call raises.
        """
        lease = self.ready(tenant)
        while lease is None:
            await self._making.get((tenant.id, _fingerprints(tenant.wrapping)), lambda: self._make(tenant))
            lease = self.ready(tenant)
        return lease

    async def _renew(self, tenant: Tenant) -> Lease:
        try:
            return await self._make(tenant)
        except Exception as fault:
            self._observe(TO_WRAP, "renewal_failed")
            lease = self._wrapping.get(tenant.id)
            if lease is not None and _revokes(fault):
                self._drop(tenant.id, lease.wrapped)
                self._observe(TO_WRAP, "revoked")
            else:
                self._postpone(lease)
            raise

    async def _make(self, tenant: Tenant) -> Lease:
        key, wanted = random_bytes(KEY_BYTES), _fingerprints(tenant.wrapping)
        least, most = LEASE_ID_RANGE
        lease_id = least + int.from_bytes(random_bytes(4)) % (most - least)
        made = await wrap_with_all(self._kms, tenant, key)
        config_id = made.by[0].config.id
        lease = Lease(
            LeasedKeyCipher(key),
            _fingerprints(made.by),
            policy=self._policy,
            now=self._clock(),
            template=LeasedEdekTemplate(config_id=config_id, lease_id=lease_id, wrapped_lease=made.wrapped),
            lease_id=lease_id,
            wrapped=made.wrapped,
            meant_for=wanted,
        )
        if lease.fingerprints != wanted:
            self._postpone(lease)  # the KMS that was away is asked again soon
        self._wrapping[tenant.id] = lease
        self._keep_unwrapping((tenant.id, made.wrapped), lease)
        self._observe(TO_WRAP, "made")
        return lease

    def _drop(self, tenant_id: str, wrapped: bytes) -> None:
        """Forget a leased key, whatever it was kept for."""
        self._let_go((tenant_id, wrapped))
        lease = self._wrapping.get(tenant_id)
        if lease is not None and lease.wrapped == wrapped:
            del self._wrapping[tenant_id]

    def _postpone(self, lease: Lease | None) -> None:
        """The KMS is away for now: the lease serves on to its end, and the next renewal waits a little."""
        if lease is not None:
            pause_s = self._policy.life_s * (1 - self._policy.refresh_at) / 8
            # Never beyond the end: what asks for a renewal is also what notices that the lease is over.
            lease.refresh_at = min(lease.expires_at, self._clock() + pause_s)
            if lease.wraps_left <= lease.renew_below:
                lease.renew_below = lease.wraps_left // 2

    # -- to unwrap -------------------------------------------------------------------------------------------------

    def known(self, tenant: Tenant, uses: Sequence[Assignment], wrapped: bytes) -> Lease | None:
        """Return the lease that made an EDEK, if it is in memory and still good through one of these configs."""
        lease = self._unwrapping.get((tenant.id, wrapped))
        if lease is None or not any(use.config.fingerprint in lease.fingerprints for use in uses):
            return None
        now = self._clock()
        if now >= lease.refresh_at:
            if now >= lease.expires_at:
                return None
            flight = (tenant.id, _fingerprints(uses), wrapped)
            self._opening.launch(flight, lambda: self._reopen(tenant, wrapped))
        self._unwrapping.move_to_end((tenant.id, wrapped))
        return lease

    async def unwrapping(self, tenant: Tenant, named: int, wrapped: bytes) -> tuple[Lease, Assignment]:
        """Return the lease that made an EDEK, unwrapped by a KMS if it is not in memory, and through what it is used.

        ``named`` is the config that the EDEK itself names. It must be usable, unless the leased key has several
        entries, of which it names one: then any of them may do.

        Raises: TenantSecurityError 202, 203 or what the KMS call raises.
        """
        entries = edek.decode_all(wrapped)
        if any(entry.leased for entry in entries):
            raise TenantSecurityError(
                Code.INVALID_PROVIDED_EDEK, f"{edek.NOT_AN_EDEK}: its leased key is leased itself"
            )
        if len(entries) == 1 or all(entry.config_id != named for entry in entries):
            usable(tenant, named)
        uses = [use for _, use in usable_of(tenant, entries)]
        lease = self.known(tenant, uses, wrapped)
        if lease is None:
            flight = (tenant.id, _fingerprints(uses), wrapped)
            lease = await self._opening.get(flight, lambda: self._open(tenant, wrapped, entries))
        return lease, next(use for use in uses if use.config.fingerprint in lease.fingerprints)

    async def _reopen(self, tenant: Tenant, wrapped: bytes) -> Lease:
        try:
            return await self._open(tenant, wrapped, edek.decode_all(wrapped))
        except Exception:
            self._observe(TO_UNWRAP, "renewal_failed")
            self._postpone(self._unwrapping.get((tenant.id, wrapped)))
            raise

    async def _open(self, tenant: Tenant, wrapped: bytes, entries: Sequence[EncryptedDek]) -> Lease:
        try:
            key, use = await unwrap_with_any(self._kms, tenant, entries)
        except TenantSecurityError as fault:
            if _revokes(fault):
                self._drop(tenant.id, wrapped)
                self._observe(TO_UNWRAP, "revoked")
            raise
        lease = Lease(
            LeasedKeyCipher(key), (use.config.fingerprint,), policy=self._policy, now=self._clock(), wrapped=wrapped
        )
        self._keep_unwrapping((tenant.id, wrapped), lease)
        self._observe(TO_UNWRAP, "opened")
        return lease

    def is_leased_key(self, tenant_id: str, entry: EncryptedDek) -> bool:
        """Whether an unleased EDEK is really a leased key in its wrapping, cut out of a leased EDEK.

        Unwrapped as a DEK it would hand out the key to everything under that lease. Only leases in memory are known;
        the threat model says what that leaves.
        """
        key = (tenant_id, edek.encode(entry))
        return key in self._unwrapping or key in self._entries

    def _keep_unwrapping(self, key: tuple[str, bytes], lease: Lease) -> None:
        self._unwrapping[key] = lease
        self._unwrapping.move_to_end(key)
        self._entries.update((each, key) for each in _entries_of(key))
        if len(self._unwrapping) > self._policy.most_unwrapping:
            self._let_go(next(iter(self._unwrapping)))
            self._observe(TO_UNWRAP, "evicted")

    def _let_go(self, key: tuple[str, bytes]) -> None:
        if self._unwrapping.pop(key, None) is not None:
            for each in _entries_of(key):
                self._entries.pop(each, None)

    # -- housekeeping ----------------------------------------------------------------------------------------------

    def retain(self, wanted: Callable[[str, bytes], bool]) -> None:
        """Drop what has run out and what its tenant may no longer use: ``wanted(tenant id, config fingerprint)``."""
        now = self._clock()
        for tenant_id, lease in list(self._wrapping.items()):
            if now >= lease.expires_at or not any(wanted(tenant_id, each) for each in lease.fingerprints):
                del self._wrapping[tenant_id]
        for key, lease in list(self._unwrapping.items()):
            if now >= lease.expires_at or not any(wanted(key[0], each) for each in lease.fingerprints):
                self._let_go(key)


def _revokes(fault: Exception) -> bool:
    return isinstance(fault, TenantSecurityError) and fault.code in _REVOKING


def _fingerprints(uses: Sequence[Assignment]) -> tuple[bytes, ...]:
    return tuple(use.config.fingerprint for use in uses)


def _entries_of(key: tuple[str, bytes]) -> list[tuple[str, bytes]]:
    """Return what each entry of a leased key would be under as an EDEK of its own; nothing where there is but one."""
    tenant_id, wrapped = key
    entries = edek.decode_all(wrapped)
    return [] if len(entries) == 1 else [(tenant_id, edek.encode(entry)) for entry in entries]
