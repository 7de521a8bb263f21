"""The running proxy of the kit."""

import logging
import signal

import pytest

from tenant_security.testing.proxies import Use, running_proxy


async def test_it_serves_on_ports_of_its_own_and_leaves_the_process_alone(tmp_path):
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    root = logging.getLogger().handlers[:]
    async with running_proxy(tmp_path / "one") as one, running_proxy(tmp_path / "other") as other:
        assert len({*one.ports, *other.ports} - {None}) == 6
        for each in (one, other):
            assert (await each.ops("/ready"))[0] == 200
            assert (await each.call("document/wrap", "tenant-gcp"))[0] == 200
        assert {each: signal.getsignal(each) for each in handlers} == handlers
        assert logging.getLogger().handlers == root


async def test_another_key_is_refused(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        status, answer = await proxy.post("document/wrap", {}, api_key="wrong")

    assert (status, answer["code"]) == (401, 101)


async def test_settings_override_the_kits(tmp_path):
    async with running_proxy(tmp_path, settings={"API_KEY": "another-key", "TSP_MAX_BATCH": "1"}) as proxy:
        assert proxy.api_key == "another-key"
        assert (await proxy.call("document/batch-wrap", "tenant-gcp", documentIds=["a", "b"]))[1]["code"] == 102


async def test_tenants_come_change_and_go(tmp_path):
    async with running_proxy(tmp_path, {"one": (Use(1),)}) as proxy:
        await proxy.republish(two=(Use(2, leasing=True),))
        assert (await proxy.call("document/wrap", "two"))[0] == 200
        await proxy.republish(remove=("one",))
        assert (await proxy.call("document/wrap", "one"))[1]["code"] == 201
        assert proxy.tenants.keys() == {"two"}


async def test_two_configs_may_hold_one_key_as_after_a_rotation_of_credentials(tmp_path):
    async with running_proxy(tmp_path, {"one": (Use(1, key="same"),)}) as proxy:
        _, made = await proxy.call("document/wrap", "one")
        await proxy.republish(one=(Use(1, primary=False, key="same"), Use(2, key="same")))

        assert (await proxy.call("document/unwrap", "one", encryptedDocumentKey=made["edek"]))[0] == 200


async def test_a_snapshot_that_the_proxy_refuses_is_an_error_of_the_test(tmp_path, monkeypatch):
    async with running_proxy(tmp_path) as proxy:

        async def deaf():
            return

        monkeypatch.setattr(proxy, "reload", deaf)
        with pytest.raises(RuntimeError, match="refused the snapshot"):
            await proxy.republish(new=(Use(3),))
