"""The rules for a snapshot's first line: from the pinned fingerprint to whom we believe about which tenant.

* The root is signed by the key whose fingerprint is pinned.
* The manifest is signed by a key that the root lets sign manifests, the head by one that it lets sign heads.
* None of them has expired, and none is older than, or differs at the same version from, what was accepted before.
* A head names exactly this manifest and this snapshot. Where the manifest requires one, or the last snapshot under
  the same manifest had one, there is no doing without.
* This service is entitled to its segment: see ``entitlement``.

No I/O and no clock in here.

Source: docs/formats-trust.md, "Rules for the first line".
"""

from collections.abc import Mapping

import msgspec

from tenant_security.crypto.signing import Kind, VerifyingKey, fingerprint, key_id, parse_fingerprint
from tenant_security.directory.entitlement import keyring_for
from tenant_security.directory.keyring import Keyring
from tenant_security.directory.refusal import BadEntryError, Part, SnapshotRefusedError
from tenant_security.directory.tenants import Standing
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import ServiceCredentials


class TrustedAuthor(msgspec.Struct, frozen=True, eq=False):
    """An author of the manifest, ready to verify. ``digest`` changes with whatever it may sign."""

    key: VerifyingKey
    tenant: str
    may: frozenset[words.May]
    digest: bytes


class Chain(msgspec.Struct, frozen=True, eq=False):
    """A first line that passed every rule."""

    header: words.SnapshotHeader
    manifest: words.Manifest
    head: words.Head | None
    authors: Mapping[str, TrustedAuthor]
    keyring: Keyring
    standing: Standing
    expires_at_s: int

    def author_of(self, signer: str, may: words.May, owner: str) -> TrustedAuthor:
        """Return the author with this key id when the manifest lets it sign this for this owner.

        Raises: BadEntryError.
        """
        author = self.authors.get(signer)
        if author is None:
            raise BadEntryError(f"its {may.value} is signed by {signer}, who is no author in the manifest")
        if may not in author.may:
            raise BadEntryError(f"its {may.value} is signed by {signer}, who may not sign that")
        if author.tenant not in (words.SHARED, owner):
            raise BadEntryError(f"its {may.value} is signed by {signer}, who is an author of another tenant")
        return author


def verify_chain(
    first_line: bytes, *, pinned: str, credentials: ServiceCredentials | None, previous: Standing, now_s: int
) -> Chain:
    """Judge the first line of a snapshot.

    ``pinned`` is the vendor root's fingerprint; without ``credentials`` everything is verified and nothing can be
    opened; ``previous`` is what the directory in use was accepted on.

    Raises: SnapshotRefusedError.
    """
    header = _header(first_line)
    root = _root(header.root, pinned, previous, now_s)
    manifest = _manifest(header.manifest, root, previous, now_s)
    head = _head(header, manifest, root, previous, now_s)
    authors = _authors(manifest)
    keyring = keyring_for(header, manifest, credentials)
    return Chain(
        header=header,
        manifest=manifest,
        head=head,
        authors=authors,
        keyring=previous.keyring if keyring.same_as(previous.keyring) else keyring,
        standing=Standing(
            root_version=root.version,
            root_hash=words.sha256(header.root.body),
            manifest_version=manifest.version,
            manifest_hash=words.sha256(header.manifest.body),
            snapshot_version=header.version,
            snapshot_hash=head.snapshot_hash if head else b"",
        ),
        expires_at_s=min(document.expires for document in (root, manifest, head) if document is not None),
    )


def _header(first_line: bytes) -> words.SnapshotHeader:
    try:
        header = words.decode(words.SnapshotHeader, first_line)
    except words.MalformedError as malformed:
        raise SnapshotRefusedError(Part.FORMAT, f"its first line cannot be read: {malformed}") from None
    if (header.format, header.format_version) != (words.FORMAT, words.FORMAT_VERSION):
        raise SnapshotRefusedError(Part.FORMAT, "it is of another format version; update this software")
    return header


