"""A log of records in one directory: segments that are only appended to, synced when asked, and deleted whole.

Every record has a position, counted up from 1 and never used twice. A segment's file is named after the first position
that it may hold. Opening cuts the torn tail of the newest segment; damage elsewhere is skipped when it is read.

Source: docs/formats.md, "Spool".
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tenant_security.spool.disk import AppendFile, Disk
from tenant_security.spool.frames import (
    HEADER_BYTES,
    Damage,
    Frame,
    encode_frames,
    read_frames,
    resume_at,
)

_NAME: Final = re.compile(r"([0-9]{20})\.log")
SEGMENT_BYTES: Final = 64 * 1_048_576


class Segment:
    """One file. ``first`` is the lowest position that it may hold. Units: ``size`` is bytes that are records."""

    __slots__ = ("first", "path", "size")

    def __init__(self, first: int, path: Path, size: int) -> None:
        self.first = first
        self.path = path
        self.size = size


class Place(NamedTuple):
    """Where a reader stands: in which segment, and at which offset in it."""

    segment: int = 0
    offset: int = 0


class SegmentLog:
    """One log. Open it with :meth:`open`, then append, sync and read.

    Owner: one thread at a time; :meth:`sync` may run in another while nothing else happens. ``damage`` is what has been
    met so far that was no record.
    """

    def __init__(self, directory: Path, disk: Disk, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.directory = directory
        self.damage = Damage()
        self.segments: list[Segment] = []
        self.next_position = 1
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._file: AppendFile | None = None
        self.doubtful = False
        """Whether a sync has failed, so that some of what was appended since the one before may be gone."""
        self._left = False
        self._unsynced = False

    @property
    def used_bytes(self) -> int:
        """How much it takes on the disk."""
        return sum(each.size for each in self.segments)

    def open(self, *, at_least: int = 1) -> None:
        """Find what is there. ``at_least`` is the lowest position that the next record may get. Raises: OSError."""
        self._disk.make_directory(self.directory)
        self.look()
        newest = self._repair(self.segments[-1]) if self.segments else 0
        self.next_position = max(newest + 1, at_least, self.segments[-1].first if self.segments else 1)

    def look(self) -> None:
        """Find what is there and change nothing: for a log that another process writes. Raises: OSError."""
        firsts = sorted(
            int(found.group(1)) for name in self._disk.names(self.directory) if (found := _NAME.fullmatch(name))
        )
        paths = [(first, self.directory / f"{first:020d}.log") for first in firsts]
        self.segments = [Segment(first, path, self._disk.size(path)) for first, path in paths]

    def _repair(self, segment: Segment) -> int:
        """Cut what follows the newest segment's last good record; return that record's position.

        What stands is synced: a crash may have come between writing it and that.
        """
        content = self._disk.read(segment.path)
        newest, end, seen = 0, 0, Damage()
        for frame in read_frames(content, seen):
            newest, end = frame.position, frame.end
        self.damage.torn_bytes += seen.torn_bytes
        self.damage.places += seen.torn_bytes > 0
        file = self._disk.open(segment.path)
        try:
            if end < len(content):
                file.cut(end)
            file.sync()
        finally:
            file.close()
        segment.size = end
        return newest

    def append(self, payloads: Sequence[bytes]) -> int:
        """Write records and return the position of the first. They are safe after :meth:`sync`.

        Raises: OSError, and then none of them is in the log.
        """
        first = self.next_position
        self._append(encode_frames(enumerate(payloads, first)), first, first + len(payloads))
        return first

    def append_at(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Write records at positions of the caller's, each beyond all before it. Raises: OSError, as above."""
        first = records[0][0]
        if first < self.next_position:
            raise ValueError("positions never go back")
        self._append(encode_frames(records), first, records[-1][0] + 1)

    def _append(self, content: bytes, first: int, following: int) -> None:
        file = self._ready(len(content), first)
        before = file.size
        try:
            file.append(content)
        except OSError:
            self._take_back(file, before, following)
            raise
        self.segments[-1].size = file.size
        self.next_position = following
        self._unsynced = True

    def _ready(self, size: int, first: int) -> AppendFile:
        """The file for the next records. Raises: OSError."""
        if self._file is not None and self._file.size and self._file.size + size > self._segment_bytes:
            self.sync()
            self.roll()
        if self._file is None:
            newest = self.segments[-1] if self.segments else None
            if newest is None or (self._left and newest.first != first):
                path = self.directory / f"{first:020d}.log"
                self._file = self._disk.open(path)
                self.segments.append(Segment(first, path, self._file.size))
            else:
                self._file = self._disk.open(newest.path)
            self._left = False
        return self._file

    def _take_back(self, file: AppendFile, size: int, following: int) -> None:
        try:
            file.cut(size)
        except OSError:
            # Some of it stays: damage, or records that nobody was promised. Go on in another file, at other positions.
            self.segments[-1].size = file.size
            self.next_position = following
            self.roll()

    def roll(self) -> None:
        """Go on in a new segment with the next record."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
        self._left = True

    def sync(self) -> None:
        """Return when all that was appended is on the disk.

        Raises: OSError; nothing appended since the last sync may be believed then, and the log goes on in a new file.
        """
        if self._file is None or not self._unsynced:
            return
        try:
            self._file.sync()
        except OSError:
            self.doubtful = True
            self.roll()
            raise
        finally:
            self._unsynced = False

    def close(self) -> None:
        """Sync and let the file go. Raises: OSError."""
        try:
            self.sync()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def delete_below(self, position: int, *, keep: int = 1) -> int:
        """Delete the oldest segments that hold nothing from a position on; the newest ``keep`` stay. Returns bytes."""
        freed = 0
        while len(self.segments) > keep and self.segments[1].first <= position:
            oldest = self.segments[0]
            self._disk.remove(oldest.path)
            freed += oldest.size
            del self.segments[0]
        return freed

    def rewind(self, position: int) -> None:
        """Forget every record beyond a position, and go on behind it. Raises: OSError."""
        self.roll()
        while self.segments and self.segments[-1].first > position:
            self._disk.remove(self.segments[-1].path)
            self.segments.pop()
        if self.segments:
            self._cut_behind(self.segments[-1], position)
        self.next_position = position + 1
        self._unsynced = self.doubtful = False

    def _cut_behind(self, segment: Segment, position: int) -> None:
        end = max((each.end for each in self.read_segment(segment, Damage()) if each.position <= position), default=0)
        if end < segment.size:
            file = self._disk.open(segment.path)
            try:
                file.cut(end)
                file.sync()
            finally:
                file.close()
            segment.size = end

    def delete(self, segment: Segment) -> None:
        """Delete one segment, but not the newest. Raises: OSError."""
        if segment is self.segments[-1]:
            raise ValueError("the newest segment is still written to")
        self._disk.remove(segment.path)
        self.segments.remove(segment)

    @property
    def end(self) -> Place:
        """Where a reader stands that has read everything."""
        return Place(self.segments[-1].first, self.segments[-1].size) if self.segments else Place()

    def clear(self) -> None:
        """Delete everything and the directory. Raises: OSError."""
        if self._file is not None:
            self._file.close()
            self._file = None
        while self.segments:
            self._disk.remove(self.segments[-1].path)
            self.segments.pop()
        self._unsynced = False

    def read_segment(self, segment: Segment, damage: Damage) -> Iterator[Frame]:
        """Yield one segment's good records. Raises: OSError."""
        yield from read_frames(self._disk.read(segment.path), damage)

    def read_newest(self) -> Iterator[Frame]:
        """Yield the newest segment's good records. Raises: OSError."""
        for segment in self.segments[-1:]:
            yield from self.read_segment(segment, self.damage)

    def read_all(self) -> Iterator[Frame]:
        """Yield every good record, oldest first, with one segment in memory at a time. Raises: OSError."""
        for segment in list(self.segments):
            yield from self.read_segment(segment, self.damage)

    def read_some(self, place: Place, most_bytes: int) -> tuple[list[Frame], Place]:
        """Read about so many bytes from a place on, and say where to go on. Nothing is left when there are no records.

        Raises: OSError.
        """
        for segment in list(self.segments):
            if segment.first < place.segment:
                continue
            offset = place.offset if segment.first == place.segment else 0
            while offset < segment.size:
                frames, offset = self._portion(segment, offset, most_bytes)
                if frames:
                    return frames, Place(segment.first, offset)
        return [], max(place, self.end)

    def _portion(self, segment: Segment, offset: int, most_bytes: int) -> tuple[list[Frame], int]:
        """The records of one portion of a segment, whole ones only, and the offset behind them."""
        left = segment.size - offset
        size = min(left, max(most_bytes, HEADER_BYTES))
        while True:
            content = self._disk.read(segment.path, offset, size)
            met = Damage()
            frames = list(read_frames(content, met))
            end = frames[-1].end if frames else 0
            at = len(content) if size == left else resume_at(content, end)
            if at == 0 and content:  # not even one whole record
                size = min(left, size * 4)
                continue
            self.damage.skipped_bytes += met.skipped_bytes + at - end
            self.damage.places += met.places - (met.torn_bytes > 0) + (at > end)
            return frames, offset + at if content else segment.size
