"""What bytes are, told without a key: those of the published clients, our own, and junk."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.client import DocumentFormat, Field, FieldForm
from tenant_security.client.inspection import Kind, describe

KINDS = {
    "v3": Kind.FIELD_V3,
    "v5": Kind.FIELD_V5,
    "v4 attached": Kind.ATTACHED,
    "v5 attached": Kind.ATTACHED,
    "tsc": Kind.DETERMINISTIC,
}


@pytest.mark.vectors("document-v1", having="form")
def test_published_documents_are_recognised(vector):
    text = vector["bytes"] if "bytes" in vector else base64.b64encode(bytes.fromhex(vector["field"])).decode()
    for given_bytes, was_base64 in ((text.encode(), True), (base64.b64decode(text), False)):
        found = describe(given_bytes)
        assert (found.kind, found.was_base64) == (KINDS[vector["form"]], was_base64)
        assert found.tenant_id == vector.get("tenant")
        assert found.lease_id == vector.get("lease_id")
        assert found.tenant_secret_id == vector.get("secret_id")
        assert found.problem is None


@pytest.mark.vectors("document-v1", having="v5_edek")
def test_published_v5_edeks_are_recognised(vector):
    found = describe(vector["v5_edek"].encode())
    assert (found.kind, found.kms_config_id, found.lease_id) == (Kind.EDEK_V5, 511, vector["lease_id"])


@pytest.mark.vectors("edek-v1", having="config_id")
def test_published_edeks_are_recognised(vector):
    found = describe(f"{vector['edek']}\n".encode())
    assert (found.kind, found.kms_config_id) == (Kind.EDEK, vector["config_id"])
    assert found.leased == bool(vector["lease_id"])
    assert found.lease_config_id == vector.get("inner_config_id")


def test_what_we_write_is_recognised(memory, mine):
    client, v5 = memory.client(), memory.client(document_format=DocumentFormat.V5)
    encrypted, modern = client.encrypt({"a": b"12345"}, mine), v5.encrypt({"a": b"12345"}, mine)
    assert describe(encrypted.fields["a"]).plaintext_bytes == 5
    assert describe(encrypted.fields["a"]).header_signed
    assert describe(encrypted.edek.encode()).kind is Kind.EDEK
    assert describe(modern.fields["a"]).kind is Kind.FIELD_V5
    assert describe(modern.edek.encode()).tenant_id == mine.tenant_id
    assert describe(client.encrypt_attached(b"12345", mine)).plaintext_bytes == 5
    field = client.deterministic(FieldForm.TSC).encrypt(Field(b"12345", "s", "d"), mine)
    assert describe(field.ciphertext).plaintext_bytes == 5


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x03IRON", b"\x00IRON123", b"{}", b"AAAA", b"\xff" * 40])
def test_junk_is_unknown_with_a_reason(junk):
    found = describe(junk)
    assert found.kind is Kind.UNKNOWN
    assert found.problem


@given(st.binary(max_size=300))
def test_nothing_makes_it_fail_and_it_never_shows_content(noise):
    for start in (b"", b"\x03IRON\x00\x00", b"\x00IRON", b"\x04IRON\x00\x02", b"\x00\x00\x01\xff\x02\x00"):
        told = msgspec.json.encode(describe(start + noise))
        assert len(told) < 1000 + 3 * len(noise)
