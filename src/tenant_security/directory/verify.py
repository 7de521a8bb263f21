"""Turns the lines of a snapshot into a TenantDirectory, entry by entry, without I/O and without a clock.

* A bad entry is quarantined for its tenant only; a bad vendor config for the tenants that use it.
* An entry older than the one in use, or different at the same version, is a rollback: the one in use stays, if its
  author may still sign it, and the rollback is reported. Without one in use, the tenant is quarantined.
* What was withdrawn cannot come back older, as long as this process remembers.
* A line that is byte for byte in the directory in use is taken over as it is, unless the rights of its author or a
  vendor config it uses have changed.
* A snapshot is accepted whole or not at all: with a missing or surplus line, or with lines that its head does not
  vouch for, nothing of it is used.

Feed a :class:`SnapshotVerifier` the first line, then the others in any portions, then ask it to finish.

Source: docs/formats-trust.md, "What a verified snapshot becomes".
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tenant_security.directory.chain import verify_chain
from tenant_security.directory.entries import verified_config, verified_record, vouched_by
from tenant_security.directory.floors import floors_after
from tenant_security.directory.refusal import BadEntryError, Part, SnapshotRefusedError
from tenant_security.directory.sealed_config import SealedConfig
from tenant_security.directory.tenants import (
    EMPTY_DIRECTORY,
    Assignment,
    ConfigHandle,
    Freshness,
    Provenance,
    Tenant,
    TenantDirectory,
)
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import ServiceCredentials


class SnapshotVerifier:
    """One pass over one snapshot.

    ``previous`` is the directory in use, ``source`` a name for the health page.
    Raises: SnapshotRefusedError when the first line is not acceptable.
    Owner: whoever feeds it; it is not safe to feed from two threads at once.
    """

    def __init__(
        self,
        first_line: bytes,
        *,
        pinned: str,
        credentials: ServiceCredentials | None,
        now_s: int,
        previous: TenantDirectory = EMPTY_DIRECTORY,
        source: str = "",
    ) -> None:
        self._chain: Final = verify_chain(
            first_line, pinned=pinned, credentials=credentials, previous=previous.standing, now_s=now_s
        )
        self._previous: Final = previous
        self._source: Final = source
        same_rights = previous.standing.authors
        self._steady: Final = frozenset(
            signer for signer, author in self._chain.authors.items() if same_rights.get(signer) == author.digest
        )
        self._by_line: Final = self._reusable()
        self._hash: Final = hashlib.sha256()
        self._lines = 0
        self._tenants: Final[dict[str, Tenant]] = {}
        self._shared: Final[dict[int, SealedConfig]] = {}
        self._bad_shared: Final[dict[int, str]] = {}
        self._quarantined: Final[dict[str, str]] = {}
        self._rollbacks: Final[dict[str, str]] = {}
        self._idle: Final[dict[tuple[str, int], int]] = {}
        self.reused = 0

    def _reusable(self) -> dict[bytes, Tenant]:
        """Previous tenants by the hash of their line, when their configs can be opened as before."""
        if self._chain.keyring is not self._previous.standing.keyring:
            return {}
        return {
            tenant.provenance.line: tenant
            for tenant in self._previous
            if tenant.provenance is not None and tenant.provenance.line
        }

    def add(self, lines: Iterable[bytes]) -> None:
        """Judge the next lines, each without its line break.

        Raises: SnapshotRefusedError when there are more than the first line promised, or they are out of order.
        """
        for line in lines:
            self._hash.update(line)
            self._hash.update(b"\n")
            self._lines += 1
            if self._lines > self._chain.header.lines:
                raise SnapshotRefusedError(
                    Part.FORMAT, f"it has more than the {self._chain.header.lines} lines it names"
                )
            self._add(line)

    def _add(self, line: bytes) -> None:
        digest = words.sha256(line)
        known = self._by_line.get(digest)
        if known is not None and known.id not in self._tenants and self._still_good(known):
            self._tenants[known.id] = known
            self.reused += 1
            return
        try:
            entry = words.decode_line(line)
        except words.MalformedError as malformed:
            name = words.tenant_named_in(line)
            self._quarantine(
                f"line {self._lines + 1}" if name is None else name, f"it cannot be read: {malformed}", name
            )
            return
        if isinstance(entry, words.ConfigLine):
            self._add_shared(entry.envelope)
        else:
            self._add_tenant(entry, digest)

    def _still_good(self, tenant: Tenant) -> bool:
        assert tenant.provenance is not None
        if tenant.provenance.author not in self._steady:
            return False
        return all(
            self._shared.get(config.id) is config if config.owner == words.SHARED else config.author in self._steady
            for config in map(_sealed, tenant.assignments)
        )

    def _quarantine(self, name: str, reason: str, tenant_id: str | None) -> None:
        self._quarantined[name] = reason
        if tenant_id is not None:
            self._tenants[tenant_id] = Tenant(tenant_id, 0, False, (), quarantined=reason)

    def _add_shared(self, envelope: words.ConfigEnvelope) -> None:
        if self._tenants:
            raise SnapshotRefusedError(Part.FORMAT, "a config of the vendor stands after the first tenant")
        try:
            offered = verified_config(envelope, words.SHARED, self._chain)
        except BadEntryError as bad:
            config_id = _claimed_id(envelope)
            self._quarantined[f"config {config_id}" if config_id else f"line {self._lines + 1}"] = str(bad)
            if config_id:
                self._bad_shared[config_id] = str(bad)
            return
        name = f"config {offered.id}"
        if offered.id in self._shared or offered.id in self._bad_shared:
            self._shared.pop(offered.id, None)
            self._quarantined[name] = self._bad_shared[offered.id] = "it appears twice"
            return
        current = self._previous.shared_configs.get(offered.id)
        try:
            self._shared[offered.id] = self._newest_config(offered, current, name)
        except BadEntryError as bad:
            self._quarantined[name] = self._bad_shared[offered.id] = str(bad)

    def _newest_config(self, offered: SealedConfig, current: ConfigHandle | None, reported_as: str) -> SealedConfig:
        """Return the config to use, which is the current one when the offered one is older."""
        kept = current if isinstance(current, SealedConfig) and current.owner == offered.owner else None
        seen = kept.version if kept else 0
        seen = max(seen, self._previous.standing.floors.get((offered.owner, offered.id), 0))
        if offered.version > seen:
            return offered
        if offered.version == seen and (kept is None or kept.fingerprint == offered.fingerprint):
            same = kept is not None and kept.sealed == offered.sealed and kept.author == offered.author
            return kept if same and kept is not None and kept.segment is offered.segment else offered
        why = _rollback(f"config {offered.id}", offered.version, seen)
        if kept is None or kept.version < seen or kept.author not in self._steady:
            raise BadEntryError(why)
        self._rollbacks[reported_as] = why
        return kept

    def _add_tenant(self, line: words.TenantLine, digest: bytes) -> None:
        name = line.tenant
        if name in self._tenants:
            self._quarantine(name, "it appears twice", name)
            return
        try:
            self._tenants[name] = self._verified_tenant(line, digest)
        except BadEntryError as bad:
            self._quarantine(name, str(bad), name)

    def _verified_tenant(self, line: words.TenantLine, digest: bytes) -> Tenant:
        name = line.tenant
        current = self._previous.tenant(name)
        if current is not None and current.quarantined is not None:
            current = None
        record = verified_record(line.record, name, self._chain)
        own = self._own_configs(line, current, vouched_by(record, line.record.key, self._chain))
        record_digest = words.sha256(line.record.body)
        floor = self._previous.standing.floors.get((name, 0), 0)
        seen = max(floor, current.version if current else 0)
        provenance = Provenance(digest, record_digest, self._chain.authors[line.record.key].key.key_id)
        leasing_required, wanted, version = record.leasing_required, record.assignments, record.version
        if self._is_rollback(record.version, record_digest, seen, current):
            why = _rollback("its tenant-record", record.version, seen)
            if current is None or current.version < seen or not self._record_stands(current):
                raise BadEntryError(why)
            assert current.provenance is not None
            self._rollbacks[name] = why
            leasing_required, version, provenance = current.leasing_required, current.version, current.provenance
            wanted = tuple(
                words.RecordAssignment(kept.config.id, kept.active, kept.primary, kept.leasing)
                for kept in current.assignments
            )
        if name in self._rollbacks:
            provenance = Provenance(b"", provenance.record, provenance.author)
        self._remember_idle(name, own, wanted)
        assignments = tuple(
            Assignment(self._assigned(each.config, own), each.active, each.primary, each.leasing) for each in wanted
        )
        return Tenant(name, version, leasing_required, assignments, None, provenance)

    def _own_configs(
        self, line: words.TenantLine, current: Tenant | None, vouched: frozenset[bytes]
    ) -> dict[int, SealedConfig]:
        own: dict[int, SealedConfig] = {}
        for envelope in line.configs:
            offered = verified_config(envelope, line.tenant, self._chain, vouched)
            if offered.id in own:
                raise BadEntryError(f"config {offered.id} appears twice")
            if offered.id in self._shared or offered.id in self._bad_shared:
                raise BadEntryError(f"config {offered.id} has the id of a config of the vendor")
            assignment = current.assignment(offered.id) if current else None
            own[offered.id] = self._newest_config(offered, assignment.config if assignment else None, line.tenant)
        return own

    def _assigned(self, config_id: int, own: Mapping[int, SealedConfig]) -> SealedConfig:
        config = own.get(config_id) or self._shared.get(config_id)
        if config is not None:
            return config
        if config_id in self._bad_shared:
            raise BadEntryError(f"the vendor's config {config_id}: {self._bad_shared[config_id]}")
        raise BadEntryError(f"config {config_id} is assigned and not in the snapshot")

    def _remember_idle(
        self, name: str, own: Mapping[int, SealedConfig], wanted: tuple[words.RecordAssignment, ...]
    ) -> None:
        used = {assignment.config for assignment in wanted}
        self._idle.update({(name, config.id): config.version for config in own.values() if config.id not in used})

    @staticmethod
    def _is_rollback(version: int, digest: bytes, seen: int, current: Tenant | None) -> bool:
        if version != seen:
            return version < seen
        return current is not None and current.provenance is not None and current.provenance.record != digest

    def _record_stands(self, current: Tenant) -> bool:
        return current.provenance is not None and current.provenance.author in self._steady

    def finish(self) -> TenantDirectory:
        """Return the directory.

        Raises: SnapshotRefusedError when lines are missing, or the head vouches for other ones.
        """
        chain = self._chain
        if self._lines != chain.header.lines:
            raise SnapshotRefusedError(
                Part.FORMAT, f"it has {self._lines} of the {chain.header.lines} lines it names: it was cut short"
            )
        if chain.head is not None and chain.head.snapshot_hash != self._hash.digest():
            raise SnapshotRefusedError(Part.HEAD, "the head vouches for other lines than these")
        standing = msgspec.structs.replace(
            chain.standing,
            keyring=chain.keyring,
            authors={signer: author.digest for signer, author in chain.authors.items()},
            floors=floors_after(self._previous, self._tenants, self._shared, self._idle),
        )
        return TenantDirectory(
            tenants=self._tenants,
            version=chain.header.version,
            vendor=chain.manifest.vendor,
            quarantined=self._quarantined,
            rollbacks=self._rollbacks,
            loaded_from=self._source,
            made_at_s=chain.header.created,
            expires_at_s=chain.expires_at_s,
            freshness=Freshness.MANIFEST_ONLY if chain.head is None else Freshness.HEAD,
            shared_configs=self._shared,
            standing=standing,
        )


def _sealed(assignment: Assignment) -> SealedConfig:
    assert isinstance(assignment.config, SealedConfig)
    return assignment.config


def _rollback(what: str, offered: int, seen: int) -> str:
    if offered == seen:
        return f"{what} differs from the version {seen} that was accepted before"
    return f"{what} was offered in version {offered}, older than {seen}, which was accepted before"


def _claimed_id(envelope: words.ConfigEnvelope) -> int | None:
    try:
        return words.decode(words.ConfigHeader, envelope.header).config
    except words.MalformedError:
        return None
