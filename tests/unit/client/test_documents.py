"""Documents: what was encrypted comes back, and nothing else does."""

import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.client import (
    AsyncTenantSecurityClient,
    ClientCode,
    ClientError,
    Code,
    DocumentError,
    DocumentFormat,
    EncryptedDocument,
    Field,
    Fixer,
    KmsError,
    Metadata,
    TenantSecurityClient,
)
from tenant_security.crypto.documents import DocumentCipher
from tenant_security.testing.memory_proxy import MemoryProxy
from tenant_security.wire import document as wire

FORMATS = list(DocumentFormat)
BIG = bytes(range(256)) * 8192  # two pieces and more


def flipped(value: bytes, at: int) -> bytes:
    return value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]


def test_the_first_example_of_the_documentation(real_proxy):
    client = TenantSecurityClient(real_proxy.api_url, real_proxy.api_key, allow_insecure_http=True)
    encrypted = client.encrypt({"ssn": b"000-12-2345"}, Metadata("tenant-gcp-l", requesting_id="user-1"))
    document = client.decrypt(encrypted, Metadata("tenant-gcp-l", requesting_id="user-1"))
    assert document == {"ssn": b"000-12-2345"}
    client.close()


@pytest.mark.parametrize("written", FORMATS)
@given(fields=st.dictionaries(st.text(), st.binary(max_size=100), max_size=5))
def test_every_document_comes_back(written, fields):
    with MemoryProxy().client(document_format=written) as client:
        metadata = Metadata("t", requesting_id="r")
        encrypted = client.encrypt(fields, metadata)
        assert client.decrypt(encrypted, metadata) == fields
        assert EncryptedDocument.from_json(encrypted.to_json()) == encrypted


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, len(BIG)])
def test_documents_of_every_length_come_back(client, mine, size):
    assert client.decrypt(client.encrypt({"a": BIG[:size]}, mine), mine) == {"a": BIG[:size]}


def test_the_same_document_never_has_the_same_bytes(client, mine):
    first, second = (client.encrypt({"a": b"x", "b": b"x"}, mine) for _ in range(2))
    assert len({*first.fields.values(), *second.fields.values()}) == 4
    assert first.edek != second.edek


@pytest.mark.parametrize("written", FORMATS)
def test_an_existing_edek_encrypts_more_of_a_document(memory, mine, written):
    encrypted = memory.client(document_format=written).encrypt({"a": b"1"}, mine)
    for other in FORMATS:  # a client's own format does not matter: a document has one form
        more = memory.client(document_format=other).encrypt({"b": b"2"}, mine, edek=encrypted.edek)
        assert more.edek == encrypted.edek
        assert more.fields["b"][0] == encrypted.fields["a"][0]
        whole = EncryptedDocument(encrypted.fields | more.fields, encrypted.edek)
        assert memory.client().decrypt(whole, mine) == {"a": b"1", "b": b"2"}


def test_a_v3_field_has_a_signed_header_that_names_the_tenant(client, mine):
    field = client.encrypt({"a": b"1"}, mine).fields["a"]
    head = wire.read_head(field)
    assert head.form is wire.Form.V3
    assert head.v3 is not None
    assert head.v3.tenant_id == "tenant-gcp-l"
    assert len(head.v3.signature) == 28
    assert len(field) == head.size + 12 + 1 + 16


@pytest.mark.parametrize("written", FORMATS)
def test_whatever_bit_is_changed_the_document_does_not_open(memory, mine, written):
    client = memory.client(document_format=written)
    encrypted = client.encrypt({"a": b"plaintext"}, mine)
    field = encrypted.fields["a"]
    for at in range(len(field)):
        with pytest.raises(DocumentError) as caught:
            client.decrypt(EncryptedDocument({"a": flipped(field, at)}, encrypted.edek), mine)
        assert caught.value.code in {900, 902}
        assert not caught.value.retryable
    for size in range(len(field)):
        with pytest.raises(DocumentError):
            client.decrypt(EncryptedDocument({"a": field[:size]}, encrypted.edek), mine)


