import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from tests.unit.broker.conftest import World, database_url, postgres_url, world
from tests.unit.broker.served import Served, served

from tenant_security.bridge.app import application, bridge_of
from tenant_security.bridge.edge import BODY_CAP_BYTES
from tenant_security.bridge.settings import BridgeSettings
from tenant_security.outbound.driver import Outbound
from tenant_security.secret import Secret
from tenant_security.service.http_protocol import EdgeLimits
from tenant_security.service.http_server import HttpServer, bind
from tenant_security.service.logs import configure_logs
from tenant_security.service.settings import Address
from tenant_security.wire.service_env import ServiceCredentials

__all__ = ["broker", "database_url", "desk", "postgres_url", "world"]

KEY = "bridge-key-for-tests"
AWS = {
    "type": "AWS",
    "version": 1,
    "credentials": {"accessKeyId": "AKIACANARY", "secretAccessKey": "canary-secret-access-key"},
    "keyPath": {"keyID": "alias/tenant", "region": "eu-central-1"},
}


class Answer:
    def __init__(self, status: int, body: Any, text: str) -> None:
        self.status = status
        self.body = body
        self.text = text


class Desk:
    """A bridge that serves, and somebody who asks it."""

    def __init__(self, base: str, broker: Served, credentials: ServiceCredentials, log: io.BytesIO) -> None:
        self.base = base
        self.broker = broker
        self.world: World = broker.world
        self.credentials = credentials
        self.log = log
        self.headers = {"Authorization": f"vab:1:{KEY}", "icl-requestor-id": "alice@acme.example"}

    async def ask(self, method: str, path: str, body: object = None, **options: Any) -> Answer:
        headers = {**self.headers, **options.pop("headers", {})}
        async with aiohttp.ClientSession() as session:
            asking = session.request(method, f"{self.base}/api{path}", json=body, headers=headers, **options)
            async with asking as response:
                text = await response.text()
                body = await response.json() if "json" in response.content_type else None
                return Answer(response.status, body, text)

    async def good(self, method: str, path: str, body: object = None, **options: Any) -> Any:
        answer = await self.ask(method, path, body, **options)
        assert answer.status == 200, answer.text
        return answer.body

    async def refused(self, status: int, method: str, path: str, body: object = None, **options: Any) -> str:
        answer = await self.ask(method, path, body, **options)
        assert answer.status == status, (answer.status, answer.text)
        assert answer.body["statusCode"] == status
        return answer.body["message"]

    async def config(self, *, leasing: bool = False) -> int:
        return (await self.good("POST", "/1/kms/configs", {"config": AWS, "leasingAllowed": leasing}))["id"]

    async def tenant(self, name: str = "t-1") -> None:
        await self.good("POST", "/1/tenants", {"id": name, "name": name.title()})


@pytest.fixture
async def broker(world: World) -> AsyncIterator[Served]:
    async with served(world) as made:
        yield made


@pytest.fixture
async def desk(broker: Served) -> AsyncIterator[Desk]:
    credentials = broker.world.vendor.add_bridge("bridge-1")
    await broker.world.publish()
    async with bridging(broker, credentials) as made:
        yield made


@contextlib.asynccontextmanager
async def bridging(broker: Served, credentials: ServiceCredentials) -> AsyncIterator[Desk]:
    """Serve a bridge of this identity."""
    lines = io.BytesIO()
    log = configure_logs("bridge", 20, lines)
    settings = BridgeSettings(broker_url=broker.base, api_key=Secret(KEY), second_api_key=Secret("the-next-key"))
    async with Outbound() as outbound:
        bridge = bridge_of(settings, credentials, outbound, log, lambda: broker.world.now_s)
        listener = bind(Address("127.0.0.1", 0), "TEST")
        server = HttpServer(application(bridge), listener, EdgeLimits(body_bytes=BODY_CAP_BYTES))
        await server.start()
        sweeping = asyncio.create_task(server.run())
        try:
            yield Desk(f"http://127.0.0.1:{server.port}", broker, credentials, lines)
        finally:
            await server.stop(2.0)
            sweeping.cancel()
