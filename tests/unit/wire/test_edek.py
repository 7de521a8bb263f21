"""EDEKs: what clients stored for years must be read, and what we write must be read by everybody."""

import base64
from functools import cache
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.crypto.aead import LeasedKeyCipher
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.wire import edek, protobuf
from tenant_security.wire.edek import EncryptedDek, LeasedEdekTemplate

INT32 = st.integers(1, 2**31 - 1)
DATA = st.binary(min_size=1, max_size=400)
IV = st.binary(min_size=12, max_size=12)
SEALED = st.binary(min_size=48, max_size=48)

UNLEASED = st.builds(EncryptedDek, DATA, INT32)
LEASED = st.builds(EncryptedDek, st.binary(min_size=17, max_size=400), INT32, INT32, IV, DATA)
ENTRIES = UNLEASED | LEASED


@cache
def google() -> Any:
    """The same messages in Google's own library."""
    file = descriptor_pb2.FileDescriptorProto(name="edek.proto", package="edek", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    deks = file.message_type.add(name="EncryptedDeks")
    deks.field.add(
        name="deks", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE, type_name=".edek.EncryptedDek"
    )
    dek = file.message_type.add(name="EncryptedDek")
    for number, (name, kind) in enumerate(
        [
            ("data", field.TYPE_BYTES),
            ("config_id", field.TYPE_INT32),
            ("lease_id", field.TYPE_INT32),
            ("lease_iv", field.TYPE_BYTES),
            ("wrapped_lease", field.TYPE_BYTES),
            ("tenant_id", field.TYPE_BYTES),
        ],
        start=1,
    ):
        dek.field.add(name=name, number=number, label=field.LABEL_OPTIONAL, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("edek.EncryptedDeks"))


def entry(*, data: bytes = b"blob", config_id: int | None = 511, more: bytes = b"") -> bytes:
    config = b"" if config_id is None else protobuf.integer(2, config_id)
    return (protobuf.delimited(1, data) if data else b"") + config + more


def deks(*entries: bytes) -> bytes:
    return b"".join(protobuf.delimited(1, each) for each in entries)


def leased_parts(*, iv: bytes = bytes(12), wrapped: bytes = b"wrapped") -> bytes:
    return protobuf.integer(3, 640) + protobuf.delimited(4, iv) + protobuf.delimited(5, wrapped)


def refused(message: bytes) -> str:
    with pytest.raises(TenantSecurityError) as caught:
        edek.decode(message)
    assert caught.value.code is Code.INVALID_PROVIDED_EDEK
    return caught.value.message


@pytest.mark.vectors("edek-v1")
def test_edeks_that_clients_have_stored_are_read(vector):
    found = edek.decode_base64(vector["edek"])

    assert len(base64.b64decode(vector["edek"])) == vector["length"]
    assert found.config_id == vector["config_id"]
    assert len(found.data) == vector["data_length"]
    assert found.data.hex().startswith(vector["data_starts"])
    assert found.lease_id == vector["lease_id"]
    assert found.leased is (vector["lease_id"] != 0)
    assert found.lease_iv.hex() == vector.get("lease_iv", "")
    assert len(found.wrapped_lease) == vector.get("wrapped_lease_length", 0)


@pytest.mark.vectors("edek-v1", having="lease_iv")
def test_the_wrapped_lease_of_a_stored_edek_is_an_unleased_edek(vector):
    found = edek.decode_base64(vector["edek"])

    inner = edek.decode(found.wrapped_lease)
    assert not inner.leased
    assert inner.config_id == vector["inner_config_id"] == found.config_id
    assert len(inner.data) == vector["inner_data_length"]
    assert inner.data.hex().startswith(vector["inner_data_starts"])


@pytest.mark.vectors("edek-v1")
def test_what_was_read_is_written_back_byte_for_byte(vector):
    assert edek.encode_base64(edek.decode_base64(vector["edek"])) == vector["edek"]


@pytest.mark.vectors("edek-v1", having="opens")
def test_the_leased_key_of_a_leased_edek_opens_its_dek(vector):
    found = edek.decode_base64(vector["edek"])
    cipher = LeasedKeyCipher(bytes.fromhex(vector["opens"]["leased_key"]))

    assert cipher.open(found.data, found.lease_iv) == bytes.fromhex(vector["opens"]["dek"])


@pytest.mark.parametrize(
    "junk",
    [
        b"edek",  # field 12, four bytes announced, three there
        b"what a waste of time\n",
        b"randomBytes",
        b"\x01",
        b"\x00\x00",
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0b",
        b"\x0c",
        b"\x0e\x00",
        b"\x0f\x00",
        b"\x09\x01\x02",
        b"\xff" * 11,
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
)
def test_what_is_no_protobuf_is_refused_in_the_words_that_clients_look_for(junk):
    assert "Provided EDEK didn't contain IronCore EDEKs" in refused(junk)


@pytest.mark.parametrize("message", [b"", protobuf.integer(2, 7), protobuf.delimited(7, b"x")])
def test_a_message_without_entries_is_refused_as_empty(message):
    assert refused(message) == "No encrypted DEKs were provided"


@pytest.mark.parametrize(
    "inside",
    {
        "no data": entry(data=b""),
        "no config": entry(config_id=None),
        "config 0": entry(config_id=0),
        "a config beyond int32": entry(config_id=2**31),
        "a negative config": entry(config_id=2**64 - 1),
        "a config as bytes": protobuf.delimited(1, b"blob") + protobuf.delimited(2, b"\x01"),
        "data as a number": protobuf.integer(1, 5) + protobuf.integer(2, 511),
        "a tenant as a number": entry(more=protobuf.integer(6, 1)),
        "a short IV": entry(data=bytes(48), more=leased_parts(iv=bytes(11))),
        "a long IV": entry(data=bytes(48), more=leased_parts(iv=bytes(13))),
        "no IV": entry(data=bytes(48), more=protobuf.integer(3, 1) + protobuf.delimited(5, b"w")),
        "no wrapped lease": entry(data=bytes(48), more=leased_parts(wrapped=b"")),
        "no room for a tag": entry(data=bytes(16), more=leased_parts()),
        "a group": entry(more=b"\x3b\x3c"),
        "field 0": entry(more=b"\x00\x01"),
        "a cut fixed32": entry(more=b"\x3d\x00\x00\x00"),
        "a cut fixed64": entry(more=b"\x39\x00\x00\x00\x00\x00\x00\x00"),
        "a cut varint": entry(more=b"\x38\x80"),
        "a cut field": entry(more=b"\x3a\x02x"),
        "wire type 7": entry(more=b"\x3f\x00"),
    }.values(),
    ids=lambda inside: inside.hex()[-20:],
)
def test_an_incomplete_or_contradictory_entry_is_refused(inside):
    assert "Provided EDEK didn't contain IronCore EDEKs" in refused(deks(inside))


@pytest.mark.parametrize(
    "extra", [b"\x38\x01", b"\x39" + bytes(8), b"\x3a\x02xy", b"\x3d" + bytes(4), b"\xf8\xff\xff\xff\x0f\x05"]
)
def test_fields_that_nobody_knows_yet_are_skipped(extra):
    assert edek.decode(deks(entry(more=extra)) + extra) == EncryptedDek(b"blob", 511)


def test_the_tenant_id_that_some_clients_add_is_ignored():
    assert edek.decode(deks(entry(more=protobuf.delimited(6, b"tenant-gcp-l")))) == EncryptedDek(b"blob", 511)


def test_several_entries_are_read_in_their_order_and_written_so():
    made = (EncryptedDek(b"first", 1), EncryptedDek(b"second", 2))
    message = deks(entry(data=b"first", config_id=1), entry(data=b"second", config_id=2))

    assert edek.decode_all(message) == made
    assert edek.decode(message) == made[0]
    assert edek.encode_all(made) == message


def test_more_entries_than_a_tenant_can_have_kmss_are_no_edek():
    some = [entry(data=b"x", config_id=number) for number in range(1, edek.MOST_ENTRIES + 2)]

    assert len(edek.decode_all(deks(*some[:-1]))) == edek.MOST_ENTRIES
    assert "more than" in refused(deks(*some))


def test_a_broken_entry_beside_a_good_one_makes_the_whole_no_edek():
    """Otherwise one altered length would turn a leased EDEK into its wrapped lease: that unwraps to the leased key."""
    inner = entry(data=b"the wrapped leased key")
    leased = entry(data=bytes(48), more=protobuf.integer(3, 640) + protobuf.delimited(4, bytes(12)))
    cut = leased + protobuf.delimited(5, deks(inner))[:2]

    assert edek.decode(deks(inner)).data == b"the wrapped leased key"
    assert "didn't contain IronCore EDEKs" in refused(deks(cut, inner))


@given(ENTRIES, st.data())
def test_nothing_is_read_that_googles_library_refuses(made, data):
    message = bytearray(edek.encode(made))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        edek.decode(bytes(message))
    except TenantSecurityError:
        return
    assert google().FromString(bytes(message)).deks


def test_the_last_value_of_a_repeated_field_counts():
    assert edek.decode(deks(entry(more=protobuf.integer(2, 9)))).config_id == 9


@pytest.mark.parametrize(
    "text",
    ["", "!", "CnY", "Cn Y=", "CnYK\n", "\nCnYK", "=CnYK", "CnYK=", "CnYK====", "Cn-_", "Cñ==", "\ud800", "CnYK\x00"],
)
def test_what_is_not_strict_base64_of_an_edek_is_refused(text):
    with pytest.raises(TenantSecurityError) as caught:
        edek.decode_base64(text)
    assert caught.value.code is Code.INVALID_PROVIDED_EDEK
    assert text not in caught.value.message or not text


@pytest.mark.parametrize("config_id", [0, -1, 2**31])
def test_a_config_id_that_no_reader_takes_is_never_written(config_id):
    with pytest.raises(ValueError, match="between 1 and"):
        edek.encode(EncryptedDek(b"blob", config_id))


@given(ENTRIES)
def test_what_is_written_is_read(made):
    assert edek.decode(edek.encode(made)) == made
    assert edek.decode_base64(edek.encode_base64(made)) == made


@given(ENTRIES)
def test_googles_library_writes_the_same_bytes(made):
    theirs = google()()
    theirs.deks.add(
        data=made.data,
        config_id=made.config_id,
        lease_id=made.lease_id,
        lease_iv=made.lease_iv,
        wrapped_lease=made.wrapped_lease,
    )

    assert theirs.SerializeToString(deterministic=True) == edek.encode(made)


@given(ENTRIES)
def test_googles_library_reads_what_we_write(made):
    (theirs,) = google().FromString(edek.encode(made)).deks

    assert EncryptedDek(theirs.data, theirs.config_id, theirs.lease_id, theirs.lease_iv, theirs.wrapped_lease) == made
    assert theirs.tenant_id == b""


@given(st.lists(ENTRIES, min_size=1, max_size=3), st.binary(max_size=20))
def test_we_read_what_googles_library_writes(entries, tenant_id):
    theirs = google()()
    for made in entries:
        theirs.deks.add(
            data=made.data,
            config_id=made.config_id,
            lease_id=made.lease_id,
            lease_iv=made.lease_iv,
            wrapped_lease=made.wrapped_lease,
            tenant_id=tenant_id,
        )

    assert edek.decode_all(theirs.SerializeToString()) == tuple(entries)


@given(config_id=INT32, lease_id=INT32, wrapped=DATA, data=SEALED, iv=IV)
def test_a_filled_template_is_what_encoding_would_have_made(config_id, lease_id, wrapped, data, iv):
    template = LeasedEdekTemplate(config_id=config_id, lease_id=lease_id, wrapped_lease=wrapped)

    assert template.fill(data, iv) == edek.encode(EncryptedDek(data, config_id, lease_id, iv, wrapped))


@given(st.binary(min_size=100, max_size=200).map(lambda blob: bytes(60) + blob))
def test_a_template_is_right_even_where_the_wrapped_lease_looks_like_its_blanks(wrapped):
    template = LeasedEdekTemplate(config_id=511, lease_id=640, wrapped_lease=wrapped)
    made = EncryptedDek(b"\x07" * 48, 511, 640, b"\x08" * 12, wrapped)

    assert edek.decode(template.fill(made.data, made.lease_iv)) == made


@given(config_id=st.integers(128, 16_383), lease_id=st.integers(128, 16_383), data=SEALED, iv=IV)
def test_leased_edeks_have_one_length_and_never_look_like_alloys_own(config_id, lease_id, data, iv):
    inner = edek.encode(EncryptedDek(b"LK" + bytes(111), config_id))
    made = LeasedEdekTemplate(config_id=config_id, lease_id=lease_id, wrapped_lease=inner).fill(data, iv)

    assert len(made) == 195
    assert made.startswith(b"\x0a\xc0\x01\x0a\x30")
    assert not looks_like_alloys_own(made)
    assert not looks_like_alloys_own(inner)


def looks_like_alloys_own(message: bytes) -> bool:
    """Alloy takes an EDEK for its own when byte 5 is 0 and byte 4's nibbles name kinds that it knows."""
    return message[5] == 0 and message[4] >> 4 in (0, 4, 8) and message[4] & 15 in (0, 1, 2)


@given(st.binary(max_size=300))
def test_whatever_the_bytes_reading_ends_in_an_edek_or_in_203(message):
    try:
        found = edek.decode(message)
    except TenantSecurityError as fault:
        answer = fault.code
    else:
        answer = bool(found.data) and found.config_id > 0

    assert answer in (Code.INVALID_PROVIDED_EDEK, True)


TEMPLATED = st.builds(EncryptedDek, SEALED, INT32, st.integers(1, 2**28 - 1), IV, st.binary(min_size=60, max_size=400))


@given(TEMPLATED)
def test_the_quick_reader_reads_every_edek_that_we_write(made):
    parts = edek.leased_parts(edek.encode(made))

    assert parts == (made.config_id, made.data, made.lease_iv, made.wrapped_lease)


@given(TEMPLATED, st.data())
def test_the_quick_reader_never_says_what_the_strict_one_would_not(made, data):
    message = bytearray(edek.encode(made))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, 130)) % len(message)
        message[at] ^= 1 << data.draw(st.integers(0, 7))

    parts = edek.leased_parts(bytes(message))
    if parts is not None:
        found = edek.decode(bytes(message))
        assert found.leased
        assert parts == (found.config_id, found.data, found.lease_iv, found.wrapped_lease)


def test_the_quick_reader_leaves_a_length_of_one_byte_to_the_strict_one():
    message = bytearray(edek.encode(EncryptedDek(bytes(48), 511, 640, bytes(12), bytes(120))))
    message[1] &= 0x7F

    assert edek.leased_parts(bytes(message)) is None


@pytest.mark.parametrize(
    "made",
    [
        EncryptedDek(b"blob", 511),
        EncryptedDek(bytes(47), 511, 640, bytes(12), bytes(120)),
        EncryptedDek(bytes(48), 511, 640, bytes(11), bytes(120)),
    ],
)
def test_the_quick_reader_leaves_everything_else_to_the_strict_one(made):
    assert edek.leased_parts(edek.encode(made)) is None


@given(st.integers(1, 2**28 - 1), st.integers(1, 2**28 - 1), st.binary(min_size=1, max_size=300), SEALED, IV)
def test_a_template_writes_the_same_in_base64(config_id, lease_id, wrapped, data, iv):
    template = LeasedEdekTemplate(config_id=config_id, lease_id=lease_id, wrapped_lease=wrapped)

    assert template.fill_base64(data, iv).decode() == edek.to_base64(template.fill(data, iv))
