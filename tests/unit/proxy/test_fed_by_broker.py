"""A proxy and a broker, both real, in one loop: how changes, revocations, secrets and reports travel."""

import asyncio
import json
import socket
from contextlib import closing

import pytest

from tenant_security.directory.open_source import SourceSettings, broker_account, open_source
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Request, send
from tenant_security.testing.brokers import running_broker
from tenant_security.testing.proxies import Use, running_proxy
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire import broker_api as api
from tenant_security.wire.service_env import credentials_from_env, parse_env

A = {"a": (Use(1, leasing=True),)}
FAST = {"TSP_STATUS_SECONDS": "1"}


async def until(check, within_s=20.0):
    async with asyncio.timeout(within_s):
        while not (found := await check()):
            await asyncio.sleep(0.02)
    return found


async def health(proxy):
    body = json.loads((await proxy.ops("/health"))[1])
    return body, {check["name"]: check for check in body["checks"]}


@pytest.fixture
async def broker(tmp_path):
    async with running_broker(tmp_path, A) as made:
        yield made


@pytest.fixture
async def proxy(broker):
    async with running_proxy(broker.state_dir, settings=FAST, broker_url=broker.url) as made:
        yield made


async def test_keys_are_served_and_a_new_tenant_arrives_by_itself(broker, proxy):
    status, wrapped = await proxy.call("document/wrap", "a")
    assert status == 200
    assert (await proxy.call("document/unwrap", "a", encryptedDocumentKey=wrapped["edek"]))[0] == 200
    assert (await proxy.call("document/wrap", "b"))[0] == 422

    await broker.put({"b": (Use(2),)})

    async def served():
        return (await proxy.call("document/wrap", "b"))[0] == 200

    await until(served)


async def test_a_removed_tenant_is_served_no_more(broker, proxy):
    await broker.remove("a")

    async def refused():
        return (await proxy.call("document/wrap", "a"))[0] == 422

    await until(refused)


async def test_a_revoked_proxy_serves_nobody_and_says_why(broker, proxy):
    assert (await proxy.ops("/ready"))[0] == 200
    await broker.revoke("kit-proxy")

    async def refused():
        return (await proxy.call("document/wrap", "a"))[0] == 503

    await until(refused)
    assert "revoked" in (await proxy.call("document/wrap", "a"))[1]["message"]
    assert (await proxy.ops("/ready"))[0] == 503
    body, checks = await health(proxy)
    assert body["status"] == "DOWN"
    assert "was revoked" in checks["tenants"]["data"]["revoked"]
    assert b"tsp_revoked 1.0" in (await proxy.ops("/metrics"))[1]


async def test_secrets_are_made_once_at_the_broker_whoever_asks(broker, proxy):
    body = {"derivationType": "sha512", "secretType": "deterministic", "paths": {"p": ["d"]}}
    async with running_proxy(broker.state_dir, broker_url=broker.url) as other:
        calls = (each.call("key/derive-with-secret-path", "a", **body) for each in (proxy, other) for _ in range(4))
        answers = await asyncio.gather(*calls)
    assert {status for status, _ in answers} == {200}
    assert len({json.dumps(answer) for _, answer in answers}) == 1
    secrets = await broker.run(broker.admin.every("/secrets", api.TenantSecret))
    assert [(each.tenant, each.type, each.path, each.rotation) for each in secrets] == [
        ("a", "deterministic", "p", "current")
    ]
    assert len(set(secrets[0].fingerprint)) > 8


async def test_a_rotation_gives_two_secrets_and_then_one(broker, proxy):
    body = {"derivationType": "sha512", "secretType": "search", "paths": {"p": ["d"]}}
    await proxy.call("key/derive-with-secret-path", "a", **body)
    (secret,) = await broker.run(broker.admin.every("/secrets", api.TenantSecret))
    path = f"/tenants/a/secrets/{secret.id}/rotation"
    await broker.run(broker.admin.ask("POST", f"{path}/begin", api.TenantSecret))
    async with running_proxy(broker.state_dir, broker_url=broker.url) as fresh:
        _, answer = await fresh.call("key/derive-with-secret-path", "a", **body)
    assert [key["current"] for key in answer["derivedKeys"]["p"]["d"]] == [True, False]
    await broker.run(broker.admin.ask("POST", f"{path}/commit", api.TenantSecret))
    async with running_proxy(broker.state_dir, broker_url=broker.url) as fresh:
        _, answer = await fresh.call("key/derive-with-secret-path", "a", **body)
    assert [key["current"] for key in answer["derivedKeys"]["p"]["d"]] == [True]


