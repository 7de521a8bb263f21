"""The strict protobuf reader."""

import pytest
from google.protobuf import unknown_fields
from google.protobuf.empty_pb2 import Empty
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.wire import protobuf
from tenant_security.wire.protobuf import MalformedMessageError


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_as_short_as_it_can_be_and_is_read_back(value):
    written = protobuf.varint(value)

    assert len(written) == max(1, -(-value.bit_length() // 7))
    assert list(protobuf.fields(b"\x08" + written)) == [(1, value)]


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.integers(0, 2**64 - 1) | st.binary(max_size=40)), max_size=8))
def test_fields_are_read_in_the_order_they_were_written(wanted):
    written = b"".join(
        protobuf.integer(number, value) if isinstance(value, int) else protobuf.delimited(number, value)
        for number, value in wanted
    )

    assert list(protobuf.fields(written)) == wanted


@given(st.binary(max_size=60))
def test_nothing_is_read_that_googles_library_refuses(message):
    try:
        found = list(protobuf.fields(message))
    except MalformedMessageError:
        return
    known = unknown_fields.UnknownFieldSet(Empty.FromString(message))
    assert [each.field_number for each in known] == [number for number, _ in found]


@pytest.mark.parametrize("tag", [b"\x00", b"\x02", b"\x05", protobuf.varint(1 << 32)])
def test_a_field_number_out_of_range_is_refused(tag):
    with pytest.raises(MalformedMessageError, match="field number"):
        list(protobuf.fields(tag + bytes(20)))


@pytest.mark.parametrize("wire_type", [3, 4, 6, 7])
def test_groups_and_unknown_wire_types_are_refused(wire_type):
    with pytest.raises(MalformedMessageError, match=f"wire type {wire_type}"):
        list(protobuf.fields(bytes([8 | wire_type]) + bytes(20)))
