"""The proxy in memory: data that outlives it, tenants that are withdrawn, faults in a row."""

import pytest

from tenant_security.client import ClientError, Code, KmsError, Metadata, ServiceError, TenantSecurityClient
from tenant_security.outbound.flow import Reason, Request
from tenant_security.testing.memory_proxy import API_KEY, URL, MemoryProxy, _MemoryDriver

MINE = Metadata("acme", requesting_id="r")


def test_data_of_one_run_is_read_in_the_next_with_the_same_key():
    key = bytes(range(32))
    encrypted = MemoryProxy(key=key).client().encrypt({"a": b"1"}, MINE)
    assert MemoryProxy(key=key).client().decrypt(encrypted, MINE) == {"a": b"1"}
    with pytest.raises(KmsError) as caught:
        MemoryProxy().client().decrypt(encrypted, MINE)
    assert caught.value.code == Code.KMS_UNWRAP_FAILED


def test_tenants_may_be_named():
    proxy = MemoryProxy(["acme"])
    proxy.client().encrypt({}, MINE)
    with pytest.raises(KmsError) as caught:
        proxy.client().encrypt({}, Metadata("other", requesting_id="r"))
    assert caught.value.code == 201


def test_a_tenant_can_be_withdrawn_and_restored():
    proxy = MemoryProxy()
    client = proxy.client()
    encrypted = client.encrypt({"a": b"1"}, MINE)
    for withdraw, code in [(proxy.remove_tenant, 201), (proxy.refuse, 206)]:
        withdraw("acme")
        with pytest.raises(KmsError) as caught:
            client.decrypt(encrypted, MINE)
        assert caught.value.code == code
        proxy.restore("acme")
    proxy.withdraw_primary("acme")
    with pytest.raises(KmsError) as caught:
        client.encrypt({}, MINE)
    assert caught.value.code == 200
    assert client.decrypt(encrypted, MINE) == {"a": b"1"}
    batch = {"x": {"a": b""}}
    proxy.restore("acme")
    proxy.refuse("acme")
    assert client.encrypt_batch(batch, MINE).failures["x"].code == 206


def test_faults_come_in_the_order_in_which_they_were_asked_for():
    proxy = MemoryProxy()
    proxy.fail_next(Reason.TIMEOUT, Code.KMS_THROTTLED)
    proxy.client().encrypt({}, MINE)
    assert len(proxy.pauses) == 2
    proxy.fail_next(Code.KMS_ACCOUNT_ISSUE)
    with pytest.raises(ClientError) as caught:
        proxy.client().encrypt({}, MINE)
    assert (caught.value.code, caught.value.http_status) == (210, 422)


def test_wrong_keys_and_addresses_are_refused():
    proxy = MemoryProxy()
    client = TenantSecurityClient(URL, "other", driver=_MemoryDriver(proxy))
    with pytest.raises(ServiceError) as caught:
        client.encrypt({}, MINE)
    assert caught.value.code == 101
    headers = (("Authorization", f"cmk {API_KEY}"),)
    found = proxy.answer(Request("POST", f"{URL}/api/1/nowhere", headers))
    assert getattr(found, "status", None) == 404
    found = proxy.answer(Request("POST", f"{URL}/api/1/document/wrap", headers, b"{}"))
    assert getattr(found, "status", None) == 400