async def test_what_a_proxy_reports_is_counted_once_for_each_tenant(broker, proxy):
    for _ in range(3):
        await proxy.call("document/wrap", "a")
    await proxy.call("document/wrap", "nobody")

    async def reported():
        activity = await broker.run(broker.admin.ask("GET", "/activity", api.Activity, tenant="a"))
        return sum(bucket.operations for bucket in activity.buckets) == 3 and activity

    activity = await until(reported)
    assert sum(sum(bucket.kms) for bucket in activity.buckets) == 1  # one lease for three wraps
    total = await broker.run(broker.admin.ask("GET", "/activity", api.Activity))
    assert {code for bucket in total.buckets for code in bucket.errors} == {"201"}
    (instance,) = (await broker.run(broker.admin.ask("GET", "/fleet", api.Fleet))).instances
    assert (instance.service, instance.health, instance.quarantined_tenants) == ("kit-proxy", "UP", 0)


async def test_a_config_is_tried_by_the_proxy_that_will_use_it(broker, proxy):
    del proxy
    test = await broker.run(broker.admin.ask("POST", "/tenants/a/configs/1/test", api.ConfigTest))
    assert test.state == "waiting"
    found = await broker.run(broker.admin.ask("GET", f"/tenants/a/tests/{test.id}", api.ConfigTest, wait=20))
    assert (found.state, found.ok, found.service) == ("done", True, "kit-proxy")
    assert [check.step for check in found.checks] == ["configuration", "wrap", "unwrap"]


async def test_without_the_broker_a_proxy_starts_from_its_copy_and_serves(tmp_path):
    cache = {"TSP_CONFIG_CACHE_DIR": str(tmp_path / "cache"), **FAST}
    async with running_broker(tmp_path, A) as broker:
        url = broker.url
        async with running_proxy(tmp_path, settings=cache, broker_url=url) as proxy:
            await broker.put({"b": (Use(2),)})

            async def served():
                return (await proxy.call("document/wrap", "b"))[0] == 200

            await until(served)
            _, wrapped = await proxy.call("document/wrap", "a")
    async with running_proxy(tmp_path, settings=cache, broker_url=url) as proxy:
        assert (await proxy.call("document/unwrap", "a", encryptedDocumentKey=wrapped["edek"]))[0] == 200
        assert (await proxy.call("document/wrap", "b"))[0] == 200
        _, checks = await health(proxy)
        assert checks["tenants"]["status"] == "WARN"
        assert checks["tenants"]["data"]["fromKeptCopy"] is True
        assert "cannot be reached" in checks["tenants"]["data"]["lastError"]
        port = url.rpartition(":")[2]
        async with running_broker(tmp_path, {}, {"BROKER_PORT": port}):

            async def up():
                return (await health(proxy))[1]["tenants"]["status"] == "UP"

            await until(up)


async def test_a_revocation_outlives_a_restart_without_the_broker(tmp_path):
    """It comes whole, or as a change where the proxy asked before it was revoked; either is kept before it counts."""
    cache = {"TSP_CONFIG_CACHE_DIR": str(tmp_path / "cache")}
    async with running_broker(tmp_path, A) as broker:
        url = broker.url
        async with running_proxy(tmp_path, settings=cache, broker_url=url) as proxy:
            await broker.revoke("kit-proxy")

            async def refused():
                return (await proxy.call("document/wrap", "a"))[0] == 503

            await until(refused)
    credentials = credentials_from_env(parse_env((tmp_path / "service.env").read_text()))
    settings = SourceSettings(None, url, None, tmp_path / "cache", 0, 1.0, 1_000_000)
    async with Outbound() as outbound:
        account = broker_account(settings, credentials)
        with closing(open_source(settings, credentials, account, outbound, lambda: None)) as source:
            refresher = DirectoryRefresher(source, credentials=credentials)
            with pytest.raises(SnapshotRefusedError):
                await refresher.load()
    assert "was revoked" in refresher.current.withdrawn
    assert len(refresher.current) == 0


async def test_a_brokers_ops_port_says_how_it_is(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {"BROKER_OPS_BIND_ADDRESS": f"127.0.0.1:{port}"}
    async with (
        running_broker(tmp_path, A, settings) as broker,
        running_proxy(tmp_path, broker_url=broker.url),
        Outbound() as outbound,
    ):

        async def ask(path):
            request = Request("GET", f"http://127.0.0.1:{port}{path}")
            response = await outbound.run(send(request), deadline_s=10)
            return response.status, response.body

        assert await ask("/ready") == (200, b"ready\n")
        assert json.loads((await ask("/health"))[1])["checks"] == [{"name": "database", "status": "UP"}]

        async def waits():
            return b"tsb_waiting_services 1.0" in (await ask("/metrics"))[1]

        await until(waits)
        assert b'tsb_snapshots_total{answer="whole"} 1.0' in (await ask("/metrics"))[1]
