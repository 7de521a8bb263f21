"""Our client and Alloy, in Alloy's own forms: what the one writes, the other reads, in both directions."""

import base64
import io
import os
from collections.abc import AsyncIterator, Iterator

import pytest
from ironcore_alloy import AlloyMetadata, EncryptedDocument, EncryptedField, PlaintextField

from tenant_security.client import (
    DocumentFormat,
    EncryptedValue,
    Field,
    FieldForm,
    TenantSecurityClient,
)
from tenant_security.client import EncryptedDocument as OurDocument
from tenant_security.client import EncryptedField as OurField

from .alloy_client import Alloy, alloy_at
from .our_client import client_of, of
from .running_proxy import API_KEY, RunningProxy

TENANTS = ["tenant-gcp", "tenant-gcp-l"]
PATHS = ("exchange", "column/1")


@pytest.fixture
def ours(proxy: RunningProxy) -> Iterator[TenantSecurityClient]:
    with TenantSecurityClient(
        proxy.url, API_KEY, allow_insecure_http=True, document_format=DocumentFormat.V5
    ) as client:
        yield client


@pytest.fixture
def ours_v3(proxy: RunningProxy) -> Iterator[TenantSecurityClient]:
    with client_of(proxy) as client:
        yield client


@pytest.fixture
async def alloy(proxy: RunningProxy) -> AsyncIterator[Alloy]:
    async with alloy_at(proxy.url, API_KEY) as alloy:
        yield alloy


def simple(tenant: str) -> AlloyMetadata:
    return AlloyMetadata.new_simple(tenant)


def text(edek: bytes) -> str:
    return base64.b64encode(edek).decode()


@pytest.mark.parametrize("tenant", TENANTS)
async def test_v5_documents_of_alloy_are_read_and_continued(alloy, ours, ours_v3, tenant):
    theirs = await alloy.standard.encrypt({"a": b"1", "b": os.urandom(5000)}, simple(tenant))
    for client in (ours, ours_v3):
        read = OurDocument(theirs.document, text(theirs.edek))
        assert client.decrypt(read, of(tenant))["a"] == b"1"
        more = client.encrypt({"c": b"3"}, of(tenant), edek=read.edek)
        whole = EncryptedDocument(edek=theirs.edek, document=theirs.document | more.fields)
        assert (await alloy.standard.decrypt(whole, simple(tenant)))["c"] == b"3"


@pytest.mark.parametrize("tenant", TENANTS)
async def test_our_v5_documents_are_read_and_continued_by_alloy(alloy, ours, tenant):
    mine = ours.encrypt({"a": b"1"}, of(tenant))
    edek = base64.b64decode(mine.edek)
    assert await alloy.standard.decrypt(EncryptedDocument(edek=edek, document=mine.fields), simple(tenant)) == {
        "a": b"1"
    }
    opened = EncryptedDocument(edek=edek, document={})
    from ironcore_alloy import PlaintextDocumentWithEdek

    more = await alloy.standard.encrypt_with_existing_edek(
        PlaintextDocumentWithEdek(edek=opened.edek, document={"b": b"2"}), simple(tenant)
    )
    assert ours.decrypt(OurDocument(mine.fields | more.document, mine.edek), of(tenant)) == {"a": b"1", "b": b"2"}


async def test_our_v5_edek_has_the_length_of_alloys(alloy, ours):
    theirs = await alloy.standard.encrypt({}, simple("tenant-gcp-l"))
    assert len(base64.b64decode(ours.encrypt({}, of("tenant-gcp-l")).edek)) == len(theirs.edek)


@pytest.mark.parametrize("tenant", TENANTS)
async def test_attached_documents_go_both_ways(alloy, ours_v3, tenant):
    plain = os.urandom(777)
    theirs = await alloy.attached.encrypt(plain, simple(tenant))
    assert ours_v3.decrypt_attached(theirs, of(tenant)) == plain
    sink = io.BytesIO()
    ours_v3.decrypt_stream(io.BytesIO(theirs), sink, of(tenant))
    assert sink.getvalue() == plain
    mine = ours_v3.encrypt_attached(plain, of(tenant))
    assert await alloy.attached.decrypt(mine, simple(tenant)) == plain
    assert ours_v3.decrypt_attached_batch({"a": theirs, "b": mine}, of(tenant)).all_or_raise() == {
        "a": plain,
        "b": plain,
    }


