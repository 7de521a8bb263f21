"""Cached keys: no call while they last, an end to them, and a report of what they did."""

import threading

import msgspec
import pytest

from tenant_security.client import (
    CachedKeyExpiredError,
    CachedKeyLimits,
    Code,
    DocumentError,
    EncryptedDocument,
)
from tenant_security.client.cached_keys import KeyInHand
from tenant_security.client.document_keys import DocumentFormat, new_key
from tenant_security.client.keys import Keys, Uses
from tenant_security.outbound.flow import Reason
from tenant_security.wire import edek as wire_edek
from tenant_security.wire.edek import EncryptedDek


def test_one_call_serves_many_documents(memory, mine):
    client = memory.client()
    with client.cached_key(mine) as key:
        documents = [key.encrypt({"a": str(each).encode()}) for each in range(10)]
        assert [key.decrypt(each) for each in documents] == [{"a": str(each).encode()} for each in range(10)]
        assert key.uses == Uses(10, 10)
        assert [call.operation for call in memory.calls] == ["document/wrap"]
    assert [call.operation for call in memory.calls] == ["document/wrap", "document/report-operations"]
    assert {each.edek for each in documents} == {key.edek}
    assert client.decrypt(documents[3], mine) == {"a": b"3"}


def test_the_real_proxy_hears_how_often_a_key_was_used(real, mine):
    with real.cached_key(mine) as key:
        encrypted = key.encrypt({"a": b"1"})
        key.decrypt(encrypted)
        key.decrypt(encrypted)
    assert real.decrypt(encrypted, mine) == {"a": b"1"}


@pytest.mark.parametrize("written", list(DocumentFormat))
def test_the_key_of_an_existing_edek_is_cached(memory, mine, written):
    client = memory.client(document_format=written)
    encrypted = client.encrypt({"a": b"1"}, mine)
    with client.cached_key(mine, edek=encrypted.edek) as key:
        assert key.decrypt(encrypted) == {"a": b"1"}
        more = key.encrypt({"b": b"2"})
    assert client.decrypt(more, mine) == {"b": b"2"}


def test_documents_of_other_keys_are_refused(memory, mine):
    client = memory.client()
    encrypted = client.encrypt({"a": b"1"}, mine)
    with client.cached_key(mine) as key, pytest.raises(DocumentError, match="not that of the cached key"):
        key.decrypt(encrypted)


def test_a_key_that_was_not_used_is_not_reported(memory, mine):
    with memory.client().cached_key(mine):
        pass
    assert [call.operation for call in memory.calls] == ["document/wrap"]


@pytest.mark.parametrize("fault", [Code.UNKNOWN_ERROR, Reason.TIMEOUT])
def test_a_report_that_does_not_arrive_is_nobodys_error(memory, mine, fault):
    with memory.client().cached_key(mine) as key:
        key.encrypt({"a": b"1"})
        memory.fail_next(fault)
    key.close()


def test_a_closed_key_refuses(memory, mine):
    with memory.client().cached_key(mine) as key:
        encrypted = key.encrypt({"a": b"1"})
    with pytest.raises(CachedKeyExpiredError, match="closed"):
        key.encrypt({"a": b"1"})
    with pytest.raises(CachedKeyExpiredError, match="closed"):
        key.decrypt(encrypted)


def in_hand(limits: CachedKeyLimits, now: list[float], mine) -> tuple[KeyInHand, bytearray]:
    dek = bytearray(range(32))
    edek = wire_edek.encode_base64(EncryptedDek(b"blob", 1))
    return KeyInHand(new_key(dek, edek, "t", DocumentFormat.V3), mine, limits, lambda: now[0]), dek


def test_a_key_ends_with_its_age_and_is_overwritten(mine):
    now = [0.0]
    key, dek = in_hand(CachedKeyLimits(age_s=10.0), now, mine)
    now[0] = 9.9
    encrypted = key.encrypt({"a": b"1"})
    now[0] = 10.0
    with pytest.raises(CachedKeyExpiredError, match="older than 10 seconds"):
        key.decrypt(encrypted)
    assert dek == bytes(32)


def test_a_key_ends_with_its_uses(mine):
    key, dek = in_hand(CachedKeyLimits(operations=2), [0.0], mine)
    encrypted = key.encrypt({"a": b"1"})
    key.decrypt(encrypted)
    with pytest.raises(CachedKeyExpiredError, match="used 2 times"):
        key.encrypt({"a": b"1"})
    assert dek == bytes(32)
    assert key.uses == Uses(1, 1)


def test_many_threads_share_a_key(memory, mine):
    with memory.client().cached_key(mine) as key:
        threads = [threading.Thread(target=lambda: [key.encrypt({"a": b""}) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert key.uses == Uses(200, 0)


@pytest.mark.parametrize("limits", [{"age_s": 0}, {"age_s": 60.1}, {"operations": 0}, {"operations": 2**33}])
def test_limits_are_bounded(limits):
    with pytest.raises(ValueError, match="cached"):
        CachedKeyLimits(**limits)


async def test_the_asynchronous_client_does_the_same(memory, mine):
    async with memory.async_client() as client:
        async with await client.cached_key(mine) as key:
            encrypted = key.encrypt({"a": b"1"})
            assert key.decrypt(encrypted) == {"a": b"1"}
        assert await client.decrypt(EncryptedDocument(encrypted.fields, key.edek), mine) == {"a": b"1"}
    assert [call.operation for call in memory.calls][1] == "document/report-operations"


def test_keys_print_nothing_of_themselves():
    from tenant_security.client.keys import FieldKey, UnwrappedKey, WrappedKey

    dek = bytearray(b"secret-secret-secret-secret-secr")
    shown = f"{WrappedKey(dek, 'e')} {UnwrappedKey(dek)} {FieldKey(dek, 1, current=True)}"
    assert "secret" not in shown
    assert msgspec.json.decode(b'{"dek":"%b"}' % (b"QUJD" * 10 + b"QUI="), type=UnwrappedKey).dek
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"dek":"QUJD"}', type=UnwrappedKey)
    assert Keys
