"""What a vendor's stored root and manifest let people sign: the broker checks what it is given before it keeps it.

A proxy checks everything again. The broker's own check only keeps mistakes and strangers out early.
"""

from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.refusals import NotAllowedNowError, NotFoundError
from tenant_security.trust.chain import Authors, trusted_authors
from tenant_security.trust.refusal import BadEntryError, SnapshotRefusedError
from tenant_security.wire import snapshot as words

_SIGNED = msgspec.json.Decoder(words.Signed)


class VendorTrust(NamedTuple):
    """A vendor's keys as they are stored, already judged."""

    vendor: str
    root_signed: words.Signed
    root: words.Root
    manifest_signed: words.Signed
    manifest: words.Manifest
    authors: Authors

    def segment(self, number: int) -> words.Segment | None:
        """Return the newest epoch of a segment."""
        found = [segment for segment in self.manifest.segments if segment.id == number]
        return max(found, key=lambda segment: segment.epoch, default=None)

    def segments_for(self, tags: frozenset[str]) -> tuple[words.Segment, ...]:
        """Return the newest epochs of the segments that serve whoever has these tags."""
        numbers = sorted({segment.id for segment in self.manifest.segments})
        newest = [segment for number in numbers if (segment := self.segment(number)) is not None]
        return tuple(segment for segment in newest if words.entitled(tags, segment))


async def vendor_trust(connection: AsyncConnection, vendor: str) -> VendorTrust:
    """Read a vendor's keys.

    Raises: NotFoundError.
    """
    row = (
        await connection.execute(
            sa.select(schema.vendors.c.root, schema.vendors.c.manifest).where(schema.vendors.c.id == vendor)
        )
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no vendor {vendor!r} here")
    root, manifest = stored(row.root), stored(row.manifest)
    read = words.decode(words.Manifest, manifest.body)
    return VendorTrust(vendor, root, words.decode(words.Root, root.body), manifest, read, trusted_authors(read))


def stored(document: bytes) -> words.Signed:
    """Read a signed document from its column."""
    return _SIGNED.decode(document)


def refused(why: SnapshotRefusedError | BadEntryError) -> NotAllowedNowError:
    """Say in the broker's way what a rule of trust says no to."""
    return NotAllowedNowError(f"the document is refused: {why}")
