"""Batches: every id has one outcome, and a fault of one leaves the others alone."""

import pytest

from tenant_security.client import (
    AsyncTenantSecurityClient,
    Code,
    DocumentError,
    DocumentFormat,
    EncryptedDocument,
    KmsError,
    Metadata,
    UnreachableProxyError,
)
from tenant_security.client import batches as batches_module
from tenant_security.outbound.flow import Reason

BIG = b"x" * 3_000_000


def test_a_batch_comes_back(client, mine):
    documents = {str(each): {"a": str(each).encode(), "b": b""} for each in range(50)}
    encrypted = client.encrypt_batch(documents, mine)
    assert encrypted.failures == {}
    assert len({each.edek for each in encrypted.successes.values()}) == 50
    assert client.decrypt_batch(encrypted.successes, mine).all_or_raise() == documents


def test_an_empty_batch_is_a_batch(client, mine):
    assert client.encrypt_batch({}, mine).successes == {}
    assert client.decrypt_batch({}, mine).successes == {}
    assert client.rekey_batch({}, mine).successes == {}
    assert client.decrypt_attached_batch({}, mine).successes == {}


def test_large_documents_of_a_batch_come_back(client, mine):
    documents = {"big": {"a": BIG}, "small": {"a": b"x"}, "another": {"a": BIG[:200_000]}}
    encrypted = client.encrypt_batch(documents, mine).all_or_raise()
    assert list(encrypted) == list(documents)
    assert client.decrypt_batch(encrypted, mine).all_or_raise() == documents


def test_documents_with_an_edek_keep_it(client, mine):
    old = client.encrypt({"a": b"1"}, mine)
    result = client.encrypt_batch({"old": {"b": b"2"}, "new": {"b": b"3"}}, mine, edeks={"old": old.edek, "gone": "x"})
    assert result.successes["old"].edek == old.edek
    assert result.successes["new"].edek != old.edek
    whole = EncryptedDocument(old.fields | result.successes["old"].fields, old.edek)
    assert client.decrypt(whole, mine) == {"a": b"1", "b": b"2"}


def test_one_that_fails_leaves_the_others_alone(client, mine, theirs):
    good, foreign = client.encrypt({"a": b"1"}, mine), client.encrypt({"a": b"2"}, theirs)
    documents = {
        "good": good,
        "foreign": foreign,
        "damaged": EncryptedDocument({"a": good.fields["a"][:-1]}, good.edek),
        "junk": EncryptedDocument({}, "junk"),
    }
    result = client.decrypt_batch(documents, mine)
    assert result.successes == {"good": {"a": b"1"}}
    assert {each: fault.code for each, fault in result.failures.items()} == {
        "foreign": 202,
        "damaged": 902,
        "junk": 203,
    }
    assert isinstance(result.failures["foreign"], KmsError)
    assert isinstance(result.failures["damaged"], DocumentError)
    assert result.failures["foreign"].http_status is None
    with pytest.raises(KmsError):
        result.all_or_raise()


def test_what_is_encrypted_already_fails_alone(client, mine):
    twice = client.encrypt({"a": b"1"}, mine).fields
    result = client.encrypt_batch({"twice": twice, "once": {"a": b""}}, mine)
    assert (set(result.successes), set(result.failures)) == ({"once"}, {"twice"})


def test_what_fails_for_the_whole_tenant_is_raised(memory, mine):
    memory.remove_tenant(mine.tenant_id)
    with pytest.raises(KmsError) as caught:
        memory.client().encrypt_batch({"a": {}}, mine)
    assert caught.value.code == Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS


def test_many_documents_take_few_requests(memory, mine, monkeypatch):
    monkeypatch.setattr(batches_module, "KEYS_PER_REQUEST", 10)
    client = memory.client()
    encrypted = client.encrypt_batch({str(each): {"a": b""} for each in range(25)}, mine).all_or_raise()
    assert sorted(call.keys for call in memory.calls) == [5, 10, 10]
    client.decrypt_batch(encrypted, mine).all_or_raise()
    assert len(memory.calls) == 6


def test_a_request_that_fails_takes_only_its_own_documents_with_it(memory, mine, monkeypatch):
    monkeypatch.setattr(batches_module, "KEYS_PER_REQUEST", 1)
    monkeypatch.setattr(batches_module, "REQUESTS_AT_ONCE", 1)
    memory.fail_next(Code.KMS_CONFIGURATION_INVALID)
    result = memory.client().encrypt_batch({"1": {}, "2": {}}, mine)
    assert (set(result.successes), set(result.failures)) == ({"2"}, {"1"})


def test_a_proxy_that_is_away_is_raised_once_all_requests_failed(memory, mine):
    memory.fail_next(*[Reason.CONNECT] * 3)
    with pytest.raises(UnreachableProxyError):
        memory.client().encrypt_batch({"1": {}}, mine)


@pytest.mark.parametrize("written", list(DocumentFormat))
def test_many_edeks_are_rekeyed(memory, mine, theirs, written):
    client = memory.client(document_format=written)
    encrypted = client.encrypt_batch({str(each): {"a": b"1"} for each in range(5)}, mine).all_or_raise()
    edeks = {each: document.edek for each, document in encrypted.items()} | {"junk": "junk"}
    result = client.rekey_batch(edeks, mine, new_tenant_id=theirs.tenant_id)
    assert set(result.failures) == {"junk"}
    for each, edek in result.successes.items():
        assert client.decrypt(EncryptedDocument(encrypted[each].fields, edek), theirs) == {"a": b"1"}


def test_many_self_contained_values_are_decrypted_with_one_request(memory, mine):
    client = memory.client()
    values = {str(each): client.encrypt_attached(str(each).encode(), mine) for each in range(5)}
    before = len(memory.calls)
    result = client.decrypt_attached_batch({**values, "junk": b"junk"}, mine)
    assert result.successes == {str(each): str(each).encode() for each in range(5)}
    assert result.failures["junk"].code == 900
    assert len(memory.calls) == before + 1


async def test_the_asynchronous_client_does_the_same(real_proxy, mine):
    documents = {"big": {"a": BIG}, "small": {"a": b"x"}, "another": {"a": BIG}}
    url, key = real_proxy.api_url, real_proxy.api_key
    async with AsyncTenantSecurityClient(url, key, allow_insecure_http=True) as client:
        encrypted = (await client.encrypt_batch(documents, mine)).all_or_raise()
        assert (await client.decrypt_batch(encrypted, mine)).all_or_raise() == documents
        edeks = {each: document.edek for each, document in encrypted.items()}
        assert set((await client.rekey_batch(edeks, mine)).all_or_raise()) == set(documents)


def test_ids_are_the_callers_own_words(client):
    metadata = Metadata("tenant-gcp", requesting_id="r")
    documents = {each: {"a": each.encode()} for each in ["0", "1", "", "ü/\n", '"']}
    encrypted = client.encrypt_batch(documents, metadata).all_or_raise()
    assert client.decrypt_batch(encrypted, metadata).all_or_raise() == documents
