"""The vendor's side of its broker: keys, tenants and configs, made here and handed in there, as flows.

What is sealed and signed is made by a :class:`Roster`, which keeps byte for byte what does not change; the broker
says which version a change must be made from. Requests are signed by the vendor's author key.

Source: docs/broker-api.md.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from tenant_security.authoring import documents
from tenant_security.authoring.roster import Entry, Roster
from tenant_security.authoring.vendor import Vendor
from tenant_security.crypto.seal import SealingKey, Suite
from tenant_security.outbound.broker import (
    BrokerAccount,
    BrokerRefusedError,
    ask,
    download_vendors_snapshot,
    register_vendor,
)
from tenant_security.outbound.flow import Flow
from tenant_security.trust.enrolments import verify_claim
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import broker_api as api
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import NewVendor
from tenant_security.wire.people_api import AuthorLine

T = TypeVar("T")

_PAGE: Final = 100
_CONFLICT: Final = 409
_ATTEMPTS: Final = 4
_TYPE: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Made(msgspec.Struct):
    """What the broker answers with the number of something new."""

    id: int


class _Allowed(msgspec.Struct, rename="camel"):
    """Whether a config may be leased with."""

    leasing_allowed: bool


class _Page(msgspec.Struct, rename="camel"):
    """One page of any list."""

    result: list[msgspec.Raw]
    total_pages: int


Query = str | int | bool | list[str] | None


class AtBroker:
    """A vendor at a broker. Every method is a flow.

    Raises: BrokerRefusedError with what the broker says; UnreachableError.
    """

    def __init__(self, vendor: Vendor, account: BrokerAccount) -> None:
        self.vendor: Final = vendor
        self.account: Final = account
        self._path: Final = f"/api/1/vendors/{_quoted(vendor.id)}"

    def ask(
        self, method: str, path: str, kind: type[T], body: msgspec.Struct | None = None, **query: object
    ) -> Flow[T]:
        """Send one request below the vendor's path and read the answer.

        Members of the query that are None are left out; an underscore at a name's end is dropped.
        """
        wanted = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        target = self._path + path + (f"?{urlencode(wanted, doseq=True)}" if wanted else "")
        return (yield from ask(self.account, method, target, kind, body=body))

    def every(self, path: str, kind: type[T], **query: Query) -> Flow[list[T]]:
        """Read all pages of a list."""
        found: list[T] = []
        target = f"{self._path}{path}?pageSize={_PAGE}&sortDirection=asc"
        wanted = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        number = 1
        while True:
            numbered = f"{target}&page={number}&{urlencode(wanted, doseq=True)}".rstrip("&")
            page = yield from ask(self.account, "GET", numbered, _Page)
            found += [msgspec.json.decode(each, type=kind) for each in page.result]
            if number >= page.total_pages:
                return found
            number += 1

    # -- keys --------------------------------------------------------------------------------------------------------

    def register(self, name: str, setup_token: str, *, default_tag: str = "default") -> Flow[None]:
        """Have the broker keep this vendor. ``setup_token`` is the broker's BROKER_SETUP_TOKEN."""
        new = NewVendor(name, self.documents(), default_tag)
        yield from register_vendor(self.account, new, setup_token)

    def publish_keys(self) -> Flow[None]:
        """Hand in what the vendor's directory says now: root, manifest, segments' seeds, also sealed to its people."""
        self.vendor.share_segments((yield from self.admins()))
        yield from self.ask("PUT", "/documents", type(None), self.documents())

    def pull_keys(self, *, to_publish: bool = False) -> Flow[bool]:
        """Take over what another admin has changed of the keys; return whether there was anything.

        With ``to_publish`` a broker that has older ones is left alone: keys were changed here and are handed in now,
        because the command that changed them was interrupted.
        Raises: SnapshotRefusedError when what the broker has does not verify or is older.
        """
        stored = yield from self.ask("GET", "/documents", api.VendorDocuments)
        if to_publish and self.vendor.is_ahead_of(stored.root, stored.manifest):
            return False
        return self.vendor.adopt(stored.root, stored.manifest, stored.segment_wraps)

    def publish_head(self, head: words.Signed) -> Flow[None]:
        """Vouch for a segment's snapshot."""
        yield from self.ask("PUT", "/heads", type(None), head)

    def download_snapshot(self, segment: int, into: Path) -> Flow[None]:
        """Get a segment's whole snapshot into a file. Raises: OSError."""
        yield from download_vendors_snapshot(self.account, f"{self._path}/snapshot?segment={segment}", into)

    def rewrap(self, segment: int, on_progress: Callable[[int, int], object]) -> Flow[int]:
        """Wrap every config of a segment to its newest epoch; return how many there were.

        ``on_progress`` is told how many are done and how many are left. It can be begun again after any interruption.
        """
        newest, done = self.vendor.segment(segment), 0
        while True:
            portion = yield from self.ask("GET", "/config-wraps", api.OutdatedWraps, segment=segment)
            on_progress(done, portion.left)
            if not portion.wraps:
                return done
            fresh = tuple(api.NewWrap(each.config, self._rewrapped(each, newest)) for each in portion.wraps)
            yield from self.ask("PUT", "/config-wraps", type(None), api.NewWraps(fresh))
            done += len(fresh)

    def _rewrapped(self, old: api.OutdatedWrap, newest: words.Segment) -> words.Wrap:
        key = self.vendor.opening_key(old.wrap.segment, old.wrap.epoch)
        dek = key.open(words.config_dek_info(old.wrap.segment, old.wrap.epoch, old.header), old.wrap.sealed)
        return documents.wrap_dek(dek, old.header, newest)

    def admins(self) -> Flow[list[SealingKey]]:
        """Return the encryption keys of the vendor's own people whose author key the manifest names for all tenants.

        The broker only says who they are; each key is claimed in a document that the author key itself has signed.
        """
        authors = {each.public for each in self.vendor.manifest.authors if each.tenant == words.SHARED}
        keys = []
        for line in (yield from self.ask("GET", "/authors", list[AuthorLine])):
            with suppress(BadEntryError):
                claim = verify_claim(line.claim, email=line.email.lower())
                if claim.public in authors:
                    keys.append(SealingKey(Suite(claim.suite), claim.encryption))
        return keys

    def documents(self) -> api.VendorDocuments:
        """What the vendor's directory says now."""
        state = self.vendor.state
        return api.VendorDocuments(state.root, state.manifest, state.segment_wraps)

    # -- tenants -----------------------------------------------------------------------------------------------------

    def tenant_path(self, tenant: str) -> str:
        """Return a tenant's path below the vendor's."""
        return f"/tenants/{_quoted(tenant)}"

    def stored(self, tenant: str) -> Flow[api.TenantDocuments]:
        """Read what is stored of a tenant."""
        return (yield from self.ask("GET", f"{self.tenant_path(tenant)}/documents", api.TenantDocuments))

    def change(
        self, tenant: str, decide: Callable[[Roster], object], kinds: "Mapping[int, Labels] | None" = None
    ) -> Flow[bool]:
        """Make a tenant's next version: ``decide`` changes it in a roster that holds it as it is stored.

        Where somebody else was faster it is made again from what they stored. Returns whether anything changed.
        """
        for attempt in range(_ATTEMPTS):
            before = yield from self.stored(tenant)
            change = yield from self.next_version(before, decide, kinds or {})
            if change is None:
                return False
            try:
                yield from self.put(tenant, change)
            except BrokerRefusedError as refused:
                if refused.status != _CONFLICT or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def put(self, tenant: str, change: api.TenantChange) -> Flow[None]:
        """Hand in a tenant's next version."""
        yield from self.ask("PUT", f"{self.tenant_path(tenant)}/documents", type(None), change)

    def next_version(
        self,
        before: api.TenantDocuments,
        decide: Callable[[Roster], object],
        kinds: "Mapping[int, Labels]",
        *,
        also: Iterable[int] = (),
    ) -> Flow[api.TenantChange | None]:
        """Return a tenant's next version as ``decide`` makes it, without handing it in; None when nothing changes.

        ``also`` are numbers of configs of the vendor that are about to be there.
        """
        segments = self.segments_of(before.tags)
        roster = Roster(self.vendor, segment=segments[0].id)
        shared = yield from self.every("/configs", api.Config)
        roster.known_shared.update((*(each.id for each in shared), *also))
        old = _entry(before)
        if old is not None:
            roster.tenants[before.tenant] = old
        decide(roster)
        new = roster.tenants.get(before.tenant)
        if new is None:
            return None
        known = {words.decode(words.ConfigHeader, each.header).config: each for each in before.configs}
        offered = self._offered(new, old, known, segments, kinds)
        gone = known.keys() - new.configs.keys()
        signed = new.signed
        if old is not None and signed == old.signed:
            if not offered and not gone:
                return None
            signed = self._signed_again(new)
        authors = new.authors if old is not None and new.authors != old.authors else None
        return api.TenantChange(signed, before.record_version, authors, offered, tuple(sorted(gone)))

    def _offered(
        self,
        new: Entry,
        old: Entry | None,
        known: Mapping[int, api.SealedConfig],
        segments: Sequence[words.Segment],
        kinds: "Mapping[int, Labels]",
    ) -> tuple[api.SealedConfig, ...]:
        """Return the configs to hand in: new ones, and those that are newly leased or not wrapped to every segment."""
        leased = {each.config for each in new.record.assignments if each.leasing}
        wanted = {(each.id, each.epoch) for each in segments}
        offered = []
        for number, envelope in sorted(new.configs.items()):
            stored = known.get(number)
            same = stored is not None and old is not None and old.configs.get(number) == envelope
            if (
                stored is None
                or not same
                or (number in leased and not stored.leasing_allowed)
                or _wrapped(stored) != wanted
            ):
                labels = kinds.get(number) or labels_of(stored)
                offered.append(self.sealed(envelope, segments, labels, leasing=number in leased))
        return tuple(offered)

    def _signed_again(self, entry: Entry) -> words.Signed:
        record = entry.record
        return self.vendor.tenant_record(
            record.tenant,
            record.assignments,
            leasing_required=record.leasing_required,
            version=record.version,
            configs=entry.configs.values(),
            spares=record.spares,
        )

    def wrap_for_tags(self, tenant: str) -> Flow[bool]:
        """Wrap a tenant's configs to the segments that its tags now lead to; return whether anything was missing."""
        stored = yield from self.stored(tenant)
        if stored.record is None or not any(words.entitled(stored.tags, each) for each in self.vendor.segments):
            return False
        return (yield from self.change(tenant, lambda _: None))

    def segments_of(self, tags: Iterable[str]) -> tuple[words.Segment, ...]:
        """Return the segments that serve whoever has these tags. Raises: ValueError when none does."""
        found = [each for each in self.vendor.segments if words.entitled(tags, each)]
        if not found:
            raise ValueError(f"no segment serves the tags {', '.join(sorted(tags)) or '(none)'}")
        return tuple(found)

    def sealed(
        self,
        envelope: words.ConfigEnvelope,
        segments: Iterable[words.Segment],
        labels: "Labels",
        *,
        leasing: bool,
    ) -> api.SealedConfig:
        """Return a config as the broker takes it, wrapped to all of these segments."""
        dek = documents.open_dek(envelope, self.vendor.opening_key(envelope.wrap.segment, envelope.wrap.epoch))
        wraps = tuple(
            envelope.wrap
            if (envelope.wrap.segment, envelope.wrap.epoch) == (each.id, each.epoch)
            else documents.wrap_dek(dek, envelope.header, each)
            for each in segments
        )
        return api.SealedConfig(
            envelope.header,
            envelope.payload,
            envelope.commit,
            envelope.author,
            envelope.sig,
            wraps,
            type=labels.type,
            name=labels.name,
            leasing_allowed=leasing or labels.leasing,
        )

    # -- the vendor's own configs ------------------------------------------------------------------------------------

    def new_number(self) -> Flow[int]:
        """Take a number for a config that is about to be sealed."""
        return (yield from self.ask("POST", "/config-numbers", _Made)).id

    def take_numbers(self, through: int) -> Flow[None]:
        """Take all numbers up to this one, to number configs by ourselves."""
        yield from self.ask("POST", "/config-numbers", _Made, through=through)

    def wrap_shared(self) -> Flow[int]:
        """Wrap the vendor's configs to every segment that there is; return how many were not."""
        wanted = {(each.id, each.epoch) for each in self.vendor.segments}
        missing = 0
        for each in (yield from self.every("/configs", api.Config)):
            stored = yield from self.ask("GET", f"/configs/{each.id}/sealed", api.SealedConfig)
            if _wrapped(stored) != wanted:
                envelope = stored.envelope(stored.wraps[0])
                offered = self.sealed(envelope, self.vendor.segments, labels_of(stored), leasing=each.leasing_allowed)
                yield from self.ask("PUT", "/configs", api.Config, offered)
                missing += 1
        return missing

    def allow_leasing(self, number: int, *, allowed: bool) -> Flow[None]:
        """Say whether tenants' records may lease with a config of the vendor."""
        yield from self.ask("PATCH", f"/configs/{number}", api.Config, _Allowed(allowed))

    def put_shared(
        self, number: int, config_json: bytes, *, name: str = "", leasing: bool = False, dry: bool = False
    ) -> Flow[bool]:
        """Make or change a config of the vendor, and return whether anything changed; with ``dry``, would change."""
        labels = Labels(config_type(config_json), name, leasing)
        roster = Roster(self.vendor)
        known = yield from self.every("/configs", api.Config)
        if any(each.id == number for each in known):
            stored = yield from self.ask("GET", f"/configs/{number}/sealed", api.SealedConfig)
            roster.shared[number] = stored.envelope(stored.wraps[0])
            if not roster.put_shared(number, config_json) and labels_of(stored) == labels:
                return False
        else:
            roster.put_shared(number, config_json)
        if dry:
            return True
        offered = self.sealed(roster.shared[number], self.vendor.segments, labels, leasing=leasing)
        yield from self.ask("PUT", "/configs", api.Config, offered)
        return True


