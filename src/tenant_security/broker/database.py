"""The broker's database: SQLite in one file, or PostgreSQL. The only module that commits.

A change is one transaction that has an actor, serialises with the vendor's other changes, and writes at least one row
of the audit; without one it is rolled back. Readers see whole changes only.

Source: docs/broker/data.md, "Transactions".
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Self

import asyncpg
import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from tenant_security.broker import schema
from tenant_security.broker.audit import GENESIS, Actor, AuditRow
from tenant_security.broker.refusals import BusyError, ConflictError, NotFoundError, RefusalError

_POOL: Final = 20
_WAIT_S: Final = 5.0
_ASK_AGAIN: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
)
"""What PostgreSQL says when it has no connection or no room to give, is stopping, or gave way to somebody else."""
_NO_SUCH_VALUE: Final = "a number is larger, or a text has other characters, than anything that is kept here"


class Change:
    """One transaction of one vendor. ``revision`` is the number that this change gives to what it touches."""

    def __init__(self, connection: AsyncConnection, actor: Actor, vendor: str, now_ms: int, revision: int) -> None:
        self.connection: Final = connection
        self.actor: Final = actor
        self.vendor: Final = vendor
        self.now_ms: Final = now_ms
        self.revision: Final = revision
        self.recorded = 0
        self.touched = False

    def touch(self) -> int:
        """Say that proxies will see this change, and return the revision to write into what it touches."""
        self.touched = True
        return self.revision

    @property
    def made(self) -> dict[str, object]:
        """The columns that say who made a row."""
        return {
            "created_by_kind": self.actor.kind,
            "created_by_id": self.actor.id,
            "created_by_name": self.actor.name,
            "created_ms": self.now_ms,
        }

    async def record(
        self, action: str, target: str, *, tenant: str = "", detail: Mapping[str, object] | None = None
    ) -> None:
        """Write a row of the audit. ``detail`` must hold no secret."""
        last = (
            await self.connection.execute(
                sa.select(schema.audit.c.seq, schema.audit.c.hash)
                .where(schema.audit.c.vendor == self.vendor)
                .order_by(schema.audit.c.seq.desc())
                .limit(1)
            )
        ).first()
        seq, previous = (0, GENESIS) if last is None else (last.seq, last.hash)
        row = AuditRow(
            vendor=self.vendor,
            seq=seq + 1,
            at_ms=self.now_ms,
            actor_kind=self.actor.kind,
            actor_id=self.actor.id,
            actor_name=self.actor.name,
            action=action,
            tenant=tenant,
            target=target,
            detail=msgspec.json.encode(detail or {}, order="sorted").decode(),
        )
        values = {**msgspec.structs.asdict(row), "previous": previous, "hash": row.chained(previous)}
        await self.connection.execute(schema.audit.insert().values(**values))
        self.recorded += 1


class Changes:
    """One transaction by one actor, which touches as many vendors as it asks for. Ask in the order of their ids."""

    def __init__(self, connection: AsyncConnection, actor: Actor, now_ms: int) -> None:
        self.connection: Final = connection
        self.actor: Final = actor
        self.now_ms: Final = now_ms
        self._begun: Final[dict[str, Change]] = {}
        self._created: Final[set[str]] = set()

    async def of(self, vendor: str, *, creates_vendor: bool = False) -> Change:
        """Take a vendor's data for this transaction alone, and return its change.

        Raises: NotFoundError when there is no such vendor.
        """
        if vendor not in self._begun:
            revision = self.now_ms if creates_vendor else await _next_revision(self.connection, vendor, self.now_ms)
            self._begun[vendor] = Change(self.connection, self.actor, vendor, self.now_ms, revision)
            if creates_vendor:
                self._created.add(vendor)
        return self._begun[vendor]

    async def finish(self) -> None:
        """Write down what was touched. Nothing that was taken may go without a row of the audit."""
        for vendor, change in self._begun.items():
            if change.recorded == 0:
                raise RuntimeError("a change without a row of the audit")
            if change.touched and vendor not in self._created:
                await self.connection.execute(
                    schema.vendors.update().where(schema.vendors.c.id == vendor).values(revision=change.revision)
                )


class Database:
    """Where everything is kept. Use as ``async with Database(url, now_ms) as database``.

    Shape: ``url`` is ``sqlite:///path``, or ``postgresql://user@host/name``.
    Units: ``wait_s`` seconds to wait for one of ``connections``.
    Raises: BusyError when no connection came free in time, so that nobody waits without end.
    """

    def __init__(
        self, url: str, now_ms: Callable[[], int], *, connections: int = _POOL, wait_s: float = _WAIT_S
    ) -> None:
        self._connections: Final = connections
        self._wait_s: Final = wait_s
        self.url: Final = sa.make_url(url)
        self.now_ms: Final = now_ms
        self.is_sqlite: Final = self.url.get_backend_name() == "sqlite"
        self._one_writer: Final = asyncio.Lock()
        self._reading: Final = self._engine("BEGIN")
        self._writing: Final = self._engine("BEGIN IMMEDIATE") if self.is_sqlite else self._reading

    def _engine(self, begin: str) -> AsyncEngine:
        if not self.is_sqlite:
            url = self.url.set(drivername="postgresql+asyncpg")
            return create_async_engine(
                url,
                pool_size=self._connections,
                max_overflow=0,
                pool_timeout=self._wait_s,
                pool_pre_ping=True,
                connect_args={"timeout": _WAIT_S, "command_timeout": 30},
            )
        url = self.url.set(drivername="sqlite+aiosqlite")
        engine = create_async_engine(url, pool_size=self._connections, max_overflow=0, pool_timeout=self._wait_s)

        @event.listens_for(engine.sync_engine, "connect")
        def _prepare(connection: Any, _record: object) -> None:
            # The driver would begin and commit on its own; we say when.
            connection.isolation_level = None
            cursor = connection.cursor()
            for pragma in (
                "foreign_keys=ON",
                "journal_mode=WAL",
                "synchronous=FULL",
                f"busy_timeout={round(self._wait_s * 1000)}",
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reading.dispose()
        await self._writing.dispose()

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """One transaction that changes nothing: everything read in it is of one moment."""
        with _faults():
            async with self._reading.connect() as connection:
                if not self.is_sqlite:
                    await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
                async with connection.begin() as transaction:
                    yield connection
                    await transaction.rollback()

    @contextlib.asynccontextmanager
    async def change(self, actor: Actor, vendor: str, *, creates_vendor: bool = False) -> AsyncIterator[Change]:
        """One change of one vendor's data, by somebody. Commits when the block ends without an exception.

        Raises: NotFoundError when there is no such vendor; ConflictError when a constraint says no; BusyError.
        """
        async with self.changes(actor) as changes:
            yield await changes.of(vendor, creates_vendor=creates_vendor)

    @contextlib.asynccontextmanager
    async def changes(self, actor: Actor) -> AsyncIterator[Changes]:
        """One transaction over the data of people, who may be of several vendors.

        Raises: ConflictError when a constraint says no; BusyError.
        """
        with _faults():
            async with self._alone(), self._writing.connect() as connection, connection.begin() as transaction:
                changes = Changes(connection, actor, self.now_ms())
                yield changes
                await changes.finish()
                await transaction.commit()

    @contextlib.asynccontextmanager
    async def note(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for what is no change of anybody's data: last use, failed sign-ins, sessions seen."""
        with _faults():
            async with self._alone(), self._writing.connect() as connection, connection.begin() as transaction:
                yield connection
                await transaction.commit()

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """SQLite has one writer; waiting for it here is fair, and bounded."""
        if not self.is_sqlite:
            yield
            return
        try:
            async with asyncio.timeout(self._wait_s):
                await self._one_writer.acquire()
        except TimeoutError:
            raise BusyError from None
        try:
            yield
        finally:
            self._one_writer.release()

    async def lock_vendors(self, connection: AsyncConnection) -> None:
        """Let nobody else make a vendor until this transaction ends. SQLite has one writer anyway."""
        if not self.is_sqlite:
            await connection.execute(sa.text("LOCK TABLE vendors IN SHARE ROW EXCLUSIVE MODE"))

    async def run_sync(self, work: Callable[[sa.Connection], None]) -> None:
        """Run schema work, such as migrations, in one transaction."""
        with _faults():
            async with self._alone(), self._writing.connect() as connection, connection.begin() as transaction:
                await connection.run_sync(work)
                await transaction.commit()


