"""The composition root of the broker: builds everything once, runs it, and stops it without cutting a request."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
import structlog
from litestar import Litestar, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.response import Response
from litestar.types import Message, Scope
from sqlalchemy.engine import Connection

from tenant_security import __version__
from tenant_security.broker.access import BY_API_KEY, BY_SESSION, BY_SIGNATURE
from tenant_security.broker.account_api import AccountApi
from tenant_security.broker.database import Database
from tenant_security.broker.export_api import ExportApi
from tenant_security.broker.fleet_api import FleetApi
from tenant_security.broker.http import BODY_CAP_BYTES, Broker, GivenBroker, say_no
from tenant_security.broker.identify import API_KEY_PREFIX
from tenant_security.broker.migrations.upgrade import is_current, upgrade
from tenant_security.broker.observed import Observed
from tenant_security.broker.organisation_api import OrganisationApi
from tenant_security.broker.pages import Pages
from tenant_security.broker.pages_api import page
from tenant_security.broker.people import set_up
from tenant_security.broker.people.mail import Mail
from tenant_security.broker.people.passphrases import Passphrases
from tenant_security.broker.people.sessions import COOKIE, Lives
from tenant_security.broker.people_api import PeopleApi
from tenant_security.broker.records_api import RecordsApi
from tenant_security.broker.refusals import BusyError, SessionEndedError
from tenant_security.broker.rotation_api import RotationApi
from tenant_security.broker.server_key import load_server_key
from tenant_security.broker.service_api import ServiceApi
from tenant_security.broker.settings import BrokerSettings
from tenant_security.broker.setup_api import SetupApi
from tenant_security.broker.sign_in_api import SignInApi, say_session_ended
from tenant_security.broker.vendor_api import VendorApi
from tenant_security.broker.web import Web
from tenant_security.crypto.request_tokens import SCHEME
from tenant_security.errors import SettingsError
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer, bind
from tenant_security.service.ops import OpsApi, Stage
from tenant_security.service.reloading import Reloading
from tenant_security.service.run import Background, Signals
from tenant_security.service.settings import Address
from tenant_security.service.tls import OwnTls

_STOP_S: Final = 10.0
_WATCH_S: Final = 5.0
_PROVIDERS: Final = OutboundLimits(connections=64, connect_s=3.0, attempt_s=8.0)
"""Single sign-on's providers are few, far away and in no hurry."""


_WAYS_IN: Final[dict[str, SecurityScheme | Reference]] = {
    BY_SESSION: SecurityScheme(
        "apiKey",
        "A person's browser; every request carries the header TS-Request: 1.",
        name=COOKIE,
        security_scheme_in="cookie",
    ),
    BY_SIGNATURE: SecurityScheme(
        "apiKey",
        f"A token signed over method, address and body: {SCHEME} <token>.",
        name="Authorization",
        security_scheme_in="header",
    ),
    BY_API_KEY: SecurityScheme(
        "http",
        f"An API key, {API_KEY_PREFIX}…. Where it was made with scopes, it needs one of those named at the operation.",
        scheme="bearer",
    ),
}


def now_ms() -> int:
    """Return the time in Unix milliseconds."""
    return time.time_ns() // 1_000_000


@get("/live", sync_to_thread=False, include_in_schema=False)
def live() -> str:
    """The process runs."""
    return "live\n"


@get("/ready", include_in_schema=False)
async def ready(broker: GivenBroker) -> Response[str]:
    """The database answers."""
    try:
        async with broker.database.read() as connection:
            await connection.execute(sa.select(1))
    except BusyError:
        return Response("the database does not answer\n", status_code=503)
    return Response("ready\n")


async def with_headers(message: Message, scope: Scope) -> None:
    """Add to an answer what every answer carries, unless the answer says it by itself."""
    if message["type"] != "http.response.start":
        return
    broker: Broker = scope["litestar_app"].state.broker
    headers = list(message["headers"])
    said = {name for name, _ in headers}
    message["headers"] = [*headers, *(each for each in broker.web.public.headers(scope["path"]) if each[0] not in said)]


def application(broker: Broker) -> Litestar:
    """Put the endpoints together."""
    return Litestar(
        route_handlers=[
            SignInApi,
            AccountApi,
            SetupApi,
            OrganisationApi,
            PeopleApi,
            VendorApi,
            RecordsApi,
            FleetApi,
            RotationApi,
            ExportApi,
            ServiceApi,
            live,
            ready,
            page,
        ],
        dependencies={"broker": Provide(lambda: broker, sync_to_thread=False)},
        exception_handlers={Exception: say_no, SessionEndedError: say_session_ended},
        state=State({"broker": broker}),
        request_max_body_size=BODY_CAP_BYTES,
        before_send=[with_headers],
        openapi_config=OpenAPIConfig(
            title="Configuration Broker",
            version=__version__,
            description="Keeps what vendors and tenants sign and seal. It can read none of it.",
            path="/openapi",
            render_plugins=[JsonRenderPlugin()],
            use_handler_docstrings=True,
            components=Components(security_schemes=_WAYS_IN),
        ),
        logging_config=None,
        debug=False,
    )


