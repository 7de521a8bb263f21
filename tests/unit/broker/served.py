"""The broker over HTTP, in the test's own event loop."""

import asyncio
import contextlib
import io
import itertools
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from argon2 import PasswordHasher

from tenant_security.broker.app import application
from tenant_security.broker.http import Broker
from tenant_security.broker.pages import Pages
from tenant_security.broker.people.passphrases import Passphrases
from tenant_security.broker.public_address import PublicAddress
from tenant_security.broker.server_key import ServerKey, new_server_key
from tenant_security.broker.web import Web
from tenant_security.crypto.signing import SigningKey
from tenant_security.outbound.broker import BrokerAccount, signed_request
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Request, Response, send
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer, bind
from tenant_security.service.logs import configure_logs
from tenant_security.service.settings import Address

SETUP_TOKEN = "a-setup-token-for-tests"
_ids = itertools.count(1)


class Served:
    """A broker that serves, and a way to ask it."""

    def __init__(self, base: str, broker: Broker, outbound: Outbound, world: Any) -> None:
        self.base = base
        self.broker = broker
        self.outbound = outbound
        self.world = world

    def account(self, key: SigningKey) -> BrokerAccount:
        return BrokerAccount(self.base, key, lambda: self.world.now_s, lambda: f"t{next(_ids)}")

    async def ask(self, key: SigningKey, method: str, target: str, body: object = None, **headers: str) -> Response:
        encoded = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        extra = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return await self.send(signed_request(self.account(key), method, target, encoded, extra))

    async def send(self, request: Request) -> Response:
        return await self.outbound.run(send(request), deadline_s=60)

    async def run(self, flow: Any) -> Any:
        return await self.outbound.run(flow, deadline_s=60)


@contextlib.asynccontextmanager
async def served(
    world: Any,
    *,
    pages: Pages | None = None,
    public: str = "http://localhost:8080",
    key: ServerKey | None = None,
    **web: Any,
) -> AsyncIterator[Served]:
    """Serve a world's database."""
    log = configure_logs("broker", 20, io.BytesIO())
    surroundings = Web(
        PublicAddress.parse(public),
        key or new_server_key(),
        pages or Pages(),
        Passphrases(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)),
        **{"set_up_token": SETUP_TOKEN, **web},
    )
    broker = Broker(world.database, lambda: world.now_s * 1000, log, surroundings)
    app = application(broker)
    server = HttpServer(app, bind(Address("127.0.0.1", 0), "TEST"), EdgeLimits(body_bytes=16 * 1_048_576))
    await server.start()
    sweeping = asyncio.create_task(server.run())
    try:
        async with Outbound() as outbound:
            yield Served(f"http://127.0.0.1:{server.port}", broker, outbound, world)
    finally:
        await server.stop(2.0)
        sweeping.cancel()
        broker.published.close()