class Labels(msgspec.Struct, frozen=True):
    """What is said of a config beside its seal."""

    type: str = "LOCAL"
    name: str = ""
    leasing: bool = False


def config_type(config_json: bytes) -> str:
    """Return the kind of KMS or SIEM that a config is of, as lists name it. Raises: ValueError."""
    try:
        return msgspec.json.decode(_TYPE.decode(config_json)["type"], type=str).upper()
    except (msgspec.DecodeError, KeyError):
        raise ValueError("a config is a JSON object with a member 'type'") from None


def labels_of(stored: api.SealedConfig | None) -> Labels:
    """Return what a stored config is labelled with."""
    return Labels() if stored is None else Labels(stored.type, stored.name, stored.leasing_allowed)


def _entry(stored: api.TenantDocuments) -> Entry | None:
    if stored.record is None:
        return None
    envelopes = {
        words.decode(words.ConfigHeader, each.header).config: each.envelope(each.wraps[0]) for each in stored.configs
    }
    return Entry(stored.record, words.decode(words.TenantRecord, stored.record.body), envelopes, stored.authors)


def _wrapped(stored: api.SealedConfig) -> set[tuple[int, int]]:
    return {(wrap.segment, wrap.epoch) for wrap in stored.wraps}


def _quoted(name: str) -> str:
    return quote(name, safe="")
