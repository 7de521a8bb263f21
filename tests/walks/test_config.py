"""A walk: from a new snapshot to what the proxy refuses, and what it must go on to do."""

from tenant_security.testing.proxies import Use, running_proxy
from tenant_security.wire import edek

LEASED = "tenant-gcp-l"


async def wrap(proxy, tenant=LEASED):
    status, made = await proxy.call("document/wrap", tenant)
    assert status == 200, made
    return made


async def unwrap(proxy, text, tenant=LEASED):
    return await proxy.call("document/unwrap", tenant, encryptedDocumentKey=text)


async def test_a_revoked_tenant_stops_within_one_refresh(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        made = await wrap(proxy)
        assert await unwrap(proxy, made["edek"]) == (200, {"dek": made["dek"]})

        await proxy.republish(**{LEASED: (Use(511, leasing=True, active=False),)})

        for status, answer in [await proxy.call("document/wrap", LEASED), await unwrap(proxy, made["edek"])]:
            assert (status, answer["code"]) == (422, 201)


async def test_a_removed_tenant_is_unknown_and_comes_back_with_its_data(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        made = await wrap(proxy)

        await proxy.republish(remove=(LEASED,))
        status, answer = await unwrap(proxy, made["edek"])
        assert (status, answer["code"]) == (422, 201)

        await proxy.republish(**{LEASED: (Use(511, leasing=True),)})
        assert await unwrap(proxy, made["edek"]) == (200, {"dek": made["dek"]})


async def test_leased_data_decrypts_after_leasing_is_off_and_nothing_new_is_leased(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        made = await wrap(proxy)
        assert edek.decode_base64(made["edek"]).leased

        await proxy.republish(**{LEASED: (Use(511, leasing=False),)})

        assert await unwrap(proxy, made["edek"]) == (200, {"dek": made["dek"]})
        assert not edek.decode_base64((await wrap(proxy))["edek"]).leased


async def test_unwrapping_with_a_lease_does_not_let_a_tenant_without_a_primary_wrap_with_it(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        made = await wrap(proxy)

        await proxy.republish(**{LEASED: (Use(511, leasing=True, primary=False),)})

        assert await unwrap(proxy, made["edek"]) == (200, {"dek": made["dek"]})
        status, answer = await proxy.call("document/wrap", LEASED)
        assert (status, answer["code"]) == (422, 200)


async def test_unwrapping_with_the_old_primarys_lease_does_not_wrap_with_it_either(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        made = await wrap(proxy)

        await proxy.republish(**{LEASED: (Use(511, primary=False, leasing=True), Use(611, leasing=True))})

        assert await unwrap(proxy, made["edek"]) == (200, {"dek": made["dek"]})
        assert edek.decode_base64((await wrap(proxy))["edek"]).config_id == 611


async def test_a_required_lease_that_is_not_allowed_is_refused_until_it_is_allowed(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        await proxy.republish(leasing_required=("tenant-gcp",))
        status, answer = await proxy.call("document/wrap", "tenant-gcp")
        assert (status, answer["code"]) == (422, 207)
        assert "leasing" in answer["message"]

        await proxy.republish(leasing_required=("tenant-gcp",), **{"tenant-gcp": (Use(510, leasing=True),)})
        assert edek.decode_base64((await wrap(proxy, "tenant-gcp"))["edek"]).leased


async def test_a_snapshot_that_is_refused_changes_nothing(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        made = await wrap(proxy)
        snapshot = tmp_path / "snapshot.jsonl"
        snapshot.write_bytes(snapshot.read_bytes().replace(b'"version"', b'"versiom"', 1))

        await proxy.reload()

        assert await unwrap(proxy, made["edek"]) == (200, {"dek": made["dek"]})
        assert (await proxy.ops("/ready"))[0] == 200


async def test_what_one_process_wrapped_another_unwraps(tmp_path):
    tenants = {"tenant-gcp": (Use(510),), LEASED: (Use(511, leasing=True),)}
    async with running_proxy(tmp_path, tenants) as first:
        made = {tenant: await wrap(first, tenant) for tenant in tenants}
    async with running_proxy(tmp_path, tenants) as second:
        for tenant, each in made.items():
            assert await unwrap(second, each["edek"], tenant) == (200, {"dek": each["dek"]})
        assert edek.decode_base64((await wrap(second))["edek"]).leased
