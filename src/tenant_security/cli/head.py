"""``tenant-security head``: vouch for what the broker serves, so that proxies notice when it freezes or goes back."""

import itertools
import tempfile
import time
from pathlib import Path
from typing import Final

import msgspec
from cyclopts import App

from tenant_security.cli.link import AtOptions, Session, talk
from tenant_security.directory.snapshot_file import SnapshotFile
from tenant_security.directory.tenants import EMPTY_DIRECTORY, TenantDirectory
from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.trust.digests import line_digest, snapshot_hash
from tenant_security.trust.refusal import Part, SnapshotRefusedError
from tenant_security.wire import snapshot as words

app = App(
    name="head",
    help="""Heads: short-lived, signed words of the vendor's side on what the newest snapshot is.

    tenant-security head publish --vendor ./vendor --life 3600 --every 60

Without heads a proxy notices a broker that withholds changes only when the manifest expires. With them it notices
within a head's life. Run this where the vendor's keys are, never on the broker's machine.
""",
    help_format="plaintext",
)

_LAST: Final = "vouched-segment-{}.snapshot"


@app.command
def publish(*, at: AtOptions, life: int = 3600, every: int = 0) -> None:
    """Check what the broker serves of every segment, and vouch for it.

    It refuses what is older than what it vouched for before: a copy of that is kept in the vendor's directory.

    Parameters
    ----------
    life
        How long a head is good. Units: seconds.
    every
        Stay, and look again after so many seconds; a change waits for its head for at most 30. 0: once.
    """
    if every and every * 2 > life:
        raise ValueError("--life must be at least twice --every, or proxies see heads run out")
    vouched: dict[int, tuple[int, float]] = {}

    async def work(session: Session) -> list[str]:
        await session.run(session.admin.pull_keys())
        said = []
        for segment in session.vendor.segments:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "snapshot"
                await session.run(session.admin.download_snapshot(segment.id, path))
                version = words.decode(words.SnapshotHeader, next(_lines(path))).version
                known = vouched.get(segment.id)
                if known is not None and known[0] == version and time.time() < known[1]:
                    continue
                head = vouch(session, segment.id, path, life)
                await session.run(session.admin.publish_head(head))
                vouched[segment.id] = version, time.time() + life / 2
            said.append(f"Segment {segment.id}: snapshot {version}, good for {life} seconds.")
        return said

    while True:
        for line in talk(at, work):
            print(line, flush=True)
        if not every:
            return
        time.sleep(every)


def vouch(session: Session, segment: int, path: Path, life_s: int) -> words.Signed:
    """Judge a snapshot as proxies will, on top of what was vouched for before, and sign a head for it.

    Raises: SnapshotRefusedError when an entry is older than before, or the whole is not acceptable.
    """
    vendor = session.vendor
    lines = _lines(path)
    header = words.decode(words.SnapshotHeader, next(lines))
    now_s = int(time.time())
    head = vendor.sign_head(
        words.Head(
            vendor=vendor.id,
            segment=segment,
            created=now_s,
            expires=now_s + life_s,
            manifest_version=vendor.manifest.version,
            manifest_hash=words.sha256(vendor.state.manifest.body),
            snapshot_version=header.version,
            snapshot_hash=snapshot_hash([line_digest(line) for line in lines]),
        )
    )
    first = words.encode(msgspec.structs.replace(header, head=head))
    last = vendor.directory / _LAST.format(segment)
    directory = _judged(session, first, path, _recalled(session, last))
    if directory.rollbacks:
        name, why = next(iter(directory.rollbacks.items()))
        raise SnapshotRefusedError(Part.FORMAT, f"the broker offers something older than before: {name}: {why}")
    kept = last.with_suffix(".new")
    kept.write_bytes(first + b"\n" + path.read_bytes().partition(b"\n")[2])
    kept.replace(last)
    return head


def _recalled(session: Session, last: Path) -> TenantDirectory:
    """Return what was vouched for before; nothing where the keys have changed too much for it to be judged."""
    try:
        return _judged(session, next(_lines(last)), last, EMPTY_DIRECTORY, now_s=int(last.stat().st_mtime))
    except (SnapshotRefusedError, OSError, StopIteration):
        return EMPTY_DIRECTORY


def _judged(
    session: Session, first: bytes, path: Path, previous: TenantDirectory, now_s: int | None = None
) -> TenantDirectory:
    verifier = SnapshotVerifier(
        first,
        pinned=session.vendor.root_fingerprint,
        credentials=None,
        now_s=int(time.time()) if now_s is None else now_s,
        previous=previous,
        source=str(path),
    )
    for number, portion in enumerate(SnapshotFile(path).portions()):
        verifier.add(portion[1:] if number == 0 else portion)
    return verifier.finish()


def _lines(path: Path) -> "itertools.chain[bytes]":
    return itertools.chain.from_iterable(SnapshotFile(path).portions())
