"""The broker's data on both databases, and a vendor that signs."""

import asyncio
import functools
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.postgres import postgres

from tenant_security.authoring import documents
from tenant_security.authoring.roster import assign
from tenant_security.authoring.vendor import Vendor
from tenant_security.broker import tags, tenants, vendors
from tenant_security.broker.audit import Actor
from tenant_security.broker.database import Change, Database
from tenant_security.broker.migrations.upgrade import upgrade
from tenant_security.crypto.signing import Kind, SigningKey
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import SealedConfig, TenantChange, VendorDocuments

ALICE = Actor("person", "p-alice", "Alice")
NOW_S = 1_800_000_000
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server with a database ``migrated`` to copy from."""
    with postgres() as url:
        asyncio.run(_prepare(url))
        yield url


async def _prepare(url: str) -> None:
    await _administer(url, "CREATE DATABASE migrated")
    async with Database(_named(url, "migrated"), lambda: 0) as database:
        await database.run_sync(upgrade)


async def _administer(url: str, command: str) -> None:
    async with Database(_named(url, "postgres"), lambda: 0) as database:
        server = database._writing.execution_options(isolation_level="AUTOCOMMIT")
        async with server.connect() as connection:
            await connection.execute(sa.text(command))


def _named(url: str, name: str) -> str:
    return url.replace("@/?", f"@/{name}?")


@functools.cache
def _migrated_sqlite() -> bytes:
    """A migrated file to copy."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "broker.db"

        async def migrate() -> None:
            async with Database(f"sqlite:///{path}", lambda: 0) as database:
                await database.run_sync(upgrade)

        asyncio.run(migrate())
        return path.read_bytes()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, migrated database of each kind."""
    if request.param == "sqlite":
        (tmp_path / "broker.db").write_bytes(_migrated_sqlite())
        return f"sqlite:///{tmp_path / 'broker.db'}"
    server = request.getfixturevalue("postgres_url")
    name = f"test{next(_numbers)}"
    asyncio.run(_administer(server, f"CREATE DATABASE {name} TEMPLATE migrated"))
    return _named(server, name)


class World:
    """A vendor with its keys, and the broker that keeps what it signs."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.now_s = NOW_S
        self.database = database
        self.vendor = Vendor.create(directory / "vendor", "acme", clock=lambda: self.now_s)
        self.tag = 0
        self.actor = ALICE

    def change(self, actor: Actor | None = None):
        return self.database.change(actor or self.actor, "acme")

    async def begin(self) -> None:
        async with self.database.change(self.actor, "acme", creates_vendor=True) as change:
            await vendors.create_vendor(change, "Acme", self.documents())
        async with self.change() as change:
            self.tag = await tags.create_tag(change, "default", default=True)

    def documents(self) -> VendorDocuments:
        state = self.vendor.state
        return VendorDocuments(state.root, state.manifest, state.segment_wraps)

    async def publish(self) -> None:
        """Hand the broker what the vendor's keys say now."""
        async with self.change() as change:
            await vendors.put_documents(change, self.documents())

    async def number(self) -> int:
        async with self.change() as change:
            return await vendors.reserve_config_number(change)

    async def tenant(self, name: str, **options) -> None:
        options = {"tags": frozenset({self.tag}), **options}
        async with self.change() as change:
            await tenants.create_tenant(change, name, name.title(), **options)

    def config(
        self,
        number: int,
        owner: str = "",
        *,
        key: SigningKey | None = None,
        kind: str = "kms",
        leasing: bool = False,
        text: bytes = b"{}",
        version: int = 0,
        segments: tuple[int, ...] = (1,),
        type_: str = "LOCAL",
    ) -> SealedConfig:
        """Seal a config for somebody."""
        header = words.ConfigHeader("acme", owner, number, kind, version or self.now_s, self.now_s)
        key = key or self.vendor.admin
        envelope = documents.seal_config(header, text, self.vendor.segment(segments[0]), key)
        wraps = (envelope.wrap,)
        if len(segments) > 1:
            dek = documents.open_dek(envelope, self.vendor.opening_key(segments[0], envelope.wrap.epoch))
            wraps = tuple(documents.wrap_dek(dek, envelope.header, self.vendor.segment(each)) for each in segments)
        return SealedConfig(
            envelope.header,
            envelope.payload,
            envelope.commit,
            envelope.author,
            envelope.sig,
            wraps,
            type_,
            "",
            leasing,
        )

    def record(
        self,
        tenant: str,
        *assignments: words.RecordAssignment,
        key: SigningKey | None = None,
        version: int = 0,
        leasing_required: bool = False,
        spares: tuple[int, ...] = (),
    ) -> words.Signed:
        document = words.TenantRecord(
            "acme", tenant, version or self.now_s, leasing_required, assignments, spares=spares
        )
        return documents.sign(Kind.RECORD, document, key or self.vendor.admin)

    async def with_config(self, tenant: str, *, key: SigningKey | None = None, authors=None, **use) -> int:
        """Give a tenant a config of its own, as its primary."""
        number = await self.number()
        record = self.record(tenant, assign(number, primary=True), key=key)
        config = self.config(number, tenant, key=key, **use)
        from tenant_security.broker.tenant_documents import put_tenant

        async with self.change() as change:
            await put_tenant(
                change, tenant, TenantChange(record, await self.version(tenant, change), authors, (config,))
            )
        return number

    async def version(self, tenant: str, change: Change) -> int:
        return (await tenants.tenant_row(change.connection, "acme", tenant)).record_version


@pytest.fixture
async def world(database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    clock = {"now": NOW_S}
    async with Database(database_url, lambda: made.now_s * 1000) as database:
        made = World(database, tmp_path)
        made.now_s = clock["now"]
        await made.begin()
        yield made
