"""Watches the event loop: how late it runs what is due is how long everybody waits for the slowest thing in it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

_EVERY_S: Final = 0.05


async def watch_loop(
    observe: Callable[[float], None],
    *,
    every_s: float = _EVERY_S,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Tell, many times a second, how many seconds late the loop is, until cancelled."""
    while True:
        due = clock() + every_s
        await sleep(every_s)
        observe(max(0.0, clock() - due))
