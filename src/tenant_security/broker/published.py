"""Snapshots ready to be sent: each version is written to a file once, however many services ask for it.

A fleet that starts together asks for the same bytes; none of it waits on the database then. Changes since a version are
made for whoever asks, because they are few.
"""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, NamedTuple

import sqlalchemy as sa

from tenant_security.broker import config_tests, schema
from tenant_security.broker.database import Database
from tenant_security.broker.snapshots import current_revision, revocation_line, snapshot_lines

CHANGES_CAP_BYTES: Final = 8 * 1_048_576
"""Changes that are longer than this are not sent: the whole is."""
_CHUNK: Final = 256 * 1024
_KEPT: Final = 16
_HEAD_WAIT_MS: Final = 30_000
"""How long a change waits for the vendor's side to vouch for it. Units: milliseconds."""
_LOOK_S: Final = 1.0


class Offer(NamedTuple):
    """What services should have now. ``tag`` changes with the snapshot, and with the head that vouches for it.

    ``work`` names the kinds of service that have something to do.
    """

    version: int
    tag: str
    work: frozenset[str] = frozenset()


class _Looked(NamedTuple):
    """An offer, and until when (by the loop's clock) it need not be looked up again."""

    offer: Offer
    until: float


class _Written(NamedTuple):
    """A snapshot in a file."""

    version: int
    path: Path


