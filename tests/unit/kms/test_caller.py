import asyncio
from collections.abc import Callable

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.caller import KmsCaller, KmsCallRecord
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.resilience import CallLimits
from tenant_security.outbound.flow import Effect, Flow, Reason, Request, UnreachableError

DEK = bytes(range(32))
REQUEST = Request("POST", "https://kms.example/")


class Key:
    """A key whose KMS does what the driver below does for it."""

    provider = "test"

    def __init__(self) -> None:
        self.begun = 0

    def wrap(self, key: bytes) -> Flow[bytes]:
        return self.ask(key)

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        return self.ask(blob)

    def ask(self, _argument: bytes) -> Flow[bytes]:
        self.begun += 1
        answer = yield REQUEST
        assert isinstance(answer, bytes)
        return answer


class InstantKey(Key):
    """A key that needs nobody."""

    def ask(self, argument: bytes) -> Flow[bytes]:
        self.begun += 1
        yield from ()
        return argument


class Clock:
    """Time that passes only when somebody sleeps or a test says so."""

    def __init__(self) -> None:
        self.now = 50.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class World:
    """A driver that answers from a script, and a caller on top of it."""

    def __init__(self, **limits: float) -> None:
        self.clock = Clock()
        self.script: list[bytes | Exception | Callable[[], bytes | Exception]] = []
        self.gate: asyncio.Event | None = None
        self.deadlines: list[float] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.records: list[KmsCallRecord] = []
        self.key = Key()
        self.caller = KmsCaller(
            self,
            CallLimits(**limits),
            observe=self.records.append,
            sleep=self.clock.sleep,
            jitter=lambda low, high: (low + high) / 2,
            clock=self.clock,
        )

    async def run(self, flow: Flow[bytes], *, deadline_s: float, asked: Effect | None = None) -> bytes:
        self.deadlines.append(deadline_s)
        effect = flow.send(None) if asked is None else asked
        assert effect is REQUEST
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.gate is not None:
                await self.gate.wait()
            step = self.script.pop(0) if self.script else DEK
            answer = step() if callable(step) else step
            if isinstance(answer, Exception):
                flow.throw(answer)
            flow.send(answer)
        except StopIteration as end:
            return end.value
        finally:
            self.in_flight -= 1
            flow.close()
        raise AssertionError("the flow asked twice")

    async def wrap(self, tenant: str = "t") -> bytes:
        return await self.caller.wrap(tenant, self.key, DEK)

    async def unwrap(self) -> bytes:
        return await self.caller.unwrap("t", self.key, b"blob")

    async def refused(self, code: Code, *, unwrap: bool = False) -> TenantSecurityError:
        with pytest.raises(TenantSecurityError) as caught:
            await (self.unwrap() if unwrap else self.wrap())
        assert caught.value.code is code
        assert self.records[-1].outcome == str(code.value)
        return caught.value


def later(world: World, seconds: float, answer: bytes | Exception) -> Callable[[], bytes | Exception]:
    def step() -> bytes | Exception:
        world.clock.now += seconds
        return answer

    return step


