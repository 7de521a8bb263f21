"""The composition root of the logdriver: builds everything once, runs it, and stops it without losing an event."""

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import structlog

from tenant_security import __version__
from tenant_security.crypto.aead import random_bytes
from tenant_security.directory.open_source import BROKER_LIMITS, broker_account, open_source
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.directory.reporter import News, Reporter
from tenant_security.directory.source import SnapshotSource
from tenant_security.directory.tenants import TenantDirectory
from tenant_security.errors import SettingsError
from tenant_security.logdriver.dead_letters import DeadLetters, replayed
from tenant_security.logdriver.delivery import Deliverer, Delivery, Pace
from tenant_security.logdriver.intake import Access, Intake, Means
from tenant_security.logdriver.lane import STDOUT, Lane
from tenant_security.logdriver.nats_intake import NatsIntake
from tenant_security.logdriver.observed import LogdriverMetrics
from tenant_security.logdriver.repeats import Repeats
from tenant_security.logdriver.room import Room
from tenant_security.logdriver.settings import LogdriverSettings
from tenant_security.logdriver.sink_routes import GONE, SinkRoutes, plan
from tenant_security.logdriver.sink_tests import sink_tests
from tenant_security.logdriver.spool import Spool
from tenant_security.logdriver.status import Parts, add_gauges, deliveries, health_of
from tenant_security.outbound.broker import BrokerAccount
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow
from tenant_security.secret import Secret
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer, bind
from tenant_security.service.loop_watch import watch_loop
from tenant_security.service.metrics import Metrics
from tenant_security.service.ops import OpsApi, Stage, worst_of
from tenant_security.service.ray import RayIds
from tenant_security.service.reloading import Reloading
from tenant_security.service.run import Background, Signals, until
from tenant_security.service.tls import OwnTls
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sink import SinkContext
from tenant_security.spool.disk import open_locked
from tenant_security.wire.service_env import ServiceCredentials
from tenant_security.wire.sinks.stdout import StdoutSinkConfig

_REPLAY_LOOK_S: Final = 2.0
_APPLY_AGAIN_S: Final = 5.0
_REPORT_EVERY_S: Final = 60.0
_REPORT_S: Final = 10.0
_NAME_LETTERS: Final = 16
_MOVED_AT_ONCE: Final = 500
_MOVED_BYTES: Final = 1_048_576
_SINKS: Final = OutboundLimits(connect_s=5.0, attempt_s=30.0, shared_s=30.0, connections=4_096)


