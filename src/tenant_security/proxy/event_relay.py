"""The events port of a proxy with several workers: every request goes on to a worker, so that a logdriver sees one.

Nothing is kept here: a batch stays lent by the worker that holds its events until that worker is told that it is safe.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tenant_security.crypto.aead import random_bytes
from tenant_security.outbound.flow import Response
from tenant_security.proxy.event_port import EventPort, not_lent
from tenant_security.proxy.worker_process import WorkerProcess
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http import Receive, Reply
from tenant_security.wire.event_feed import (
    ACKNOWLEDGE_PATH,
    LEASE_PATH,
    WAIT_PATH,
    Acknowledgement,
    LeasedEvents,
    LeaseRequest,
)

_OK: Final = 200
_LOOK_AGAIN_S: Final = 1.0
"""How soon a worker is noticed that became ready while a logdriver waits."""
_PAUSE_S: Final = 0.05
"""Between two rounds where a worker that is going away said that there were events, and then there were none."""


class _Lent(msgspec.Struct, frozen=True):
    """What matters here of :class:`LeasedEvents`."""

    instance: str
    batch: int | None


class EventRelay(EventPort):
    """The supervisor's events port. ``workers`` are those that may hold events now.

    Fair: every lease begins its round behind the worker that gave last. Owner of one waiting request for each worker.
    """

    def __init__(self, workers: Callable[[], Sequence[WorkerProcess]], api_keys: ApiKeys) -> None:
        super().__init__(api_keys)
        self._workers = workers
        self._instance = random_bytes(8).hex()
        self._gave = 0
        self._waits: dict[int, asyncio.Task[Response | None]] = {}

    def close(self) -> None:
        """End what waits for workers."""
        for each in self._waits.values():
            each.cancel()

    async def lease(self, request: LeaseRequest, authorization: str, _receive: Receive, /) -> Reply:
        """Hand out the next worker's batch, waiting for one as long as asked."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + request.wait_millis / 1000
        at_once = msgspec.json.encode(msgspec.structs.replace(request, wait_millis=0))
        waited_from = None
        while True:
            for worker in self._round():
                answer = await worker.ask_events(LEASE_PATH, authorization, at_once)
                if answer is not None and answer.status == _OK:
                    lent = msgspec.json.decode(answer.body, type=_Lent)
                    if lent.batch is not None:
                        worker.instance, self._gave = lent.instance, worker.serial
                        return Reply(200, answer.body)
            if waited_from is not None and clock() - waited_from < _PAUSE_S:
                await asyncio.sleep(_PAUSE_S)
            left_s = deadline - clock()
            if left_s <= 0:
                return Reply(200, msgspec.json.encode(LeasedEvents(self._instance, None, [])))
            waited_from = clock()
            await self._filled(authorization, min(left_s, _LOOK_AGAIN_S))

    async def wait(self, request: LeaseRequest, authorization: str, /) -> None:
        """Wait until a worker has events, at most as long as asked."""
        await self._filled(authorization, request.wait_millis / 1000)

    def _round(self) -> list[WorkerProcess]:
        """All workers, the one that gave last as the last."""
        workers = sorted(self._workers(), key=lambda each: each.serial)
        return [each for each in workers if each.serial > self._gave] + [
            each for each in workers if each.serial <= self._gave
        ]

    async def _filled(self, authorization: str, wait_s: float) -> None:
        """Wait until a worker has events, at most so long. Who asks next shares the waits that are still under way."""
        workers = self._workers()
        if not workers:
            await asyncio.sleep(min(wait_s, _PAUSE_S))
            return
        waits = [self._wait(each, authorization) for each in workers]
        await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)

    def _wait(self, worker: WorkerProcess, authorization: str) -> "asyncio.Task[Response | None]":
        task = self._waits.get(worker.serial)
        if task is None:
            longest = LeaseRequest(1, 20_000)
            asking = worker.ask_events(
                WAIT_PATH, authorization, msgspec.json.encode(longest), longest.wait_millis / 1000
            )
            task = asyncio.get_running_loop().create_task(asking)
            self._waits[worker.serial] = task
            task.add_done_callback(lambda _: self._waits.pop(worker.serial, None))
        return task

    async def acknowledge(self, request: Acknowledgement, authorization: str, /) -> Reply:
        """Tell the worker that lent a batch."""
        for worker in self._workers():
            if worker.instance == request.instance:
                body = msgspec.json.encode(request)
                answer = await worker.ask_events(ACKNOWLEDGE_PATH, authorization, body)
                if answer is not None:
                    return Reply(answer.status, answer.body)
        raise not_lent()
