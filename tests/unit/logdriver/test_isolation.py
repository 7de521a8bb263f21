"""One tenant's receiver is dead, in each of the ways there are; nobody else's events wait for it."""

import asyncio

import pytest
from tests.unit.logdriver.stepping_loop import run_stepping
from tests.unit.logdriver.test_delivery import ScriptedSink, Stage, line

from tenant_security.logdriver.delivery import Pace
from tenant_security.logdriver.send_slots import SLOW_AFTER_S
from tenant_security.logdriver.status import oldest_first
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import pause
from tenant_security.sinks.sink import Later

BEGAN_S = 1_795_512_600
TENANTS = 20
DEAD = "dead"
SECONDS = 180
MOST_LAG_S = 5.0


class Receiver(ScriptedSink):
    """Collects as long as sinks do, and takes a moment."""

    def __init__(self, **script):
        super().__init__(most=1_000, collect_s=2.0, **script)

    def deliver(self, batch):
        yield from pause(0.2)
        return (yield from super().deliver(batch))


class Hanging(Receiver):
    """Never answers; the flow is at its deadline when it gives up."""

    def deliver(self, batch):
        yield from pause(10 * self.limits.deadline_s)
        return (Later("It did not answer in time."),) * len(batch.pieces)


def saying(later):
    return lambda: Receiver(answers=lambda _number, _tried: later)


class Broken(Receiver):
    """A sink of ours that fails."""

    def deliver(self, batch):
        yield from pause(0.2)
        raise RuntimeError(len(batch.pieces))


WAYS = {
    "hangs": Hanging,
    "refuses connections": saying(Later("It could not be reached.")),
    "answers 503": saying(Later("It is busy.", after_s=10.0)),
    "refuses us": saying(Later("It does not know our token.", blocked=True)),
    "meets a fault of ours": Broken,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flood", [1, 40])
def test_a_dead_receiver_leaves_every_other_tenants_lag_below_five_seconds(tmp_path, way, flood):
    """With no more slots than one dead receiver may take and one that is left, and few events or a flood of them."""
    others = {f"tenant{each}": Receiver() for each in range(TENANTS - 1)}
    dead = WAYS[way]()
    grew = []

    async def scenario():
        now_s = clock()
        async with Outbound() as outbound, asyncio.TaskGroup() as group:
            pace = Pace(at_once=4, failing_at_once=1)
            stage = Stage(tmp_path, group, outbound, pace=pace, now_s=now_s, **others, **{DEAD: dead})
            for second in range(SECONDS):
                at_ms = round(now_s() * 1000)
                await stage.store(*(line(second, each, at_ms=at_ms) for each in others))
                await stage.store(*(line(second * flood + each, DEAD, at_ms=at_ms) for each in range(flood)))
                for _ in range(4):
                    await asyncio.sleep(0.25)
                    lags = {lane.key.tenant: lag for lag, lane in oldest_first(stage.spool, round(now_s() * 1000))}
                    grew.append(lags.pop(DEAD))
                    assert all(lag < MOST_LAG_S for lag in lags.values()), lags
            await asyncio.sleep(MOST_LAG_S)
            stage.background.cancel()
        stage.spool.close()

    run_stepping(scenario())
    assert grew == sorted(grew)
    assert grew[-1] == pytest.approx(SECONDS, abs=0.01)
    assert dead.sent == []
    for sink in others.values():
        assert sink.sent == list(range(SECONDS))


AT_ONCE = 8


def test_as_many_that_hang_at_one_moment_as_there_are_slots_delay_nobody_by_a_deadline(tmp_path):
    """A service goes down that many tenants use: each of their sinks hangs for the first time, all together."""
    others = {f"tenant{each}": Receiver() for each in range(TENANTS)}
    dead = {f"dead{each}": Hanging() for each in range(2 * AT_ONCE)}
    most = []

    async def scenario():
        now_s = clock()
        async with Outbound() as outbound, asyncio.TaskGroup() as group:
            pace = Pace(at_once=AT_ONCE, failing_at_once=2, slow_at_once=2 * AT_ONCE)
            stage = Stage(tmp_path, group, outbound, pace=pace, now_s=now_s, **dead, **others)
            slots = stage.delivery.slots
            for second in range(60):
                at_ms = round(now_s() * 1000)
                await stage.store(*(line(second, each, at_ms=at_ms) for each in (*dead, *others)))
                for _ in range(4):
                    await asyncio.sleep(0.25)
                    now_ms = round(now_s() * 1000)
                    lags = {lane.key.tenant: lag for lag, lane in oldest_first(stage.spool, now_ms)}
                    # Two seconds for each time that the slots are full of those that hang, and no deadline of 30.
                    most.append(max((lag for name, lag in lags.items() if name in others), default=0.0))
                    assert slots.quick <= AT_ONCE
                    assert slots.slow <= 2 * AT_ONCE
                    assert slots.failing <= 2
            await asyncio.sleep(MOST_LAG_S)
            stage.background.cancel()
        stage.spool.close()

    run_stepping(scenario())
    assert max(most) < MOST_LAG_S + 2 * SLOW_AFTER_S
    assert max(most[len(most) // 4 :]) < MOST_LAG_S
    for sink in others.values():
        assert sink.sent == list(range(60))


def clock():
    """The time of the loop that runs, as a time of day."""
    loop = asyncio.get_running_loop()
    return lambda: BEGAN_S + loop.time()
