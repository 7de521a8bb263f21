"""The rules from the pinned fingerprint to whom we believe about which tenant.

* The root is signed by the key whose fingerprint is pinned.
* The manifest is signed by a key that the root lets sign manifests.
* The head is signed by a key that the root lets sign heads, or by an author of the manifest that may.
* None of them has expired, and none is older than, or differs at the same version from, what was accepted before.
* A head names exactly this manifest, this segment and this snapshot. Where the manifest requires one, or the last
  snapshot under the same manifest had one, there is no doing without.

Source: docs/formats-trust.md, "Rules for the first line".
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from tenant_security.crypto.signing import Kind, VerifyingKey, fingerprint, key_id, parse_fingerprint
from tenant_security.trust.refusal import BadEntryError, Part, SnapshotRefusedError
from tenant_security.wire import snapshot as words


class Seen(msgspec.Struct, frozen=True):
    """What was accepted before; nothing may fall behind it.

    Shape: hashes are SHA-256 of the signed bodies; ``snapshot_hash`` is what a head vouched for, empty without one.
    """

    root_version: int = 0
    root_hash: bytes = b""
    manifest_version: int = 0
    manifest_hash: bytes = b""
    snapshot_version: int = 0
    snapshot_hash: bytes = b""


NOTHING_SEEN = Seen()


class TrustedAuthor(msgspec.Struct, frozen=True, eq=False):
    """An author, ready to verify. ``digest`` changes with whatever it may sign.

    ``through`` is the key id of the author of the manifest on whose word it is one: its own, or whoever signed the
    tenant's authors.
    """

    key: VerifyingKey
    tenant: str
    may: frozenset[words.May]
    digest: bytes
    through: str


Authors = Mapping[str, TrustedAuthor]
"""Authors by key id."""


class Chain(msgspec.Struct, frozen=True, eq=False):
    """A first line that passed every rule."""

    header: words.SnapshotHeader
    root: words.Root
    manifest: words.Manifest
    head: words.Head | None
    authors: Authors
    seen: Seen
    expires_at_s: int


def verify_chain(header: words.SnapshotHeader, *, pinned: str, previous: Seen, now_s: int) -> Chain:
    """Judge the first line of a snapshot. ``pinned`` is the vendor root's fingerprint.

    Raises: SnapshotRefusedError.
    """
    root = verify_root(header.root, pinned=pinned, previous=previous, now_s=now_s)
    manifest = verify_manifest(header.manifest, root, previous=previous, now_s=now_s)
    authors = trusted_authors(manifest)
    head = _head_of(header, root, manifest, authors, now_s=now_s)
    _not_withdrawn(head, manifest, previous)
    return Chain(
        header=header,
        root=root,
        manifest=manifest,
        head=head,
        authors=authors,
        seen=Seen(
            root_version=root.version,
            root_hash=words.sha256(header.root.body),
            manifest_version=manifest.version,
            manifest_hash=words.sha256(header.manifest.body),
            snapshot_version=header.version,
            snapshot_hash=head.snapshot_hash if head else b"",
        ),
        expires_at_s=min(document.expires for document in (root, manifest, head) if document is not None),
    )


def read_header(first_line: bytes) -> words.SnapshotHeader:
    """Read the first line of a snapshot.

    Raises: SnapshotRefusedError.
    """
    try:
        header = words.decode(words.SnapshotHeader, first_line)
    except words.MalformedError as malformed:
        raise SnapshotRefusedError(Part.FORMAT, f"its first line cannot be read: {malformed}") from None
    if (header.format, header.format_version) != (words.FORMAT, words.FORMAT_VERSION):
        raise SnapshotRefusedError(Part.FORMAT, "it is of another format version; update this software")
    return header


def verify_root(signed: words.Signed, *, pinned: str, previous: Seen, now_s: int) -> words.Root:
    """Judge a root document.

    Raises: SnapshotRefusedError.
    """
    root = _decode(words.Root, signed.body, Part.ROOT)
    try:
        expected = parse_fingerprint(pinned)
    except ValueError as malformed:
        raise SnapshotRefusedError(Part.ROOT, f"the pinned VENDOR_ROOT_FINGERPRINT is malformed: {malformed}") from None
    if fingerprint(root.root_key) != expected:
        raise SnapshotRefusedError(
            Part.ROOT, "its root key is not the pinned one; compare VENDOR_ROOT_FINGERPRINT with what the vendor says"
        )
    _verify(signed, Kind.ROOT, VerifyingKey(root.root_key), Part.ROOT)
    _not_expired(root.expires, now_s, Part.ROOT)
    _not_older(Part.ROOT, root.version, words.sha256(signed.body), previous.root_version, previous.root_hash)
    return root


def verify_manifest(signed: words.Signed, root: words.Root, *, previous: Seen, now_s: int) -> words.Manifest:
    """Judge a manifest under a root that is good.

    Raises: SnapshotRefusedError.
    """
    key = _signer(root, signed, words.Signs.MANIFEST)
    if key is None:
        raise SnapshotRefusedError(Part.MANIFEST, f"the root does not let {signed.key} sign it")
    _verify(signed, Kind.MANIFEST, key, Part.MANIFEST)
    manifest = _decode(words.Manifest, signed.body, Part.MANIFEST)
    _same_vendor(manifest.vendor, root, Part.MANIFEST)
    _not_expired(manifest.expires, now_s, Part.MANIFEST)
    digest = words.sha256(signed.body)
    _not_older(Part.MANIFEST, manifest.version, digest, previous.manifest_version, previous.manifest_hash)
    if len({(segment.id, segment.epoch) for segment in manifest.segments}) != len(manifest.segments):
        raise SnapshotRefusedError(Part.MANIFEST, "it names an epoch of a segment twice")
    return manifest


def verify_head(
    signed: words.Signed, manifest: words.Signed, root: words.Root, authors: Authors, *, now_s: int
) -> words.Head:
    """Judge a head by itself: who signed it, for how long it is good, and that it is of this manifest.

    Raises: SnapshotRefusedError.
    """
    key = _signer(root, signed, words.Signs.HEAD)
    author = authors.get(signed.key)
    if key is None and author is not None and author.tenant == words.SHARED and words.May.HEAD in author.may:
        key = author.key
    if key is None:
        raise SnapshotRefusedError(Part.HEAD, f"neither the root nor the manifest lets {signed.key} sign it")
    _verify(signed, Kind.HEAD, key, Part.HEAD)
    head = _decode(words.Head, signed.body, Part.HEAD)
    _same_vendor(head.vendor, root, Part.HEAD)
    _not_expired(head.expires, now_s, Part.HEAD)
    if head.manifest_hash != words.sha256(manifest.body):
        raise SnapshotRefusedError(Part.HEAD, f"it names manifest {head.manifest_version}, which is not the one here")
    return head


def trusted_authors(manifest: words.Manifest) -> Authors:
    """Return the manifest's authors, ready to verify.

    Raises: SnapshotRefusedError when a key stands there twice.
    """
    authors: dict[str, TrustedAuthor] = {}
    for author in manifest.authors:
        key = VerifyingKey(author.public)
        if key.key_id in authors:
            raise SnapshotRefusedError(Part.MANIFEST, f"it names the author key {key.key_id} twice")
        digest = words.sha256(words.encode(author))
        authors[key.key_id] = TrustedAuthor(key, author.tenant, frozenset(author.may), digest, key.key_id)
    return MappingProxyType(authors)


def author_of(authors: Authors, signer: str, may: words.May, owner: str) -> TrustedAuthor:
    """Return the author with this key id when it may sign this for this owner.

    Raises: BadEntryError.
    """
    author = authors.get(signer)
    if author is None:
        raise BadEntryError(f"its {may.value} is signed by {signer}, who is no author that we know")
    if may not in author.may:
        raise BadEntryError(f"its {may.value} is signed by {signer}, who may not sign that")
    if author.tenant not in (words.SHARED, owner):
        raise BadEntryError(f"its {may.value} is signed by {signer}, who is an author of another tenant")
    return author


def _head_of(
    header: words.SnapshotHeader, root: words.Root, manifest: words.Manifest, authors: Authors, *, now_s: int
) -> words.Head | None:
    if header.head is None:
        if manifest.head_required:
            raise SnapshotRefusedError(Part.HEAD, "the manifest requires a head and there is none")
        return None
    head = verify_head(header.head, header.manifest, root, authors, now_s=now_s)
    if head.segment != header.segment:
        raise SnapshotRefusedError(Part.HEAD, f"it is of segment {head.segment} and the snapshot of {header.segment}")
    if head.snapshot_version != header.version:
        raise SnapshotRefusedError(Part.HEAD, f"it names snapshot {head.snapshot_version}, which is not this one")
    return head


def _not_withdrawn(head: words.Head | None, manifest: words.Manifest, previous: Seen) -> None:
    """Refuse to fall behind a head that was accepted, or to do without one under the same manifest."""
    if not previous.snapshot_hash:
        return
    if head is not None:
        seen = previous.snapshot_version
        _not_older(Part.HEAD, head.snapshot_version, head.snapshot_hash, seen, previous.snapshot_hash)
    elif manifest.version <= previous.manifest_version:
        raise SnapshotRefusedError(
            Part.HEAD, "the last snapshot had a head and this one has none; only a newer manifest can allow that"
        )


def _not_older(part: Part, version: int, digest: bytes, seen: int, seen_digest: bytes) -> None:
    if version < seen:
        raise SnapshotRefusedError(part, f"its version {version} is older than {seen}, which was accepted before")
    if version == seen and digest != seen_digest:
        raise SnapshotRefusedError(part, f"it differs from the version {version} that was accepted before")


def _not_expired(expires_s: int, now_s: int, part: Part) -> None:
    if now_s >= expires_s:
        raise SnapshotRefusedError(
            part, f"it expired {(now_s - expires_s) // 60} minutes ago; the vendor must publish a new one"
        )


def _same_vendor(vendor: str, root: words.Root, part: Part) -> None:
    if vendor != root.vendor:
        raise SnapshotRefusedError(part, f"it is of vendor {vendor!r} and the root of {root.vendor!r}")


def _signer(root: words.Root, signed: words.Signed, signs: words.Signs) -> VerifyingKey | None:
    for key in root.keys:
        if signs in key.signs and key_id(key.public) == signed.key:
            return VerifyingKey(key.public)
    return None


def _verify(signed: words.Signed, kind: Kind, key: VerifyingKey, part: Part) -> None:
    if signed.key != key.key_id or not key.verifies(kind, signed.body, signed.sig):
        raise SnapshotRefusedError(part, "its signature is wrong: it was altered, or signed by another key")


def _decode(kind: type[words.Document], body: bytes, part: Part) -> words.Document:
    try:
        return words.decode(kind, body)
    except words.MalformedError as malformed:
        raise SnapshotRefusedError(part, f"it cannot be read: {malformed}") from None
