"""One walk: an application encrypts a document, and its tenant can read it with nothing but its own KMS."""

import base64

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenant_security.client import AsyncTenantSecurityClient, Metadata
from tenant_security.kms.local import LocalKmsKey
from tenant_security.outbound.flow import finished
from tenant_security.secret import Secret
from tenant_security.testing.proxies import running_proxy
from tenant_security.wire import document, edek
from tenant_security.wire.kms.local import LocalCredentials, LocalKeyPath, LocalKmsConfig


async def test_a_document_is_encrypted_told_of_and_read_by_hand(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        metadata = Metadata("tenant-gcp-l", requesting_id="user-1", object_id="customer-42")
        async with AsyncTenantSecurityClient(proxy.api_url, proxy.api_key, allow_insecure_http=True) as client:
            encrypted = await client.encrypt({"ssn": b"000-12-2345"}, metadata)
            async with await client.cached_key(metadata, edek=encrypted.edek) as key:
                assert key.decrypt(encrypted) == {"ssn": b"000-12-2345"}
        wrapped, unwrapped, reported = await proxy.fetch_events()

    assert [each["iclFields"]["event"] for each in (wrapped, unwrapped, reported)] == [
        "DEK_WRAP",
        "DEK_UNWRAP",
        "DEK_OPERATIONS",
    ]
    assert wrapped["iclFields"]["requestingId"] == "user-1"
    assert wrapped["iclFields"]["objectId"] == "customer-42"
    assert reported["operation"]["unwraps"] == 1

    # By hand: the KMS key opens the leased key, that opens the DEK, that opens the field.
    kms = LocalKmsKey(
        LocalKmsConfig(
            1, LocalCredentials({1: Secret((tmp_path / "key-511.kms").read_bytes())}), LocalKeyPath("key-511")
        )
    )
    entry = edek.decode(base64.b64decode(encrypted.edek))
    leased_key = finished(kms.unwrap(edek.decode(entry.wrapped_lease).data))
    dek = AESGCM(leased_key).decrypt(entry.lease_iv, entry.data, None)
    field = encrypted.fields["ssn"]
    at = document.read_head(field).size
    assert AESGCM(dek).decrypt(field[at : at + 12], field[at + 12 :], None) == b"000-12-2345"
