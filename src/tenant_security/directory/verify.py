"""Turns the lines of a snapshot into a TenantDirectory, entry by entry, without I/O and without a clock.

* A bad entry is quarantined for its tenant only; a bad vendor config for the tenants that use it.
* An entry older than the one in use, or different at the same version, is a rollback: the one in use stays, if its
  author may still sign it, and the rollback is reported. Without one in use, the tenant is quarantined.
* What was withdrawn cannot come back older, as long as this process remembers.
* A line that is byte for byte in the directory in use is taken over as it is, unless the rights of its author or a
  vendor config it uses have changed.
* A snapshot is accepted whole or not at all: with a missing or surplus line, or with entries that its head does not
  vouch for, nothing of it is used.
* A snapshot that brings only what has changed is good only on top of the very one it was made for, and while nobody's
  rights and no key has changed; else the whole is needed.

Feed a :class:`SnapshotVerifier` the first line, then the others in any portions, then ask it to finish.

Source: docs/formats-trust.md, "What a verified snapshot becomes".
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from tenant_security.directory.entitlement import keyring_for, require_segment
from tenant_security.directory.entries import openable
from tenant_security.directory.floors import AUTHORS, RECORD, floors_after
from tenant_security.directory.sealed_config import SealedConfig
from tenant_security.directory.tenants import (
    EMPTY_DIRECTORY,
    Assignment,
    ConfigHandle,
    Freshness,
    Provenance,
    Standing,
    Tenant,
    TenantDirectory,
)
from tenant_security.trust import digests
from tenant_security.trust.chain import Authors, read_header, verify_chain
from tenant_security.trust.entries import verify_authors, verify_config, verify_record, vouched_by
from tenant_security.trust.refusal import BadEntryError, Part, SnapshotRefusedError, WholeNeededError
from tenant_security.trust.tenant_secrets import makers_of
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import ServiceCredentials


class SnapshotVerifier:
    """One pass over one snapshot.

    ``previous`` is the directory in use, ``source`` a name for the health page.
    Raises: SnapshotRefusedError when the first line is not acceptable; WholeNeededError when it brings changes that
    cannot be applied to ``previous``.
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
        header = read_header(first_line)
        self._chain: Final = verify_chain(header, pinned=pinned, previous=previous.standing.seen, now_s=now_s)
        if credentials is not None:
            require_segment(header.segment, credentials)
        keyring = keyring_for(header.segment_wraps, self._chain.manifest, credentials)
        same_keys = keyring.same_as(previous.standing.keyring)
        self._keyring: Final = previous.standing.keyring if same_keys else keyring
        self._previous: Final = previous
        self._source: Final = source
        same_rights = previous.standing.authors
        self._steady: Final = frozenset(
            signer for signer, author in self._chain.authors.items() if same_rights.get(signer) == author.digest
        )
        self._lines = 0
        self._tenants: Final[dict[str, Tenant]] = {}
        self._shared: Final[dict[int, SealedConfig]] = {}
        self._shared_entries: Final[dict[int, bytes]] = {}
        self._bad_shared: Final[dict[int, str]] = {}
        self._stray: Final[list[bytes]] = []
        self._quarantined: Final[dict[str, str]] = {}
        self._rollbacks: Final[dict[str, str]] = {}
        self._idle: Final[dict[tuple[str, int], int]] = {}
        self._by_line: Final[dict[bytes, Tenant]] = {}
        self._alike: Final[dict[tuple[str, ...], tuple[str, ...]]] = {}
        self.reused = 0
        if header.since is not None:
            self._build_on_previous(header.since, same_keys=same_keys)
        elif same_keys:
            self._by_line.update(
                (tenant.provenance.line, tenant)
                for tenant in previous
                if tenant.provenance is not None and tenant.provenance.line
            )

    def _build_on_previous(self, since: int, *, same_keys: bool) -> None:
        """Begin with the directory in use, to which the lines that follow are changes."""
        previous = self._previous
        if previous.version != since:
            raise WholeNeededError(f"it brings what changed since {since}, and {previous.version} is in use")
        if not same_keys or len(self._steady) != len(previous.standing.authors):
            raise WholeNeededError("it brings changes only, and somebody's rights or a key changed too")
        if any(name not in previous.tenants for name in previous.quarantined):
            raise WholeNeededError("it brings changes only, and what is in use has gaps")
        self._tenants.update(previous.tenants)
        self._shared.update(
            (number, config) for number, config in previous.shared_configs.items() if isinstance(config, SealedConfig)
        )
        self._shared_entries.update(previous.shared_entries)
        self._quarantined.update(previous.quarantined)
        self._rollbacks.update(previous.rollbacks)

    @property
    def _changes_only(self) -> bool:
        return self._chain.header.since is not None

    def add(self, lines: Iterable[bytes]) -> None:
        """Judge the next lines, each without its line break.

        Raises: SnapshotRefusedError when there are more than the first line promised, or they are out of order.
        """
        for line in lines:
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
            self._add_unreadable(line, f"it cannot be read: {malformed}")
            return
        match entry:
            case words.ConfigLine(envelope):
                self._add_shared(envelope)
            case words.TenantLine():
                self._add_tenant(entry, digest)
            case words.GoneLine():
                self._remove(entry)

    def _add_unreadable(self, line: bytes, reason: str) -> None:
        entry = digests.unreadable_digest(line)
        name = words.tenant_named_in(line)
        if name is None:
            self._quarantined[f"line {self._lines + 1}"] = reason
            self._stray.append(entry)
        else:
            self._quarantine(name, reason, entry)

    def _remove(self, gone: words.GoneLine) -> None:
        if not self._changes_only:
            raise SnapshotRefusedError(Part.FORMAT, "it removes something, and brings more than changes")
        if gone.tenant is not None:
            self._tenants.pop(gone.tenant, None)
            self._quarantined.pop(gone.tenant, None)
            self._rollbacks.pop(gone.tenant, None)
        elif gone.config is not None:
            self._require_unused(gone.config)
            self._shared.pop(gone.config, None)
            self._shared_entries.pop(gone.config, None)
            self._rollbacks.pop(f"config {gone.config}", None)

    def _require_unused(self, config_id: int) -> None:
        """Refuse to change a vendor's config under tenants that use it and that these changes do not bring anew."""
        config = self._shared.get(config_id)
        for tenant in self._tenants.values():
            if any(assignment.config is config for assignment in tenant.assignments):
                raise WholeNeededError(f"it changes config {config_id} of the vendor, which tenants use")

    def _still_good(self, tenant: Tenant) -> bool:
        assert tenant.provenance is not None
        if not self._stands(tenant):
            return False
        return all(
            self._shared.get(config.id) is config for config in map(_sealed, tenant.assignments) if config.shared
        )

    def _stands(self, tenant: Tenant) -> bool:
        """Whether everybody on whose word a tenant's entry in use stands may still say it."""
        return tenant.provenance is not None and self._steady.issuperset(tenant.provenance.through)

    def _quarantine(self, name: str, reason: str, entry: bytes) -> None:
        replaced = self._tenants.get(name)
        if replaced is not None and replaced.provenance is not None and not self._changes_only:
            self._stray.append(replaced.provenance.entry)
        self._quarantined[name] = reason
        self._tenants[name] = Tenant(name, 0, False, (), quarantined=reason, provenance=Provenance(entry))

    def _add_shared(self, envelope: words.ConfigEnvelope) -> None:
        if self._tenants and not self._changes_only:
            raise SnapshotRefusedError(Part.FORMAT, "a config of the vendor stands after the first tenant")
        entry = digests.config_digest(words.fingerprint_of(envelope))
        try:
            verified = verify_config(envelope, words.SHARED, self._chain.manifest.vendor, self._chain.authors)
            offered = openable(verified, envelope, self._keyring)
        except BadEntryError as bad:
            self._add_bad_shared(envelope, entry, str(bad))
            return
        name = f"config {offered.id}"
        if self._changes_only:
            self._require_unused(offered.id)
        elif offered.id in self._shared or offered.id in self._bad_shared:
            self._shared.pop(offered.id, None)
            self._quarantined[name] = self._bad_shared[offered.id] = "it appears twice"
            self._stray.append(entry)
            return
        self._shared_entries[offered.id] = entry
        current = self._previous.shared_configs.get(offered.id)
        try:
            self._shared[offered.id] = self._newest_config(offered, current, name)
        except BadEntryError as bad:
            self._quarantined[name] = self._bad_shared[offered.id] = str(bad)

    def _add_bad_shared(self, envelope: words.ConfigEnvelope, entry: bytes, reason: str) -> None:
        if self._changes_only:
            raise WholeNeededError(f"it brings a config of the vendor that is refused: {reason}")
        self._stray.append(entry)
        config_id = _claimed_id(envelope)
        self._quarantined[f"config {config_id}" if config_id else f"line {self._lines + 1}"] = reason
        if config_id:
            self._bad_shared[config_id] = reason

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
        if kept is None or kept.version < seen or kept.through not in self._steady:
            raise BadEntryError(why)
        self._rollbacks[reported_as] = why
        return kept

    def _add_tenant(self, line: words.TenantLine, digest: bytes) -> None:
        name = line.tenant
        entry = digests.tenant_digest(line)
        if self._changes_only:
            self._quarantined.pop(name, None)
            self._rollbacks.pop(name, None)
        elif name in self._tenants:
            self._quarantine(name, "it appears twice", entry)
            return
        try:
            self._tenants[name] = self._verified_tenant(line, Provenance(entry, digest))
        except BadEntryError as bad:
            self._rollbacks.pop(name, None)
            self._quarantine(name, str(bad), entry)

    def _verified_tenant(self, line: words.TenantLine, provenance: Provenance) -> Tenant:
        name = line.tenant
        current = self._previous.tenant(name)
        if current is not None and current.quarantined is not None:
            current = None
        authors, provenance = self._authors_of(line, provenance)
        if why := self._authors_rollback(name, provenance, current):
            if current is None or not self._stands(current):
                raise BadEntryError(why)
            self._rollbacks[name] = why
            assert current.provenance is not None
            kept = msgspec.structs.replace(current.provenance, entry=provenance.entry, line=b"")
            return msgspec.structs.replace(current, provenance=kept)
        record = verify_record(line.record, name, self._chain.manifest.vendor, authors)
        own = self._own_configs(line, current, authors, vouched_by(record, line.record.key, authors))
        record_hash = words.sha256(line.record.body)
        floor = self._previous.standing.floors.get((name, RECORD), 0)
        seen = max(floor, current.version if current else 0)
        through = {authors[line.record.key].through}
        leasing_required, wanted, version = record.leasing_required, record.assignments, record.version
        spares = record.spares
        if self._is_rollback(record.version, record_hash, seen, current):
            why = _rollback("its tenant-record", record.version, seen)
            if current is None or current.version < seen or not self._stands(current):
                raise BadEntryError(why)
            assert current.provenance is not None
            self._rollbacks[name] = why
            leasing_required, version, record_hash = (
                current.leasing_required,
                current.version,
                current.provenance.record,
            )
            spares = current.spares
            through = {*current.provenance.through}
            wanted = tuple(
                words.RecordAssignment(kept.config.id, kept.active, kept.primary, kept.leasing)
                for kept in current.assignments
            )
        self._remember_idle(name, own, wanted)
        assignments = tuple(
            Assignment(self._assigned(each.config, own), each.active, each.primary, each.leasing) for each in wanted
        )
        through |= {config.through for config in map(_sealed, assignments)}
        sinks = tuple(config for config in own.values() if config.kind == "sink")
        through |= {config.through for config in sinks}
        provenance = msgspec.structs.replace(
            provenance,
            line=b"" if name in self._rollbacks else provenance.line,
            record=record_hash,
            through=self._once(tuple(sorted(through))),
        )
        return Tenant(name, version, leasing_required, assignments, None, provenance, sinks, spares)

    def _once(self, through: tuple[str, ...]) -> tuple[str, ...]:
        """Return the one copy of what nearly all tenants have in common."""
        return self._alike.setdefault(through, through)

    def _authors_of(self, line: words.TenantLine, provenance: Provenance) -> tuple[Authors, Provenance]:
        """Return who may sign for a tenant: the manifest's authors, and its own where somebody entitled named them."""
        if line.authors is None:
            return self._chain.authors, provenance
        verified = verify_authors(line.authors, line.tenant, self._chain.manifest.vendor, self._chain.authors)
        return verified.authors, msgspec.structs.replace(
            provenance, authors=words.sha256(line.authors.body), authors_version=verified.document.version
        )

    def _authors_rollback(self, name: str, offered: Provenance, current: Tenant | None) -> str | None:
        """Say why these authors are older than those that were accepted before, if they are."""
        used = current.provenance if current is not None else None
        seen = self._previous.standing.floors.get((name, AUTHORS), 0)
        seen = max(seen, used.authors_version if used is not None else 0)
        if offered.authors_version > seen:
            return None
        same = used is None or used.authors_version < seen or used.authors == offered.authors
        if offered.authors_version == seen and same:
            return None
        return _rollback("its tenant-authors", offered.authors_version, seen)

    def _own_configs(
        self, line: words.TenantLine, current: Tenant | None, authors: Authors, vouched: frozenset[bytes]
    ) -> dict[int, SealedConfig]:
        own: dict[int, SealedConfig] = {}
        for envelope in line.configs:
            verified = verify_config(envelope, line.tenant, self._chain.manifest.vendor, authors, vouched)
            offered = openable(verified, envelope, self._keyring)
            if offered.id in own:
                raise BadEntryError(f"config {offered.id} appears twice")
            if offered.id in self._shared or offered.id in self._bad_shared:
                raise BadEntryError(f"config {offered.id} has the id of a config of the vendor")
            own[offered.id] = self._newest_config(offered, _in_use(current, offered.id), line.tenant)
        return own

    def _assigned(self, config_id: int, own: Mapping[int, SealedConfig]) -> SealedConfig:
        config = own.get(config_id) or self._shared.get(config_id)
        if config is not None:
            if config.kind != "kms":
                raise BadEntryError(f"config {config_id} is assigned and is not of a KMS")
            return config
        if config_id in self._bad_shared:
            raise BadEntryError(f"the vendor's config {config_id}: {self._bad_shared[config_id]}")
        raise BadEntryError(f"config {config_id} is assigned and not in the snapshot")

    def _remember_idle(
        self, name: str, own: Mapping[int, SealedConfig], wanted: tuple[words.RecordAssignment, ...]
    ) -> None:
        used = {assignment.config for assignment in wanted}
        self._idle.update(
            {
                (name, config.id): config.version
                for config in own.values()
                if config.id not in used and config.kind != "sink"
            }
        )

    @staticmethod
    def _is_rollback(version: int, digest: bytes, seen: int, current: Tenant | None) -> bool:
        if version != seen:
            return version < seen
        return current is not None and current.provenance is not None and current.provenance.record != digest

    def finish(self) -> TenantDirectory:
        """Return the directory.

        Raises: SnapshotRefusedError when lines are missing, or the head vouches for other entries.
        """
        chain = self._chain
        if self._lines != chain.header.lines:
            raise SnapshotRefusedError(
                Part.FORMAT, f"it has {self._lines} of the {chain.header.lines} lines it names: it was cut short"
            )
        if chain.head is not None and chain.head.snapshot_hash != digests.snapshot_hash(self._entries()):
            raise SnapshotRefusedError(Part.HEAD, "the head vouches for other entries than these")
        standing = Standing(
            seen=chain.seen,
            keyring=self._keyring,
            authors={signer: author.digest for signer, author in chain.authors.items()},
            makers=makers_of(chain.manifest),
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
            shared_entries=self._shared_entries,
            standing=standing,
        )

    def _entries(self) -> Iterator[bytes]:
        yield from self._stray
        yield from self._shared_entries.values()
        for tenant in self._tenants.values():
            assert tenant.provenance is not None
            yield tenant.provenance.entry


def _in_use(tenant: Tenant | None, config_id: int) -> ConfigHandle | None:
    if tenant is None:
        return None
    assignment = tenant.assignment(config_id)
    if assignment is not None:
        return assignment.config
    return next((sink for sink in tenant.sinks if sink.id == config_id), None)


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