async def _next_revision(connection: AsyncConnection, vendor: str, now_ms: int) -> int:
    """Take the vendor's row for this change alone, and number the change.

    Revisions are the versions of snapshots, and proxies never go back: counting along the clock keeps them rising even
    after an old backup was restored.
    """
    found = (
        await connection.execute(
            sa.select(schema.vendors.c.revision).where(schema.vendors.c.id == vendor).with_for_update()
        )
    ).scalar_one_or_none()
    if found is None:
        raise NotFoundError(f"there is no vendor {vendor!r} here")
    return max(int(found) + 1, now_ms)


@contextlib.contextmanager
def _faults() -> Any:
    """Say in our words what the database says in its own."""
    try:
        yield
    except IntegrityError as refused:
        raise ConflictError("somebody else has just changed this; read it again and repeat the change") from refused
    except (PoolTimeoutError, OperationalError, OSError) as down:
        raise BusyError from down
    except OverflowError as refused:
        raise RefusalError(_NO_SUCH_VALUE) from refused
    except DBAPIError as down:
        said = getattr(down.orig, "__cause__", None)
        if down.connection_invalidated or isinstance(said, _ASK_AGAIN):
            raise BusyError from down
        if isinstance(said, asyncpg.DataError):
            raise RefusalError(_NO_SUCH_VALUE) from down
        raise
