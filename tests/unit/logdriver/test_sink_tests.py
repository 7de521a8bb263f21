"""Connection tests of sinks: a broker, logdrivers, a proxy and a SIEM, all real, in one loop."""

import asyncio
import itertools
import time

import msgspec
import pytest

from tenant_security.authoring.at_broker import Labels
from tenant_security.authoring.roster import assign
from tenant_security.crypto.signing import SigningKey
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError, take_work
from tenant_security.secret import Secret
from tenant_security.testing.brokers import running_broker
from tenant_security.testing.logdrivers import running_logdriver, webhook_receiver
from tenant_security.testing.proxies import API_KEY, Use, local_config, running_proxy
from tenant_security.wire import broker_api as api
from tenant_security.wire.service_env import credentials_from_env, parse_env, render_env
from tenant_security.wire.snapshot import LOGDRIVER_TAG

NOWHERE = "tcp://127.0.0.1:1"
SINK = 9
_ids = itertools.count(1)


@pytest.fixture
async def siem():
    async with webhook_receiver() as made:
        yield made


@pytest.fixture
async def broker(tmp_path):
    async with running_broker(tmp_path, {"a": (Use(1),)}) as made:
        yield made


async def put_sink(broker, config, *, tenant="a"):
    """Give a tenant this sink, beside its KMS config."""

    def decide(roster):
        kms = {1: local_config(broker.state_dir, Use(1))}
        roster.put_tenant(tenant, [assign(1, primary=True)], configs=kms, sinks={SINK: msgspec.json.encode(config)})

    await broker.run(broker.admin.take_numbers(SINK))
    await broker.run(broker.admin.change(tenant, decide, {1: Labels(), SINK: Labels(type=config["type"])}))


async def begin(broker, number=SINK):
    return await broker.run(broker.admin.ask("POST", f"/tenants/a/configs/{number}/test", api.ConfigTest))


async def ended(broker, test):
    while True:  # bounded by the test's life; each question within the kit's patience for one
        found = await broker.run(broker.admin.ask("GET", f"/tenants/a/tests/{test.id}", api.ConfigTest, wait=1))
        if found.state in ("done", "expired"):
            return found


def account(broker, env="service.env"):
    credentials = credentials_from_env(parse_env((broker.state_dir / env).read_text()))
    return BrokerAccount(
        broker.url, SigningKey(credentials.signing_seed), lambda: int(time.time()), lambda: f"sink-test-{next(_ids)}"
    )


async def test_a_test_event_arrives_and_whoever_asked_is_told(broker, siem):
    async with running_logdriver(broker.state_dir, NOWHERE, broker_url=broker.url):
        await put_sink(broker, siem.config())
        found = await ended(broker, await begin(broker))

    assert (found.state, found.ok, found.service) == ("done", True, "kit-proxy")
    assert [(each.step, each.ok) for each in found.checks] == [
        ("configuration", True),
        ("event", True),
        ("delivery", True),
    ]
    (event,) = siem.events
    assert (event["iclFields"]["event"], event["tenantId"]) == ("SINK_TEST", "a")
    assert event["eventId"] in found.checks[-1].message


async def test_a_sink_that_refuses_is_told_in_plain_words(broker, siem):
    siem.answer = 401
    async with running_logdriver(broker.state_dir, NOWHERE, broker_url=broker.url):
        await put_sink(broker, siem.config())
        found = await ended(broker, await begin(broker))

    assert (found.state, found.ok) == ("done", False)
    assert [(each.step, each.ok) for each in found.checks][-1] == ("delivery", False)
    assert "401" in found.checks[-1].message
    assert siem.requests == 1
    assert siem.events == []


async def test_the_egress_policy_holds_for_tests_too(broker, siem):
    settings = {"TSP_EGRESS_ALLOW": ""}
    async with running_logdriver(broker.state_dir, NOWHERE, settings, broker_url=broker.url) as logdriver:
        await put_sink(broker, siem.config())
        found = await ended(broker, await begin(broker))

    assert not found.ok
    assert "operator" in found.checks[-1].message
    assert "127.0.0.1" not in found.checks[-1].message
    assert b"127.0.0.1" in logdriver.log.getvalue()
    assert siem.requests == 0


async def test_a_proxy_leaves_sinks_and_a_logdriver_keys_though_they_share_an_identity(broker, siem):
    await put_sink(broker, siem.config())
    async with running_proxy(broker.state_dir, broker_url=broker.url):
        sink = await begin(broker)
        keys = await ended(broker, await begin(broker, 1))  # the proxy has looked for work after the sink's came
        assert (keys.ok, keys.checks[1].step) == (True, "wrap")
        still = await broker.run(broker.admin.ask("GET", f"/tenants/a/tests/{sink.id}", api.ConfigTest))
        assert still.state == "waiting"
    keys = await begin(broker, 1)
    async with running_logdriver(broker.state_dir, NOWHERE, broker_url=broker.url):
        assert (await ended(broker, sink)).ok
    still = await broker.run(broker.admin.ask("GET", f"/tenants/a/tests/{keys.id}", api.ConfigTest))
    assert still.state == "waiting"


async def test_a_logdriver_with_an_identity_of_its_own_is_given_sinks_only(broker, siem):
    credentials = broker.vendor.add_identity("kit-logdriver", tags=(LOGDRIVER_TAG,))
    await broker.run(broker.admin.publish_keys())
    own = broker.state_dir / "logdriver.env"
    await asyncio.to_thread(own.write_text, render_env(credentials, Secret(API_KEY)))
    with pytest.raises(BrokerRefusedError, match="logdriver") as refused:
        await broker.run(take_work(account(broker, own.name), 1, "kms"))
    assert refused.value.status == 403

    await put_sink(broker, siem.config())
    settings = parse_env(own.read_text())
    async with running_logdriver(broker.state_dir, NOWHERE, settings, broker_url=broker.url):
        found = await ended(broker, await begin(broker))
    assert (found.ok, found.service) == (True, "kit-logdriver")


async def test_what_is_not_said_means_keys(broker, siem):
    await put_sink(broker, siem.config())
    await begin(broker)

    assert await broker.run(take_work(account(broker), 1, "kms")) is None
    taken = await broker.run(take_work(account(broker), 1, "sink"))
    assert (taken.tenant, taken.config) == ("a", SINK)
    assert await broker.run(take_work(account(broker), 1, "sink")) is None
