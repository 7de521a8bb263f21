"""Where events wait: in order, bounded, handed out until somebody has them safe."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.proxy.outbox import Outbox
from tenant_security.testing.clock import settle
from tenant_security.wire.events import EventRecord
from tenant_security.wire.proxy_api import IclFields


def event(serial):
    return EventRecord(serial, serial, 0, "X", "tenant", "0" * 16, "ray", IclFields("me"), None)


def filled(count, capacity=1_000):
    outbox = Outbox(capacity)
    for serial in range(count):
        assert outbox.add(event(serial))
    return outbox


async def serials(outbox, most=1_000):
    batch = await outbox.lend(most)
    return batch.number, [each.serial for each in batch.events]


async def test_events_leave_in_the_order_they_came_and_in_portions():
    outbox = filled(5)

    assert [await serials(outbox, 2) for _ in range(3)] == [(1, [0, 1]), (2, [2, 3]), (3, [4])]


async def test_what_does_not_fit_is_dropped_and_counted_and_what_is_lent_takes_room():
    outbox = filled(3, capacity=3)
    number, _ = await serials(outbox)
    assert not outbox.add(event(9))
    assert (outbox.dropped, len(outbox)) == (1, 3)

    assert outbox.acknowledge(number)
    assert len(outbox) == 0
    assert outbox.add(event(10))


async def test_a_batch_is_acknowledged_once():
    outbox = filled(1)
    number, _ = await serials(outbox)

    assert [outbox.acknowledge(number) for _ in range(2)] == [True, False]
    assert not outbox.acknowledge(99)


async def test_a_batch_that_was_not_acknowledged_comes_again_first_and_in_order():
    outbox = filled(5)
    number, lent = await serials(outbox, 3)
    outbox.take_back(number)

    again, events = await serials(outbox)
    assert events == [*lent, 3, 4]
    assert again != number
    assert not outbox.acknowledge(number)


async def test_taking_back_what_was_acknowledged_changes_nothing():
    outbox = filled(2)
    number, _ = await serials(outbox)
    outbox.acknowledge(number)
    outbox.take_back(number)

    assert len(outbox) == 0


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_batches_taken_back_in_any_order_come_again_in_the_order_of_their_events(sizes, random):
    async def play():
        outbox = filled(12)
        numbers = [(await serials(outbox, size))[0] for size in sizes if len(outbox._waiting)]
        random.shuffle(numbers)
        for number in numbers:
            outbox.take_back(number)
        return (await serials(outbox))[1]

    assert asyncio.run(play()) == list(range(12))


async def test_whoever_waits_for_an_event_gets_it_when_it_comes():
    outbox = Outbox(10)
    waiting = [asyncio.create_task(serials(outbox)) for _ in range(2)]
    await settle()
    outbox.add(event(1))
    await settle()
    assert sorted(each.done() for each in waiting) == [False, True]
    outbox.add(event(2))

    assert sorted([(await each)[1] for each in waiting]) == [[1], [2]]


async def test_a_waiter_that_leaves_takes_no_event_along():
    outbox = Outbox(10)
    waiting = asyncio.create_task(serials(outbox))
    await settle()
    waiting.cancel()
    outbox.add(event(1))
    await settle()

    assert (await serials(outbox))[1] == [1]


async def test_closing_lets_everybody_who_waits_go():
    outbox = Outbox(10)
    waiting = [asyncio.create_task(serials(outbox)) for _ in range(3)]
    await settle()
    outbox.close()

    assert [events for _, events in await asyncio.gather(*waiting)] == [[]] * 3


async def test_a_stop_waits_until_the_last_events_are_safe_and_no_longer():
    outbox = filled(1)
    number, _ = await serials(outbox)
    stopping = asyncio.create_task(outbox.emptied(60))
    await settle()
    assert not stopping.done()
    outbox.acknowledge(number)

    assert await asyncio.wait_for(stopping, 5) == 0
    assert await filled(4).emptied(0) == 4


@pytest.mark.parametrize("fetched", [False, True])
async def test_it_knows_whether_anybody_ever_fetched(fetched):
    outbox = filled(1)
    if fetched:
        await serials(outbox)

    assert outbox.served is fetched


@given(st.lists(st.sampled_from(["add", "lend", "acknowledge", "take back"]), max_size=60))
def test_no_event_is_lost_or_handed_to_two_at_once(steps):
    async def play():
        outbox, counter = Outbox(5), itertools.count()
        kept, safe, lent = set(), set(), {}
        for step in steps:
            match step:
                case "add":
                    serial = next(counter)
                    if outbox.add(event(serial)):
                        kept.add(serial)
                case "lend" if outbox._waiting:
                    number, events = await serials(outbox, 2)
                    assert not set(events) & set(itertools.chain(safe, *lent.values()))
                    lent[number] = events
                case "acknowledge" if lent:
                    number, events = lent.popitem()
                    assert outbox.acknowledge(number)
                    safe |= set(events)
                case "take back" if lent:
                    outbox.take_back(lent.popitem()[0])
            assert len(outbox) == len(kept) - len(safe) <= 5
        for number in lent:
            outbox.take_back(number)
        outbox.close()
        assert set((await serials(outbox))[1]) == kept - safe

    asyncio.run(play())
