"""One maker for many who wait."""

import asyncio

import pytest

from tenant_security.proxy.single_flight import SingleFlight
from tenant_security.testing.clock import settle


class Work:
    """Counts how often it is done, and waits to be let go."""

    def __init__(self, fault=None):
        self.done = 0
        self.go = asyncio.Event()
        self.fault = fault

    async def __call__(self):
        self.done += 1
        await self.go.wait()
        if self.fault is not None:
            raise self.fault
        return self.done


@pytest.fixture
async def flights():
    tasks = []

    def start(work):
        tasks.append(asyncio.create_task(work))

    flights = SingleFlight(start)
    flights.tasks = tasks
    yield flights
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_who_ask_while_it_is_made_get_the_one_that_is_made(flights):
    work = Work()
    waiting = [asyncio.create_task(flights.get("key", work)) for _ in range(100)]
    await settle()
    assert flights.flying("key")
    work.go.set()

    assert await asyncio.gather(*waiting) == [1] * 100
    assert not flights.flying("key")
    assert len(flights) == 0


async def test_whoever_asks_later_has_it_made_anew(flights):
    work = Work()
    work.go.set()

    assert [await flights.get("key", work), await flights.get("key", work)] == [1, 2]


async def test_each_key_flies_by_itself(flights):
    one, other = Work(), Work()
    other.go.set()
    waiting = asyncio.create_task(flights.get("one", one))

    assert await flights.get("other", other) == 1
    assert not waiting.done()


async def test_a_fault_reaches_all_who_wait_and_nobody_later(flights):
    work = Work(ValueError("no"))
    work.go.set()
    found = await asyncio.gather(*(flights.get("key", work) for _ in range(10)), return_exceptions=True)
    assert {str(each) for each in found} == {"no"}
    assert work.done == 1

    work.fault = None
    assert await flights.get("key", work) == 2


async def test_a_caller_that_leaves_takes_nobody_along(flights):
    work = Work()
    first, second = (asyncio.create_task(flights.get("key", work)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    work.go.set()

    assert await second == 1
    assert first.cancelled()


async def test_a_fault_that_nobody_is_left_to_hear_of_disturbs_nobody(flights):
    work = Work(ValueError("no"))
    flights.launch("key", work)
    work.go.set()
    await settle()

    assert not flights.flying("key")


async def test_when_the_daemon_ends_the_work_its_callers_end_too(flights):
    waiting = asyncio.create_task(flights.get("key", Work()))
    await settle()
    flights.tasks[0].cancel()
    await settle()

    assert waiting.cancelled()
    assert not flights.flying("key")
