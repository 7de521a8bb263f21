"""A walk: an event from the request that caused it to the tenant's SIEM."""

import msgspec

from tenant_security.logdriver.dead_letters import DeadLetters
from tenant_security.spool.disk import LocalDisk
from tenant_security.testing.logdrivers import running_logdriver, webhook_receiver
from tenant_security.testing.proxies import TENANTS, publish, running_proxy

LEASED, PLAIN = "tenant-gcp-l", "tenant-gcp"


async def test_every_tenants_events_reach_its_own_siem_and_the_others_standard_output(tmp_path):
    async with running_proxy(tmp_path) as proxy, webhook_receiver() as siem:
        publish(tmp_path, TENANTS, sinks={LEASED: {600: siem.config()}})
        async with running_logdriver(tmp_path, f"tcp://127.0.0.1:{proxy.ports.events}") as logdriver:
            _, made = await proxy.call("document/wrap", LEASED)
            await proxy.call("document/unwrap", LEASED, encryptedDocumentKey=made["edek"])
            await proxy.call("document/wrap", PLAIN)
            await siem.until(lambda it: len(it.events) == 2)
            assert [each["iclFields"]["event"] for each in siem.events] == ["DEK_WRAP", "DEK_UNWRAP"]
            assert {each["tenantId"] for each in siem.events} == {LEASED}
            assert len(set(siem.ids)) == 2
            assert {len(each["iclFields"]["logdriverRayId"]) for each in siem.events} == {16}
            while not logdriver.stdout.getvalue().endswith(b"\n"):
                await proxy.ops("/live")
            (line,) = logdriver.stdout.getvalue().splitlines()
            assert msgspec.json.decode(line)["tenantId"] == PLAIN
            assert (await logdriver.ops("/ready"))[0] == 200
            assert (await logdriver.check("proxies"))["status"] == "UP"
            _, metrics = await logdriver.ops("/metrics")
            assert b"tsl_stored_events_total 3.0" in metrics


async def test_what_a_siem_did_not_take_is_delivered_after_a_restart_in_order(tmp_path):
    async with running_proxy(tmp_path) as proxy, webhook_receiver() as siem:
        publish(tmp_path, TENANTS, sinks={LEASED: {600: siem.config()}})
        siem.answer = 503
        async with running_logdriver(tmp_path, f"http://127.0.0.1:{proxy.ports.events}") as logdriver:
            for _ in range(5):
                await proxy.call("document/wrap", LEASED)
            await logdriver.until_metric("tsl_stored_events_total", 5)
            await siem.until(lambda it: it.requests > 0)
        assert await proxy.fetch_events() == []
        siem.answer = 204
        async with running_logdriver(tmp_path, f"http://127.0.0.1:{proxy.ports.events}"):
            await siem.until(lambda it: len(it.events) == 5)

    assert [each["sequence"] for each in siem.events] == [1, 2, 3, 4, 5]


async def test_sinks_come_change_and_go_while_it_runs_and_nothing_that_waited_is_lost(tmp_path):
    async with running_proxy(tmp_path) as proxy, webhook_receiver() as old, webhook_receiver() as new:
        publish(tmp_path, TENANTS)
        async with running_logdriver(tmp_path, f"tcp://127.0.0.1:{proxy.ports.events}") as logdriver:
            await proxy.call("document/wrap", LEASED)  # 1: no sink yet
            await logdriver.until_metric("tsl_stored_events_total", 1)

            old.answer = 503
            publish(tmp_path, TENANTS, sinks={LEASED: {600: old.config()}})
            await logdriver.reload()
            await logdriver.until_metric("tsl_lanes", 2)
            await proxy.call("document/wrap", LEASED)  # 2: waits for a sink that is away
            await old.until(lambda it: it.requests > 0)

            publish(tmp_path, TENANTS, sinks={LEASED: {600: new.config(version=2)}})
            await logdriver.reload()  # the same sink, corrected: it takes over what waits, at once
            await new.until(lambda it: len(it.events) == 1)

            new.answer = 503
            await proxy.call("document/wrap", LEASED)  # 3: waits when its sink is removed
            await logdriver.until_metric("tsl_stored_events_total", 3)
            publish(tmp_path, TENANTS)
            await logdriver.reload()
            while await logdriver.metric("tsl_lanes") > 1:
                await proxy.ops("/live")

    (letter,) = DeadLetters(tmp_path / "logdriver", LocalDisk()).read_of(LEASED)
    assert [each["sequence"] for each in new.events] == [2]
    assert msgspec.json.decode(letter.event)["sequence"] == 3
    assert "removed" in letter.why
    assert msgspec.json.decode(logdriver.stdout.getvalue())["sequence"] == 1
