"""What a supervisor and its workers say to each other, and the worker's side of it.

A worker is an ordinary proxy that was handed its sockets. The *lifeline* is a socket pair between the two: orders go
down as words, reports come up as JSON, one per line, and its end tells either side that the other is gone.
"""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

import msgspec
import structlog

from tenant_security.errors import SettingsError
from tenant_security.proxy.listeners import Listeners
from tenant_security.proxy.settings import ProxySettings
from tenant_security.service.fair_accept import Board, Share
from tenant_security.service.http_server import inherited
from tenant_security.service.run import Signals

PLACE: Final = "TSP_WORKER_PLACE"
"""The environment variable that makes a proxy a worker; only a supervisor sets it."""
_ORPHANED: Final = 1


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which worker this is, and the descriptors that it inherits; the API's is in ``TSP_HTTP_FD``.

    ``slot`` is its own on the board that says how many connections each worker has.
    """

    number: int
    lifeline: int
    ops: int
    events: int | None
    board: int
    slot: int


class Order(Enum):
    """What a supervisor tells a worker."""

    STOP = b"stop"
    """Drain and stop; new connections are served while it drains."""
    RETIRE = b"retire"
    """The same, but stop accepting first: another worker accepts already."""
    HURRY = b"hurry"
    """Stop at once."""
    RELOAD = b"reload"
    """Read the tenants again."""


class Said(Enum):
    """How far a worker has got."""

    OPENED = "opened"
    """Its settings are good."""
    READY = "ready"
    """It serves."""
    REVOKED = "revoked"
    """Its vendor has revoked it: it runs, and serves nobody."""
    DONE = "done"
    """It has stopped serving; what it counted follows."""


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker tells its supervisor."""

    said: Said
    metrics: str = ""


def place_of(environ: Mapping[str, str]) -> Place | None:
    """Return the worker's place, or None where there is no supervisor. Raises: SettingsError."""
    text = environ.get(PLACE)
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=Place)
    except msgspec.DecodeError:
        raise SettingsError([f"{PLACE} is set by the supervisor of --workers only; unset it"]) from None


def worker_listeners(place: Place, settings: ProxySettings) -> Listeners:
    """Take over the worker's sockets. Raises: SettingsError."""
    if settings.http_fd is None:
        raise SettingsError([f"{PLACE} without TSP_HTTP_FD: it is set by the supervisor of --workers only; unset it"])
    return Listeners(
        inherited(settings.http_fd, "TSP_HTTP_FD"),
        inherited(place.ops, PLACE),
        inherited(place.events, PLACE) if place.events is not None else None,
        Share(Board(place.board), place.slot),
    )


class WorkerSignals(Signals):
    """Takes orders from the lifeline, and ends the process with the supervisor's.

    Signals that reach a worker directly are taken kindly: a service manager sends SIGTERM to every process of a
    group, and a terminal SIGINT. They begin what the supervisor is about to order, and never mean "at once".
    """

    def __init__(self, lifeline: int, log: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__()
        self._lifeline = socket.socket(fileno=lifeline)
        self._log = log

    def install(self, on_hangup: Callable[[], object] | None = None) -> None:
        """Take the signals over and begin to listen for orders."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self.stop.set)
        reload = on_hangup or (lambda: None)
        loop.add_signal_handler(signal.SIGHUP, reload)
        orders: dict[Order, Callable[[], object]] = {
            Order.STOP: self.stop.set,
            Order.RETIRE: self._retire,
            Order.HURRY: self._hurry,
            Order.RELOAD: reload,
        }
        threading.Thread(target=self._listen, args=(loop, orders), daemon=True, name="lifeline").start()

    def tell(self, said: Said, metrics: bytes = b"") -> None:
        """Report to the supervisor; whether it still lives is the other thread's question."""
        report = msgspec.json.encode(Report(said, metrics.decode())) + b"\n"
        try:
            self._lifeline.sendall(report)
        except OSError:
            return

    def _retire(self) -> None:
        self.replaced = True
        self.stop.set()

    def _hurry(self) -> None:
        self.stop.set()
        self.hurry.set()

    def _listen(self, loop: asyncio.AbstractEventLoop, orders: Mapping[Order, Callable[[], object]]) -> None:
        """Obey. A thread of its own, because a worker must not outlive its supervisor however busy its loop is."""
        try:
            with self._lifeline.makefile("rb") as lines:
                for line in lines:
                    loop.call_soon_threadsafe(orders[Order(line.strip())])
        except RuntimeError:  # the loop has ended, and with it this process's work
            return
        except OSError:
            pass
        self._log.error("the supervisor is gone; the worker stops at once")
        os._exit(_ORPHANED)