class Published:
    """What services are sent, and when. One for a process."""

    def __init__(self, database: Database, now_ms: Callable[[], int]) -> None:
        self._database: Final = database
        self._now_ms: Final = now_ms
        self._directory: Final = tempfile.TemporaryDirectory(prefix="tenant-security-broker-")
        self._written: Final[dict[tuple[str, int], _Written]] = {}
        self._writing: Final[dict[tuple[str, int], asyncio.Lock]] = {}
        self._news: Final[dict[str, asyncio.Event]] = {}
        self._stopping = False
        self.waiting = 0
        """How many services wait for news now."""
        self.answers: Final[dict[str, int]] = {"unchanged": 0, "changes": 0, "whole": 0, "revoked": 0}
        """How requests for a snapshot were answered, since the start."""
        self._looked: Final[dict[tuple[str, int], _Looked]] = {}
        self._looking: Final[dict[tuple[str, int], asyncio.Lock]] = {}

    @property
    def stopping(self) -> bool:
        """Whether nobody should be kept waiting any more."""
        return self._stopping

    def stop_waiting(self) -> None:
        """Let everybody who waits go, and whoever comes: the broker stops."""
        self._stopping = True
        for each in self._news.values():
            each.set()

    def close(self) -> None:
        """Remove the files."""
        self._directory.cleanup()

    def tell(self, vendor: str) -> None:
        """Wake whoever waits for news of this vendor."""
        for key in [key for key in self._looked if key[0] == vendor]:
            del self._looked[key]
        waiting = self._news.pop(vendor, None)
        if waiting is not None:
            waiting.set()

    def work_changed(self, vendor: str, segment: int) -> None:
        """Look again before saying that there is work."""
        self._looked.pop((vendor, segment), None)

    async def offer(self, vendor: str, segment: int) -> Offer:
        """Return what services should have now.

        Where the vendor's side vouches for snapshots, a change is held back until it does, for a short while: a
        snapshot without a head would be refused.
        """
        heads = schema.heads
        async with self._database.read() as connection:
            revision = await current_revision(connection, vendor)
            found = await connection.execute(
                sa.select(heads.c.snapshot_version, heads.c.signed).where(
                    heads.c.vendor == vendor, heads.c.segment == segment
                )
            )
            head = found.one_or_none()
            work = await config_tests.waiting(connection, vendor, segment, self._now_ms())
        if head is None:
            return Offer(revision, f"{revision}", work)
        behind = head.snapshot_version < revision
        if behind and self._now_ms() - revision >= _HEAD_WAIT_MS:
            return Offer(revision, f"{revision}", work)
        tag = f"{head.snapshot_version}-{hashlib.sha256(head.signed).hexdigest()[:16]}"
        return Offer(head.snapshot_version, tag, work)

    async def _recent_offer(self, vendor: str, segment: int) -> Offer:
        """Return an offer that was looked up within the last second: however many wait, the database is asked once."""
        key, clock = (vendor, segment), asyncio.get_running_loop().time
        async with self._looking.setdefault(key, asyncio.Lock()):
            looked = self._looked.get(key)
            if looked is not None and clock() < looked.until:
                return looked.offer
            # Who changes something while we look makes us look again, so the time counts from the beginning.
            news, began = self._news.get(vendor), clock()
            offer = await self.offer(vendor, segment)
            if news is None or not news.is_set():
                self._looked[key] = _Looked(offer, began + _LOOK_S)
            return offer

    async def newer(self, vendor: str, segment: int, than: str, *, wait_s: float, kind: str = "") -> Offer:
        """Wait until something other than this tag is offered, or there is work for this kind of service.

        Returns what is offered then, or when ``wait_s`` seconds are over.
        """
        deadline = asyncio.get_running_loop().time() + wait_s
        offer = await self.offer(vendor, segment)
        while True:
            left_s = deadline - asyncio.get_running_loop().time()
            if offer.tag != than or left_s <= 0 or kind in offer.work or self._stopping:
                return offer
            news = self._news.setdefault(vendor, asyncio.Event())
            # Another broker may have made the change, so the database is asked now and then too.
            self.waiting += 1
            try:
                async with asyncio.timeout(min(left_s, _LOOK_S)):
                    await news.wait()
            except TimeoutError:
                pass
            finally:
                self.waiting -= 1
            offer = await self._recent_offer(vendor, segment)

    async def changes(self, vendor: str, segment: int, since: int) -> bytes | None:
        """Return the lines that changed since a version, or None when they are too many or not known.

        What happened before this database began, or before it was restored from a backup, nobody knows.
        """
        lines: list[bytes] = []
        size = 0
        vendors = schema.vendors
        async with self._database.read() as connection:
            known = await connection.execute(sa.select(vendors.c.changes_from).where(vendors.c.id == vendor))
            if since < known.scalar_one():
                return None
            made = snapshot_lines(connection, vendor, segment, since=since, now_s=self._now_ms() // 1000)
            async for line in made:
                size += len(line) + 1
                if size > CHANGES_CAP_BYTES:
                    return None
                lines.append(line)
        return b"".join(line + b"\n" for line in lines)

    async def revocation(self, vendor: str, segment: int) -> bytes:
        """Return what tells a service that it is revoked: the first line of the snapshot, and no more."""
        async with self._database.read() as connection:
            return await revocation_line(connection, vendor, segment, now_s=self._now_ms() // 1000) + b"\n"

    async def whole(self, vendor: str, segment: int) -> Path:
        """Return the file that holds the whole snapshot as it is now, written unless it was already."""
        key = vendor, segment
        async with self._writing.setdefault(key, asyncio.Lock()):
            async with self._database.read() as connection:
                version = await current_revision(connection, vendor)
                written = self._written.get(key)
                if written is not None and written.version == version and not await self._outdated(key, written):
                    return written.path
                made = snapshot_lines(connection, vendor, segment, since=None, now_s=self._now_ms() // 1000)
                path = await self._write(made)
            self._keep(key, _Written(version, path))
            return path

    async def _outdated(self, key: tuple[str, int], written: _Written) -> bool:
        """Whether a head for this very version came after the file was written."""
        heads = schema.heads
        async with self._database.read() as connection:
            found = await connection.execute(
                sa.select(heads.c.signed).where(
                    heads.c.vendor == key[0],
                    heads.c.segment == key[1],
                    heads.c.snapshot_version == written.version,
                )
            )
            signed = found.scalar_one_or_none()
        return signed is not None and not await asyncio.to_thread(_first_line_holds, written.path, signed)

    async def _write(self, lines: AsyncIterator[bytes]) -> Path:
        descriptor, name = tempfile.mkstemp(dir=self._directory.name)
        with os.fdopen(descriptor, "wb", buffering=_CHUNK) as file:
            async for line in lines:
                file.write(line + b"\n")
        return Path(name)

    def _keep(self, key: tuple[str, int], written: _Written) -> None:
        old = self._written.pop(key, None)
        self._written[key] = written
        gone = [old] if old is not None else []
        while len(self._written) > _KEPT:
            gone.append(self._written.pop(next(iter(self._written))))
        for each in gone:
            # Whoever is being sent it has it open, and reads it to its end.
            each.path.unlink(missing_ok=True)


def _first_line_holds(path: Path, signed: bytes) -> bool:
    with path.open("rb") as file:
        return signed in file.readline()


async def chunks(path: Path) -> AsyncIterator[bytes]:
    """Read a file piece by piece."""
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
