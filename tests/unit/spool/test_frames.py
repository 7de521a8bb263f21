"""Records on disk: what was written is read back, and damage costs only what it hit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.spool.frames import (
    HEADER_BYTES,
    MAGIC,
    MOST_PAYLOAD_BYTES,
    Damage,
    encode_frames,
    framed_bytes,
    read_frames,
    resume_at,
)

PAYLOADS = st.lists(st.binary(max_size=60), max_size=20)


def read(content):
    damage = Damage()
    return [(each.position, each.payload) for each in read_frames(content, damage)], damage


@given(PAYLOADS, st.integers(1, 2**63))
def test_records_come_back_as_they_were_written(payloads, first):
    content = encode_frames(enumerate(payloads, first))
    found, damage = read(content)

    assert found == list(enumerate(payloads, first))
    assert (damage.places, damage.torn_bytes, damage.skipped_bytes) == (0, 0, 0)
    assert len(content) == framed_bytes(payloads)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=20), st.data())
def test_a_flipped_bit_costs_one_record_and_no_other(payloads, data):
    content = bytearray(encode_frames(enumerate(payloads, 1)))
    at = data.draw(st.integers(0, len(content) * 8 - 1))
    content[at // 8] ^= 1 << at % 8
    found, damage = read(bytes(content))

    kept = [each for each in enumerate(payloads, 1) if each in found]
    assert found == kept
    assert len(found) == len(payloads) - 1
    assert damage.places == 1
    assert damage.torn_bytes + damage.skipped_bytes > 0


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=20), st.data())
def test_a_cut_costs_what_follows_it_and_nothing_before(payloads, data):
    content = encode_frames(enumerate(payloads, 1))
    cut = data.draw(st.integers(0, len(content)))
    found, damage = read(content[:cut])

    ends = [framed_bytes(payloads[: count + 1]) for count in range(len(payloads))]
    assert len(found) == sum(end <= cut for end in ends)
    assert damage.torn_bytes == cut - max([end for end in ends if end <= cut], default=0)


@given(PAYLOADS, st.binary(max_size=80), PAYLOADS)
def test_rubbish_between_records_is_skipped(before, rubbish, after):
    content = encode_frames(enumerate(before, 1)) + rubbish + encode_frames(enumerate(after, 100))
    found, _ = read(content)

    assert found == [*enumerate(before, 1), *enumerate(after, 100)]


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=20), st.data())
def test_a_portion_ends_where_the_next_one_can_begin(payloads, data):
    content = encode_frames(enumerate(payloads, 1))
    size = data.draw(st.integers(0, len(content)))
    portion = content[:size]
    frames = list(read_frames(portion, Damage()))
    at = resume_at(portion, frames[-1].end if frames else 0)

    rest = list(read_frames(content[at:], Damage()))
    assert [each.payload for each in (*frames, *rest)] == payloads


def test_a_record_that_goes_back_is_damage():
    content = encode_frames([(5, b"a"), (4, b"b"), (6, b"c")])
    found, damage = read(content)

    assert found == [(5, b"a"), (6, b"c")]
    assert damage.skipped_bytes == HEADER_BYTES + 1


def test_a_length_beyond_all_bounds_is_not_believed():
    bad = MAGIC + (MOST_PAYLOAD_BYTES + 1).to_bytes(4, "big") + bytes(12)
    assert read(bad + encode_frames([(1, b"x")]))[0] == [(1, b"x")]
    with pytest.raises(ValueError, match="longer"):
        encode_frames([(1, bytes(MOST_PAYLOAD_BYTES + 1))])


def test_the_magic_stands_in_no_text():
    with pytest.raises(UnicodeDecodeError):
        MAGIC.decode()