def test_a_header_whose_signature_is_wrong_is_not_believed(mine, memory):
    encrypted = memory.client().encrypt({"a": b"x"}, mine)
    field = encrypted.fields["a"]
    for at in range(9, 37):
        with pytest.raises(DocumentError, match="not signed with this key"):
            memory.client().decrypt(EncryptedDocument({"a": flipped(field, at)}, encrypted.edek), mine)


def test_a_very_old_document_without_a_signature_is_read():
    cipher = DocumentCipher(bytearray(range(32)))
    old = cipher.seal(wire.V3_MAGIC + b"\x00\x00", b"old")
    head = wire.read_head(old)
    assert head.v3 == wire.V3Header(b"", b"", None)
    assert cipher.open(old, head.size) == b"old"


@pytest.mark.parametrize("written", FORMATS)
def test_an_edek_whose_header_was_forged_is_not_believed(memory, mine, written):
    client = memory.client(document_format=DocumentFormat.V5)
    raw = bytearray(base64.b64decode(client.encrypt({}, mine).edek))
    raw[-1] ^= 1  # the tenant's id
    forged = base64.b64encode(raw).decode()
    with pytest.raises(DocumentError, match="not signed with this key"):
        client.decrypt(EncryptedDocument({}, forged), mine)
    with pytest.raises(DocumentError, match="not signed with this key"):
        memory.client(document_format=written).rekey(forged, mine)


def test_another_documents_edek_does_not_open_it(client, mine):
    first, second = client.encrypt({"a": b"1"}, mine), client.encrypt({"a": b"2"}, mine)
    with pytest.raises(DocumentError, match="field 'a'"):
        client.decrypt(EncryptedDocument(first.fields, second.edek), mine)


def test_another_tenant_cannot_read_it(client, mine, theirs):
    encrypted = client.encrypt({"a": b"1"}, mine)
    with pytest.raises(KmsError) as caught:
        client.decrypt(encrypted, theirs)
    assert caught.value.code == Code.KMS_CONFIGURATION_DISABLED


def test_what_is_encrypted_is_not_encrypted_again(client, mine):
    encrypted = client.encrypt({"a": b"1"}, mine)
    with pytest.raises(DocumentError, match="Already encrypted: 'b'") as caught:
        client.encrypt({"b": encrypted.fields["a"], "c": b""}, mine)
    assert caught.value.code == ClientCode.DOCUMENT_ENCRYPT_FAILED


def test_an_unknown_tenant_is_said_in_words_and_in_a_code(real, memory):
    memory.remove_tenant("nobody")
    for client in (real, memory.client()):
        with pytest.raises(KmsError, match="No configurations available") as caught:
            client.encrypt({"a": b""}, Metadata("nobody", requesting_id="r"))
        assert (caught.value.code, caught.value.retryable, caught.value.fixer) == (201, False, Fixer.TENANT)
        assert caught.value.http_status == 422


def test_what_is_no_edek_is_refused_by_the_proxy(client, mine):
    for junk in ["edek", base64.b64encode(b"what a waste of time\n").decode(), "ü", "AAAA"]:
        with pytest.raises(KmsError) as caught:
            client.decrypt(EncryptedDocument({}, junk), mine)
        assert caught.value.code == 203


def test_a_tenants_id_that_no_header_can_hold_is_refused():
    with MemoryProxy().client() as client, pytest.raises(DocumentError, match="too long"):
        client.encrypt({"a": b""}, Metadata("t" * 65_536, requesting_id="r"))


def test_single_values_come_back(client, mine):
    value = client.encrypt_value(b"value", mine)
    assert client.decrypt_value(value, mine) == b"value"
    again = client.encrypt_value(b"new", mine, edek=value.edek)
    assert again.edek == value.edek
    assert client.decrypt_value(again, mine) == b"new"


def test_self_contained_values_come_back(client, mine, theirs):
    value = client.encrypt_attached(b"value", mine)
    assert wire.read_head(value).form is wire.Form.V5_ATTACHED
    assert client.decrypt_attached(value, mine) == b"value"
    with pytest.raises(KmsError):
        client.decrypt_attached(value, theirs)
    moved = client.rekey_attached(value, mine, new_tenant_id=theirs.tenant_id)
    assert client.decrypt_attached(moved, theirs) == b"value"
    assert moved[-16:] == value[-16:]