async def until(condition: Callable[[], bool]) -> None:
    """Let the others run until it is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def provider_fault(*, once_more: bool, code: Code = Code.KMS_UNREACHABLE) -> KmsFaultError:
    return KmsFaultError(
        code, "words", provider="test", provider_code="TheirCode", request_id="r-1", once_more=once_more
    )


async def test_a_call_that_succeeds_is_recorded():
    world = World()
    world.script = [later(world, 0.25, b"wrapped")]

    assert await world.wrap() == b"wrapped"
    assert world.records == [KmsCallRecord("test", "wrap", "ok", "", 0.25, retried=False, request_id="")]


async def test_a_refusal_is_recorded_with_what_the_provider_said():
    world = World()
    world.script = [later(world, 0.5, provider_fault(once_more=False, code=Code.KMS_AUTHORIZATION_FAILED))]

    await world.refused(Code.KMS_AUTHORIZATION_FAILED, unwrap=True)

    assert world.records == [KmsCallRecord("test", "unwrap", "206", "TheirCode", 0.5, retried=False, request_id="r-1")]
    assert world.key.begun == 1


@pytest.mark.parametrize("fault", [UnreachableError(Reason.RESET), provider_fault(once_more=True)])
async def test_a_passing_fault_is_tried_once_more_after_a_pause(fault):
    world = World()
    world.script = [fault, b"wrapped"]

    assert await world.wrap() == b"wrapped"
    assert world.clock.slept == pytest.approx([0.1])
    assert world.key.begun == 2
    assert world.records[0].retried
    assert world.records[0].outcome == "ok"


async def test_a_second_fault_is_final():
    world = World()
    world.script = [UnreachableError(Reason.RESET), UnreachableError(Reason.CONNECT), b"too late"]

    fault = await world.refused(Code.KMS_UNREACHABLE)

    assert "no connection" in fault.message
    assert world.key.begun == 2
    assert world.records[0].provider_code == "CONNECT"


async def test_no_retry_begins_late():
    world = World(deadline_s=5)
    world.script = [later(world, 3.001, UnreachableError(Reason.RESET)), b"too late"]

    await world.refused(Code.KMS_UNREACHABLE)

    assert world.key.begun == 1
    assert world.clock.slept == []


async def test_the_retry_gets_what_is_left_of_the_deadline():
    world = World(deadline_s=5)
    world.script = [later(world, 2.5, UnreachableError(Reason.TIMEOUT)), b"wrapped"]

    await world.wrap()

    assert world.deadlines == pytest.approx([5, 2.4])


async def test_an_address_that_is_not_allowed_is_asked_once():
    world = World()
    world.script = [UnreachableError(Reason.REFUSED)]

    await world.refused(Code.KMS_UNREACHABLE)

    assert world.key.begun == 1


@pytest.mark.parametrize("length", [0, 16, 31, 33])
async def test_an_unwrapped_key_of_another_length_is_refused(length):
    world = World()
    world.script = [bytes(length)]

    await world.refused(Code.KMS_UNWRAP_FAILED, unwrap=True)


async def test_an_empty_wrapped_key_is_refused():
    world = World()
    world.script = [b""]

    await world.refused(Code.KMS_WRAP_FAILED)


async def test_a_defect_is_recorded_and_goes_through():
    world = World()
    world.script = [RuntimeError("a defect")]

    with pytest.raises(RuntimeError):
        await world.wrap()
    assert world.records[0].outcome == "100"
    assert len(world.caller.bulkhead) == 0


async def test_a_key_that_needs_nobody_answers_at_once_and_takes_no_place():
    world = World(in_flight=1, in_flight_per_tenant=1, waiting=0)
    world.gate = asyncio.Event()
    holder = asyncio.ensure_future(world.wrap())
    await until(lambda: world.in_flight == 1)

    answer = world.caller.wrap("t", InstantKey(), DEK)
    with pytest.raises(StopIteration) as finished:
        answer.send(None)  # one step, without the loop: it waits for nothing

    assert finished.value.value == DEK
    assert world.records[0].outcome == "ok"
    world.gate.set()
    await holder


async def test_a_tenant_has_no_more_calls_in_flight_than_its_bound():
    world = World(in_flight_per_tenant=3)
    world.gate = asyncio.Event()
    calls = [asyncio.ensure_future(world.wrap()) for _ in range(10)]
    await until(lambda: world.caller.bulkhead.waiting == 7)
    assert world.in_flight == 3
    world.gate.set()

    await asyncio.gather(*calls)
    assert world.most_in_flight == 3
    assert len(world.caller.bulkhead) == 0


async def test_a_slow_tenant_does_not_hold_up_another():
    world = World(in_flight_per_tenant=1)
    world.gate = asyncio.Event()
    slow = [asyncio.ensure_future(world.wrap("slow")) for _ in range(5)]
    await until(lambda: world.caller.bulkhead.waiting == 4)
    quick = asyncio.ensure_future(world.wrap("quick"))
    await until(lambda: world.in_flight == 2)
    world.gate.set()

    await asyncio.gather(quick, *slow)


async def test_beyond_the_queue_a_call_is_turned_away_at_once():
    world = World(in_flight_per_tenant=1, waiting_per_tenant=1)
    world.gate = asyncio.Event()
    calls = [asyncio.ensure_future(world.wrap()) for _ in range(2)]
    await until(lambda: world.caller.bulkhead.waiting == 1)

    fault = await world.refused(Code.KMS_THROTTLED)

    assert fault.retry_after_s == 1
    assert fault.http_status == 429
    world.gate.set()
    await asyncio.gather(*calls)
    assert [record.outcome for record in world.records] == ["209", "ok", "ok"]


async def test_a_call_waits_for_its_turn_no_longer_than_its_deadline():
    world = World(in_flight_per_tenant=1, deadline_s=0.05)
    world.gate = asyncio.Event()
    holder = asyncio.ensure_future(world.wrap())
    await until(lambda: world.in_flight == 1)

    fault = await world.refused(Code.KMS_THROTTLED)

    assert fault.retry_after_s == 1
    assert world.caller.bulkhead.waiting == 0
    world.gate.set()
    await holder
    assert len(world.caller.bulkhead) == 0


async def test_waiting_counts_against_the_deadline():
    world = World(in_flight_per_tenant=1, deadline_s=5)
    world.gate = asyncio.Event()
    world.script = [later(world, 2, b"first"), b"second"]
    calls = [asyncio.ensure_future(world.wrap()) for _ in range(2)]
    await until(lambda: world.caller.bulkhead.waiting == 1)
    world.gate.set()
    await asyncio.gather(*calls)

    assert world.deadlines == pytest.approx([5, 3])


async def test_a_caller_who_leaves_gives_its_place_back_and_is_not_recorded():
    world = World()
    world.gate = asyncio.Event()
    call = asyncio.ensure_future(world.wrap())
    await until(lambda: world.in_flight == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert len(world.caller.bulkhead) == 0
    assert world.records == []


async def test_a_waiter_who_leaves_as_its_turn_comes_passes_it_on():
    world = World(in_flight_per_tenant=1)
    world.gate = asyncio.Event()
    first, second, third = (asyncio.ensure_future(world.wrap()) for _ in range(3))
    await until(lambda: world.caller.bulkhead.waiting == 2)
    world.gate.set()
    # The moment in which the second has the place and does not know it yet.
    await until(lambda: world.caller.bulkhead.waiting == 1)
    second.cancel()

    assert await first == DEK
    assert await asyncio.wait_for(third, 5) == DEK
    with pytest.raises(asyncio.CancelledError):
        await second
    assert len(world.caller.bulkhead) == 0


async def test_a_waiter_who_leaves_does_not_disturb_the_queue():
    world = World(in_flight_per_tenant=1)
    world.gate = asyncio.Event()
    first, second, third = (asyncio.ensure_future(world.wrap()) for _ in range(3))
    await until(lambda: world.caller.bulkhead.waiting == 2)
    second.cancel()
    world.gate.set()

    assert await first == await asyncio.wait_for(third, 5) == DEK
    assert len(world.caller.bulkhead) == 0


async def test_ten_thousand_calls_of_many_tenants_may_be_in_flight():
    world = World(in_flight_per_tenant=64, in_flight=16_384)
    world.gate = asyncio.Event()
    calls = [asyncio.ensure_future(world.wrap(f"t{number % 200}")) for number in range(10_000)]
    await until(lambda: world.in_flight == 10_000)
    world.gate.set()

    await asyncio.gather(*calls)
    assert {record.outcome for record in world.records} == {"ok"}
    assert len(world.caller.bulkhead) == 0
