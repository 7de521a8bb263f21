"""The watch tells how late the loop is, and nothing when it is not."""

import asyncio

import pytest

from tenant_security.service.loop_watch import watch_loop


async def test_what_is_told_is_the_lateness() -> None:
    now, late, told = 100.0, iter([0.0, 0.25, -0.01]), []

    async def sleep(seconds: float) -> None:
        nonlocal now
        try:
            now += seconds + next(late)
        except StopIteration:
            raise asyncio.CancelledError from None

    with pytest.raises(asyncio.CancelledError):
        await watch_loop(told.append, sleep=sleep, clock=lambda: now)
    assert told == [pytest.approx(0.0), pytest.approx(0.25), 0.0]


async def test_a_blocked_loop_is_noticed() -> None:
    told: list[float] = []
    heard = asyncio.Event()

    def hear(lag: float) -> None:
        told.append(lag)
        heard.set()

    watch = asyncio.create_task(watch_loop(hear, every_s=0.001))
    await asyncio.sleep(0)
    blocked_until = asyncio.get_running_loop().time() + 0.05
    while asyncio.get_running_loop().time() < blocked_until:
        pass
    await heard.wait()
    watch.cancel()
    assert max(told) > 0.02
