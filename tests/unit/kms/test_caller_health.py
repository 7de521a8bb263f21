"""What a caller does with a KMS in trouble: it asks less, answers at once, and lets nobody else wait for it."""

import asyncio
import contextlib

import pytest
from tests.unit.kms.test_caller import DEK, World, later, provider_fault, until

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Reason, UnreachableError

CONFIG = b"fingerprint"
GONE = UnreachableError(Reason.CONNECT)


async def wrap(world: World, tenant: str = "t", config: bytes = CONFIG) -> bytes:
    return await world.caller.wrap(tenant, world.key, DEK, config=config)


async def refused(world: World, tenant: str = "t") -> TenantSecurityError:
    with pytest.raises(TenantSecurityError) as caught:
        await wrap(world, tenant)
    return caught.value


class FailingPeer(list[object]):
    """A script without an end."""

    def __init__(self, fault: Exception) -> None:
        super().__init__([fault])

    def pop(self, _index: object = 0) -> object:
        return self[0]


async def test_a_failing_kms_sees_no_more_than_half_again_the_load_of_its_callers():
    """What retries add, measured: while the breaker is closed, and over an hour of calls."""
    world = World(deadline_s=10)
    world.script = FailingPeer(GONE)
    sent_early = calls = 0
    for calls in range(1, 3_601):
        await refused(world)
        world.clock.now += 1
        if calls == 5:
            sent_early = world.key.begun - sum(bool(record.not_sent) for record in world.records)
    sent = len(world.deadlines)

    assert sent_early <= 5 * 1.5
    assert sent <= 0.1 * calls
    assert sum(record.retried for record in world.records) == 2


async def test_a_kms_that_fails_half_of_the_time_sees_little_more_than_its_load():
    world = World(deadline_s=10)
    answers = [GONE, DEK] * 2_000
    world.script = list(answers)
    calls = 0
    while len(world.script) > 2:
        calls += 1
        world.clock.now += 0.6  # so that the share of the window does not open the breaker
        with contextlib.suppress(KmsFaultError):
            await wrap(world)

    assert not any(record.not_sent for record in world.records)
    assert len(world.deadlines) <= 1.15 * calls


async def test_after_five_calls_without_an_answer_the_next_ones_end_at_once():
    world = World(deadline_s=10)
    world.script = FailingPeer(GONE)
    for _ in range(5):
        await refused(world)
    sent = len(world.deadlines)

    fault = await refused(world)

    assert fault.code is Code.KMS_UNREACHABLE
    assert fault.retry_after_s == 1
    assert len(world.deadlines) == sent
    assert world.records[-1].not_sent == "breaker"
    world.script = [DEK]
    world.clock.now += 1
    assert await wrap(world) == DEK
    assert await wrap(world) == DEK


async def test_a_trial_is_one_request_without_a_retry():
    world = World(deadline_s=10)
    world.script = FailingPeer(GONE)
    for _ in range(5):
        await refused(world)
    world.clock.now += 1
    sent = len(world.deadlines)

    await refused(world)

    assert len(world.deadlines) == sent + 1


async def test_those_who_wait_are_told_as_soon_as_the_breaker_opens():
    world = World(in_flight_per_tenant=5, deadline_s=100)
    world.script = [GONE] * 100
    world.gate = asyncio.Event()
    calls = [asyncio.ensure_future(wrap(world)) for _ in range(50)]
    await until(lambda: world.caller.bulkhead.waiting == 45)
    world.gate.set()
    faults = await asyncio.gather(*calls, return_exceptions=True)

    assert all(isinstance(fault, TenantSecurityError) and fault.code is Code.KMS_UNREACHABLE for fault in faults)
    assert len(world.deadlines) <= 5 * 1.5
    assert sum(record.not_sent == "breaker" for record in world.records) == 45
    assert len(world.caller.bulkhead) == 0


