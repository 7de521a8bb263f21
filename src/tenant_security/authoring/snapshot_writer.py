"""Writes a roster as a sealed snapshot file.

Source: docs/formats-trust.md, "Snapshot file".
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tenant_security.authoring.keyfiles import write_whole
from tenant_security.authoring.roster import Roster
from tenant_security.authoring.vendor import Vendor
from tenant_security.trust.digests import line_digest, snapshot_hash
from tenant_security.wire import snapshot as words

_ALL_SEGMENTS: Final = 0


class Written(msgspec.Struct, frozen=True):
    """What was written."""

    version: int
    tenants: int
    shared_configs: int


def write_snapshot(vendor: Vendor, path: Path, roster: Roster, *, head_life_s: int | None = None) -> Written:
    """Write a new snapshot in one step; readers see the old file or the new one.

    With ``head_life_s`` the snapshot has a head that long: a new one must be written before it ends, or services
    refuse the file and go on with what they have. The lines are made twice, so that 100,000 tenants need no memory.

    Raises: KeyFileError when a config must be wrapped anew and the old segment key is gone; OSError.
    """
    vendor.renew()
    version, now_s, state = vendor.next_snapshot_version(), vendor.now_s(), vendor.state
    entries = [line_digest(line) for line in roster.lines()]
    head = None
    if head_life_s is not None:
        head = vendor.sign_head(
            words.Head(
                vendor=vendor.id,
                segment=_ALL_SEGMENTS,
                created=now_s,
                expires=now_s + head_life_s,
                manifest_version=vendor.manifest.version,
                manifest_hash=words.sha256(state.manifest.body),
                snapshot_version=version,
                snapshot_hash=snapshot_hash(entries),
            )
        )
    header = words.SnapshotHeader(
        format=words.FORMAT,
        format_version=words.FORMAT_VERSION,
        version=version,
        created=now_s,
        lines=len(entries),
        root=state.root,
        manifest=state.manifest,
        segment_wraps=state.segment_wraps,
        head=head,
    )
    write_whole(path, itertools.chain([words.encode(header), b"\n"], _broken(roster)))
    return Written(version, len(roster.tenants), len(roster.shared))


def _broken(roster: Roster) -> Iterator[bytes]:
    return (line + b"\n" for line in roster.lines())
