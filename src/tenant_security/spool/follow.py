"""Reads a log that another process writes, changing nothing."""

from collections.abc import Iterator
from pathlib import Path

from tenant_security.spool.disk import Disk
from tenant_security.spool.frames import Frame
from tenant_security.spool.segment_log import SegmentLog


def follow_log(directory: Path, disk: Disk, *, from_start: bool) -> Iterator[Frame | None]:
    """Yield records as they come, and None whenever there are no more just now. Raises: OSError.

    A record that is half written is read when it is whole. Segments that are deleted meanwhile are passed over.
    """
    last = -1
    while True:
        log = SegmentLog(directory, disk)
        log.look()
        if last < 0 and not from_start:
            last = max((frame.position for frame in log.read_newest()), default=0)
        for segment in log.segments:
            following = [each.first for each in log.segments if each.first > segment.first]
            if following and following[0] <= last + 1:
                continue
            try:
                for frame in log.read_segment(segment, log.damage):
                    if frame.position > last:
                        last = frame.position
                        yield frame
            except FileNotFoundError:
                continue
        last = max(last, 0)
        yield None
