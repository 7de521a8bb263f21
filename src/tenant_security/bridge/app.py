"""The composition root of the vendor bridge: builds everything once, runs it, and stops it."""

import asyncio
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from litestar import Litestar, get
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.response import Response

from tenant_security import __version__
from tenant_security.bridge.broker import Broker
from tenant_security.bridge.configs_api import AssignmentsApi, ConfigsApi
from tenant_security.bridge.edge import BODY_CAP_BYTES, Asked, Bridge, Desk, say_no
from tenant_security.bridge.secrets_api import SecretsApi
from tenant_security.bridge.settings import BridgeSettings
from tenant_security.bridge.tags_api import TagsApi
from tenant_security.bridge.tenants_api import TenantsApi
from tenant_security.bridge.vendor_keys import KeysHolder
from tenant_security.crypto.signing import SigningKey
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer, bind
from tenant_security.service.reloading import Reloading
from tenant_security.service.run import Background, Signals
from tenant_security.service.settings import Address
from tenant_security.service.tls import OwnTls
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire.service_env import ServiceCredentials

_STOP_S: Final = 10.0
_MS: Final = 1_000


@get(["/live"], sync_to_thread=False, include_in_schema=False)
def live() -> str:
    """The process runs."""
    return "live\n"


@get(["/health", "/ready"], include_in_schema=False)
async def health(request: Asked) -> Response[str]:
    """The broker answers, and the vendor's keys are good."""
    bridge: Bridge = request.app.state.bridge
    try:
        await bridge.keys.current()
    except (BrokerRefusedError, UnreachableError, SnapshotRefusedError) as fault:
        return Response(f"not ready: {fault}\n", status_code=503)
    return Response("ready\n")


def application(bridge: Bridge) -> Litestar:
    """Put the endpoints together."""

    async def desk(request: Asked) -> Desk:
        return await bridge.desk(request)

    return Litestar(
        route_handlers=[SecretsApi, TenantsApi, ConfigsApi, AssignmentsApi, TagsApi, live, health],
        dependencies={"desk": Provide(desk)},
        exception_handlers={Exception: say_no},
        state=State({"bridge": bridge}),
        request_max_body_size=BODY_CAP_BYTES,
        openapi_config=OpenAPIConfig(
            title="Vendor API Bridge",
            version=__version__,
            description="Manages tenants and the vendor's KMS configs. It seals and signs here, on the vendor's side.",
            path="/openapi",
        ),
        logging_config=None,
        debug=False,
    )


def bridge_of(
    settings: BridgeSettings,
    credentials: ServiceCredentials,
    outbound: Outbound,
    log: structlog.typing.FilteringBoundLogger,
    now_s: Callable[[], float] = time.time,
) -> Bridge:
    """Build what endpoints work with."""
    within_s = settings.request_timeout_ms / _MS

    async def run(flow: Flow[Any]) -> Any:
        return await outbound.run(flow, deadline_s=within_s)

    authorities = settings.broker_ca_file.read_bytes() if settings.broker_ca_file is not None else b""
    account = BrokerAccount(
        settings.broker_url,
        SigningKey(credentials.signing_seed),
        lambda: int(now_s()),
        lambda: secrets.token_urlsafe(16),
        authorities,
    )
    broker = Broker(account, run)
    keys = KeysHolder(broker, credentials, now_s, time.monotonic)
    api_keys = [each for each in (settings.api_key, settings.second_api_key) if each is not None]
    return Bridge(broker, keys, tuple(api_keys), log, now_s)


class BridgeDaemon:
    """One bridge process. Build it, then :meth:`run` it once."""

    def __init__(
        self,
        settings: BridgeSettings,
        credentials: ServiceCredentials,
        log: structlog.typing.FilteringBoundLogger,
        signals: Signals,
    ) -> None:
        """Open the listening socket. Raises: SettingsError."""
        self._settings: Final = settings
        self._credentials: Final = credentials
        self._log: Final = log
        self._signals: Final = signals
        self._tls: Final = OwnTls(settings.tls, log)
        self._listener: Final = bind(Address(settings.bind_address, settings.port), "BRIDGE_PORT")

    async def run(self, on_ready: Callable[[int], None] = lambda _port: None) -> None:
        """Serve until a signal. ``on_ready`` is told the port."""
        async with Outbound() as outbound:
            bridge = bridge_of(self._settings, self._credentials, outbound, self._log)
            limits = EdgeLimits(body_bytes=BODY_CAP_BYTES)
            server = HttpServer(
                application(bridge),
                self._listener,
                limits,
                tls=self._tls.context,
                client_names=self._settings.tls_client_names,
            )
            self._tls.renews(server.use_tls)
            reloading = Reloading(
                self._settings.reload_file,
                "BRIDGE_RELOAD_FILE",
                self._log,
                level=self._settings.log_level,
                use_keys=bridge.use_api_keys,
            )
            async with asyncio.TaskGroup() as group:
                background = Background(group)

                async def again() -> None:
                    bridge.keys.forget()
                    await reloading.renew()
                    await self._tls.renew()

                self._signals.install(lambda: background.start(again()))
                await server.start()
                works = (server.run(), self._tls.follow(), reloading.follow())
                tasks = [group.create_task(work) for work in works]
                self._log.info("the vendor bridge serves", port=server.port, version=__version__)
                on_ready(server.port)
                await self._signals.stop.wait()
                await server.stop(_STOP_S, self._signals.hurry)
                for task in tasks:
                    task.cancel()
