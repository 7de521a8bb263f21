"""The supervisor of several workers: it owns the sockets, starts, watches and replaces the workers, and stops them.

It opens no tenant's config and answers no key operation. All workers accept from one listening socket, so a worker that
dies or is replaced takes no waiting connection with it.

Source: docs/workers.md; docs/decisions/0010-workers.md.
"""

import asyncio
import itertools
import signal
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec
import structlog

from tenant_security import __version__
from tenant_security.errors import SettingsError
from tenant_security.proxy.aggregate import Totals
from tenant_security.proxy.event_relay import EventRelay
from tenant_security.proxy.listeners import Ports, open_listeners
from tenant_security.proxy.settings import ProxySettings
from tenant_security.proxy.supervisor_ops import SupervisorOps
from tenant_security.proxy.worker_process import WorkerProcess, WorkerStage
from tenant_security.proxy.workers import Order
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.fair_accept import SLOTS, Share, make_board
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer
from tenant_security.service.metrics import Metrics
from tenant_security.service.ops import Stage
from tenant_security.service.reloading import Reloading
from tenant_security.service.run import EXIT_SETTINGS, Background, Signals, until
from tenant_security.service.tls import OwnTls

_READY_WITHIN_S: Final = 120.0
"""How long a replacement may take until it serves; then the rolling restart is given up and the old worker stays."""
_GRACE_S: Final = 10.0
"""How much longer than its own bounds a worker may take to stop before it is killed."""
_FLUSH_S: Final = 30.0
"""How long a worker that is replaced waits for its last events to be fetched (see ``proxy/app``)."""
_HURRIED_S: Final = 5.0
_POLL_S: Final = 0.05


class RestartPolicy(msgspec.Struct, frozen=True):
    """When to replace a worker that died. Units: seconds."""

    calm_s: float = 60.0
    """A worker that lived as long starts the count anew."""
    first_s: float = 0.5
    most_s: float = 30.0

    def pause_s(self, deaths: int) -> float:
        """How long to wait after so many deaths in a row: not at all, then twice as long each time."""
        return 0.0 if deaths <= 1 else min(self.most_s, self.first_s * 2.0 ** min(deaths - 2, 30))


def _no_temporary(refused: OSError) -> SettingsError:
    return SettingsError([f"workers need a temporary directory ({refused.strerror}); name one with TMPDIR"])


