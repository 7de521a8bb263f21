"""What a head vouches for: the content of a snapshot, whatever the order of its entries and however they are wrapped.

Shape: the digest of an entry is SHA-256 over what is signed in it; the hash of a snapshot is SHA-256 over the sorted
digests of its entries. So a new epoch's wraps need no new head, and a reader that was sent only what has changed can
tell that it holds the whole.

Source: docs/formats-trust.md, "Head".
"""

import hashlib
from collections.abc import Iterable

from tenant_security.wire import snapshot as words


def tenant_digest(line: words.TenantLine) -> bytes:
    """Return the digest of a tenant's entry."""
    authors = b"" if line.authors is None else line.authors.body
    fingerprints = sorted(words.fingerprint_of(envelope) for envelope in line.configs)
    parts = (words.sha256(line.record.body), words.sha256(authors), *fingerprints)
    return words.sha256(b"tenant-security/tenant-entry/v1\n" + b"".join(parts))


def config_digest(fingerprint: bytes) -> bytes:
    """Return the digest of the entry of a vendor's config."""
    return words.sha256(b"tenant-security/config-entry/v1\n" + fingerprint)


def unreadable_digest(line: bytes) -> bytes:
    """Return the digest of a line that is neither. Whoever signs heads would have found it unreadable too."""
    return words.sha256(b"tenant-security/unreadable-entry/v1\n" + line)


def line_digest(line: bytes) -> bytes:
    """Return the digest of the entry that a line of a snapshot holds."""
    try:
        entry = words.decode_line(line)
    except words.MalformedError:
        return unreadable_digest(line)
    if isinstance(entry, words.ConfigLine):
        return config_digest(words.fingerprint_of(entry.envelope))
    if isinstance(entry, words.TenantLine):
        return tenant_digest(entry)
    return unreadable_digest(line)


def snapshot_hash(entries: Iterable[bytes]) -> bytes:
    """Return the hash of a snapshot from the digests of its entries, in any order."""
    return hashlib.sha256(b"".join(sorted(entries))).digest()
