"""One thing for many ids."""

import asyncio

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.batch import check_size, for_each


async def test_every_id_has_one_outcome_in_the_order_of_the_ids():
    async def work(each):
        await asyncio.sleep(0)
        if each % 3 == 0:
            raise TenantSecurityError(Code.KMS_UNREACHABLE, str(each))
        return each * 10

    outcomes = await for_each(range(100), work, at_once=7)
    assert list(outcomes) == list(range(100))
    assert {each: getattr(made, "message", made) for each, made in outcomes.items()} == {
        each: str(each) if each % 3 == 0 else each * 10 for each in range(100)
    }


@pytest.mark.parametrize(("count", "at_once", "most"), [(100, 8, 8), (3, 8, 3), (5, 1, 1), (0, 8, 0)])
async def test_only_so_many_run_together(count, at_once, most):
    running = highest = 0

    async def work(_):
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await asyncio.sleep(0)
        running -= 1

    assert len(await for_each(range(count), work, at_once=at_once)) == count
    assert highest == most


async def test_an_error_of_the_program_ends_the_whole():
    async def work(each):
        raise ZeroDivisionError(each)

    with pytest.raises(ExceptionGroup) as caught:
        await for_each(range(3), work, at_once=2)
    assert caught.group_contains(ZeroDivisionError)


async def test_work_that_never_waits_does_not_keep_the_event_loop():
    turns = 0

    async def tick():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def work(_):
        return None

    ticking = asyncio.create_task(tick())
    await for_each(range(1_000), work, at_once=10)
    ticking.cancel()
    assert turns >= 100


def test_a_size_at_the_bound_passes_and_one_beyond_does_not():
    check_size(5, 5, "documentIds")
    with pytest.raises(TenantSecurityError, match="documentIds holds 6 entries; at most 5") as caught:
        check_size(6, 5, "documentIds")
    assert caught.value.code is Code.INVALID_REQUEST_BODY
