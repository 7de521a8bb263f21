"""A new admin key in place of the old one, while everything serves.

The new key is let in beside the old one, what the old one signed is signed anew, then the old one is taken out. Each
step can be begun again after any interruption: ``admin-next.key`` is there until the new key is the one that signs,
``admin-old.key`` until the old one counts no more.

Source: docs/rotation.md, "The vendor's keys".
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tenant_security.authoring import documents
from tenant_security.authoring.at_broker import AtBroker, labels_of
from tenant_security.authoring.keyfiles import read_seed, write_seed
from tenant_security.authoring.roster import Entry, Roster
from tenant_security.authoring.vendor import ADMIN_KEY, ROOT_KEY, Vendor
from tenant_security.authoring.versions import next_version
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.outbound.flow import Flow
from tenant_security.trust.chain import trusted_authors
from tenant_security.trust.entries import verify_authors, verify_config, verify_record, vouched_by
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import broker_api as api
from tenant_security.wire import snapshot as words

_NEXT: Final = "admin-next.key"
_OLD: Final = "admin-old.key"


def begin(directory: Path) -> None:
    """Make the next key, unless a change is under way. Raises: KeyFileError without a vendor or its ``root.key``."""
    Vendor.load(directory)
    read_seed(directory / ROOT_KEY)
    if not (directory / _NEXT).exists() and not (directory / _OLD).exists():
        write_seed(directory / _NEXT, new_seed())


def let_in(vendor: Vendor) -> None:
    """Have root and manifest name the next key beside the old one. Raises: KeyFileError without ``root.key``."""
    path = vendor.directory / _NEXT
    if path.exists():
        public = SigningKey(read_seed(path)).public
        if all(each.public != public for each in vendor.manifest.authors):
            vendor.let_in(public)


def sign_with_it(directory: Path) -> None:
    """Make the next key the one that signs. At every moment one of the two is in its place. Raises: KeyFileError."""
    if (directory / _NEXT).exists():
        if not (directory / _OLD).exists():
            write_seed(directory / _OLD, read_seed(directory / ADMIN_KEY))
        (directory / _NEXT).replace(directory / ADMIN_KEY)


def old_key(directory: Path) -> SigningKey:
    """The key that is on its way out. Raises: KeyFileError when there is none."""
    return SigningKey(read_seed(directory / _OLD))


def take_out(vendor: Vendor) -> None:
    """Have root and manifest name the old key no more. Raises: KeyFileError without ``root.key``."""
    public = old_key(vendor.directory).public
    if any(each.public == public for each in vendor.manifest.authors):
        vendor.take_out(public)


def end(directory: Path) -> None:
    """Forget the old key."""
    (directory / _OLD).unlink(missing_ok=True)


class Left(NamedTuple):
    """What was not signed anew: the tenants where that waits for a second person, and whose entries are not good."""

    waiting: list[str]
    refused: dict[str, str]
    """Why, by tenant; the vendor's own configs are named ``config 7``."""


def sign_anew(broker: AtBroker, old: str, on_progress: Callable[[str], object]) -> Flow[Left]:
    """Sign what the author with this key id has signed.

    Configs are sealed anew too, because a config's version is bound to what is sealed. ``on_progress`` is told each
    tenant. Raises: KeyFileError; CannotOpenError; BrokerRefusedError; UnreachableError.

    Trust: the broker only says what it keeps. Nothing is signed of which the old signature was not good.
    """
    vendor, left = broker.vendor, Left([], {})
    for each in (yield from broker.every("/configs", api.Config)):
        stored = yield from broker.ask("GET", f"/configs/{each.id}/sealed", api.SealedConfig)
        if stored.author != old:
            continue
        envelope = stored.envelope(stored.wraps[0])
        try:
            verify_config(envelope, words.SHARED, vendor.id, trusted_authors(vendor.manifest))
        except BadEntryError as why:
            left.refused[f"config {each.id}"] = str(why)
            continue
        fresh = _sealed_anew(vendor, words.SHARED, envelope)
        offered = broker.sealed(fresh, vendor.segments, labels_of(stored), leasing=each.leasing_allowed)
        yield from broker.ask("PUT", "/configs", api.Config, offered)
    for tenant in (yield from broker.every("/tenants", api.Tenant)):
        if not _is_by((yield from broker.stored(tenant.id)), old):
            continue
        on_progress(tenant.id)
        try:
            yield from broker.change(tenant.id, lambda roster: _sign(vendor, roster, old))
        except BadEntryError as why:
            left.refused[tenant.id] = str(why)
            continue
        if _is_by((yield from broker.stored(tenant.id)), old):
            left.waiting.append(tenant.id)
    return left


def _is_by(stored: api.TenantDocuments, old: str) -> bool:
    signed = (stored.record, stored.authors)
    return any(each is not None and each.key == old for each in signed) or any(
        each.author == old for each in stored.configs
    )


def _verify(vendor: Vendor, tenant: str, entry: Entry, old: str) -> None:
    """Raises: BadEntryError where the record, its authors or a config of the old key's is not good."""
    authors = trusted_authors(vendor.manifest)
    if entry.authors is not None:
        authors = verify_authors(entry.authors, tenant, vendor.id, authors).authors
    record = verify_record(entry.signed, tenant, vendor.id, authors)
    vouched = vouched_by(record, entry.signed.key, authors)
    for each in entry.configs.values():
        if each.author == old:
            verify_config(each, tenant, vendor.id, authors, vouched)


def _sign(vendor: Vendor, roster: Roster, old: str) -> None:
    """Sign the one tenant of a roster anew, as far as it is this author's. Raises: BadEntryError."""
    for tenant, entry in list(roster.tenants.items()):
        _verify(vendor, tenant, entry, old)
        configs = {
            number: _sealed_anew(vendor, tenant, each) if each.author == old else each
            for number, each in entry.configs.items()
        }
        authors = entry.authors
        if authors is not None and authors.key == old:
            named = words.decode(words.TenantAuthors, authors.body)
            version = next_version(named.version, vendor.now_s())
            authors = documents.sign(Kind.AUTHORS, msgspec.structs.replace(named, version=version), vendor.admin)
        record = entry.record
        signed = vendor.tenant_record(
            tenant,
            record.assignments,
            leasing_required=record.leasing_required,
            version=record.version,
            configs=configs.values(),
            spares=record.spares,
        )
        read = words.decode(words.TenantRecord, signed.body)
        roster.tenants[tenant] = Entry(signed, read, configs, authors)


def _sealed_anew(vendor: Vendor, owner: str, envelope: words.ConfigEnvelope) -> words.ConfigEnvelope:
    header, wrap = words.decode(words.ConfigHeader, envelope.header), envelope.wrap
    text = documents.open_config(envelope, vendor.opening_key(wrap.segment, wrap.epoch))
    return vendor.seal_config(
        owner, header.config, text, kind=header.kind, version=header.version, segment=wrap.segment
    )
