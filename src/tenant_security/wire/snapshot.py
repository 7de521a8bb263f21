r"""What a vendor's trust documents and a sealed snapshot say, type by type.

A signed document travels as the exact bytes that were signed, in base64, so nobody needs a canonical JSON. Members
that we do not know are refused: a rule that an old reader skips would be no rule.

Shape of a snapshot, JSON Lines: one :class:`SnapshotHeader`, then every :class:`ConfigLine` (configs of the vendor,
which tenants share), then every :class:`TenantLine`.

Units: times are Unix seconds, versions count from 1, hashes are SHA-256.

Source: docs/formats-trust.md.
"""

import hashlib
from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Final, Literal, TypeVar

import msgspec

FORMAT: Final = "tenant-security-snapshot"
FORMAT_VERSION: Final = 1

_SAFE_INTEGER: Final = 2**53 - 1
_INT32_MAX: Final = 2**31 - 1

VendorId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
TenantId = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,255}\Z")]
Owner = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{0,255}\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,120}\Z")]
KeyId = Annotated[str, msgspec.Meta(pattern=r"\A[a-z2-7]{4}(-[a-z2-7]{4}){5}\Z")]
Version = Annotated[int, msgspec.Meta(ge=1, le=_SAFE_INTEGER)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=_SAFE_INTEGER)]
ConfigId = Annotated[int, msgspec.Meta(ge=1, le=_INT32_MAX)]
SegmentId = Annotated[int, msgspec.Meta(ge=1, le=_INT32_MAX)]
AnySegment = Annotated[int, msgspec.Meta(ge=0, le=_INT32_MAX)]
"""A segment's id, or 0 for all of them."""
Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Ed25519Public = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
SuiteNumber = Literal[1, 2]
SHARED: Final = ""
"""The owner of a config that belongs to the vendor and may be assigned to many tenants."""


class _Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", gc=False):
    """What all of these have in common."""


MOST_SPARES: Final = 3
"""How many configs may wrap a key beside the primary: each costs a KMS call for every key."""


class Signed(_Words, frozen=True):
    """A document as it was signed. ``key`` is the key id of the signer, ``sig`` covers the kind and ``body``."""

    body: bytes
    key: KeyId
    sig: Signature


class Signs(Enum):
    """What a key that the root names may sign."""

    MANIFEST = "manifest"
    HEAD = "head"


class RootKey(_Words, frozen=True):
    """A key that the vendor root lets sign."""

    public: Ed25519Public
    signs: tuple[Signs, ...]


class Root(_Words, frozen=True):
    """Who may speak for the vendor. Signed by ``root_key``, whose fingerprint every proxy has pinned."""

    vendor: VendorId
    version: Version
    created: Seconds
    expires: Seconds
    root_key: Ed25519Public
    keys: tuple[RootKey, ...]


class Segment(_Words, frozen=True):
    """A public key that configs are sealed to. An identity that has all of its ``tags`` is entitled to its seed."""

    id: SegmentId
    epoch: Version
    suite: SuiteNumber
    public: bytes
    tags: tuple[Name, ...] = ()


class Status(Enum):
    """Whether a service identity is trusted."""

    ACTIVE = "active"
    REVOKED = "revoked"


class ServiceIdentity(_Words, frozen=True):
    """A proxy (or other service) by its two public keys. ``config`` is its number, for SERVICE_CONFIG_ID."""

    id: Name
    config: ConfigId
    suite: SuiteNumber
    encryption: bytes
    signing: Ed25519Public
    tags: tuple[Name, ...]
    status: Status


BRIDGE_TAG: Final = "bridge"
LOGDRIVER_TAG: Final = "logdriver"
"""Tags that say what a service is; one without either is a proxy."""


def entitled(tags: Iterable[str], segment: Segment) -> bool:
    """Whether a service with these tags may open what is sealed to a segment: it has all of the segment's tags.

    Bridges are let into segments of their own only, those that have :data:`BRIDGE_TAG`, and nobody else into these:
    a bridge opens the vendor's configs, which are sealed to its segment too, and cannot open those of tenants.
    """
    had = set(tags)
    return had.issuperset(segment.tags) and (BRIDGE_TAG in had) == (BRIDGE_TAG in segment.tags)


