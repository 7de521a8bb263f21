"""The rules for one entry: who signed it, for whom, and whether what it says agrees with itself.

* A record is signed by an author that may sign records of that tenant; a config by one that may sign configs of its
  owner. Only an author for all tenants can sign a config that tenants share.
* Record and header name the vendor and the tenant under which they stand: nothing can be moved to another tenant.
* A record has at most one primary and names no config twice.
* A config is wrapped to a segment of the manifest, in that segment's suite.

Source: docs/formats-trust.md, "Rules for an entry".
"""

from tenant_security.crypto.signing import Kind
from tenant_security.directory.chain import Chain
from tenant_security.directory.refusal import BadEntryError
from tenant_security.directory.sealed_config import SealedConfig
from tenant_security.wire import snapshot as words


def verified_config(
    envelope: words.ConfigEnvelope, owner: str, chain: Chain, vouched: frozenset[bytes] = frozenset()
) -> SealedConfig:
    """Verify a config that stands under this owner, or under the vendor when ``owner`` is empty.

    ``vouched`` are the fingerprints for which somebody entitled has signed already, see :func:`vouched_by`.

    Raises: BadEntryError.
    """
    author = chain.author_of(envelope.author, words.May.CONFIG, owner)
    signed = words.config_signed_bytes(envelope.header, envelope.payload, envelope.commit)
    fingerprint = words.sha256(signed)
    if fingerprint not in vouched and not author.key.verifies(Kind.CONFIG, signed, envelope.sig):
        raise BadEntryError("the signature of a config is wrong: it was altered, or signed by another key")
    header = _decode(words.ConfigHeader, envelope.header, "header of a config")
    _expect(header.vendor == chain.manifest.vendor, f"config {header.config} is of another vendor")
    _expect(header.tenant == owner, f"config {header.config} belongs to somebody else")
    wrap = envelope.wrap
    segment = chain.keyring.find(wrap.segment, wrap.epoch)
    if segment is None:
        raise BadEntryError(
            f"config {header.config} is wrapped to segment {wrap.segment}, epoch {wrap.epoch}, which the manifest lacks"
        )
    _expect(segment.suite == wrap.suite, f"config {header.config} is not wrapped in its segment's suite")
    return SealedConfig(
        id=header.config,
        version=header.version,
        fingerprint=fingerprint,
        owner=owner,
        author=author.key.key_id,
        header=envelope.header,
        payload=envelope.payload,
        commit=envelope.commit,
        sealed=wrap.sealed,
        segment=segment,
    )


def verified_record(signed: words.Signed, tenant_id: str, chain: Chain) -> words.TenantRecord:
    """Verify a record that stands under this tenant.

    Raises: BadEntryError.
    """
    author = chain.author_of(signed.key, words.May.RECORD, tenant_id)
    if not author.key.verifies(Kind.RECORD, signed.body, signed.sig):
        raise BadEntryError("the signature of its tenant-record is wrong: it was altered, or signed by another key")
    record = _decode(words.TenantRecord, signed.body, "tenant-record")
    _expect(record.vendor == chain.manifest.vendor, "its tenant-record is of another vendor")
    _expect(record.tenant == tenant_id, "its tenant-record is of another tenant")
    ids = {assignment.config for assignment in record.assignments}
    _expect(len(ids) == len(record.assignments), "its tenant-record assigns a config twice")
    primaries = sum(assignment.primary for assignment in record.assignments)
    _expect(primaries <= 1, "its tenant-record names more than one primary config")
    return record


def vouched_by(record: words.TenantRecord, signer: str, chain: Chain) -> frozenset[bytes]:
    """Return the fingerprints of the configs that a verified record vouches for.

    They count only where the record's signer may sign the tenant's configs too: then its one signature says all that
    a signature of its own under each of them would say, and checking that as well would only double the work.
    """
    author = chain.authors[signer]
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
