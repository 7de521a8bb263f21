"""The proxy's API without sockets: an ASGI application over tenants and secrets in memory."""

import asyncio
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from tenant_security.kms.local import LocalKmsKey
from tenant_security.outbound.flow import finished
from tenant_security.proxy.api import ProxyApi
from tenant_security.proxy.applications import Gate
from tenant_security.proxy.events import EventRecorder
from tenant_security.proxy.fastpath import FastPath
from tenant_security.proxy.keys import Keys
from tenant_security.proxy.leasing import LeaseBook, LeasePolicy
from tenant_security.proxy.observed import ProxyMetrics
from tenant_security.proxy.operations import BatchLimits, Operations
from tenant_security.proxy.outbox import Outbox
from tenant_security.proxy.secret_store import Rotation, SecretRecord
from tenant_security.proxy.several import WrapWithKms
from tenant_security.proxy.tenant_secrets import SecretPolicy, TenantSecrets
from tenant_security.secret import Secret
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.metrics import Counter, Metrics
from tenant_security.service.ray import RayIds
from tenant_security.testing.tenants import PlainConfig, directory, tenant, use

API_KEY = "0WUaXesNgbTAuLwn"
BODY_BYTES = 1_048_576


class Secrets:
    """A secret store in memory."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str, str], SecretRecord] = {}

    async def live(self, *key: str) -> list[SecretRecord]:
        return [self.records[key]] if key in self.records else []

    async def create(self, tenant_id: str, secret_type: str, secret_path: str, edek: bytes, **_: bytes) -> SecretRecord:
        key = (tenant_id, secret_type, secret_path)
        for text in key:
            text.encode()  # a store of text takes nothing that is no text
        made = SecretRecord(len(self.records) + 1, *key, edek, Rotation.CURRENT)
        return self.records.setdefault(key, made)


class Api:
    """Sends bodies and knows what came back. ``answers`` are those of the hot path."""

    def __init__(self) -> None:
        async def wrap(_tenant: str, config: Any, key: bytes) -> bytes:
            return finished(LocalKmsKey(config.open()).wrap(key))

        async def unwrap(_tenant: str, config: Any, blob: bytes) -> bytes:
            return finished(LocalKmsKey(config.open()).unwrap(blob))

        shared = PlainConfig(700)
        self.directory = directory(
            tenant("plain", use(PlainConfig(510, owner="plain")), use(shared, primary=False)),
            tenant("leased", use(PlainConfig(511, owner="leased"), leasing=True)),
            tenant("no-primary", use(shared, primary=False)),
            tenant("", use(PlainConfig(512, owner=""))),
        )
        self.tasks: set[Any] = set()
        reach = WrapWithKms(wrap, unwrap)
        book = LeaseBook(reach, LeasePolicy(), self._start)
        keys = Keys(lambda: self.directory, book, reach)
        secrets = TenantSecrets(keys, reach, Secrets(), SecretPolicy(most_derivations=200), self._start)
        self.outbox = Outbox(1_000)
        recorder = EventRecorder(
            self.outbox, lambda: self.directory, counter=Counter("events", "Events", ("kind", "outcome"))
        )
        metrics = ProxyMetrics(Metrics())
        operations = Operations(keys, secrets, recorder, BatchLimits(most_documents=500))
        self.errors: list[str] = []
        log = SimpleNamespace(
            debug=lambda *_, **__: None,
            info=lambda *_, **__: None,
            error=lambda *said, **more: self.errors.append(f"{said} {more}"),
        )
        self.app = ProxyApi(
            operations, Gate(ApiKeys([Secret(API_KEY)]), Metrics()), metrics, log, RayIds(), body_bytes=BODY_BYTES
        )
        fast = FastPath(SimpleNamespace(current=self.directory), book, secrets, recorder, most_documents=500)
        self.answers = dict(fast.answers().values())

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def post(self, name: str, body: bytes) -> tuple[int, Any]:
        """Send a body to an endpoint and return status and decoded answer."""
        if len(self.outbox) > 500:
            self.outbox.acknowledge((await self.outbox.lend(1_000)).number)
        sent: list[Any] = []
        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/api/1/{name}",
            "headers": [(b"authorization", b"cmk " + API_KEY.encode())],
        }

        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent[0]["status"], msgspec.json.decode(sent[1]["body"])

    async def ask(self, name: str, tenant_id: str, **members: Any) -> Any:
        """Send a right request and return its answer."""
        body = {"tenantId": tenant_id, "iclFields": {"requestingId": "fuzz"}, **members}
        status, answer = await self.post(name, msgspec.json.encode(body))
        assert status == 200, answer
        return answer


@pytest.fixture(scope="session")
def make_api():
    """Makes an API; call it where an event loop runs."""
    return Api
