"""The rules for one entry: who signed it, for whom, and whether what it says agrees with itself.

* A tenant's own authors are named by an author of the manifest that may name them.
* A record is signed by an author that may sign records of that tenant; a config by one that may sign configs of its
  owner. Only an author for all tenants can sign a config that tenants share.
* Record and header name the vendor and the tenant under which they stand: nothing can be moved to another tenant.
* A record has at most one primary and names no config twice. Its spares are assigned configs beside a primary, and
  allow leasing where the primary does.

Source: docs/formats-trust.md, "Rules for an entry".
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from tenant_security.crypto.signing import Kind, VerifyingKey
from tenant_security.trust.chain import Authors, TrustedAuthor, author_of
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words

_TENANTS_OWN: Final = frozenset({words.May.RECORD, words.May.CONFIG})


class VerifiedConfig(msgspec.Struct, frozen=True):
    """A config whose author and header are good. Its wrap was not looked at."""

    header: words.ConfigHeader
    fingerprint: bytes
    author: TrustedAuthor


class VerifiedAuthors(msgspec.Struct, frozen=True):
    """A tenant's own authors, and with them everybody who may sign for it."""

    document: words.TenantAuthors
    authors: Authors


def verify_authors(signed: words.Signed, tenant_id: str, vendor: str, authors: Authors) -> VerifiedAuthors:
    """Verify a tenant's own authors. The result's ``authors`` holds the given ones too.

    Raises: BadEntryError.
    """
    signer = author_of(authors, signed.key, words.May.AUTHORS, words.SHARED)
    if not signer.key.verifies(Kind.AUTHORS, signed.body, signed.sig):
        raise BadEntryError("the signature of its tenant-authors is wrong: it was altered, or signed by another key")
    document = _decode(words.TenantAuthors, signed.body, "tenant-authors")
    _expect(document.vendor == vendor, "its tenant-authors is of another vendor")
    _expect(document.tenant == tenant_id, "its tenant-authors is of another tenant")
    known = dict(authors)
    for author in document.authors:
        key = VerifyingKey(author.public)
        _expect(set(author.may) <= _TENANTS_OWN, "its tenant-authors lets somebody sign more than for the tenant")
        _expect(key.key_id not in known, f"its tenant-authors names the key {key.key_id}, which is an author already")
        digest = words.sha256(words.encode(author))
        known[key.key_id] = TrustedAuthor(key, tenant_id, frozenset(author.may), digest, signer.key.key_id)
    return VerifiedAuthors(document, MappingProxyType(known))


def verify_config(
    envelope: words.ConfigEnvelope, owner: str, vendor: str, authors: Authors, vouched: frozenset[bytes] = frozenset()
) -> VerifiedConfig:
    """Verify a config that stands under this owner, or under the vendor when ``owner`` is empty.

    ``vouched`` are the fingerprints for which somebody entitled has signed already, see :func:`vouched_by`.

    Raises: BadEntryError.
    """
    author = author_of(authors, envelope.author, words.May.CONFIG, owner)
    signed = words.config_signed_bytes(envelope.header, envelope.payload, envelope.commit)
    fingerprint = words.sha256(signed)
    if fingerprint not in vouched and not author.key.verifies(Kind.CONFIG, signed, envelope.sig):
        raise BadEntryError("the signature of a config is wrong: it was altered, or signed by another key")
    header = _decode(words.ConfigHeader, envelope.header, "header of a config")
    _expect(header.vendor == vendor, f"config {header.config} is of another vendor")
    _expect(header.tenant == owner, f"config {header.config} belongs to somebody else")
    return VerifiedConfig(header, fingerprint, author)


def verify_record(signed: words.Signed, tenant_id: str, vendor: str, authors: Authors) -> words.TenantRecord:
    """Verify a record that stands under this tenant.

    Raises: BadEntryError.
    """
    author = author_of(authors, signed.key, words.May.RECORD, tenant_id)
    if not author.key.verifies(Kind.RECORD, signed.body, signed.sig):
        raise BadEntryError("the signature of its tenant-record is wrong: it was altered, or signed by another key")
    record = _decode(words.TenantRecord, signed.body, "tenant-record")
    _expect(record.vendor == vendor, "its tenant-record is of another vendor")
    _expect(record.tenant == tenant_id, "its tenant-record is of another tenant")
    ids = {assignment.config for assignment in record.assignments}
    _expect(len(ids) == len(record.assignments), "its tenant-record assigns a config twice")
    primaries = sum(assignment.primary for assignment in record.assignments)
    _expect(primaries <= 1, "its tenant-record names more than one primary config")
    if record.spares:
        why = wrong_spares(record.assignments, record.spares)
        _expect(why is None, f"its tenant-record {why}")
    return record


def wrong_spares(assignments: Sequence[words.RecordAssignment], spares: Sequence[int]) -> str | None:
    """Say what is wrong with a record's spares, as what follows "the record"; None when nothing is."""
    assigned = {assignment.config: assignment for assignment in assignments}
    primary = next((assignment for assignment in assignments if assignment.primary), None)
    if primary is None:
        return "names spares and no primary config"
    if len(spares) > words.MOST_SPARES or len(set(spares)) != len(spares):
        return f"names a spare twice, or more than {words.MOST_SPARES}"
    for spare in spares:
        if spare not in assigned or spare == primary.config:
            return f"names config {spare} as a spare, which must be another assigned config than the primary"
        if primary.leasing and not assigned[spare].leasing:
            return f"names config {spare} as a spare without leasing, and the primary leases"
    return None


def spares_after(
    before: Sequence[words.RecordAssignment],
    after: Sequence[words.RecordAssignment],
    spares: Sequence[words.ConfigId],
) -> tuple[words.ConfigId, ...]:
    """Return a record's spares when its assignments change from one to the other.

    A spare that becomes the primary gives its place to the old primary, where that is still active: the data goes on
    being wrapped by both. A spare that may no longer be one is none any more.
    """
    old, new = (next((each.config for each in some if each.primary), None) for some in (before, after))
    still = {each.config for each in after if each.active}
    swapped = [old if spare == new and old in still and old is not None else spare for spare in spares]
    return tuple(spare for spare in swapped if wrong_spares(after, (spare,)) is None)


def vouched_by(record: words.TenantRecord, signer: str, authors: Authors) -> frozenset[bytes]:
    """Return the fingerprints of the configs that a verified record vouches for.

    They count only where the record's signer may sign the tenant's configs too: then its one signature says all that
    a signature of its own under each of them would say, and checking that as well would only double the work.
    """
    author = authors[signer]
    if words.May.CONFIG not in author.may or author.tenant not in (words.SHARED, record.tenant):
        return frozenset()
    return frozenset(record.vouches)


def _decode(kind: type[words.Document], body: bytes, what: str) -> words.Document:
    try:
        return words.decode(kind, body)
    except words.MalformedError as malformed:
        raise BadEntryError(f"its {what} cannot be read: {malformed}") from None


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BadEntryError(otherwise)