class Logdriver:
    """One logdriver process. Build it, then :meth:`run` it once."""

    def __init__(
        self,
        settings: LogdriverSettings,
        credentials: ServiceCredentials,
        log: structlog.typing.FilteringBoundLogger,
        signals: Signals,
        *,
        stdout: BinaryIO | None = None,
    ) -> None:
        """Open the ops port and take the spool directory. Raises: SettingsError."""
        self._settings = settings
        self._credentials = credentials
        self._log = log
        self._ops_tls = OwnTls(settings.ops_tls, log)
        self._reloading = Reloading(settings.reload_file, "LOGDRIVER_RELOAD_FILE", log, level=settings.log_level)
        self._signals = signals
        self._stdout = stdout or sys.stdout.buffer
        self._stage = Stage.STARTING
        self._on_work: Callable[[], object] = lambda: None
        self._metrics = Metrics()
        self._observed = LogdriverMetrics(self._metrics)
        self._access = Access(settings.key or Secret(""), settings.tls())
        self._lock = _hold(settings)
        self._spool = Spool(settings.spool_directory, _room(settings), segment_bytes=_segment_bytes(settings))
        self._dead = DeadLetters(settings.spool_directory, self._spool.disk)
        self._repeats = Repeats()
        try:
            self._repeats.remember(self._spool.open())
            self._name = _name_of(settings.spool_directory)
            self._ops_listener = bind(settings.ops_address, "LOGDRIVER_OPS_BIND_ADDRESS")
        except (OSError, SettingsError) as refused:
            os.close(self._lock)
            if isinstance(refused, SettingsError):
                raise
            raise SettingsError([f"LOGDRIVER_SPOOL_DIRECTORY: {refused.strerror or refused}"]) from refused

    async def run(self, on_ready: Callable[[int], None] = lambda _ops_port: None) -> None:
        """Take and deliver events until a signal, then drain and stop. ``on_ready`` is told the ops port."""
        try:
            async with (
                Outbound(_SINKS, egress=self._settings.egress) as outbound,
                Outbound(BROKER_LIMITS) as to_broker,
                asyncio.TaskGroup() as group,
            ):
                background = Background(group)
                choice = self._settings.source
                account = broker_account(choice, self._credentials)
                source = open_source(
                    choice,
                    self._credentials,
                    account,
                    to_broker,
                    lambda: self._on_work(),  # noqa: PLW0108 - set once there is something that can do work
                    work="sink",
                )
                with closing(source):
                    link = partial(self._link, account, to_broker, background)
                    await self._serve(outbound, source, background, on_ready, link)
                background.cancel()
        finally:
            with suppress(OSError):
                self._spool.close()
            os.close(self._lock)

    def _context(self, tenant_id: str, vendor_owned: bool) -> SinkContext:
        return SinkContext(
            now=lambda: datetime.now(UTC),
            vendor_owned=vendor_owned,
            kafka_allowed=self._settings.kafka_for_tenants,
            stdout=self._stdout,
            tenant_id=tenant_id,
        )

    async def _serve(
        self,
        outbound: Outbound,
        source: SnapshotSource,
        background: Background,
        on_ready: Callable[[int], None],
        link: Callable[[Parts], None],
    ) -> None:
        settings, log, spool = self._settings, self._log, self._spool
        refresher = DirectoryRefresher(
            source,
            credentials=self._credentials,
            on_change=lambda _: changed(),
        )
        self._routes = SinkRoutes(open_sink(StdoutSinkConfig(version=1), self._context("", True)), self._context)
        self._delivery = Delivery(
            Deliverer(spool, self._dead, outbound, background, self._observed, self._routes.open, log),
            Pace(
                most_events=settings.batch_size,
                collect_s=settings.collect_millis / 1000,
                at_once=settings.sends_at_once,
                failing_at_once=max(1, settings.sends_at_once // 4),
                slow_at_once=2 * settings.sends_at_once,
            ),
        )
        spool.on_waiting = self._delivery.wake
        applying = asyncio.Lock()

        async def apply() -> None:
            async with applying:
                while True:
                    try:
                        await self._apply(refresher.current)
                    except OSError as failure:
                        log.warning("new sinks cannot be taken up; trying on", reason=failure.strerror)
                    else:
                        return
                    if self._signals.stop.is_set():
                        return
                    await until(self._signals.stop, _APPLY_AGAIN_S)

        def changed() -> None:
            if self._stage is Stage.READY:
                background.start(apply())

        intake = self._intake()
        parts = Parts(
            lambda: self._stage,
            refresher,
            spool,
            self._delivery,
            self._dead,
            self._repeats,
            intake.reached,
        )
        add_gauges(self._metrics, parts)
        ops = HttpServer(
            OpsApi(self._metrics, lambda: self._stage, lambda: health_of(parts)),
            self._ops_listener,
            EdgeLimits(),
            tls=self._ops_tls.context,
            client_names=settings.ops_tls_client_names,
        )
        self._ops_tls.renews(ops.use_tls)
        self._signals.install(on_hangup=lambda: background.start(self._reload(refresher)))
        for follow in (self._reloading.follow, self._ops_tls.follow):
            background.start(follow())
        background.start(watch_loop(self._observed.loop_lag.timing().observe))
        log.info("logdriver starting", version=__version__, ops=ops.port, spool=str(settings.spool_directory))
        await ops.start()
        background.start(ops.run())
        if await refresher.load_until_good(self._signals.stop, self._tell_unloaded):
            self._begin(refresher.current)
            writing = background.start(spool.run())
            await apply()
            background.start(refresher.run())
            background.start(self._replay_when_asked())
            link(parts)
            fetching = background.start(intake.run())
            self._stage = Stage.READY
            log.info("logdriver ready", tenants=len(refresher.current), sinks=len(spool.lanes) - 1)
            on_ready(ops.port)
            await self._signals.stop.wait()
            self._stage = Stage.STOPPING
            log.info("logdriver draining", seconds=settings.drain_s)
            intake.stopping.set()
            await asyncio.wait([fetching])
            await self._delivery.drain(0.0 if self._signals.hurry.is_set() else settings.drain_s)
            writing.cancel()
        await ops.stop(0.2)
        log.info("logdriver stopped", waiting=sum(each.waiting for each in spool.lanes.values()))

    def _link(self, account: BrokerAccount | None, to_broker: Outbound, background: Background, parts: Parts) -> None:
        """Tell the broker now and then how we are, and do what it asks for, where there is one."""
        if account is None:
            return

        async def run(flow: Flow[Any]) -> Any:
            return await to_broker.run(flow, deadline_s=_REPORT_S)

        instance = random_bytes(8).hex()
        reporter = Reporter(
            account,
            run,
            instance=instance,
            refresher=parts.refresher,
            health=lambda: worst_of(health_of(parts)),
            news=lambda _: News(deliveries=deliveries(parts)),
            on_failure=lambda why: self._log.warning("the broker does not take our reports; trying on", reason=why),
        )
        background.start(reporter.run(_REPORT_EVERY_S))
        tests = sink_tests(
            account,
            run,
            segment=self._credentials.segment_id,
            directory=lambda: parts.refresher.current,
            context=self._context,
            egress=self._settings.egress,
            instance=instance,
            log=self._log,
        )
        self._on_work = lambda: background.start(tests.do())

    def _intake(self) -> Intake | NatsIntake:
        settings = self._settings
        means = Means(
            self._access,
            self._spool.store,
            self._repeats,
            self._observed,
            self._log,
            RayIds(),
            settings.channel_capacity,
            self._name,
            random_bytes(8).hex(),
        )
        if settings.event_transport != "http":
            return NatsIntake(settings.event_transport, settings.nats_credentials, means)
        return Intake(settings.producers, means)

    def _tell_unloaded(self, reason: str | None) -> None:
        self._log.error("the tenants could not be loaded; trying again", reason=reason)

    async def _reload(self, refresher: DirectoryRefresher) -> None:
        await self._reloading.renew()
        await self._ops_tls.renew()
        if await refresher.refresh_now():
            self._log.info("tenants read again", tenants=len(refresher.current), snapshot=refresher.current.version)
        else:
            self._log.error(
                "the tenants could not be read again; the last good ones stay", reason=refresher.state.last_error
            )

    # -- from the directory to lanes

    def _begin(self, directory: TenantDirectory) -> None:
        """Take up what was left: every lane that is known, whatever the directory says, then what the journal holds."""
        spool = self._spool
        spool.add_lane(STDOUT, 0, first=False)
        for key in list(spool.states.known):
            if key != STDOUT:
                spool.add_lane(key, 0, first=False)
        self._routes.use(directory)
        by_tenant: dict[str, tuple[Lane, ...]] = {}
        for key, lane in spool.lanes.items():
            if key != STDOUT:
                by_tenant[key.tenant] = (*by_tenant.get(key.tenant, ()), lane)
        spool.route(by_tenant)
        spool.replay()
        for lane in spool.lanes.values():
            if lane.waiting or lane.shed.count:
                self._delivery.wake(lane)

    async def _apply(self, directory: TenantDirectory) -> None:
        """Bring the lanes in line with the directory."""
        spool, routes = self._spool, self._routes
        if not directory.version:
            routes.use(directory)  # revoked: everything waits
            return
        wanted = plan(directory, spool.states.known, spool.end)
        for key, (start, first) in wanted.new.items():
            spool.states.add(key, start, first=first)
        if wanted.new:
            await asyncio.to_thread(spool.states.sync)
        # A lane is there from the moment on at which events go to it: nothing waits between here and the route.
        for key in list(spool.states.known):
            if key not in spool.lanes:
                spool.add_lane(key, 0, first=False)  # as its state says
        reconsider = [lane for key, lane in spool.lanes.items() if routes.changed(directory, key)]
        routes.use(directory)
        spool.route({tenant: tuple(spool.lanes[key] for key in keys) for tenant, keys in wanted.by_tenant.items()})
        for key in wanted.gone:
            lane = spool.lanes[key]
            await self._delivery.forget(lane)
            await self._bury(lane)
            spool.drop_lane(key)
            self._log.info("a sink is gone", tenant_id=key.tenant, sink=key.sink)
        for lane in reconsider:
            self._delivery.reconsider(lane)

    async def _bury(self, lane: Lane) -> None:
        """Keep what waits in a lane as dead letters. Raises: OSError, and then it stays."""
        kind = self._routes.kind(lane.key)
        while held := lane.peek(_MOVED_AT_ONCE, _MOVED_BYTES):
            letters = [(each.line, GONE) for each in held]
            async with self._dead.one_at_a_time:
                await asyncio.to_thread(self._dead.add, lane.key, kind, letters, _now_ms())
            lane.settle(each.position for each in held)

    async def _replay_when_asked(self) -> None:
        """Send dead letters again when somebody has asked for it."""
        while True:
            await asyncio.sleep(_REPLAY_LOOK_S)
            try:
                for path, request in await asyncio.to_thread(self._dead.asked):
                    async with self._dead.one_at_a_time:
                        chosen, rest = await asyncio.to_thread(replayed, self._dead, request, self._spool.lanes.keys())
                        for start in range(0, len(chosen), _MOVED_AT_ONCE):
                            await self._spool.store(chosen[start : start + _MOVED_AT_ONCE])
                        await asyncio.to_thread(self._dead.keep_only, request.tenant_id, rest)
                        await asyncio.to_thread(self._dead.answered, path)
                    self._log.info("dead letters are sent again", tenant_id=request.tenant_id, events=len(chosen))
            except OSError as failure:
                self._log.error("dead letters cannot be sent again; trying on", reason=failure.strerror)


def _now_ms() -> int:
    return round(datetime.now(UTC).timestamp() * 1000)


def _hold(settings: LogdriverSettings) -> int:
    directory = settings.spool_directory
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return open_locked(directory)
    except BlockingIOError:
        raise SettingsError(
            [f"LOGDRIVER_SPOOL_DIRECTORY: another logdriver uses {directory}; each needs one of its own"]
        ) from None
    except OSError as refused:
        raise SettingsError([f"LOGDRIVER_SPOOL_DIRECTORY: {directory}: {refused.strerror or refused}"]) from None


def _name_of(directory: Path) -> str:
    """The name that proxies know this logdriver by: made once, kept with the spool. Raises: OSError."""
    path = directory / "name"
    if path.exists():
        return path.read_text()[:_NAME_LETTERS]
    name = random_bytes(_NAME_LETTERS // 2).hex()
    path.write_text(name)
    return name


def _room(settings: LogdriverSettings) -> Room:
    return Room(settings.spool_bytes, settings.tenant_bytes, settings.memory_bytes, settings.when_full)


def _segment_bytes(settings: LogdriverSettings) -> int:
    return min(settings.segment_bytes, max(1_048_576, settings.spool_bytes // 16))
