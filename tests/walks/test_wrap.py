"""Two walks: a DEK under a lease, and a DEK under the tenant's KMS, from bytes in to bytes out and back."""

import asyncio
import base64

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenant_security.kms.local import LocalKmsKey
from tenant_security.outbound.flow import finished
from tenant_security.secret import Secret
from tenant_security.testing.proxies import Use, running_proxy
from tenant_security.wire import edek
from tenant_security.wire.kms.local import LocalCredentials, LocalKeyPath, LocalKmsConfig

LEASED, PLAIN = "tenant-gcp-l", "tenant-gcp"


def kms_key(state_dir, config):
    """The tenant's own KMS key, as its owner holds it."""
    name = f"key-{config}"
    secret = Secret((state_dir / f"{name}.kms").read_bytes())
    return LocalKmsKey(LocalKmsConfig(1, LocalCredentials({1: secret}), LocalKeyPath(name)))


async def test_a_leased_dek_is_read_by_hand_with_nothing_but_the_tenants_kms(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        _, made = await proxy.call("document/wrap", LEASED)
        _, again = await proxy.call("document/wrap", LEASED)

        message = base64.b64decode(made["edek"])
        assert len(message) == 195
        entry = edek.decode(message)
        inner = edek.decode(entry.wrapped_lease)
        leased_key = finished(kms_key(tmp_path, 511).unwrap(inner.data))
        dek = AESGCM(leased_key).decrypt(entry.lease_iv, entry.data, None)

        assert base64.b64encode(dek).decode() == made["dek"]
        assert edek.decode_base64(again["edek"]).wrapped_lease == entry.wrapped_lease
        assert again["dek"] != made["dek"]
        assert await proxy.call("document/unwrap", LEASED, encryptedDocumentKey=made["edek"]) == (
            200,
            {"dek": made["dek"]},
        )


async def test_an_unleased_dek_is_read_by_hand_with_nothing_but_the_tenants_kms(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        _, made = await proxy.call("document/wrap", PLAIN)

        entry = edek.decode_base64(made["edek"])
        assert not entry.leased
        dek = finished(kms_key(tmp_path, 510).unwrap(entry.data))
        assert base64.b64encode(dek).decode() == made["dek"]
        assert await proxy.call("document/unwrap", PLAIN, encryptedDocumentKey=made["edek"]) == (
            200,
            {"dek": made["dek"]},
        )


async def test_a_dek_goes_round_all_forms_and_processes_and_stays_itself(tmp_path):
    """Rekey to and fro between leased and unleased tenants, alone and in batches, with a restart in between."""
    tenants = {PLAIN: (Use(510),), LEASED: (Use(511, leasing=True),), "third": (Use(600, leasing=True),)}
    way = [LEASED, LEASED, PLAIN, "third", PLAIN, PLAIN, LEASED, "third"]
    async with running_proxy(tmp_path, tenants) as first:
        _, made = await first.call("document/wrap", PLAIN)
        holder, text = PLAIN, made["edek"]
        for target in way[:4]:
            _, moved = await first.call("document/rekey", holder, encryptedDocumentKey=text, newTenantId=target)
            assert moved["dek"] == made["dek"]
            holder, text = target, moved["edek"]
    async with running_proxy(tmp_path, tenants) as second:
        for target in way[4:]:
            _, found = await second.call("document/batch-unwrap", holder, edeks={"x": text, "junk": "junk"})
            assert found["keys"] == {"x": {"dek": made["dek"]}}
            assert found["failures"]["junk"]["code"] == 203
            _, moved = await second.call("document/rekey", holder, encryptedDocumentKey=text, newTenantId=target)
            assert moved["dek"] == made["dek"]
            holder, text = target, moved["edek"]
        assert (await second.call("document/unwrap", holder, encryptedDocumentKey=text))[1] == {"dek": made["dek"]}


async def test_a_thousand_keys_in_one_batch_and_a_hundred_requests_at_once(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        ids = [f"document-{number}" for number in range(1_000)]
        for tenant in (LEASED, PLAIN):
            _, made = await proxy.call("document/batch-wrap", tenant, documentIds=ids)
            assert (list(made["keys"]), made["failures"]) == (ids, {})
            edeks = {each: key["edek"] for each, key in made["keys"].items()}
            _, found = await proxy.call("document/batch-unwrap", tenant, edeks=edeks)
            assert found["keys"] == {each: {"dek": key["dek"]} for each, key in made["keys"].items()}

            singles = await asyncio.gather(
                *(proxy.call("document/unwrap", tenant, encryptedDocumentKey=edeks[each]) for each in ids[:100])
            )
            assert singles == [(200, {"dek": made["keys"][each]["dek"]}) for each in ids[:100]]


async def test_derived_keys_are_the_same_in_the_next_process(tmp_path):
    wanted = {"paths": {"s": ["p"]}, "derivationType": "sha512", "secretType": "deterministic"}
    async with running_proxy(tmp_path) as first:
        before = await first.call("key/derive-with-secret-path", PLAIN, **wanted)
    async with running_proxy(tmp_path) as second:
        after = await second.call("key/derive-with-secret-path", PLAIN, **wanted)

    assert before[0] == 200
    assert before == after


async def test_nothing_secret_is_ever_logged(tmp_path):
    async with running_proxy(tmp_path, settings={"RUST_LOG": "debug"}) as proxy:
        _, made = await proxy.call("document/wrap", LEASED)
        await proxy.call("document/unwrap", LEASED, encryptedDocumentKey=made["edek"])
        await proxy.call("document/unwrap", LEASED, encryptedDocumentKey=f"!{made['edek']}")
        await proxy.post("document/wrap", b'{"tenantId": "private words"')
        keys = [base64.b64encode(each.read_bytes()).decode() for each in tmp_path.glob("*.kms")]
    log = proxy.log.getvalue().decode()

    assert "request refused" in log
    for secret in (made["dek"], made["edek"], proxy.api_key, "private words", *keys):
        assert secret not in log
