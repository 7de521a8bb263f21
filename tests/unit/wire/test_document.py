"""Documents' heads: those that the published clients have written, byte for byte."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.wire import document, edek
from tenant_security.wire.document import MalformedDocumentError


@pytest.mark.vectors("document-v1", having="form")
def test_published_documents_are_read(vector):
    if "bytes" not in vector:
        return
    raw = base64.b64decode(vector["bytes"])
    head = document.read_head(raw)
    assert (head.form.value, len(raw)) == (vector["form"], vector["length"])
    noted = head.v3.tenant_id if head.v3 else head.v4.tenant_id if head.v4 else None
    assert noted == vector["tenant"]
    assert head.attached == ("config_id" in vector)
    if head.v4 is not None:
        entry = edek.decode(head.v4.edek)
        assert (entry.config_id, entry.lease_id) == (vector["config_id"], vector["lease_id"])
        assert head.v4.is_signed


@pytest.mark.vectors("document-v1", having="v5_edek")
def test_published_edeks_of_v5_are_read(vector):
    number, header = document.read_v5_edek(base64.b64decode(vector["v5_edek"]))
    entry = edek.decode(header.edek)
    assert (number.number, header.tenant_id) == (vector["number"], vector["tenant"])
    assert (entry.config_id, entry.lease_id) == (vector["config_id"], vector["lease_id"])


def test_what_alloy_writes_is_what_we_would_write():
    vectors = {each["name"]: each for each in load("document-v1")}
    raw = base64.b64decode(vectors["E12 V5 twin"]["v5_edek"])
    number, header = document.read_v5_edek(raw)
    payload = document.v4_payload(header.edek, "tenant-gcp-l")
    assert payload == header.signed
    assert document.v5_edek(number.number, document.v4_header(payload, header.signature)) == raw
    attached = base64.b64decode(vectors["E14 v5 attached"]["bytes"])
    head = document.read_head(attached)
    assert head.v4 is not None
    written = document.v4_header(document.v4_payload(head.v4.edek, "tenant-gcp-l"), head.v4.signature)
    assert document.v5_attached_head(511, written) == attached[: head.size]


@pytest.mark.vectors("document-v1", having="v3_header")
def test_a_published_v3_header_is_written_and_verified(vector):
    from tenant_security.crypto.documents import DocumentCipher

    header = bytes.fromhex(vector["v3_header"])
    payload = document.v3_payload(vector["tenant"])
    assert payload.hex() == vector["v3_payload"]
    read = document.read_head(document.V3_MAGIC + len(header).to_bytes(2) + header).v3
    assert read is not None
    assert read.signed == payload
    iv = read.signature[:12]
    cipher = DocumentCipher(bytearray.fromhex(vector["dek"]), lambda _: iv)
    assert cipher.signed_v3(payload, read.signature)
    assert cipher.sign_v3(payload) == read.signature
    assert document.v3_head(payload, read.signature)[7:] == header


@pytest.mark.vectors("document-v1", having="secret_id")
def test_a_published_deterministic_field_is_written_and_read(vector):
    from tenant_security.crypto.deterministic import FieldForm, open_field, seal_field, secret_id_of

    key, field, value = base64.b64decode(vector["key"]), bytes.fromhex(vector["field"]), vector["value"].encode()
    assert secret_id_of(field) == vector["secret_id"]
    assert seal_field(key, vector["secret_id"], value, FieldForm.TSC) == field
    assert open_field(key, field, FieldForm.TSC) == value
    assert open_field(key, field, FieldForm.ALLOY) is None


@given(st.binary(max_size=200))
def test_noise_is_malformed_and_nothing_worse(noise):
    for start in (b"", document.V3_MAGIC, document.V4_MAGIC, document.V5_MAGIC, b"\x00\x00\x01\xff\x02\x00"):
        try:
            head = document.read_head(start + noise)
        except MalformedDocumentError:
            continue
        assert head.size <= len(start + noise)


@given(st.binary(max_size=200))
def test_a_head_tells_its_length_from_eight_bytes(body):
    payload = document.v3_payload("t")
    written = document.v3_head(payload, bytes(28)) + body + bytes(28)
    assert document.head_bytes(written[:8]) == document.read_head(written).size


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("000001ff0200", "standard EDEK"),
        ("000000050000", "deterministic field"),
        ("000000058200", "standard EDEK"),
        ("000001ff0201", None),
        ("000001ff0300", None),
        ("000001ffc200", None),
        ("0049524f4e00", None),
        ("000001ff02", None),
    ],
)
def test_six_bytes_name_a_key_or_they_do_not(start, kind):
    found = document.read_key_id(bytes.fromhex(start))
    assert (found and found.payload_name) == kind


def test_keys_of_other_products_are_named():
    with pytest.raises(MalformedDocumentError, match="standalone"):
        document.read_v5_edek(bytes.fromhex("000000058200"))


def load(name: str) -> list[dict[str, object]]:
    from tests.conftest import load_vectors

    return load_vectors(name)
