"""Our own client against the proxy of the published clients' test suites: data of the past, and every refusal."""

import base64
from collections.abc import Iterator

import pytest

from tenant_security.client import (
    ClientError,
    CustomEvent,
    DocumentError,
    EncryptedDocument,
    EncryptedField,
    EncryptedValue,
    Field,
    FieldForm,
    KmsError,
    TenantSecurityClient,
    UserEvent,
)

from .our_client import client_of, of
from .prepared import AZURE, COMBO, GCP, Prepared
from .running_proxy import RunningProxy


@pytest.fixture(scope="module")
def client(proxy: RunningProxy) -> Iterator[TenantSecurityClient]:
    with client_of(proxy) as client:
        yield client


def value_of(specimen: Prepared) -> EncryptedValue:
    return EncryptedValue(specimen.document, specimen.edek)


@pytest.mark.parametrize("name", ["active", "unleased", "leased"])
def test_data_of_the_past_is_read(client, prepared, name):
    specimen = prepared[name]
    assert client.decrypt_value(value_of(specimen), of(specimen.tenant)).decode() == specimen.plaintext


def test_more_is_encrypted_under_a_config_that_is_no_longer_primary(client, prepared):
    specimen = prepared["active"]
    more = client.encrypt_value(b"more", of(specimen.tenant), edek=specimen.edek)
    assert client.decrypt_value(more, of(specimen.tenant)) == b"more"


@pytest.mark.parametrize(
    ("tenant", "code"), [(COMBO, 200), ("unknownTenant", 201)], ids=["no primary", "unknown tenant"]
)
def test_what_cannot_be_wrapped_is_refused(client, tenant, code):
    for ask in (
        lambda: client.encrypt({"a": b"1"}, of(tenant)),
        lambda: client.encrypt_batch({"x": {"a": b"1"}}, of(tenant)),
        lambda: client.encrypt_attached(b"1", of(tenant)),
        lambda: client.start_encryption(of(tenant)),
        lambda: client.cached_key(of(tenant)),
    ):
        with pytest.raises(KmsError) as caught:
            ask()
        assert caught.value.code == code


def test_a_disabled_config_is_refused_and_an_unknown_tenant_before_it(client, prepared):
    specimen = prepared["disabled"]
    for tenant, code in [(specimen.tenant, 202), ("unknownTenant", 201)]:
        with pytest.raises(KmsError) as caught:
            client.decrypt_value(value_of(specimen), of(tenant))
        assert caught.value.code == code


def test_a_batch_fails_in_part(client, prepared):
    good, bad = prepared["active"], prepared["disabled"]
    documents = {
        "good": EncryptedDocument({"a": good.document}, good.edek),
        "bad": EncryptedDocument({"a": bad.document}, bad.edek),
    }
    result = client.decrypt_batch(documents, of(COMBO))
    assert result.successes["good"]["a"].decode() == good.plaintext
    assert result.failures["bad"].code == 202
    again = client.encrypt_batch(
        {"good": {"b": b"2"}, "bad": {"b": b"2"}}, of(COMBO), edeks={"good": good.edek, "bad": bad.edek}
    )
    assert (set(again.successes), set(again.failures)) == ({"good"}, {"bad"})


@pytest.mark.parametrize("junk", [b"edek", b"what a waste of time\n", b"randomBytes", b"\x01"])
def test_what_is_no_edek_is_refused(client, junk):
    with pytest.raises(KmsError) as caught:
        client.decrypt_value(EncryptedValue(b"", base64.b64encode(junk).decode()), of(COMBO))
    assert caught.value.code == 203


def test_a_key_that_the_kms_did_not_make_is_refused(client, prepared):
    with pytest.raises(ClientError) as caught:
        client.decrypt_value(value_of(prepared["foreign"]), of(AZURE))
    assert caught.value.code == 205


def test_rotated_fields_are_found_read_and_written_anew(client):
    fields, field = client.deterministic(FieldForm.TSC), Field(b"value", "rotation-started", "path")
    new, old = fields.search_terms(field, of(GCP))
    assert fields.encrypt(field, of(GCP)).ciphertext == new
    stored = EncryptedField(old, "rotation-started", "path")
    assert fields.decrypt(stored, of(GCP)) == field
    assert fields.rotate(stored, of(GCP)).ciphertext == new
    assert len(fields.search_terms(Field(b"value", "foo", "bar"), of(GCP))) == 2
    assert len(fields.search_terms(Field(b"value", "not-rotated", "path"), of(GCP))) == 1


def test_without_a_primary_fields_are_searched_for_and_not_written(client):
    fields, field = client.deterministic(FieldForm.TSC), Field(b"value", "path2", "path1")
    assert len(fields.search_terms(field, of(COMBO))) == 1
    with pytest.raises(DocumentError, match="no primary"):
        fields.encrypt(field, of(COMBO))


def test_the_empty_secret_path_is_one(client):
    fields, field = client.deterministic(FieldForm.ALLOY), Field(b"value", "", "notes/title")
    assert fields.decrypt(fields.encrypt(field, of("notes-demo-1")), of("notes-demo-1")) == field


def test_events_are_taken_for_tenants_that_nobody_knows(client):
    client.log_events([UserEvent.LOGIN.at(of("bad-tenant")), CustomEvent("SEEN").at(of("tenant-gcp"))])


def test_a_hundred_documents_at_once(client):
    documents = {str(each): {"a": bytes([each])} for each in range(100)}
    encrypted = client.encrypt_batch(documents, of("tenant-aws-l")).all_or_raise()
    assert client.decrypt_batch(encrypted, of("tenant-aws-l")).all_or_raise() == documents