class Supervisor:
    """One supervisor. Build it, then :meth:`run` it once.

    ``environ`` is what the workers' settings are read from; it holds secrets.
    """

    def __init__(
        self,
        settings: ProxySettings,
        environ: Mapping[str, str],
        log: structlog.typing.FilteringBoundLogger,
        signals: Signals,
        policy: RestartPolicy | None = None,
    ) -> None:
        """Open the listening sockets. Raises: SettingsError."""
        self._settings = settings
        self._environ = environ
        self._log = log
        self._signals = signals
        self._policy = policy or RestartPolicy()
        api_keys = ApiKeys(settings.api_keys)
        self._event_keys = api_keys if settings.events_token is None else ApiKeys([settings.events_token])
        self._reloading = Reloading(
            settings.reload_file, "TSP_RELOAD_FILE", log, level=settings.log_level, use_keys=api_keys.use
        )
        self._tls = OwnTls(settings.tls, log)
        self._ops_tls = OwnTls(settings.ops_tls, log)
        try:
            self._board = make_board()
        except OSError as refused:
            raise _no_temporary(refused) from None
        self._slots = itertools.count()
        self._listeners = open_listeners(settings)
        self._workers: list[WorkerProcess] = []
        self._current: dict[int, WorkerProcess] = {}
        self._restart_asked = asyncio.Event()
        self._totals = Totals()
        self._metrics = Metrics()
        self._restarts = self._metrics.counter(
            "tsp_worker_restarts", "Workers replaced: because they died, or because a restart was asked for", "reason"
        )
        add = self._metrics.gauge
        add("tsp_workers", "Workers that there should be", lambda: settings.workers)
        add(
            "tsp_workers_running",
            "Worker processes, those included that are being replaced",
            lambda: len(self._workers),
        )
        add("tsp_workers_ready", "Workers that accept connections", lambda: self._ready)

    @property
    def _ready(self) -> int:
        return sum(each.stage is WorkerStage.READY for each in self._workers)

    @property
    def stage(self) -> Stage:
        """Ready as soon as one worker is: all accept from the same socket, so any one serves every client."""
        if self._signals.stop.is_set():
            return Stage.STOPPING
        if not self._ready:
            return Stage.STARTING
        return Stage.REVOKED if any(each.revoked for each in self._workers) else Stage.READY

    async def run(self, on_ready: Callable[[Ports], None] = lambda _ports: None) -> None:
        """Serve until a signal, then let the workers drain and stop. ``on_ready`` is told once one of them serves.

        Raises: SettingsError without a problem when the first worker refused the settings: it has told them itself.
        """
        try:
            directory = TemporaryDirectory(prefix="tsp-workers-")  # readable by its owner only
        except OSError as refused:
            raise _no_temporary(refused) from None
        with directory as name:
            async with asyncio.TaskGroup() as group:
                self._background = Background(group)
                self._directory = Path(name)
                try:
                    await self._serve(on_ready)
                finally:
                    self._background.cancel()

    async def _serve(self, on_ready: Callable[[Ports], None]) -> None:
        listeners, background = self._listeners, self._background
        relay = EventRelay(lambda: [each for each in self._workers if each.serving], self._event_keys)
        ops = SupervisorOps(
            lambda: self._workers, self._settings.workers, lambda: self.stage, self._totals, self._metrics
        )
        names = self._settings.ops_tls_client_names
        servers = [HttpServer(ops, listeners.ops, EdgeLimits(), tls=self._ops_tls.context, client_names=names)]
        self._ops_tls.renews(servers[0].use_tls)
        if listeners.events is not None:
            names = self._settings.events_client_names
            events = HttpServer(relay, listeners.events, EdgeLimits(), tls=self._tls.context, client_names=names)
            self._tls.renews(events.use_tls)
            servers.append(events)
        ports = Ports(
            listeners.api.getsockname()[1], servers[0].port, servers[1].port if listeners.events is not None else None
        )
        self._signals.install(on_hangup=self._reload)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self._restart_asked.set)
        self._log.info("proxy starting", version=__version__, workers=self._settings.workers, **ports._asdict())
        self._background.start(self._reloading.follow())
        self._background.start(self._tls.follow())
        self._background.start(self._ops_tls.follow())
        for server in servers:
            await server.start()
            background.start(server.run())
        try:
            await self._start_first()
            for number in range(1, self._settings.workers + 1):
                background.start(self._keep(number))
            background.start(self._restart_when_asked())
            if await self._until_ready():
                self._log.info("proxy ready", workers=self._settings.workers)
                on_ready(ports)
                await self._signals.stop.wait()
        finally:
            await self._stop(servers)
            relay.close()

    async def _start_first(self) -> None:
        """Start one worker and wait until it has read its settings: what is wrong with them is to be said only once."""
        worker = self._current[1] = await self._spawn(1)
        await self._first_of(worker.opened.wait(), self._signals.stop.wait())
        if worker.stage is WorkerStage.GONE and worker.exit_code == EXIT_SETTINGS:
            raise SettingsError([])

    async def _until_ready(self) -> bool:
        while not self._ready and not self._signals.stop.is_set():
            await asyncio.sleep(_POLL_S)
        return not self._signals.stop.is_set()

    @staticmethod
    async def _first_of(*waits: Coroutine[Any, Any, object], within_s: float | None = None) -> None:
        tasks = [asyncio.ensure_future(each) for each in waits]
        try:
            await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in tasks:
                each.cancel()

    async def _spawn(self, number: int) -> WorkerProcess:
        """Start a worker. Raises: OSError."""
        taken = {each.share.slot for each in self._workers}
        slot = next(each for each in itertools.count(next(self._slots)) if each % SLOTS not in taken) % SLOTS
        worker = WorkerProcess(number, self._directory, Share(self._board, slot))
        await worker.start(self._environ, self._listeners.api, with_events=self._listeners.events is not None)
        self._workers.append(worker)
        self._log.info("worker started", worker=number, pid=worker.pid)
        self._background.start(self._watch(worker))
        return worker

    async def _watch(self, worker: WorkerProcess) -> None:
        try:
            await worker.watch()
        finally:
            self._workers.remove(worker)
            if worker.metrics is not None:
                self._totals.saw(worker.serial, worker.metrics)
            self._totals.lost(worker.serial)

    async def _keep(self, number: int) -> None:
        """Keep one place filled until the proxy stops."""
        deaths = 0
        stop = self._signals.stop
        while not stop.is_set():
            worker = self._current.get(number)
            if worker is not None:
                await worker.gone.wait()
                if self._current[number] is not worker or stop.is_set():
                    continue
                lived_s = asyncio.get_running_loop().time() - worker.started_at_s
                deaths = 1 if lived_s >= self._policy.calm_s else deaths + 1
                self._log.error("worker died; it is replaced", worker=number, pid=worker.pid, exit=worker.exit_code)
                await until(stop, self._policy.pause_s(deaths))
                if stop.is_set() or self._current[number] is not worker:
                    continue
                self._restarts.add("died")
            try:
                spawned = await self._spawn(number)
                if self._current.get(number) is worker:
                    self._current[number] = spawned
                else:  # a rolling restart was faster
                    spawned.order(Order.RETIRE)
            except OSError as refused:
                deaths += 1
                self._log.error("a worker cannot be started; trying again", worker=number, reason=refused.strerror)
                await until(stop, self._policy.pause_s(deaths + 1))

    def _reload(self) -> None:
        self._background.start(self._reloading.renew())
        self._background.start(self._tls.renew())
        self._background.start(self._ops_tls.renew())
        for each in self._workers:
            each.order(Order.RELOAD)

    async def _restart_when_asked(self) -> None:
        """Replace all workers, one after the other, whenever asked; asked meanwhile, once more afterwards."""
        while True:
            await self._restart_asked.wait()
            self._restart_asked.clear()
            self._log.info("rolling restart begins")
            whole = True
            for number in range(1, self._settings.workers + 1):
                whole = whole and await self._replace(number)
            if whole:
                self._log.info("rolling restart done")

    async def _replace(self, number: int) -> bool:
        """Put a new worker in the place of one, and let the old one leave only when the new one serves."""
        stop = self._signals.stop
        if stop.is_set():
            return False
        try:
            fresh = await self._spawn(number)
        except OSError as refused:
            self._log.error("rolling restart given up: a worker cannot be started", reason=refused.strerror)
            return False
        await self._first_of(fresh.ready.wait(), within_s=_READY_WITHIN_S)
        if stop.is_set():
            return False
        if fresh.stage is not WorkerStage.READY:
            fresh.order(Order.HURRY)
            self._log.error("rolling restart given up: the new worker does not serve; the old one stays", worker=number)
            await self._gone(fresh, _HURRIED_S)
            return False
        old, self._current[number] = self._current.get(number), fresh
        self._restarts.add("asked")
        if old is not None:
            old.order(Order.RETIRE)
            await self._gone(old, self._settings.drain_s + self._settings.stop_s + _FLUSH_S + _GRACE_S)
        return True

    async def _gone(self, worker: WorkerProcess, within_s: float) -> None:
        """Wait until a worker has left; kill it when it does not."""
        await until(worker.gone, within_s)
        if not worker.gone.is_set():
            self._log.error("a worker does not stop; it is killed", worker=worker.number, pid=worker.pid)
            worker.kill()
            await worker.gone.wait()

    async def _stop(self, servers: list[HttpServer]) -> None:
        """Let all workers stop. A worker that starts only now is told as well; a second signal skips the waiting."""
        self._signals.stop.set()
        hurry = self._signals.hurry
        self._listeners.api.close()
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._settings.drain_s + self._settings.stop_s + _GRACE_S
        told: set[int] = set()
        hurried: set[int] = set()
        while self._workers:
            for each in self._workers:
                if each.serial not in told:
                    told.add(each.serial)
                    each.order(Order.STOP)
                if hurry.is_set() and each.serial not in hurried:
                    hurried.add(each.serial)
                    deadline = min(deadline, clock() + _HURRIED_S)
                    each.order(Order.HURRY)
                if clock() > deadline:
                    each.kill()
            await asyncio.sleep(_POLL_S)
        for server in servers:
            await server.stop(0.2)
        self._log.info("proxy stopped")
