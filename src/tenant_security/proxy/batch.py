"""Does one thing for many ids: every id ends in exactly one outcome, and one id's failure is that id's alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeVar

from tenant_security.errors import Code, TenantSecurityError

T = TypeVar("T")


async def for_each(
    ids: Iterable[str], work: Callable[[str], Awaitable[T]], *, at_once: int
) -> dict[str, T | TenantSecurityError]:
    """Run the work for every id, so many at a time. Faults become outcomes; anything else ends the whole.

    The outcomes stand in the order of the ids, whichever came first.
    """
    outcomes: dict[str, T | TenantSecurityError] = {}
    waiting = list(ids)
    queue = iter(waiting)
    async with asyncio.TaskGroup() as workers:
        for _ in range(min(at_once, len(waiting))):
            workers.create_task(_worker(queue, work, outcomes))
    return {each: outcomes[each] for each in waiting}


async def _worker(
    queue: Iterator[str], work: Callable[[str], Awaitable[T]], outcomes: dict[str, T | TenantSecurityError]
) -> None:
    for each in queue:
        try:
            outcomes[each] = await work(each)
        except TenantSecurityError as fault:
            outcomes[each] = fault
        # Work that never waits must not keep the event loop to itself.
        await asyncio.sleep(0)


def check_size(count: int, most: int, what: str) -> None:
    """Refuse a batch that is too large. Raises: TenantSecurityError 102."""
    if count > most:
        raise TenantSecurityError(
            Code.INVALID_REQUEST_BODY,
            f"{what} holds {count} entries; at most {most} fit in one request, send several requests",
        )
