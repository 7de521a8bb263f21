"""The composition root of the proxy: builds everything once, runs it, and stops it without losing a request."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import Final, NamedTuple, Protocol

import structlog

from tenant_security import __version__
from tenant_security.directory.open_source import BROKER_LIMITS, broker_account, open_source
from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.directory.reporter import News, Reporter
from tenant_security.directory.source import SnapshotSource
from tenant_security.directory.tenants import ConfigHandle, TenantDirectory
from tenant_security.errors import SettingsError
from tenant_security.kms.caller import KmsCallRecord
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import EgressPolicy
from tenant_security.proxy.api import ProxyApi
from tenant_security.proxy.applications import Gate, Rates
from tenant_security.proxy.broker_link import runner, source_settings
from tenant_security.proxy.broker_secrets import BrokerSecrets, SecretNote
from tenant_security.proxy.connection_tests import connection_tests
from tenant_security.proxy.disk_outbox import DiskOutbox
from tenant_security.proxy.event_feed import EventFeed
from tenant_security.proxy.event_lines import write_event_lines
from tenant_security.proxy.event_publisher import EventPublisher
from tenant_security.proxy.events import EventRecorder
from tenant_security.proxy.fast_protocol import FastProtocol
from tenant_security.proxy.fastpath import FastPath
from tenant_security.proxy.fleet_report import Activity
from tenant_security.proxy.hot_routes import FastEdge
from tenant_security.proxy.kept_secrets import KeptSecrets
from tenant_security.proxy.keys import Keys
from tenant_security.proxy.kms_calls import KmsCalls
from tenant_security.proxy.leasing import LeaseBook, LeasePolicy
from tenant_security.proxy.listeners import Listeners, Ports, open_listeners
from tenant_security.proxy.observed import ProxyMetrics
from tenant_security.proxy.operations import BatchLimits, Operations
from tenant_security.proxy.outbox import EventQueue, Outbox
from tenant_security.proxy.secret_renewal import NoRenewal, Renewing, SecretRenewal
from tenant_security.proxy.secret_store import NoSecretStore, SecretFile, SecretStore
from tenant_security.proxy.settings import ProxySettings, WhenFull
from tenant_security.proxy.several import WrapWithKms
from tenant_security.proxy.status import Parts, add_gauges, health_of, stage_of
from tenant_security.proxy.tenant_secrets import SecretPolicy, TenantSecrets
from tenant_security.proxy.tracing import App, open_tracing
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer
from tenant_security.service.loop_watch import watch_loop
from tenant_security.service.metrics import Metrics
from tenant_security.service.ops import OpsApi, Stage, worst_of
from tenant_security.service.ray import RayIds
from tenant_security.service.reloading import Reloading
from tenant_security.service.run import Background, Signals, until
from tenant_security.service.tls import OwnTls
from tenant_security.wire.kms_check import CheckReport
from tenant_security.wire.service_env import ServiceCredentials

_SWEEP_S: Final = 60.0
_FLUSH_S: Final = 3.0
"""How long the last events may take to leave when the proxy stops, if anybody fetches them."""
_REPLACED_FLUSH_S: Final = 30.0
"""The same where another process serves already, so that nothing waits for this one."""


class OpenOutbound(Protocol):
    """Makes the driver that talks to the tenants' KMSs, such as :class:`Outbound` itself."""

    def __call__(self, limits: OutboundLimits, *, egress: EgressPolicy) -> Outbound:
        """Return a driver that is not open yet."""


def _open(settings: ProxySettings, given: Listeners | None) -> tuple[Listeners, SecretFile | NoSecretStore]:
    """Open everything that the settings name. Raises: SettingsError with all that is refused."""
    problems: list[str] = []
    listeners: Listeners | None = None
    store: SecretFile | NoSecretStore | None = None
    try:
        listeners = given or open_listeners(settings)
    except SettingsError as refused:
        problems += refused.problems
    try:
        store = NoSecretStore() if settings.secrets_file is None else SecretFile(settings.secrets_file)
    except OSError as refused:
        problems.append(f"TSP_TENANT_SECRETS_FILE: {refused.strerror or refused}")
    if listeners is None or store is None:
        for each in (listeners, store):
            if each is not None:
                each.close()
        raise SettingsError(problems)
    return listeners, store


