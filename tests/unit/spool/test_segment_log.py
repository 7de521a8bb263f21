"""The log against a list: whatever fails and whenever the power goes, what was synced is there, in order, once."""

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tenant_security.spool.disk import LocalDisk, open_locked
from tenant_security.spool.frames import HEADER_BYTES
from tenant_security.spool.segment_log import Place, SegmentLog
from tenant_security.testing.faulty_disk import FaultyDisk

HERE = Path("/log")
SEGMENT = 150


class LogAgainstList(RuleBasedStateMachine):
    """``synced`` must be there; ``written`` may be; nothing else is."""

    def __init__(self):
        super().__init__()
        self.disk = FaultyDisk()
        self.synced: list[tuple[int, bytes]] = []
        self.written: list[tuple[int, bytes]] = []
        self.maybe: set[tuple[int, bytes]] = set()
        self.count = 0
        self.highest = 0
        self.deleted_below = 0
        self.open()

    def open(self):
        self.log = SegmentLog(HERE, self.disk, segment_bytes=SEGMENT)
        self.log.open()

    def found(self):
        return [(each.position, each.payload) for each in self.log.read_all()]

    def lost(self, records):
        self.maybe |= set(records)

    @rule(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6))
    def append(self, sizes):
        payloads = []
        for size in sizes:
            self.count += 1
            payloads.append(str(self.count).encode().rjust(size, b"."))
        try:
            first = self.log.append(payloads)
        except OSError:
            # Rolling over syncs what was there: that too may have failed.
            first = self.log.next_position
            self.maybe |= set(self.written) | {(position, each) for position in range(first + 10) for each in payloads}
            self.written = [each for each in self.written if each in self.found()]
            return
        assert first > self.highest
        self.written += enumerate(payloads, first)
        self.highest = self.written[-1][0]

    @rule()
    def sync(self):
        try:
            self.log.sync()
        except OSError:
            self.lost(self.written)
        else:
            self.synced += self.written
        self.written = []

    @rule(failures=st.integers(1, 2), torn=st.integers(0, 60))
    def appends_will_fail(self, failures, torn):
        self.disk.fail_appends, self.disk.torn = failures, torn

    @rule()
    def cuts_will_fail(self):
        self.disk.fail_cuts = 1

    @rule()
    def syncs_will_fail(self):
        self.disk.fail_syncs = 1

    @rule(room=st.integers(0, 300))
    def fills_up(self, room):
        self.disk.capacity_bytes = self.disk.used_bytes + room

    @rule()
    def has_room_again(self):
        self.disk.capacity_bytes = None

    @rule(share=st.floats(0, 1))
    def power_goes(self, share):
        self.disk.crash(lambda unsynced: int(unsynced * share))
        self.disk.capacity_bytes = None
        self.lost(self.written)
        self.written = []
        self.open()
        self.highest = 0  # positions that nobody was promised may come again

    @precondition(lambda self: self.synced)
    @rule(data=st.data())
    def delete(self, data):
        position = data.draw(st.sampled_from(self.synced))[0]
        self.log.delete_below(position)
        self.deleted_below = max(self.deleted_below, position)

    @invariant()
    def what_was_synced_is_there_and_nothing_was_made_up(self):
        found = self.found()
        positions = [position for position, _ in found]
        assert positions == sorted(set(positions))
        kept = [each for each in self.synced if each[0] >= self.deleted_below]
        assert [each for each in found if each in set(kept)] == kept
        assert set(found) <= {*self.synced, *self.written, *self.maybe}

    @invariant()
    def reading_in_portions_reads_the_same(self):
        found, place = [], Place()
        while True:
            frames, place = self.log.read_some(place, 64)
            if not frames:
                break
            found += [(each.position, each.payload) for each in frames]
        assert found == self.found()


TestLogAgainstList = LogAgainstList.TestCase
TestLogAgainstList.settings = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)


def a_log(path, **options):
    log = SegmentLog(path, LocalDisk(), **options)
    log.open()
    return log


def test_a_log_goes_on_where_it_was_left(tmp_path):
    log = a_log(tmp_path / "log")
    assert log.append([b"a", b"b"]) == 1
    log.close()

    again = a_log(tmp_path / "log")
    assert again.append([b"c"]) == 3
    again.sync()
    assert [(each.position, each.payload) for each in again.read_all()] == [(1, b"a"), (2, b"b"), (3, b"c")]
    again.close()


def test_positions_are_never_given_twice_where_somebody_remembers_higher_ones(tmp_path):
    log = SegmentLog(tmp_path / "log", LocalDisk())
    log.open(at_least=500)

    assert log.append([b"a"]) == 500
    log.close()


def test_a_torn_tail_is_cut_and_counted(tmp_path):
    log = a_log(tmp_path / "log")
    log.append([b"first", b"second"])
    log.close()
    (file,) = (tmp_path / "log").glob("*.log")
    file.write_bytes(file.read_bytes()[:-3])

    again = a_log(tmp_path / "log")
    assert again.damage.torn_bytes == HEADER_BYTES + 3
    assert [each.payload for each in again.read_all()] == [b"first"]
    assert file.stat().st_size == HEADER_BYTES + 5
    again.close()


def test_segments_are_deleted_whole_and_only_when_nothing_in_them_is_wanted(tmp_path):
    log = a_log(tmp_path / "log", segment_bytes=100)
    for number in range(10):
        log.append([str(number).encode() * 30])
    log.sync()
    assert [each.first for each in log.segments] == [1, 3, 5, 7, 9]

    assert log.delete_below(6) == 2 * (HEADER_BYTES + 30) * 2
    assert [each.position for each in log.read_all()] == [5, 6, 7, 8, 9, 10]
    log.close()


def test_a_record_larger_than_a_segment_has_one_of_its_own(tmp_path):
    log = a_log(tmp_path / "log", segment_bytes=100)
    log.append([b"small"])
    log.append([bytes(1_000)])
    log.sync()

    assert [len(each.payload) for each in log.read_all()] == [5, 1_000]
    frames, _ = log.read_some(Place(), 10)
    assert [each.payload for each in frames] == [b"small"]
    log.close()


def test_a_directory_has_one_owner(tmp_path):
    import os

    held = open_locked(tmp_path)
    with pytest.raises(OSError, match="unavailable"):
        open_locked(tmp_path)
    os.close(held)
    os.close(open_locked(tmp_path))