def test_whatever_bit_is_changed_a_self_contained_value_is_never_another(memory, mine):
    client = memory.client()
    value = client.encrypt_attached(b"value", mine)
    opened = []
    for at in range(len(value)):
        try:
            assert client.decrypt_attached(flipped(value, at), mine) == b"value"
            opened.append(at)
        except ClientError:
            pass
    # The number before the header is a label, and a header may stand unsigned: what it holds proves itself.
    assert opened[:4] == [0, 1, 2, 3]
    assert len(opened) == 5


def test_the_two_kinds_of_bytes_are_told_apart_in_words(client, mine):
    encrypted, attached = client.encrypt({"a": b""}, mine), client.encrypt_attached(b"", mine)
    with pytest.raises(DocumentError, match="does not carry its own EDEK"):
        client.decrypt_attached(encrypted.fields["a"], mine)
    with pytest.raises(DocumentError, match="use decrypt_attached"):
        client.decrypt(EncryptedDocument({"a": attached}, encrypted.edek), mine)


@pytest.mark.parametrize("written", FORMATS)
def test_a_rekeyed_document_belongs_to_its_new_tenant(memory, mine, theirs, written):
    client = memory.client(document_format=written)
    encrypted = client.encrypt({"a": b"1"}, mine)
    moved = EncryptedDocument(encrypted.fields, client.rekey(encrypted.edek, mine, new_tenant_id=theirs.tenant_id))
    assert client.decrypt(moved, theirs) == {"a": b"1"}
    with pytest.raises(KmsError):
        client.decrypt(moved, mine)
    again = client.rekey(moved.edek, theirs)
    assert again != moved.edek
    assert client.same_key(encrypted.edek, again, mine, other_tenant=theirs)
    assert not client.same_key(encrypted.edek, client.encrypt({}, mine).edek, mine)


async def test_the_asynchronous_client_does_the_same(real_proxy, mine, theirs):
    url, key = real_proxy.api_url, real_proxy.api_key
    async with AsyncTenantSecurityClient(url, key, allow_insecure_http=True) as client:
        encrypted = await client.encrypt({"a": b"1", "b": BIG}, mine)
        assert await client.decrypt(encrypted, mine) == {"a": b"1", "b": BIG}
        edek = await client.rekey(encrypted.edek, mine, new_tenant_id=theirs.tenant_id)
        assert await client.same_key(encrypted.edek, edek, mine, other_tenant=theirs)
        attached = await client.encrypt_attached(b"x", mine)
        assert await client.decrypt_attached(attached, mine) == b"x"
        with pytest.raises(KmsError):
            await client.encrypt({}, Metadata("nobody", requesting_id="r"))


def test_what_is_no_bytes_is_refused_by_its_name(client, mine):
    with pytest.raises(TypeError, match="field 'name' is of the type str: encode it"):
        client.encrypt({"name": "text"}, mine)  # type: ignore[dict-item]
    for kind in (bytearray, memoryview):
        assert client.decrypt(client.encrypt({"a": kind(b"12")}, mine), mine) == {"a": b"12"}


def test_what_is_printed_shows_no_content(client, mine):
    encrypted, value = client.encrypt({"a": b"123"}, mine), client.encrypt_value(b"123", mine)
    shown = f"{encrypted} {value} {Field(b'123', 's', 'd')}"
    assert shown == "<EncryptedDocument of 1 fields> <EncryptedValue of 84 bytes> <Field 's', 'd'>"


def test_errors_travel_between_processes(client):
    with pytest.raises(KmsError) as caught:
        client.decrypt(EncryptedDocument({}, "junk"), Metadata("tenant-gcp", requesting_id="r"))
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), vars(copy)) == (KmsError, str(caught.value), vars(caught.value))


def test_metadata_without_a_tenant_or_a_requester_is_no_metadata():
    for tenant, requester in [("", "r"), ("t", "")]:
        with pytest.raises(ValueError, match="neither of them empty"):
            Metadata(tenant, requesting_id=requester)