def _open_outbox(settings: ProxySettings) -> DiskOutbox | None:
    directory = settings.outbox_directory
    if directory is None:
        return None
    capacity = settings.send_high_water_mark + settings.event_channel_size
    try:
        return DiskOutbox(directory, capacity=capacity, most_bytes=settings.outbox_bytes)
    except OSError as refused:
        raise SettingsError([f"TSP_OUTBOX_DIRECTORY: {directory}: {refused.strerror or refused}"]) from None


def _open_kept_secrets(settings: ProxySettings, credentials: ServiceCredentials) -> KeptSecrets | None:
    if settings.config_cache is None or settings.broker_url is None:
        return None
    try:
        return KeptSecrets(settings.config_cache / "secrets", credentials.encryption_seed)
    except OSError as refused:
        raise SettingsError([f"TSP_CONFIG_CACHE_DIR: {refused.strerror or refused}"]) from None


class _SecretsAtWork(NamedTuple):
    """Tenant secrets: what derives, what keeps, what renews."""

    secrets: TenantSecrets
    store: SecretStore
    renewal: SecretRenewal | NoRenewal

    def hear(self, directory: TenantDirectory) -> None:
        """Hear of a new directory."""
        self.store.retain(directory)
        self.renewal.changed()


class Proxy:
    """One proxy process. Build it, then :meth:`run` it once."""

    def __init__(
        self,
        settings: ProxySettings,
        credentials: ServiceCredentials,
        log: structlog.typing.FilteringBoundLogger,
        signals: Signals,
        listeners: Listeners | None = None,
        *,
        outbound: OpenOutbound = Outbound,
    ) -> None:
        """Open the listening sockets, unless they are given; ``outbound`` makes the way to the KMSs.

        Raises: SettingsError.
        """
        self._settings = settings
        self._credentials = credentials
        self._log = log
        self._signals = signals
        self._outbound = outbound
        self._stage = Stage.STARTING
        self._metrics = Metrics()
        self._observed = ProxyMetrics(self._metrics)
        self._api_keys = ApiKeys(settings.api_keys)
        self._on_withdrawn: Callable[[], None] = lambda: None
        self._on_work: Callable[[], object] = lambda: None
        self._account = broker_account(source_settings(settings), credentials)
        rates = settings.tenant_rates
        self._gate = Gate(
            self._api_keys,
            self._metrics,
            file=settings.applications_file,
            tenant_rates=Rates(rates, max(1.0, rates)) if rates is not None else None,
        )
        self._event_keys = self._api_keys if settings.events_token is None else ApiKeys([settings.events_token])
        self._reloading = Reloading(
            settings.reload_file, "TSP_RELOAD_FILE", log, level=settings.log_level, use_keys=self._api_keys.use
        )
        self._tls = OwnTls(settings.tls, log)
        self._ops_tls = OwnTls(settings.ops_tls, log)
        self._tracing = open_tracing(settings.traces_endpoint)
        self._listeners, self._store = _open(settings, listeners)
        self._disk_outbox = _open_outbox(settings)
        self._kept_secrets = _open_kept_secrets(settings, credentials)

    def _traced(self, app: App) -> App:
        return app if self._tracing is None else self._tracing.around(app)

    def _observe_kms(self, call: KmsCallRecord) -> None:
        self._observed.kms_call(call)
        if self._tracing is not None:
            self._tracing.kms_call(call)

    def metrics(self) -> bytes:
        """All that was counted, in Prometheus' text format."""
        return self._metrics.render()

    async def run(
        self,
        on_ready: Callable[[Ports], None] = lambda _ports: None,
        on_withdrawn: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve until a signal, then drain and stop.

        ``on_ready`` is told once the first tenants are loaded, ``on_withdrawn`` when the vendor has revoked us.
        """
        self._on_withdrawn = on_withdrawn
        with closing(self._store):
            async with (
                self._outbound(self._kms_limits(), egress=self._settings.egress) as outbound,
                Outbound(BROKER_LIMITS) as to_broker,
                asyncio.TaskGroup() as group,
            ):
                background = Background(group)
                source = open_source(
                    source_settings(self._settings),
                    self._credentials,
                    self._account,
                    to_broker,
                    lambda: self._on_work(),  # noqa: PLW0108 - set once there is something that can do work
                )
                with closing(source):
                    await self._serve(outbound, to_broker, source, background, on_ready)
                background.cancel()

    def _kms_limits(self) -> OutboundLimits:
        return OutboundLimits(
            connect_s=self._settings.kms_connect_s,
            attempt_s=self._settings.kms_attempt_s,
            connections=self._settings.kms_at_once,
        )

    async def _serve(
        self,
        outbound: Outbound,
        to_broker: Outbound,
        source: SnapshotSource,
        background: Background,
        on_ready: Callable[[Ports], None],
    ) -> None:
        settings, log = self._settings, self._log
        outbox, safe = self._outbox(background)
        refresher = DirectoryRefresher(
            source,
            credentials=self._credentials,
            oldest=settings.oldest_snapshot,
            on_change=lambda directory: changed(directory),  # noqa: PLW0108 - defined below, with what it clears
        )
        activity = Activity() if self._account is not None else None
        recorder = EventRecorder(
            outbox,
            lambda: refresher.current,
            counter=self._observed.events,
            activity=activity,
            strict=settings.events_when_full is WhenFull.REFUSE,
        )
        calls = KmsCalls(
            settings,
            outbound,
            self._observe_kms,
            log,
            activity,
            note=self._observed.spares.add,
            open_outbound=lambda: self._outbound(self._kms_limits(), egress=settings.egress),
        )
        kms, opened = calls.port(), calls.opened
        leases = LeaseBook(
            kms,
            LeasePolicy(
                life_s=settings.lease_life_s,
                most_wraps=settings.lease_most_wraps,
                most_unwrapping=settings.lease_cache,
            ),
            background.start,
            observe=self._observed.leases.add,
        )
        keys = Keys(lambda: refresher.current, leases, kms)
        at_work = self._secrets(to_broker, lambda: refresher.current, background, keys, kms)
        batches = BatchLimits(most_documents=settings.most_documents, at_once=settings.batch_at_once)
        operations = Operations(keys, at_work.secrets, recorder, batches)

        def retain() -> None:
            wanted = wanted_in(refresher.current)
            leases.retain(wanted)
            at_work.secrets.retain(wanted)
            calls.retain(wanted)

        def changed(directory: TenantDirectory) -> None:
            retain()
            at_work.hear(directory)
            if directory.withdrawn:
                log.error("this proxy serves nobody any more", reason=directory.withdrawn)
                self._on_withdrawn()
            # What was just loaded stays until the next change: the collector need not look at it again and again.
            gc.collect()
            gc.freeze()

        api = self._api_server(
            operations,
            FastPath(
                refresher,
                leases,
                at_work.secrets,
                recorder,
                most_documents=settings.most_documents,
                rates=self._gate.tenant_rates,
            ),
            safe,
        )
        self._tls.renews(api.use_tls)
        ops = HttpServer(
            OpsApi(self._metrics, lambda: stage_of(parts), lambda: health_of(parts)),
            self._listeners.ops,
            EdgeLimits(),
            tls=self._ops_tls.context,
            client_names=settings.ops_tls_client_names,
        )
        self._ops_tls.renews(ops.use_tls)
        parts = Parts(lambda: self._stage, refresher, outbox, leases, opened, at_work.secrets, api)
        add_gauges(self._metrics, parts)
        calls.add_gauges(self._metrics)
        events = self._event_server(outbox, recorder, background)
        ports = Ports(api.port, ops.port, events.port if events is not None else None)

        self._signals.install(on_hangup=lambda: background.start(self._reload(refresher)))
        for work in (
            self._sweep(retain),
            self._reloading.follow(),
            self._tls.follow(),
            self._ops_tls.follow(),
            self._gate.follow(log),
            at_work.renewal.run(),
            watch_loop(self._observed.loop_lag.timing().observe),
        ):
            background.start(work)
        log.info("proxy starting", version=__version__, **ports._asdict())
        for server in (ops, events):
            if server is not None:
                await self._start(server, background)
        if await self._first_load(refresher):
            # Only now: before its tenants are known, a proxy would tell clients that they do not exist.
            await self._start(api, background)
            background.start(refresher.run())
            if activity is not None:
                self._talk_with_broker(to_broker, background, recorder.instance, activity, calls.test, parts)
            self._stage = Stage.READY
            log.info("proxy ready", tenants=len(refresher.current), snapshot=refresher.current.version)
            on_ready(ports)
            await self._signals.stop.wait()
        await self._stop(api, [each for each in (events, ops) if each is not None], outbox)

    def _api_server(
        self, operations: Operations, fast: FastPath, safe: Callable[[], Awaitable[None]] | None
    ) -> HttpServer:
        """Put both ways of answering behind the API port."""
        settings, rays = self._settings, RayIds()
        api = ProxyApi(
            operations, self._gate, self._observed, self._log, rays, body_bytes=settings.body_bytes, safe=safe
        )
        edge = FastEdge(
            # Where an answer waits for the disk, nothing can be answered in one go.
            fast.answers(at_once=safe is None),
            self._api_keys,
            rays,
            self._observed,
            later=api.later,
            body_bytes=settings.body_bytes,
            traces=self._tracing is not None,
        )
        return HttpServer(
            self._traced(api),
            self._listeners.api,
            EdgeLimits(
                head_bytes=settings.head_bytes,
                receive_s=settings.receive_s,
                idle_s=settings.idle_s,
                connections=settings.connections,
            ),
            protocol=partial(FastProtocol, edge),
            share=self._listeners.share,
            tls=self._tls.context,
            client_names=settings.tls_client_names,
        )

    def _talk_with_broker(  # noqa: PLR0917 - the parts of one composition
        self,
        to_broker: Outbound,
        background: Background,
        instance: str,
        activity: Activity,
        test: Callable[[ConfigHandle], Awaitable[CheckReport]],
        parts: Parts,
    ) -> None:
        """Report now and then, and do what the broker asks for."""
        assert self._account is not None
        reporter = Reporter(
            self._account,
            runner(to_broker),
            instance=instance,
            refresher=parts.refresher,
            health=lambda: worst_of(health_of(parts)),
            news=lambda directory: News(activity=activity.take(directory)),
            on_failure=lambda why: self._log.warning("the broker does not take our reports; trying on", reason=why),
        )
        background.start(reporter.run(self._settings.status_s))
        tests = connection_tests(
            self._account,
            runner(to_broker),
            segment=self._credentials.segment_id,
            directory=lambda: parts.refresher.current,
            test=test,
            instance=instance,
            log=self._log,
        )
        self._on_work = lambda: background.start(tests.do())

    def _outbox(self, background: Background) -> tuple[EventQueue, Callable[[], Awaitable[None]] | None]:
        """Return where events wait, and what to wait for before an operation is answered, if for anything."""
        settings = self._settings
        capacity = settings.send_high_water_mark + settings.event_channel_size
        if self._disk_outbox is None:
            return Outbox(capacity), None
        background.start(self._disk_outbox.run())
        return self._disk_outbox, self._disk_outbox.safe if settings.events_when_full is WhenFull.REFUSE else None

    def _event_server(self, outbox: EventQueue, recorder: EventRecorder, background: Background) -> HttpServer | None:
        settings = self._settings
        if settings.enable_logdriver and settings.event_transport != "http":
            publisher = EventPublisher(
                settings.event_transport, settings.nats_credentials, outbox, recorder.instance, self._log
            )
            background.start(publisher.run())
            return None
        if self._listeners.events is None:
            background.start(write_event_lines(outbox, self._log))
            return None
        feed = EventFeed(outbox, self._event_keys, recorder.instance)
        server = HttpServer(
            feed,
            self._listeners.events,
            EdgeLimits(),
            tls=self._tls.context,
            client_names=self._settings.events_client_names,
        )
        self._tls.renews(server.use_tls)
        return server

    def _secrets(
        self,
        to_broker: Outbound,
        directory: Callable[[], TenantDirectory],
        background: Background,
        keys: Keys,
        kms: WrapWithKms,
    ) -> _SecretsAtWork:
        """Build what keeps tenant secrets, derives from them and renews them."""
        settings, store, renewal = self._settings, self._store, NoRenewal()
        policy = SecretPolicy(fresh_s=settings.secret_cache_s, most_derivations=settings.most_derivations)
        if self._account is None:
            return _SecretsAtWork(TenantSecrets(keys, kms, store, policy, background.start), store, renewal)

        def warn(tenant: str, why: str) -> None:
            self._log.warning(
                "the broker shows older tenant secrets than before; what was seen stays", tenant_id=tenant, reason=why
            )

        at_broker = BrokerSecrets(
            self._account,
            runner(to_broker),
            directory,
            SecretNote(self._observed.secret_answers.add, warn),
            background.start,
            kept=self._kept_secrets,
            accept_unbound=settings.accept_unbound_secrets,
        )
        renewing = Renewing(
            self._account,
            runner(to_broker),
            self._credentials.segment_id,
            directory,
            kms,
            at_broker.record_of,
            self._observed.secret_renewals.add,
        )
        secrets = TenantSecrets(keys, kms, at_broker, policy, background.start)
        return _SecretsAtWork(secrets, at_broker, SecretRenewal(renewing))

    @staticmethod
    async def _start(server: HttpServer, background: Background) -> None:
        await server.start()
        background.start(server.run())

    async def _first_load(self, refresher: DirectoryRefresher) -> bool:
        """Try until the first snapshot is good. Returns False when told to stop before."""
        loaded = await refresher.load_until_good(self._signals.stop, self._tell_unloaded)
        if refresher.state.remembered:
            self._log.warning(
                "the broker gives nothing good; serving with what was kept of it", reason=refresher.state.last_error
            )
        return loaded

    def _tell_unloaded(self, reason: str | None) -> None:
        self._log.error("the tenants could not be loaded; trying again", reason=reason)

    async def _reload(self, refresher: DirectoryRefresher) -> None:
        await self._reloading.renew()
        await self._tls.renew()
        await self._ops_tls.renew()
        await self._gate.renew_and_say(self._log)
        if await refresher.refresh_now():
            self._log.info("tenants read again", tenants=len(refresher.current), snapshot=refresher.current.version)
        else:
            self._log.error(
                "the tenants could not be read again; the last good ones stay", reason=refresher.state.last_error
            )

    @staticmethod
    async def _sweep(retain: Callable[[], None]) -> None:
        """Drop keys that ran out: an unused lease must not stay in memory because nobody asks for it."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            retain()

    async def _stop(self, api: HttpServer, others: list[HttpServer], outbox: EventQueue) -> None:
        """Stop in the order that loses nothing: not ready, drain, finish, close. A second signal skips the waiting."""
        hurry = self._signals.hurry
        drain_s = self._settings.drain_s if self._stage is Stage.READY else 0.0
        self._stage = Stage.STOPPING
        self._log.info("proxy draining", seconds=drain_s)
        replaced = self._signals.replaced
        api.drain(accept=not replaced)
        if replaced:
            await api.emptied(drain_s, hurry)
        else:
            await until(hurry, drain_s)
        cut = await api.stop(self._settings.stop_s, hurry)
        flush_s = _REPLACED_FLUSH_S if replaced else _FLUSH_S
        left = await outbox.emptied(flush_s if outbox.served else 0.0, hurry)
        outbox.close()
        for server in others:
            await server.stop(0.2)
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.close)
        self._log.info("proxy stopped", requests_cut=cut, events_left=left)


def wanted_in(directory: TenantDirectory) -> Callable[[str, bytes], bool]:
    """Return the question whether a tenant may use a config with this fingerprint now."""

    def wanted(tenant_id: str, fingerprint: bytes) -> bool:
        tenant = directory.tenant(tenant_id)
        return (
            tenant is not None
            and tenant.quarantined is None
            and any(each.active and each.config.fingerprint == fingerprint for each in tenant.assignments)
        )

    return wanted
