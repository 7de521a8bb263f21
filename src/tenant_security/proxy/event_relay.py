"""The events port of a proxy with several workers: every request goes on to a worker, so that a logdriver sees one.

Nothing is kept here: a batch stays lent by the worker that holds its events until that worker is told that it is safe.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tenant_security.crypto.aead import random_bytes
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.outbound.flow import Response
from tenant_security.proxy.worker_process import WorkerProcess
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http import (
    ClientGoneError,
    Receive,
    Reply,
    Scope,
    Send,
    error_reply,
    header,
    path_of,
    read_body,
    send_reply,
    unknown_route,
    wrong_method,
)
from tenant_security.wire.event_feed import (
    ACKNOWLEDGE_PATH,
    LEASE_PATH,
    REQUEST_BYTES,
    WAIT_PATH,
    Acknowledgement,
    LeasedEvents,
    LeaseRequest,
    decode_request,
)
from tenant_security.wire.proxy_api import NULL

_OK: Final = 200
_LOOK_AGAIN_S: Final = 1.0
"""How soon a worker is noticed that became ready while a logdriver waits."""
_PAUSE_S: Final = 0.05
"""Between two rounds where a worker that is going away said that there were events, and then there were none."""


class _Lent(msgspec.Struct, frozen=True):
    """What matters here of :class:`LeasedEvents`."""

    instance: str
    batch: int | None


class EventRelay:
    """The ASGI application on the supervisor's events port. ``workers`` are those that may hold events now.

    Fair: every lease begins its round behind the worker that gave last. Owner of one waiting request for each worker.
    """

    def __init__(self, workers: Callable[[], Sequence[WorkerProcess]], api_keys: ApiKeys) -> None:
        self._workers = workers
        self._api_keys = api_keys
        self._instance = random_bytes(8).hex()
        self._gave = 0
        self._waits: dict[int, asyncio.Task[Response | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            reply = await self._answer(scope, receive)
        except TenantSecurityError as fault:
            reply = error_reply(fault)
        except ClientGoneError:
            return
        await send_reply(send, reply)

    def close(self) -> None:
        """End what waits for workers."""
        for each in self._waits.values():
            each.cancel()

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        given = header(scope, b"authorization")
        self._api_keys.check(given)
        authorization = (given or b"").decode("latin-1")
        path = path_of(scope)
        if path not in (LEASE_PATH, ACKNOWLEDGE_PATH, WAIT_PATH):
            raise unknown_route()
        if scope["method"] != "POST":
            return wrong_method("POST")
        body = await read_body(scope, receive, REQUEST_BYTES)
        if path == ACKNOWLEDGE_PATH:
            return await self._acknowledge(decode_request(Acknowledgement, body), authorization)
        request = decode_request(LeaseRequest, body)
        if path == WAIT_PATH:
            await self._filled(authorization, request.wait_millis / 1000)
            return Reply(200, NULL)
        return await self._lease(request, authorization)

    async def _lease(self, request: LeaseRequest, authorization: str) -> Reply:
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

    async def _acknowledge(self, request: Acknowledgement, authorization: str) -> Reply:
        for worker in self._workers():
            if worker.instance == request.instance:
                body = msgspec.json.encode(request)
                answer = await worker.ask_events(ACKNOWLEDGE_PATH, authorization, body)
                if answer is not None:
                    return Reply(answer.status, answer.body)
        raise TenantSecurityError(
            Code.INVALID_REQUEST_BODY,
            "This batch is not lent: it was acknowledged already, or too late, or by another proxy's number",
            http_status=409,
        )
