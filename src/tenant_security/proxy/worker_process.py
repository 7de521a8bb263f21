"""A worker as its supervisor sees it: the process, how far it is, and a way to ask it over its private sockets."""

import asyncio
import contextlib
import itertools
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from enum import IntEnum
from pathlib import Path
from typing import Final

import msgspec

from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Request, Response, UnreachableError, send
from tenant_security.proxy.workers import PLACE, Order, Place, Report, Said
from tenant_security.service.fair_accept import Share

_BACKLOG: Final = 128
_REPORT_BYTES: Final = 64 * 1_048_576
_CAP_BYTES: Final = 64 * 1_048_576
_ASK_S: Final = 5.0
_LONGEST_S: Final = 75.0
"""Longer than a logdriver's longest wait for events."""
_HOST: Final = "http://worker"


class WorkerStage(IntEnum):
    """How far a worker is. It only goes forward."""

    STARTING = 0
    OPENED = 1
    READY = 2
    LEAVING = 3
    GONE = 4


class WorkerProcess:
    """One process that serves. Made by :meth:`start`; :meth:`watch` runs as a task until it has ended.

    ``opened``, ``ready`` and ``gone`` are events; an earlier one is also set when a worker ends without getting there.
    """

    _serials = itertools.count(1)

    def __init__(self, number: int, directory: Path, share: Share) -> None:
        self.number = number
        self.share = share
        self.serial = next(self._serials)
        self.stage = WorkerStage.STARTING
        self.opened, self.ready, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.revoked = False
        """Whether its vendor has revoked it, so that it serves nobody."""
        self.exit_code: int | None = None
        self.metrics: bytes | None = None
        """What it had counted when it stopped serving."""
        self.instance: str | None = None
        """The name under which it lends events, once it has lent some."""
        self.started_at_s = asyncio.get_running_loop().time()
        self._ops_path = directory / f"{self.serial}.ops"
        self._events_path = directory / f"{self.serial}.events"
        self._closing = AsyncExitStack()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def serving(self) -> bool:
        """Whether it has served requests and still lives, so that it counts in what the proxy says of itself."""
        return WorkerStage.READY <= self.stage < WorkerStage.GONE

    async def start(self, environ: Mapping[str, str], api: socket.socket, *, with_events: bool) -> None:
        """Start the process: a fresh interpreter, its secrets in its environment only. Raises: OSError."""
        with contextlib.ExitStack() as handed_over:
            ours, theirs = socket.socketpair()
            handed_over.enter_context(theirs)
            try:
                ops = handed_over.enter_context(_listen(self._ops_path))
                events = handed_over.enter_context(_listen(self._events_path)) if with_events else None
                board, slot = self.share
                place = Place(
                    self.number,
                    theirs.fileno(),
                    ops.fileno(),
                    events.fileno() if events else None,
                    board.descriptor,
                    slot,
                )
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-P",  # what lies in the working directory is no code of ours
                    "-m",
                    "tenant_security",
                    "proxy",
                    env={
                        **environ,
                        "TSP_WORKERS": "1",
                        "TSP_HTTP_FD": str(api.fileno()),
                        PLACE: msgspec.json.encode(place).decode(),
                    },
                    pass_fds=[
                        board.descriptor,
                        *(each.fileno() for each in (api, theirs, ops, events) if each is not None),
                    ],
                    stdin=asyncio.subprocess.DEVNULL,
                    start_new_session=True,  # a Ctrl-C is for the supervisor, which tells the workers
                )
                ours.setblocking(False)
                self._reports, self._orders = await asyncio.open_unix_connection(sock=ours, limit=_REPORT_BYTES)
            except BaseException:
                ours.close()
                raise
        limits = OutboundLimits(attempt_s=_LONGEST_S)
        self._ops = await self._closing.enter_async_context(Outbound(limits, unix_socket=self._ops_path))
        self._events = await self._closing.enter_async_context(Outbound(limits, unix_socket=self._events_path))

    async def watch(self) -> None:
        """Read what it reports until it has ended."""
        try:
            with contextlib.suppress(OSError, ValueError, msgspec.DecodeError):
                while line := await self._reports.readline():
                    self._hear(msgspec.json.decode(line, type=Report))
            self.exit_code = await self._process.wait()
        finally:
            self._reached(WorkerStage.GONE)
            self.share.board.clear(self.share.slot)
            for each in (self.opened, self.ready, self.gone):
                each.set()
            self._orders.close()
            await self._closing.aclose()
            for path in (self._ops_path, self._events_path):
                path.unlink(missing_ok=True)

    def _hear(self, report: Report) -> None:
        match report.said:
            case Said.OPENED:
                self._reached(WorkerStage.OPENED)
                self.opened.set()
            case Said.READY:
                self._reached(WorkerStage.READY)
                self.ready.set()
            case Said.REVOKED:
                self.revoked = True
            case Said.DONE:
                self._reached(WorkerStage.LEAVING)
                self.metrics = report.metrics.encode()

    def _reached(self, stage: WorkerStage) -> None:
        self.stage = max(self.stage, stage)

    def order(self, order: Order) -> None:
        """Tell it what to do. An order reaches a worker that is still starting, too: it waits in the lifeline."""
        if order in (Order.STOP, Order.RETIRE):
            self._leaves()
        if not self._orders.is_closing():
            self._orders.write(order.value + b"\n")

    def _leaves(self) -> None:
        if self.stage >= WorkerStage.READY:
            self._reached(WorkerStage.LEAVING)

    def kill(self) -> None:
        """End it without asking."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ask(self, path: str) -> Response | None:
        """Ask its ops port, such as for ``/health``; None when it does not answer."""
        return await _answer(self._ops, Request("GET", _HOST + path, cap_bytes=_CAP_BYTES), _ASK_S)

    async def ask_events(self, path: str, authorization: str, body: bytes, wait_s: float = 0.0) -> Response | None:
        """Pass a logdriver's request on to its events port; None when it does not answer."""
        headers = (("Authorization", authorization), ("Content-Type", "application/json"))
        return await _answer(self._events, Request("POST", _HOST + path, headers, body, _CAP_BYTES), wait_s + _ASK_S)


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _answer(outbound: Outbound, request: Request, deadline_s: float) -> Response | None:
    try:
        return await outbound.run(send(request), deadline_s=deadline_s)
    except UnreachableError:
        return None