class May(Enum):
    """What an author may sign."""

    RECORD = "tenant-record"
    CONFIG = "config"
    AUTHORS = "tenant-authors"
    """Who else may sign for a tenant. Only an author for all tenants can."""
    HEAD = "head"
    """Heads. Only an author for all tenants can."""


class Author(_Words, frozen=True):
    """Who signs tenants' entries: for one ``tenant``, or for all tenants and the vendor itself when it is empty."""

    public: Ed25519Public
    name: Name
    tenant: Owner
    may: tuple[May, ...]


class Manifest(_Words, frozen=True):
    """Every key of the vendor's world and what it is for. With ``head_required`` no snapshot is good without a head."""

    vendor: VendorId
    version: Version
    created: Seconds
    expires: Seconds
    segments: tuple[Segment, ...]
    identities: tuple[ServiceIdentity, ...]
    authors: tuple[Author, ...]
    head_required: bool = False


class Head(_Words, frozen=True):
    """What is newest in a segment, in few words and for a short time. ``snapshot_hash`` covers every entry.

    Source: ``trust.digests``.
    """

    vendor: VendorId
    segment: AnySegment
    created: Seconds
    expires: Seconds
    manifest_version: Version
    manifest_hash: Hash
    snapshot_version: Version
    snapshot_hash: Hash


class SecretBinding(_Words, frozen=True, omit_defaults=True):
    """A tenant secret, by its ``fingerprint``, and its place. Signed by the proxy that made the secret.

    Of a secret that was kept elsewhere, ``wrapped`` is the hash of its EDEK and there is no fingerprint: the admin who
    brings it signs, and cannot open it. Source: docs/formats.md, "Tenant secrets".
    """

    vendor: VendorId
    tenant: TenantId
    type: str
    path: str
    number: int
    fingerprint: bytes = b""
    wrapped: bytes = b""


class SegmentWrap(_Words, frozen=True):
    """A segment's seed, sealed to one recipient, named by the key id of its encryption key."""

    segment: SegmentId
    epoch: Version
    recipient: KeyId
    suite: SuiteNumber
    sealed: bytes


class RecordAssignment(_Words, frozen=True):
    """A config as the tenant may use it."""

    config: ConfigId
    active: bool
    primary: bool
    leasing: bool


class TenantRecord(_Words, frozen=True, omit_defaults=True):
    """What a tenant is, whether all of its keys must be leased, and which configs it may use."""

    vendor: VendorId
    tenant: TenantId
    version: Version
    leasing_required: bool
    assignments: tuple[RecordAssignment, ...]
    vouches: tuple[Hash, ...] = ()
    """Fingerprints of configs that the record's author vouches for with this one signature: a reader that finds the
    author entitled to sign configs of this tenant need not check the signatures of those configs as well."""
    spares: tuple[ConfigId, ...] = ()
    """The configs that wrap every new key too, beside the primary, so that any one of them alone can unwrap it. In the
    order in which they are asked to."""


class TenantAuthor(_Words, frozen=True):
    """Who signs for one tenant: one of its own admins. It may sign records and configs, and nothing else."""

    public: Ed25519Public
    name: Name
    may: tuple[May, ...]


class TenantAuthors(_Words, frozen=True):
    """A tenant's own authors. Signed by an author of the manifest that may name them."""

    vendor: VendorId
    tenant: TenantId
    version: Version
    authors: tuple[TenantAuthor, ...]


class ConfigHeader(_Words, frozen=True):
    """What a sealed config is. Its exact bytes are signed, and bound to the payload and to the wrap."""

    vendor: VendorId
    tenant: Owner
    config: ConfigId
    kind: Literal["kms", "sink"]
    version: Version
    created: Seconds


class Wrap(_Words, frozen=True):
    """A config's DEK, sealed to a segment; made anew for every epoch."""

    segment: SegmentId
    epoch: Version
    suite: SuiteNumber
    sealed: bytes


class ConfigEnvelope(_Words, frozen=True):
    """A sealed config. ``sig`` covers :func:`config_signed_bytes` and so survives a new ``wrap``."""

    header: bytes
    payload: bytes
    commit: Hash
    author: KeyId
    sig: Signature
    wrap: Wrap


