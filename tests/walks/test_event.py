"""A walk: an event from the request that caused it to the batch that a logdriver has safe."""

import uuid

import msgspec
import pytest

from tenant_security.errors import TenantSecurityError
from tenant_security.testing.proxies import running_proxy

LEASED = "tenant-gcp-l"


async def test_every_operation_reaches_the_logdriver_once_and_in_order(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        _, made = await proxy.call("document/wrap", LEASED)
        await proxy.call("document/unwrap", LEASED, encryptedDocumentKey=made["edek"])
        await proxy.call("document/unwrap", LEASED, encryptedDocumentKey="junk")
        await proxy.call("document/batch-wrap", LEASED, documentIds=["a", "b"])
        await proxy.call("event/security-event", LEASED, event="USER_LOGIN", timestampMillis=1_795_512_600_000)

        found = await proxy.fetch_events()
        assert await proxy.fetch_events() == []

    assert [each["iclFields"]["event"] for each in found] == [
        "DEK_WRAP",
        "DEK_UNWRAP",
        "DEK_UNWRAP",
        "DEK_WRAP",
        "USER_LOGIN",
    ]
    assert [each["sequence"] for each in found] == [1, 2, 3, 4, 5]
    assert {each["tenantId"] for each in found} == {LEASED}
    assert found[2]["operation"]["code"] == 203
    assert found[3]["operation"]["documentIds"] == ["a", "b"]
    assert found[4]["timestamp"] == "2026-11-24T09:30:00.000Z"
    assert "operation" not in found[4]
    assert {uuid.UUID(each["eventId"]).version for each in found} == {7}
    assert len({each["eventId"] for each in found}) == len({each["iclFields"]["tspRayId"] for each in found}) == 5


async def test_the_hot_path_and_the_other_leave_the_same_event(tmp_path):
    """The first wrap waits for its lease; the second is answered in one go."""
    async with running_proxy(tmp_path) as proxy:
        for _ in range(2):
            await proxy.call("document/wrap", LEASED, customFields={"k": "v"})
        _, metrics = await proxy.ops("/metrics")
        slow, fast = await proxy.fetch_events()

    assert b'path="fast"' in metrics
    new = {"eventId", "timestamp", "sequence"}
    assert {name: each for name, each in slow.items() if name not in {*new, "iclFields"}} == {
        name: each for name, each in fast.items() if name not in {*new, "iclFields"}
    }
    assert slow["iclFields"] | {"tspRayId": ""} == fast["iclFields"] | {"tspRayId": ""}


async def test_a_batch_is_the_logdrivers_only_when_it_says_so(tmp_path):
    async with running_proxy(tmp_path) as proxy:
        await proxy.call("document/wrap", LEASED)
        leased = await proxy.lease_events()
        assert (await proxy.lease_events()).events == []

        await proxy.acknowledge_events(leased)
        with pytest.raises(TenantSecurityError, match="409"):
            await proxy.acknowledge_events(leased)


async def test_a_full_outbox_costs_events_and_never_a_key(tmp_path):
    bounds = {"TSP_SEND_HIGH_WATER_MARK": "0", "TSP_EVENT_LOG_CHANNEL_SIZE": "3"}
    async with running_proxy(tmp_path, settings=bounds) as proxy:
        for _ in range(10):
            assert (await proxy.call("document/wrap", LEASED))[0] == 200
        status, answer = await proxy.call("event/security-event", LEASED, event="USER_LOGIN")
        assert (status, answer["code"]) == (422, 301)
        _, health = await proxy.ops("/health")
        (events,) = [each for each in msgspec.json.decode(health)["checks"] if each["name"] == "events"]
        assert events["status"] == "WARN"
        assert events["data"]["dropped"] == 8
        assert [each["sequence"] for each in await proxy.fetch_events()] == [1, 2, 3]

        await proxy.call("document/wrap", LEASED)
        assert [each["sequence"] for each in await proxy.fetch_events()] == [12]