def _root(signed: words.Signed, pinned: str, previous: Standing, now_s: int) -> words.Root:
    root = _decode(words.Root, signed.body, Part.ROOT)
    try:
        expected = parse_fingerprint(pinned)
    except ValueError as malformed:
        raise SnapshotRefusedError(Part.ROOT, f"the pinned VENDOR_ROOT_FINGERPRINT is malformed: {malformed}") from None
    if fingerprint(root.root_key) != expected:
        raise SnapshotRefusedError(
            Part.ROOT, "its root key is not the pinned one; compare VENDOR_ROOT_FINGERPRINT with what the vendor says"
        )
    _verify(signed, Kind.ROOT, root.root_key, Part.ROOT)
    _not_expired(root.expires, now_s, Part.ROOT)
    _not_older(Part.ROOT, root.version, words.sha256(signed.body), previous.root_version, previous.root_hash)
    return root


def _manifest(signed: words.Signed, root: words.Root, previous: Standing, now_s: int) -> words.Manifest:
    _verify(signed, Kind.MANIFEST, _signer(root, signed, words.Signs.MANIFEST, Part.MANIFEST), Part.MANIFEST)
    manifest = _decode(words.Manifest, signed.body, Part.MANIFEST)
    _same_vendor(manifest.vendor, root, Part.MANIFEST)
    _not_expired(manifest.expires, now_s, Part.MANIFEST)
    digest = words.sha256(signed.body)
    _not_older(Part.MANIFEST, manifest.version, digest, previous.manifest_version, previous.manifest_hash)
    return manifest


def _head(
    header: words.SnapshotHeader, manifest: words.Manifest, root: words.Root, previous: Standing, now_s: int
) -> words.Head | None:
    signed = header.head
    if signed is None:
        if manifest.head_required:
            raise SnapshotRefusedError(Part.HEAD, "the manifest requires a head and there is none")
        if previous.snapshot_hash and manifest.version <= previous.manifest_version:
            raise SnapshotRefusedError(
                Part.HEAD, "the last snapshot had a head and this one has none; only a newer manifest can allow that"
            )
        return None
    _verify(signed, Kind.HEAD, _signer(root, signed, words.Signs.HEAD, Part.HEAD), Part.HEAD)
    head = _decode(words.Head, signed.body, Part.HEAD)
    _same_vendor(head.vendor, root, Part.HEAD)
    _not_expired(head.expires, now_s, Part.HEAD)
    if (head.manifest_version, head.manifest_hash) != (manifest.version, words.sha256(header.manifest.body)):
        raise SnapshotRefusedError(Part.HEAD, f"it names manifest {head.manifest_version}, which is not the one here")
    if head.snapshot_version != header.version:
        raise SnapshotRefusedError(Part.HEAD, f"it names snapshot {head.snapshot_version}, which is not this one")
    if previous.snapshot_hash:
        seen = previous.snapshot_version
        _not_older(Part.HEAD, head.snapshot_version, head.snapshot_hash, seen, previous.snapshot_hash)
    return head


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


def _signer(root: words.Root, signed: words.Signed, signs: words.Signs, part: Part) -> bytes:
    for key in root.keys:
        if signs in key.signs and key_id(key.public) == signed.key:
            return key.public
    raise SnapshotRefusedError(part, f"the root does not let {signed.key} sign it")


def _verify(signed: words.Signed, kind: Kind, public: bytes, part: Part) -> None:
    key = VerifyingKey(public)
    if signed.key != key.key_id or not key.verifies(kind, signed.body, signed.sig):
        raise SnapshotRefusedError(part, "its signature is wrong: it was altered, or signed by another key")


def _decode(kind: type[words.Document], body: bytes, part: Part) -> words.Document:
    try:
        return words.decode(kind, body)
    except words.MalformedError as malformed:
        raise SnapshotRefusedError(part, f"it cannot be read: {malformed}") from None


def _authors(manifest: words.Manifest) -> Mapping[str, TrustedAuthor]:
    authors: dict[str, TrustedAuthor] = {}
    for author in manifest.authors:
        key = VerifyingKey(author.public)
        if key.key_id in authors:
            raise SnapshotRefusedError(Part.MANIFEST, f"it names the author key {key.key_id} twice")
        digest = words.sha256(words.encode(author))
        authors[key.key_id] = TrustedAuthor(key, author.tenant, frozenset(author.may), digest)
    return authors
