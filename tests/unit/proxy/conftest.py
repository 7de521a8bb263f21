"""A stage on which the proxy's core plays: tenants in memory, a scripted KMS, a stepping clock, no sockets."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenant_security.directory.tenants import Tenant, TenantDirectory
from tenant_security.proxy.app import wanted_in
from tenant_security.proxy.events import EventRecorder
from tenant_security.proxy.keys import Keys
from tenant_security.proxy.leasing import LeaseBook, LeasePolicy
from tenant_security.proxy.operations import BatchLimits, Operations
from tenant_security.proxy.outbox import Outbox
from tenant_security.proxy.secret_store import SecretFile
from tenant_security.proxy.tenant_secrets import SecretPolicy, TenantSecrets
from tenant_security.service.metrics import Counter
from tenant_security.testing.clock import SteppingClock
from tenant_security.testing.scripted_kms import ScriptedKms
from tenant_security.testing.tenants import PlainConfig, directory, tenant, use
from tenant_security.wire import proxy_api
from tenant_security.wire.edek import decode_all

OLD = PlainConfig(510, owner="plain")
LEASED = PlainConfig(511, owner="leased")


class Stage:
    """One proxy's core. ``tenants`` replaces the directory; a second stage on the same KMS is another process."""

    def __init__(self, kms: ScriptedKms, clock: SteppingClock, secrets_file: Path) -> None:
        self.kms, self.clock = kms, clock
        self.directory: TenantDirectory = directory()
        self.tasks: set[asyncio.Task[None]] = set()
        self.seen: list[tuple[str, str]] = []
        self.store = SecretFile(secrets_file)
        self.outbox = Outbox(100)
        self.build()
        self.tenants(tenant("plain", use(OLD)), tenant("leased", use(LEASED, leasing=True)))

    def build(
        self,
        *,
        leases: LeasePolicy | None = None,
        secrets: SecretPolicy | None = None,
        batches: BatchLimits | None = None,
        capacity: int = 100,
    ) -> None:
        """Put the core together, with other bounds than usual."""
        reach = self.kms.as_proxy_calls_it()
        self.book = LeaseBook(
            reach,
            leases or LeasePolicy(),
            self.start,
            clock=self.clock,
            observe=lambda purpose, what: self.seen.append((purpose, what)),
        )
        self.keys = Keys(lambda: self.directory, self.book, reach)
        self.secrets = TenantSecrets(
            self.keys, reach, self.store, secrets or SecretPolicy(), self.start, clock=self.clock
        )
        self.outbox = Outbox(capacity)
        self.counter = Counter("events", "Events", ("kind", "outcome"))
        self.recorder = EventRecorder(
            self.outbox,
            lambda: self.directory,
            counter=self.counter,
            now_ms=self.clock.unix_ms,
        )
        self.operations = Operations(self.keys, self.secrets, self.recorder, batches or BatchLimits())

    def start(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def tenants(self, *tenants: Tenant) -> None:
        """Replace the directory, without telling anybody."""
        self.directory = directory(*tenants)

    def retain(self) -> None:
        """Tell everybody of the directory, as the proxy does after a refresh."""
        wanted = wanted_in(self.directory)
        self.book.retain(wanted)
        self.secrets.retain(wanted)

    def tenant(self, tenant_id: str) -> Tenant:
        return self.keys.tenant(tenant_id)

    async def wrap(self, tenant_id: str = "leased", dek: bytes | None = None):
        return await self.keys.wrap(self.tenant(tenant_id), dek)

    async def unwrap(self, edek: bytes, tenant_id: str = "leased") -> bytes:
        return (await self.keys.unwrap_entries(self.tenant(tenant_id), decode_all(edek))).dek

    async def call(self, operation: str, kind: type[Any], tenant_id: str = "leased", **members: Any) -> Any:
        """Run an operation as the API does and return the decoded body."""
        body = {"tenantId": tenant_id, "iclFields": {"requestingId": "me"}, **members}
        request = proxy_api.decode(proxy_api.decoder(kind), msgspec.json.encode(body))
        return msgspec.json.decode(await getattr(self.operations, operation)(request, "ray"))

    async def events(self) -> list[Any]:
        """Take every event that waits."""
        if not len(self.outbox):
            return []
        batch = await self.outbox.lend(1_000_000)
        self.outbox.acknowledge(batch.number)
        return list(batch.events)

    async def end(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.store.close()


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def kms() -> ScriptedKms:
    return ScriptedKms()


@pytest.fixture
async def stage(kms: ScriptedKms, clock: SteppingClock, tmp_path: Path):
    stage = Stage(kms, clock, tmp_path / "secrets.sqlite")
    yield stage
    await stage.end()


@pytest.fixture
async def another_process(kms: ScriptedKms, clock: SteppingClock, tmp_path: Path):
    """A second proxy of the same vendor: the same KMS and the same secret file, a memory of its own."""
    stage = Stage(kms, clock, tmp_path / "secrets.sqlite")
    yield stage
    await stage.end()


@pytest.fixture(scope="session")
def make_stage() -> type[Stage]:
    """The stage itself, for tests that drive event loops of their own; they close it with :meth:`Stage.end`."""
    return Stage
