"""The tenants of one vendor and their configs, ready to be written as a snapshot.

What does not change stays byte for byte as it was signed, so that proxies recognise it at sight; what changes gets a
higher version and a new signature.
"""

import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from tenant_security.authoring import documents
from tenant_security.authoring.keyfiles import KeyFileError
from tenant_security.authoring.vendor import UnknownNameError, Vendor
from tenant_security.crypto.unseal import CannotOpenError
from tenant_security.trust.chain import Authors, trusted_authors
from tenant_security.trust.entries import (
    spares_after,
    verify_authors,
    verify_config,
    verify_record,
    wrong_spares,
)
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words
from tenant_security.wire.kms_configs import decode_kms_config
from tenant_security.wire.sink_configs import decode_sink_config


class Entry(msgspec.Struct, frozen=True):
    """A tenant: its record as signed and as read, its own configs, and its own authors as signed."""

    signed: words.Signed
    record: words.TenantRecord
    configs: Mapping[int, words.ConfigEnvelope]
    authors: words.Signed | None = None


def assign(config: int, *, active: bool = True, primary: bool = False, leasing: bool = False) -> words.RecordAssignment:
    """Let a tenant use a config."""
    return words.RecordAssignment(config=config, active=active, primary=primary, leasing=leasing)


class Roster:
    """Tenants by id and the vendor's own configs by id. Begin with an empty one, or with :meth:`read`.

    ``segment`` is what new configs are sealed to.
    """

    def __init__(self, vendor: Vendor, *, segment: int = 1) -> None:
        self._vendor: Final = vendor
        self._segment: Final = segment
        self._authors: Final = trusted_authors(vendor.manifest)
        self.tenants: Final[dict[str, Entry]] = {}
        self.shared: Final[dict[int, words.ConfigEnvelope]] = {}
        self.known_shared: Final[set[int]] = set()
        """Numbers of further configs of the vendor, which are kept elsewhere and may be assigned too."""

    @classmethod
    def read(cls, vendor: Vendor, path: Path, *, segment: int = 1) -> "Roster":
        """Take up where a snapshot of this vendor left off. Entries that its authors did not sign are left out.

        Raises: KeyFileError when the file is not a snapshot.
        """
        roster = cls(vendor, segment=segment)
        try:
            with path.open("rb") as file:
                words.decode(words.SnapshotHeader, file.readline().rstrip(b"\n"))
                for line in file:
                    roster._take(words.decode_line(line.rstrip(b"\n")))
        except (OSError, words.MalformedError) as failure:
            raise KeyFileError(f"{path} is not a snapshot that can be continued: {failure}") from None
        return roster

    def _take(self, line: words.Line) -> None:
        if isinstance(line, words.ConfigLine):
            if self._is_signed(line.envelope, words.SHARED, self._authors):
                header = words.decode(words.ConfigHeader, line.envelope.header)
                self.shared[header.config] = line.envelope
        elif isinstance(line, words.TenantLine):
            self._take_tenant(line)

    def _take_tenant(self, line: words.TenantLine) -> None:
        vendor, authors, named = self._vendor.id, self._authors, None
        try:
            if line.authors is not None:
                authors = verify_authors(line.authors, line.tenant, vendor, authors).authors
                named = line.authors
            verify_record(line.record, line.tenant, vendor, authors)
        except BadEntryError:
            return
        configs = [envelope for envelope in line.configs if self._is_signed(envelope, line.tenant, authors)]
        self.put_signed(line.record, configs, authors=named)

    def _is_signed(self, envelope: words.ConfigEnvelope, owner: str, authors: Authors) -> bool:
        try:
            verify_config(envelope, owner, self._vendor.id, authors)
        except BadEntryError:
            return False
        return True

    def put_shared(self, config_id: int, config_json: bytes) -> bool:
        """Set a config of the vendor, which many tenants may be assigned, and return whether that changed anything.

        Raises: TenantSecurityError 207 when it is not a config that proxies can read.
        """
        envelope = self._sealed(words.SHARED, config_id, config_json, self.shared.get(config_id))
        changed = self.shared.get(config_id) is not envelope
        self.shared[config_id] = envelope
        return changed

    def put_tenant(
        self,
        tenant_id: str,
        assignments: Iterable[words.RecordAssignment],
        *,
        configs: Mapping[int, bytes] | None = None,
        sinks: Mapping[int, bytes] | None = None,
        keep: Collection[int] = (),
        leasing_required: bool = False,
        spares: tuple[int, ...] = (),
    ) -> bool:
        """Set a tenant: what it may use, its own configs and where its events go, as JSON. Returns whether it changed.

        ``keep`` are numbers of configs that it has and keeps as they were sealed.
        ``spares`` are the configs that wrap every new key too, beside the primary.

        Raises: TenantSecurityError 207 when a config is not one that proxies can read, SinkConfigError when a sink is
        not one that logdrivers can; ValueError when an assigned config is nowhere, is assigned twice, more than one is
        primary, a spare cannot be one, or a sink has the id of a config.
        """
        wanted = tuple(assignments)
        if spares and (why := wrong_spares(wanted, spares)) is not None:
            raise ValueError(f"tenant {tenant_id!r} {why}")
        old = self.tenants.get(tenant_id)
        if twice := set(sinks or {}) & {*self.shared, *self.known_shared, *(configs or {})}:
            raise ValueError(f"tenant {tenant_id!r} has a sink and a KMS config with the id {min(twice)}")
        before = old.configs if old else {}
        kept = {number: before[number] for number in keep if number in before}
        _check(tenant_id, wanted, {*self.shared, *self.known_shared, *kept, *(configs or {})})
        sealed = kept | {
            number: self._sealed(tenant_id, number, text, before.get(number))
            for number, text in (configs or {}).items()
        }
        sealed |= {
            number: self._sealed(tenant_id, number, text, before.get(number), kind="sink")
            for number, text in (sinks or {}).items()
        }
        if old and (old.record.assignments, old.record.leasing_required, old.record.spares, old.configs) == (
            wanted,
            leasing_required,
            spares,
            sealed,
        ):
            signed = old.signed
        else:
            version = old.record.version if old else 0
            signed = self._vendor.tenant_record(
                tenant_id,
                wanted,
                leasing_required=leasing_required,
                version=version,
                configs=sealed.values(),
                spares=spares,
            )
        changed = old is None or signed is not old.signed or sealed != old.configs
        authors = old.authors if old else None
        self.tenants[tenant_id] = Entry(signed, words.decode(words.TenantRecord, signed.body), sealed, authors)
        return changed

    def put_signed(
        self, record: words.Signed, configs: Iterable[words.ConfigEnvelope], *, authors: words.Signed | None = None
    ) -> None:
        """Set a tenant from documents that somebody else has signed, such as the tenant's own admin.

        ``authors`` names who that is, where the manifest does not.
        """
        tenant = words.decode(words.TenantRecord, record.body)
        by_id = {words.decode(words.ConfigHeader, envelope.header).config: envelope for envelope in configs}
        self.tenants[tenant.tenant] = Entry(record, tenant, by_id, authors)

    def change_assignment(
        self, tenant_id: str, config_id: int, *, active: bool | None = None, leasing: bool | None = None
    ) -> None:
        """Switch a tenant's use of a config on or off, or its leasing, and leave everything else.

        Raises: UnknownNameError.
        """
        entry = self.tenants.get(tenant_id)
        if entry is None or all(assignment.config != config_id for assignment in entry.record.assignments):
            raise UnknownNameError(f"tenant {tenant_id!r} with config {config_id} is not in the roster")
        wanted = [
            each
            if each.config != config_id
            else msgspec.structs.replace(
                each,
                active=each.active if active is None else active,
                leasing=each.leasing if leasing is None else leasing,
            )
            for each in entry.record.assignments
        ]
        record = entry.record
        signed = self._vendor.tenant_record(
            tenant_id,
            wanted,
            leasing_required=record.leasing_required,
            version=record.version,
            configs=entry.configs.values(),
            spares=spares_after(record.assignments, wanted, record.spares),
        )
        self.tenants[tenant_id] = msgspec.structs.replace(
            entry, signed=signed, record=words.decode(words.TenantRecord, signed.body)
        )

    def remove_tenant(self, tenant_id: str) -> None:
        """Leave a tenant out of the next snapshot.

        Raises: UnknownNameError.
        """
        if self.tenants.pop(tenant_id, None) is None:
            raise UnknownNameError(f"tenant {tenant_id!r} is not in the roster")

    def lines(self) -> Iterator[bytes]:
        """Yield the snapshot's lines after the first, without line breaks, every config wrapped to a current epoch."""
        for config_id, envelope in self.shared.items():
            self.shared[config_id] = current = self._wrapped(envelope)
            yield words.encode(words.ConfigLine(envelope=current))
        for tenant_id, entry in self.tenants.items():
            configs = {number: self._wrapped(envelope) for number, envelope in entry.configs.items()}
            self.tenants[tenant_id] = msgspec.structs.replace(entry, configs=configs)
            yield words.encode(
                words.TenantLine(
                    tenant=tenant_id, record=entry.signed, configs=tuple(configs.values()), authors=entry.authors
                )
            )

    def _wrapped(self, envelope: words.ConfigEnvelope) -> words.ConfigEnvelope:
        wrap = envelope.wrap
        segment = self._vendor.segment(wrap.segment)
        if wrap.epoch == segment.epoch:
            return envelope
        dek = documents.open_dek(envelope, self._vendor.opening_key(wrap.segment, wrap.epoch))
        return msgspec.structs.replace(envelope, wrap=documents.wrap_dek(dek, envelope.header, segment))

    def _sealed(
        self,
        owner: str,
        config_id: int,
        config_json: bytes,
        old: words.ConfigEnvelope | None,
        *,
        kind: Literal["kms", "sink"] = "kms",
    ) -> words.ConfigEnvelope:
        if kind == "sink":
            decode_sink_config(config_json)
        else:
            decode_kms_config(config_json)
        version = 0
        if old is not None:
            before = words.decode(words.ConfigHeader, old.header)
            if before.kind == kind and self._says(old, config_json):
                return old
            version = before.version
        return self._vendor.seal_config(
            owner, config_id, config_json, kind=kind, version=version, segment=self._segment
        )

    def _says(self, envelope: words.ConfigEnvelope, config_json: bytes) -> bool:
        """Whether a sealed config holds exactly this; a config that cannot be opened any more does not."""
        try:
            key = self._vendor.opening_key(envelope.wrap.segment, envelope.wrap.epoch)
            return hmac.compare_digest(documents.open_config(envelope, key), config_json)
        except (CannotOpenError, KeyFileError):
            return False


def _check(tenant_id: str, wanted: tuple[words.RecordAssignment, ...], known: set[int]) -> None:
    ids = [assignment.config for assignment in wanted]
    if len(set(ids)) != len(ids):
        raise ValueError(f"tenant {tenant_id!r} is assigned a config twice")
    if missing := set(ids) - known:
        raise ValueError(f"tenant {tenant_id!r} is assigned config {min(missing)}, which is nowhere described")
    if sum(assignment.primary for assignment in wanted) > 1:
        raise ValueError(f"tenant {tenant_id!r} has more than one primary config")