async def test_streams_go_both_ways(alloy, ours, ours_v3):
    plain, tenant = os.urandom(600_000), "tenant-gcp-l"
    encryptor = await alloy.standard.create_streaming_encryptor(simple(tenant))
    sealed = encryptor.encrypt_chunk(plain[:100]) + encryptor.encrypt_chunk(plain[100:]) + encryptor.finish()
    edek, sink = text(encryptor.edek()), io.BytesIO()
    ours_v3.decrypt_stream(io.BytesIO(sealed), sink, of(tenant), edek=edek)
    assert sink.getvalue() == plain
    for client in (ours, ours_v3):
        made = io.BytesIO()
        edek = client.encrypt_stream(io.BytesIO(plain), made, of(tenant))
        decryptor = await alloy.standard.create_streaming_decryptor(base64.b64decode(edek), simple(tenant))
        opened = decryptor.decrypt_chunk(made.getvalue())
        decryptor.finish()
        assert opened == plain


async def test_attached_streams_go_both_ways(alloy, ours_v3):
    plain, tenant, made = os.urandom(600_000), "tenant-gcp", io.BytesIO()
    ours_v3.encrypt_stream(io.BytesIO(plain), made, of(tenant), attached=True)
    assert await alloy.attached.decrypt(made.getvalue(), simple(tenant)) == plain
    encryptor = await alloy.attached.create_streaming_attached_encryptor(simple(tenant))
    sealed = encryptor.encrypt_chunk(plain) + encryptor.finish()
    sink = io.BytesIO()
    ours_v3.decrypt_stream(io.BytesIO(sealed), sink, of(tenant))
    assert sink.getvalue() == plain


async def test_rekeyed_documents_go_both_ways(alloy, ours, ours_v3):
    theirs = await alloy.standard.encrypt({"a": b"1"}, simple("tenant-gcp"))
    moved = ours_v3.rekey(text(theirs.edek), of("tenant-gcp"), new_tenant_id="tenant-aws-l")
    read = EncryptedDocument(edek=base64.b64decode(moved), document=theirs.document)
    assert await alloy.standard.decrypt(read, simple("tenant-aws-l")) == {"a": b"1"}
    mine = ours.encrypt({"a": b"1"}, of("tenant-gcp"))
    rekeyed = await alloy.standard.rekey_edeks({"x": base64.b64decode(mine.edek)}, simple("tenant-gcp"), "tenant-aws-l")
    edek = text(rekeyed.successes["x"])
    assert ours.decrypt(OurDocument(mine.fields, edek), of("tenant-aws-l")) == {"a": b"1"}
    attached = ours.rekey_attached(
        await alloy.attached.encrypt(b"2", simple("tenant-gcp")), of("tenant-gcp"), new_tenant_id="tenant-aws"
    )
    assert await alloy.attached.decrypt(attached, simple("tenant-aws")) == b"2"


async def test_batches_go_both_ways(alloy, ours):
    tenant, plain = "tenant-gcp-l", {str(each): {"f": str(each).encode()} for each in range(5)}
    mine = ours.encrypt_batch(plain, of(tenant)).all_or_raise()
    documents = {
        each: EncryptedDocument(edek=base64.b64decode(document.edek), document=document.fields)
        for each, document in mine.items()
    }
    opened = await alloy.standard.decrypt_batch(documents, simple(tenant))
    assert opened.successes == plain
    theirs = await alloy.standard.encrypt_batch(plain, simple(tenant))
    read = {each: OurDocument(document.document, text(document.edek)) for each, document in theirs.successes.items()}
    assert ours.decrypt_batch(read, of(tenant)).all_or_raise() == plain


@pytest.mark.parametrize("tenant", TENANTS)
async def test_deterministic_fields_in_alloys_form_are_the_same_bytes(alloy, ours, tenant):
    value = os.urandom(33)
    fields = ours.deterministic(FieldForm.ALLOY)
    plain = PlaintextField(plaintext_field=value, secret_path=PATHS[0], derivation_path=PATHS[1])
    theirs = (await alloy.deterministic.encrypt(plain, simple(tenant))).encrypted_field
    mine = fields.encrypt(Field(value, *PATHS), of(tenant))
    assert mine.ciphertext == theirs
    assert fields.decrypt(OurField(theirs, *PATHS), of(tenant)).value == value
    read = EncryptedField(encrypted_field=mine.ciphertext, secret_path=PATHS[0], derivation_path=PATHS[1])
    assert (await alloy.deterministic.decrypt(read, simple(tenant))).plaintext_field == value
    queries = await alloy.deterministic.generate_query_field_values({"x": plain}, simple(tenant))
    assert [each.encrypted_field for each in queries["x"]] == fields.search_terms(Field(value, *PATHS), of(tenant))


async def test_legacy_documents_of_alloy_are_read(proxy, ours_v3):
    async with alloy_at(proxy.url, API_KEY, legacy=True) as legacy:
        theirs = await legacy.standard.encrypt({"a": b"1"}, simple("tenant-gcp"))
    value = EncryptedValue(theirs.document["a"], text(theirs.edek))
    assert ours_v3.decrypt_value(value, of("tenant-gcp")) == b"1"
