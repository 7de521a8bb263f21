"""Slots of sends: each kind within its bound, and a slow one holds up nobody while there is room for it."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.logdriver.stepping_loop import run_stepping

from tenant_security.logdriver.send_slots import SLOW_AFTER_S, SendSlots


async def hold(slots, seconds, *, failing=False, began=None):
    async with slots.taken(failing=failing):
        if began is not None:
            began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(seconds)


def test_a_send_that_takes_long_makes_room_after_two_seconds():
    began = []

    async def scenario():
        slots = SendSlots(at_once=1, slow=1, failing=1)
        await asyncio.gather(*(hold(slots, 30, began=began) for _ in range(3)))
        assert (slots.quick, slots.slow, slots.failing) == (0, 0, 0)

    run_stepping(scenario())
    # The third waits until the first ends, because there is no room for a second slow one.
    assert began == [0, SLOW_AFTER_S, 30]


def test_a_failing_send_takes_no_slot_of_the_others():
    began = []

    async def scenario():
        slots = SendSlots(at_once=1, slow=0, failing=1)
        failing = [asyncio.create_task(hold(slots, 30, failing=True)) for _ in range(3)]
        await asyncio.sleep(1)
        await hold(slots, 0, began=began)
        await asyncio.gather(*failing)

    run_stepping(scenario())
    assert began == [1]


def test_whoever_stops_waiting_or_is_stopped_leaves_no_trace():
    async def scenario():
        slots = SendSlots(at_once=1, slow=1, failing=1)
        for slept_s in (0.5, SLOW_AFTER_S + 1):
            tasks = [asyncio.create_task(hold(slots, 30)) for _ in range(4)]
            await asyncio.sleep(slept_s)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert (slots.quick, slots.slow) == (0, 0)
        await hold(slots, 0)

    run_stepping(scenario())


_SENDS = st.lists(
    st.tuples(st.floats(0, 20), st.floats(0, 12), st.booleans(), st.one_of(st.none(), st.floats(0, 12))), max_size=40
)


@settings(max_examples=40, deadline=None)
@given(_SENDS, st.integers(1, 4), st.integers(0, 4), st.integers(1, 3))
def test_every_bound_holds_and_everybody_has_a_turn(sends, at_once, slow, failing):
    done = []

    async def one(slots, start_s, takes_s, is_failing, gives_up_s):
        await asyncio.sleep(start_s)
        try:
            async with asyncio.timeout(gives_up_s):
                async with slots.taken(failing=is_failing):
                    assert slots.quick <= at_once
                    assert slots.slow <= slow
                    assert slots.failing <= failing
                    await asyncio.sleep(takes_s)
        except TimeoutError:
            pass
        done.append(start_s)

    async def scenario():
        slots = SendSlots(at_once=at_once, slow=slow, failing=failing)
        await asyncio.gather(*(one(slots, *each) for each in sends))
        assert (slots.quick, slots.slow, slots.failing) == (0, 0, 0)
        assert not slots._late

    run_stepping(scenario())
    assert len(done) == len(sends)
