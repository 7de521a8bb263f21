"""The ops port of a proxy with several workers: one answer for all of them.

A process probe must never depend on a worker's haste, so ``/live`` and ``/ready`` are answered from memory. ``/health``
and ``/metrics`` ask every worker, each within a deadline.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tenant_security import __version__
from tenant_security.proxy.aggregate import Totals
from tenant_security.proxy.worker_process import WorkerProcess, WorkerStage
from tenant_security.service.http import (
    Receive,
    Reply,
    Scope,
    Send,
    error_reply,
    path_of,
    send_reply,
    unknown_route,
    wrong_method,
)
from tenant_security.service.metrics import CONTENT_TYPE, Metrics
from tenant_security.service.ops import STATUS, Check, Health, Stage

_PLAIN: Final = b"text/plain; charset=utf-8"
_OK: Final = 200


class SupervisorOps:
    """The ASGI application on the supervisor's ops port.

    ``workers`` are all that live, those included that are being replaced; ``wanted`` is how many there should be.
    """

    def __init__(
        self,
        workers: Callable[[], Sequence[WorkerProcess]],
        wanted: int,
        stage: Callable[[], Stage],
        totals: Totals,
        metrics: Metrics,
    ) -> None:
        self._workers = workers
        self._wanted = wanted
        self._stage = stage
        self._totals = totals
        self._metrics = metrics

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("GET", "HEAD"):
            await send_reply(send, wrong_method("GET"))
            return
        await send_reply(send, await self._answer(path_of(scope)))

    async def _answer(self, path: str) -> Reply:
        stage = self._stage()
        match path:
            case "/live":
                return Reply(200, b"live\n", _PLAIN)
            case "/ready":
                return Reply(200 if stage is Stage.READY else 503, f"{stage.value}\n".encode(), _PLAIN)
            case "/health":
                health = Health(STATUS[stage], __version__, await self._checks())
                return Reply(200 if stage is Stage.READY else 500, msgspec.json.encode(health))
            case "/metrics":
                return Reply(200, await self._sums() + self._metrics.render(), CONTENT_TYPE.encode())
            case _:
                return error_reply(unknown_route())

    def _asked(self) -> list[WorkerProcess]:
        """The workers that can answer: one that has not opened its sockets yet would only make us wait."""
        return [each for each in self._workers() if each.stage >= WorkerStage.OPENED]

    async def _checks(self) -> list[Check]:
        asked = self._asked()
        answers = await asyncio.gather(*(_checks_of(each) for each in asked))
        ready = sum(each.stage is WorkerStage.READY for each in self._workers())
        counts = {"wanted": self._wanted, "running": len(self._workers()), "ready": ready}
        return [Check("workers", "UP" if ready >= self._wanted else "WARN" if ready else "DOWN", counts)] + [
            check for checks in answers for check in checks
        ]

    async def _sums(self) -> bytes:
        """Add up. A worker that does not answer counts with what it said last; one that never served, with nothing."""
        asked = self._asked()
        asked = [each for each in asked if each.serving] or asked
        answers = await asyncio.gather(*(each.ask("/metrics") for each in asked))
        for worker, answer in zip(asked, answers, strict=True):
            text = worker.metrics  # its last word, where it has said it
            if text is None and answer is not None and answer.status == _OK:
                text = answer.body
            if text is not None and not worker.gone.is_set():
                with contextlib.suppress(ValueError):
                    self._totals.saw(worker.serial, text)
        return self._totals.render({each.serial: each.number for each in asked})


async def _checks_of(worker: WorkerProcess) -> list[Check]:
    answer = await worker.ask("/health")
    if answer is not None:
        with contextlib.suppress(msgspec.DecodeError):
            said = msgspec.json.decode(answer.body, type=Health)
            return [Check(each.name, each.status, {"worker": worker.number, **each.data}) for each in said.checks]
    return [Check("worker", "DOWN", {"worker": worker.number})]