@pytest.mark.parametrize("code", [Code.KMS_WRAP_FAILED, Code.KMS_CONFIGURATION_INVALID, Code.KMS_ACCOUNT_ISSUE])
async def test_a_kms_that_refuses_is_asked_every_time(code):
    world = World()
    world.script = FailingPeer(provider_fault(once_more=False, code=code))
    for _ in range(50):
        assert (await refused(world)).code is code

    assert len(world.deadlines) == 50


async def test_an_address_that_is_not_allowed_opens_no_breaker():
    world = World()
    world.script = FailingPeer(UnreachableError(Reason.REFUSED))
    for _ in range(50):
        assert "not allowed" in (await refused(world)).message

    assert not any(record.not_sent for record in world.records)


async def test_credentials_that_were_refused_are_shown_once_in_half_a_minute():
    world = World()
    world.script = FailingPeer(provider_fault(once_more=False, code=Code.KMS_AUTHORIZATION_FAILED))
    for _ in range(60):
        fault = await refused(world)
        assert (fault.code, fault.message) == (Code.KMS_AUTHORIZATION_FAILED, "words")
        world.clock.now += 1

    assert len(world.deadlines) == 2
    assert world.records[1].not_sent == "credentials"


async def test_another_config_is_asked_all_the_same():
    world = World()
    world.script = [provider_fault(once_more=False, code=Code.KMS_AUTHORIZATION_FAILED), DEK]
    await refused(world)

    assert await wrap(world, config=b"rotated") == DEK


async def test_a_pause_that_the_kms_asks_for_is_kept_and_passed_on():
    world = World()
    world.script = [KmsFaultError(Code.KMS_THROTTLED, "words", provider="test", retry_after_s=30), DEK]
    first, second = await refused(world), await refused(world)

    assert (first.retry_after_s, second.retry_after_s) == (30, 30)
    assert second.http_status == 429
    assert len(world.deadlines) == 1
    world.clock.now += 30
    assert await wrap(world) == DEK


async def test_a_flood_for_a_kms_that_hangs_does_not_hold_up_another_tenant():
    world = World(in_flight=40, in_flight_per_tenant=10, waiting_per_tenant=50, waiting=200, deadline_s=0.3)
    world.gate = asyncio.Event()
    flood = [asyncio.ensure_future(wrap(world, "hanging", b"hangs")) for _ in range(500)]
    await until(lambda: world.in_flight == 10 and world.caller.bulkhead.waiting == 50)
    hanging, world.gate = world.gate, None

    for number in range(200):
        assert await wrap(world, f"other-{number % 7}", b"works") == DEK

    ended = [call for call in flood if call.done()]
    assert len(ended) >= 440  # beyond places and queue: turned away at once
    for call in ended:
        fault = call.exception()
        assert isinstance(fault, TenantSecurityError)
        assert (fault.code, fault.retry_after_s) == (Code.KMS_THROTTLED, 1)
    hanging.set()
    await asyncio.gather(*flood, return_exceptions=True)
    assert {record.not_sent for record in world.records} >= {"queue"}
    assert len(world.caller.bulkhead) == 0


async def test_many_tenants_of_one_config_that_hangs_leave_room_for_others():
    world = World(in_flight=100, in_flight_per_config=20, deadline_s=100)
    world.gate = asyncio.Event()
    shared = [asyncio.ensure_future(wrap(world, f"t{number}", b"shared")) for number in range(90)]
    await until(lambda: world.caller.bulkhead.waiting == 70)
    own = asyncio.ensure_future(wrap(world, "t1", b"own"))
    await until(lambda: world.in_flight == 21)
    world.gate.set()

    await asyncio.gather(own, *shared)
    assert world.most_in_flight == 21


async def test_a_slow_answer_is_an_answer():
    world = World(deadline_s=10)
    world.script = [later(world, 4, DEK) for _ in range(20)]
    for _ in range(20):
        assert await wrap(world) == DEK
    assert len(world.caller.health) == 0