async def _watch(database: Database, observed: Observed) -> None:
    """Ask the database now and then whether it is there."""
    while True:
        try:
            async with database.read() as connection:
                await connection.execute(sa.select(1))
        except BusyError:
            observed.database(answers=False)
        else:
            observed.database(answers=True)
        await asyncio.sleep(_WATCH_S)


class BrokerDaemon:
    """One broker process. Build it, then :meth:`run` it once."""

    def __init__(
        self,
        settings: BrokerSettings,
        log: structlog.typing.FilteringBoundLogger,
        signals: Signals,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """Open the listening socket. Units: ``clock`` Unix milliseconds. Raises: SettingsError."""
        self._clock: Final = clock
        self._settings: Final = settings
        self._log: Final = log
        self._signals: Final = signals
        self._key: Final = load_server_key(settings.key_file)
        self._tls: Final = OwnTls(settings.tls, log)
        self._ops_tls: Final = OwnTls(settings.ops_tls, log)
        self._listener: Final = bind(Address(settings.bind_address, settings.port), "BROKER_PORT")
        try:
            self._ops_listener: Final = bind(settings.ops_address, "BROKER_OPS_BIND_ADDRESS")
        except SettingsError:
            self._listener.close()
            raise
        self._stage = Stage.STARTING

    async def run(self, on_ready: Callable[[int], None] = lambda _port: None) -> None:
        """Bring the database up to date and serve until a signal. ``on_ready`` is told the port."""
        async with (
            Database(self._settings.database_url, self._clock) as database,
            Outbound(_PROVIDERS, egress=self._settings.egress_allow) as outbound,
        ):
            await self._prepare(database)
            broker = Broker(database, self._clock, self._log, self._web(outbound))
            limits = EdgeLimits(connections=self._settings.most_connections, body_bytes=BODY_CAP_BYTES)
            server = HttpServer(
                application(broker),
                self._listener,
                limits,
                tls=self._tls.context,
                client_names=self._settings.tls_client_names,
            )
            observed = Observed(broker.published, server, lambda: self._stage)
            ops = HttpServer(
                OpsApi(observed.metrics, observed.stage, observed.health),
                self._ops_listener,
                EdgeLimits(),
                tls=self._ops_tls.context,
                client_names=self._settings.ops_tls_client_names,
            )
            self._tls.renews(server.use_tls)
            self._ops_tls.renews(ops.use_tls)
            reloading = Reloading(
                self._settings.reload_file, "BROKER_RELOAD_FILE", self._log, level=self._settings.log_level
            )
            async with asyncio.TaskGroup() as group:
                background = Background(group)

                async def again() -> None:
                    await reloading.renew()
                    await self._tls.renew()
                    await self._ops_tls.renew()

                self._signals.install(lambda: background.start(again()))
                await server.start()
                await ops.start()
                serving = (server.run(), ops.run(), _watch(database, observed))
                works = (*serving, self._tls.follow(), self._ops_tls.follow(), reloading.follow())
                tasks = [group.create_task(work) for work in works]
                self._stage = Stage.READY
                self._log.info("the broker serves", port=server.port, ops=ops.port, version=__version__)
                await self._say_how_to_begin(broker)
                on_ready(server.port)
                await self._signals.stop.wait()
                self._stage = Stage.STOPPING
                broker.published.stop_waiting()
                await server.stop(_STOP_S, self._signals.hurry)
                await ops.stop(0.2)
                for task in tasks:
                    task.cancel()
            broker.published.close()

    def _web(self, outbound: Outbound) -> Web:
        settings = self._settings
        return Web(
            settings.public,
            self._key,
            Pages(),
            Passphrases(),
            mail=None if settings.mail_route is None else Mail(settings.mail_route, settings.mail_sender),
            outbound=outbound,
            set_up_token=settings.create_vendor_token,
            trusted=settings.trusted_proxies,
            lives=Lives(settings.session_idle_s * 1_000, settings.session_life_s * 1_000),
        )

    async def _say_how_to_begin(self, broker: Broker) -> None:
        """Print the link by which the first owner signs up, where the operator looks and logs do not go."""
        async with broker.database.read() as connection:
            needed = await set_up.is_needed(connection)
        if needed and not self._settings.create_vendor_token:
            link = f"{broker.web.public.origin}/set-up#{set_up.first_token(self._key)}"
            sys.stderr.write(
                f"There is no vendor yet. Whoever opens this link becomes the first owner:\n\n    {link}\n\n"
            )
            sys.stderr.flush()

    async def _prepare(self, database: Database) -> None:
        """Create or migrate the tables. A file that is made holds passphrases' hashes, so nobody else may read it."""
        if database.is_sqlite and database.url.database:
            try:
                os.close(os.open(database.url.database, os.O_CREAT | os.O_RDWR, 0o600))
            except OSError as refused:
                problem = f"BROKER_DATABASE_URL: {database.url.database} cannot be opened or made: {refused.strerror}"
                raise SettingsError([problem]) from None
        known: list[bool] = []

        def bring_up_to_date(connection: Connection) -> None:
            known.append(is_current(connection))
            if not known[0]:
                upgrade(connection)

        await database.run_sync(bring_up_to_date)
        if not known[0]:
            self._log.info("the database was brought up to date", at=datetime.now(UTC).isoformat())


def schema_of(broker_app: Litestar) -> dict[str, Any]:
    """Return the OpenAPI document."""
    return broker_app.openapi_schema.to_schema()
