"""A broker that is killed, and a database that goes away, while changes are made: whole changes only, none lost."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres import postgres

from tenant_security.authoring.at_broker import AtBroker, Labels
from tenant_security.authoring.roster import assign
from tenant_security.authoring.vendor import Vendor
from tenant_security.outbound.broker import BrokerAccount, BrokerRefusedError
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import UnreachableError
from tenant_security.wire import broker_api as api

TOKEN = "a-set-up-token-for-kills"
CONFIG = json.dumps(
    {
        "type": "LOCAL",
        "version": 1,
        "credentials": {"keys": {"1": base64.b64encode(bytes(32)).decode()}},
        "keyPath": {"keyId": "k"},
    }
).encode()
_BUSY = {401, 503}
"""What a broker that is going away or not there yet may answer: its memory of tokens ends with it."""


class BrokerProcess:
    """The broker as a process, which can be killed and started again on the same port."""

    def __init__(self, directory: Path, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.environ = {
            **os.environ,
            "BROKER_DATABASE_URL": database,
            "BROKER_KEY_FILE": str(directory / "broker.key"),
            "BROKER_BIND_ADDRESS": "127.0.0.1",
            "BROKER_PORT": str(self.port),
            "BROKER_OPS_BIND_ADDRESS": "127.0.0.1:0",
            "BROKER_SETUP_TOKEN": TOKEN,
        }
        self.log = (directory / "broker.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(Path(sys.executable).with_name("tenant-security")), "broker"]
        self.process = subprocess.Popen(command, env=self.environ, stdout=self.log, stderr=self.log)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def broker(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[BrokerProcess]:
    with contextlib.ExitStack() as stack:
        database = f"sqlite:///{tmp_path / 'broker.db'}"
        if request.param == "postgresql":
            database = stack.enter_context(postgres()).replace("@/?", "@/postgres?")
        made = BrokerProcess(tmp_path, database)
        made.start()
        yield made
        made.kill()
        made.log.close()


def primary(number):
    return [assign(number, primary=True)]


async def insisting(run, make):
    """Ask until the broker answers: nobody's answer tells whether a change that got none was stored."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await run(make())
            except UnreachableError:
                await asyncio.sleep(0.05)
            except BrokerRefusedError as refused:
                if refused.status not in _BUSY:
                    raise
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("broker", ["sqlite", "postgresql"], indirect=True)
async def test_kills_leave_whole_changes_and_lose_none_that_was_answered(broker, tmp_path):
    vendor = await asyncio.to_thread(Vendor.create, tmp_path / "vendor", "acme")
    account = BrokerAccount(broker.url, vendor.admin, lambda: int(time.time()), lambda: uuid.uuid4().hex)
    admin = AtBroker(vendor, account)
    answered: set[str] = set()
    async with Outbound() as outbound:

        async def run(flow):
            return await outbound.run(flow, deadline_s=10)

        await insisting(run, lambda: admin.register("Acme", TOKEN))
        await insisting(run, lambda: admin.take_numbers(1_000))

        async def make(number: int) -> None:
            name = f"t{number}"
            with contextlib.suppress(UnreachableError, BrokerRefusedError):
                await run(admin.ask("POST", "/tenants", api.Tenant, api.NewTenant(name, name)))
                await run(
                    admin.change(
                        name,
                        lambda roster: roster.put_tenant(
                            name, [assign(number, primary=True)], configs={number: CONFIG}
                        ),
                        {number: Labels("LOCAL")},
                    )
                )
                answered.add(name)

        numbers = iter(range(1, 1_000))

        async def work(until: asyncio.Event) -> None:
            while not until.is_set():
                await make(next(numbers))

        for _ in range(2 if "sqlite" in broker.environ["BROKER_DATABASE_URL"] else 1):
            stop = asyncio.Event()
            workers = [asyncio.create_task(work(stop)) for _ in range(4)]
            before = len(answered)
            while len(answered) < before + 5:  # so that it is killed in the middle of things
                await asyncio.sleep(0.01)
            broker.kill()
            stop.set()
            await asyncio.gather(*workers)
            broker.start()
            await insisting(run, lambda: admin.ask("GET", "/tenants", api.Page[api.Tenant]))

        tenants = {each.id: each for each in await run(admin.every("/tenants", api.Tenant))}
        assert answered <= tenants.keys()
        for name, tenant in tenants.items():
            documents = await run(admin.stored(name))
            assigned = await run(admin.every(f"/tenants/{name}/assignments", api.Assignment))
            whole = (
                tenant.record_version > 0,
                len(documents.configs),
                len(assigned),
                tenant.primary_config is not None,
            )
            assert whole in {(True, 1, 1, True), (False, 0, 0, False)}, name
            assert name not in answered or whole[0]
        found = await run(admin.ask("GET", "/audit/verification", dict))
        assert found["whole"], found


@pytest.mark.parametrize("broker", ["postgresql"], indirect=True)
async def test_a_database_whose_connections_are_cut_is_asked_again(broker, tmp_path):
    """As when PostgreSQL restarts: sessions end under the broker, and the next request gets new ones."""
    import asyncpg

    vendor = await asyncio.to_thread(Vendor.create, tmp_path / "vendor", "acme")
    admin = AtBroker(
        vendor, BrokerAccount(broker.url, vendor.admin, lambda: int(time.time()), lambda: uuid.uuid4().hex)
    )
    directory = broker.environ["BROKER_DATABASE_URL"].partition("host=")[2]
    async with Outbound() as outbound:

        async def run(flow):
            return await outbound.run(flow, deadline_s=10)

        await insisting(run, lambda: admin.register("Acme", TOKEN))
        connection = await asyncpg.connect(host=directory, user="postgres", database="postgres")
        try:
            for number in range(5):
                cut = await connection.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                    "AND backend_type = 'client backend'"
                )
                assert cut
                name = f"t{number}"
                await insisting(
                    run, lambda name=name: admin.ask("POST", "/tenants", api.Tenant, api.NewTenant(name, name))
                )
        finally:
            await connection.close()
        assert len(await run(admin.every("/tenants", api.Tenant))) == 5
        found = await run(admin.ask("GET", "/audit/verification", dict))
        assert found["whole"]
