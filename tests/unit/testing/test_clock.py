"""The stepping clock of the kit."""

import asyncio

import pytest

from tenant_security.testing.clock import SteppingClock, settle


async def test_it_stands_still_until_it_is_moved():
    clock = SteppingClock(at_s=5.0, unix_ms=1_000_000)
    assert (clock(), clock.unix_ms(), clock.unix_s()) == (5.0, 1_000_000, 1_000.0)

    clock.advance(1.5)
    assert (clock(), clock.unix_ms(), clock.unix_s()) == (6.5, 1_001_500, 1_001.5)


def test_it_does_not_go_back():
    with pytest.raises(ValueError, match="does not go back"):
        SteppingClock().advance(-1)


async def test_a_sleeper_wakes_when_its_time_has_come_and_not_before():
    clock = SteppingClock()
    sleeper = asyncio.create_task(clock.sleep(10))
    await clock.step(9.999)
    assert not sleeper.done()
    assert clock.sleepers == 1
    await clock.step(0.001)

    assert sleeper.done()
    assert clock.sleepers == 0


async def test_sleepers_wake_in_order_each_at_its_own_moment_and_may_sleep_again():
    clock, woken = SteppingClock(at_s=0), []

    async def every(seconds):
        while True:
            await clock.sleep(seconds)
            woken.append((clock(), seconds))

    tasks = [asyncio.create_task(every(seconds)) for seconds in (3, 2)]
    await clock.step(6)
    for task in tasks:
        task.cancel()

    assert woken == [(2, 2), (3, 3), (4, 2), (6, 3), (6, 2)]
    assert clock() == 6


async def test_a_sleeper_that_was_cancelled_is_forgotten():
    clock = SteppingClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await settle()
    sleeper.cancel()
    await settle()
    await clock.step(2)

    assert sleeper.cancelled()
    assert clock.sleepers == 0


async def test_a_sleep_of_no_time_ends_at_once():
    await asyncio.wait_for(SteppingClock().sleep(0), 1)