class SnapshotHeader(_Words, frozen=True, omit_defaults=True):
    """The first line: everything needed to judge the rest. ``lines`` is how many follow.

    ``segment`` is the one whose tenants follow, or 0 for all. With ``since`` only what has changed since that snapshot
    follows, and the rest is as it was.
    """

    format: str
    format_version: int
    version: Version
    created: Seconds
    lines: Annotated[int, msgspec.Meta(ge=0)]
    root: Signed
    manifest: Signed
    segment_wraps: tuple[SegmentWrap, ...]
    head: Signed | None = None
    segment: AnySegment = 0
    since: Version | None = None


class ConfigLine(_Words, frozen=True, tag_field="line", tag="config"):
    """A config of the vendor."""

    envelope: ConfigEnvelope


class TenantLine(_Words, frozen=True, omit_defaults=True, tag_field="line", tag="tenant"):
    """A tenant. ``tenant`` repeats the record's id, so that a bad record still has a name to be quarantined under."""

    tenant: TenantId
    record: Signed
    configs: tuple[ConfigEnvelope, ...]
    authors: Signed | None = None


class GoneLine(_Words, frozen=True, omit_defaults=True, tag_field="line", tag="gone"):
    """A tenant, or a config of the vendor, that is in the snapshot no more. Only where the first line has ``since``."""

    tenant: TenantId | None = None
    config: ConfigId | None = None


Line = ConfigLine | TenantLine | GoneLine


class MalformedError(Exception):
    """Bytes that are not the document they should be."""


Document = TypeVar("Document", bound=_Words)
_LINE: Final[msgspec.json.Decoder[Line]] = msgspec.json.Decoder(Line)
_DECODERS: Final = {
    kind: msgspec.json.Decoder(kind)
    for kind in (
        Root,
        Manifest,
        Head,
        SecretBinding,
        TenantRecord,
        TenantAuthors,
        ConfigHeader,
        SnapshotHeader,
        Signed,
        ConfigEnvelope,
    )
}


def decode(kind: type[Document], body: bytes) -> Document:
    """Read one document strictly.

    Raises: MalformedError that says which member is wrong.
    """
    try:
        document = _DECODERS[kind].decode(body)  # type: ignore[index]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        raise MalformedError(_detail(malformed)) from None
    assert isinstance(document, kind)
    return document


def decode_line(line: bytes) -> Line:
    """Read a line after the first.

    Raises: MalformedError.
    """
    try:
        return _LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        raise MalformedError(_detail(malformed)) from None


class _Named(msgspec.Struct, gc=False):
    tenant: TenantId


_NAMED: Final = msgspec.json.Decoder(_Named)


def tenant_named_in(line: bytes) -> str | None:
    """Return the tenant that a malformed line claims to be about, if that much can be read."""
    try:
        return _NAMED.decode(line).tenant
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _detail(malformed: Exception) -> str:
    return str(malformed) if isinstance(malformed, msgspec.ValidationError) else "it is not JSON"


def encode(document: _Words) -> bytes:
    """Write a document, compact and without a line break: the bytes to sign, or a line of a snapshot."""
    return msgspec.json.encode(document)


def sha256(body: bytes) -> bytes:
    """Return the one hash of these formats."""
    return hashlib.sha256(body).digest()


def config_signed_bytes(header: bytes, payload: bytes, commit: bytes) -> bytes:
    """Return what a config's author signs: the header, then SHA-256(payload), then the commitment, 32 bytes each."""
    return header + sha256(payload) + commit


def fingerprint_of(envelope: ConfigEnvelope) -> bytes:
    """Return the fingerprint of a config: SHA-256 of what its author signs."""
    return sha256(config_signed_bytes(envelope.header, envelope.payload, envelope.commit))


def config_dek_info(segment: int, epoch: int, header: bytes) -> bytes:
    """Return the HPKE context of a config's wrap."""
    return b"tenant-security/config-dek/v1\n%d\n%d\n" % (segment, epoch) + sha256(header)


def segment_seed_info(vendor: str, segment: int, epoch: int, recipient: str) -> bytes:
    """Return the HPKE context of a segment's seed, sealed to the holder of the key with this id."""
    return f"tenant-security/segment-seed/v1\n{vendor}\n{segment}\n{epoch}\n{recipient}".encode()
