"""The vendor's side of its broker: keys, tenants and configs, made here and handed in there, as flows.

What is sealed and signed is made by a :class:`Roster`, which keeps byte for byte what does not change; the broker
says which version a change must be made from. Requests are signed by the vendor's author key.

Source: docs/broker-api.md.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from tenant_security.authoring import documents
from tenant_security.authoring.roster import Entry, Roster
from tenant_security.authoring.vendor import Vendor
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, ask, register_vendor
from tenant_security.outbound.flow import Flow
from tenant_security.wire import broker_api as api
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import NewVendor

T = TypeVar("T")

_PAGE: Final = 100
_CONFLICT: Final = 409
_ATTEMPTS: Final = 4
_TYPE: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Made(msgspec.Struct):
    """What the broker answers with the number of something new."""

    id: int


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
        """Hand in what the vendor's directory says now: root, manifest, segments' seeds."""
        yield from self.ask("PUT", "/documents", type(None), self.documents())

    def documents(self) -> api.VendorDocuments:
        """What the vendor's directory says now."""
        state = self.vendor.state
        return api.VendorDocuments(state.root, state.manifest, state.segment_wraps)

    # -- tenants -----------------------------------------------------------------------------------------------------

    def stored(self, tenant: str) -> Flow[api.TenantDocuments]:
        """Read what is stored of a tenant."""
        return (yield from self.ask("GET", f"/tenants/{_quoted(tenant)}/documents", api.TenantDocuments))

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
                yield from self.ask("PUT", f"/tenants/{_quoted(tenant)}/documents", type(None), change)
            except BrokerRefusedError as refused:
                if refused.status != _CONFLICT or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return True
        raise AssertionError("unreachable")

    def next_version(
        self, before: api.TenantDocuments, decide: Callable[[Roster], object], kinds: "Mapping[int, Labels]"
    ) -> Flow[api.TenantChange | None]:
        """Return a tenant's next version as ``decide`` makes it, without handing it in; None when nothing changes."""
        segments = self.segments_of(before.tags)
        roster = Roster(self.vendor, segment=segments[0].id)
        shared = yield from self.every("/configs", api.Config)
        roster.known_shared.update(each.id for each in shared)
        old = _entry(before)
        if old is not None:
            roster.tenants[before.tenant] = old
        decide(roster)
        new = roster.tenants.get(before.tenant)
        if new is None or (old is not None and (new.signed, new.configs) == (old.signed, old.configs)):
            return None
        known = {words.decode(words.ConfigHeader, each.header).config: each for each in before.configs}
        leased = {each.config for each in new.record.assignments if each.leasing}
        handed_in = {
            number
            for number, envelope in new.configs.items()
            if old is None
            or old.configs.get(number) != envelope
            or (number in leased and not known[number].leasing_allowed)
        }

        def handed(number: int) -> api.SealedConfig:
            labels = kinds.get(number) or _labels(known.get(number))
            return self.sealed(new.configs[number], segments, labels, leasing=number in leased)

        return api.TenantChange(
            record=new.signed,
            base_version=before.record_version,
            configs=tuple(handed(number) for number in sorted(handed_in)),
            removed=tuple(sorted(known.keys() - new.configs.keys() - _sinks(known))),
        )

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

    def put_shared(self, number: int, config_json: bytes, *, name: str = "", leasing: bool = False) -> Flow[bool]:
        """Make or change a config of the vendor, and return whether anything changed."""
        labels = Labels(config_type(config_json), name, leasing)
        roster = Roster(self.vendor)
        known = yield from self.every("/configs", api.Config)
        if any(each.id == number for each in known):
            stored = yield from self.ask("GET", f"/configs/{number}/sealed", api.SealedConfig)
            roster.shared[number] = stored.envelope(stored.wraps[0])
            if not roster.put_shared(number, config_json) and _labels(stored) == labels:
                return False
        else:
            roster.put_shared(number, config_json)
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


def _labels(stored: api.SealedConfig | None) -> Labels:
    return Labels() if stored is None else Labels(stored.type, stored.name, stored.leasing_allowed)


def _entry(stored: api.TenantDocuments) -> Entry | None:
    if stored.record is None:
        return None
    envelopes = {
        words.decode(words.ConfigHeader, each.header).config: each.envelope(each.wraps[0])
        for each in stored.configs
        if words.decode(words.ConfigHeader, each.header).kind == "kms"
    }
    return Entry(stored.record, words.decode(words.TenantRecord, stored.record.body), envelopes, stored.authors)


def _sinks(known: Mapping[int, api.SealedConfig]) -> set[int]:
    return {number for number, each in known.items() if words.decode(words.ConfigHeader, each.header).kind != "kms"}


def _quoted(name: str) -> str:
    return quote(name, safe="")
