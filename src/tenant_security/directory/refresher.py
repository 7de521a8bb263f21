"""Keeps the directory fresh: reads the snapshot again from time to time and swaps one reference.

A refresh that fails changes nothing but the state that health and metrics show; the last good directory stays in use
for as long as it takes. The first refresh is spread over the whole period and every further one by a tenth, so that
a fleet that started together does not ask together.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from tenant_security.directory.snapshot_file import SnapshotSource
from tenant_security.directory.tenants import EMPTY_DIRECTORY, TenantDirectory
from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.trust.refusal import Part, SnapshotRefusedError
from tenant_security.wire.service_env import ServiceCredentials

PERIOD_S: Final = 600.0
_JITTER: Final = 0.1


class RefreshState(msgspec.Struct, frozen=True):
    """How refreshing goes, for health and metrics.

    Units: ``*_at_s`` are Unix seconds, 0 for never; ``took_s`` is how long the last good refresh took.
    """

    succeeded_at_s: float = 0.0
    failed_at_s: float = 0.0
    consecutive_failures: int = 0
    successes: int = 0
    failures: int = 0
    last_error: str | None = None
    """Why the newest refresh failed; None when it succeeded."""
    last_error_part: Part | None = None
    took_s: float = 0.0
    reused_tenants: int = 0

    def age_s(self, now_s: float) -> float | None:
        """Return how long ago the snapshot was last read and found good; None for never."""
        return None if self.succeeded_at_s == 0 else max(0.0, now_s - self.succeeded_at_s)


def _ignore(_: TenantDirectory) -> None:
    return


class DirectoryRefresher:
    """Holds the directory in use.

    ``current`` may be read from anywhere at any time. ``on_change`` is called on the event loop after each swap and
    must not raise. ``sleep``, ``clock`` (Unix seconds) and ``chance`` (0 <= x < 1) are arguments for tests.

    Owner: the task that runs :meth:`run`; only a refresh writes ``current`` and ``state``, one at a time.
    """

    def __init__(
        self,
        source: SnapshotSource,
        *,
        credentials: ServiceCredentials,
        period_s: float = PERIOD_S,
        on_change: Callable[[TenantDirectory], None] = _ignore,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.current: TenantDirectory = EMPTY_DIRECTORY
        self.state = RefreshState()
        self._source: Final = source
        self._credentials: Final = credentials
        self._period_s: Final = period_s
        self._on_change: Final = on_change
        self._clock: Final = clock
        self._sleep: Final = sleep
        self._chance: Final = chance
        self._one_at_a_time: Final = asyncio.Lock()

    async def load(self) -> None:
        """Read the snapshot for the first time.

        Raises: SnapshotRefusedError when there is nothing good to start with.
        """
        async with self._one_at_a_time:
            await self._refresh()

    async def refresh_now(self) -> bool:
        """Read the snapshot again, at a signal or on a timer, and return whether it was good."""
        async with self._one_at_a_time:
            try:
                await self._refresh()
            except SnapshotRefusedError:
                return False
            return True

    async def run(self) -> None:
        """Load if that was not done yet, then refresh until cancelled. For a TaskGroup."""
        if self.state.successes == 0:
            await self.refresh_now()
        await self._sleep(self._period_s * self._chance())
        while True:
            await self.refresh_now()
            await self._sleep(self._period_s * (1 + _JITTER * (2 * self._chance() - 1)))

    async def _refresh(self) -> None:
        started = self._clock()
        try:
            directory, reused = await self._read_safely(int(started))
        except SnapshotRefusedError as refused:
            self.state = msgspec.structs.replace(
                self.state,
                failed_at_s=started,
                consecutive_failures=self.state.consecutive_failures + 1,
                failures=self.state.failures + 1,
                last_error=str(refused),
                last_error_part=refused.part,
            )
            raise
        self.current = directory
        self.state = msgspec.structs.replace(
            self.state,
            succeeded_at_s=started,
            consecutive_failures=0,
            successes=self.state.successes + 1,
            last_error=None,
            last_error_part=None,
            took_s=self._clock() - started,
            reused_tenants=reused,
        )
        self._on_change(directory)

    async def _read_safely(self, now_s: int) -> tuple[TenantDirectory, int]:
        """Read, and take a fault of our own for a refusal: it must not stop the proxy from serving."""
        try:
            return await self._read(now_s)
        except SnapshotRefusedError:
            raise
        except Exception as fault:
            reason = f"reading it failed unexpectedly ({type(fault).__name__}); please report this"
            raise SnapshotRefusedError(Part.FILE, reason) from fault

    async def _read(self, now_s: int) -> tuple[TenantDirectory, int]:
        """Judge the snapshot portion by portion in a thread, letting the event loop breathe between two."""
        portions = self._source.portions()
        verifier: SnapshotVerifier | None = None
        while (portion := await asyncio.to_thread(_next, portions)) is not None:
            lines = portion
            if verifier is None:
                if not lines:
                    raise SnapshotRefusedError(Part.FORMAT, "it is empty")
                verifier = await asyncio.to_thread(self._begin, lines[0], now_s)
                lines = lines[1:]
            await asyncio.to_thread(verifier.add, lines)
        if verifier is None:
            raise SnapshotRefusedError(Part.FORMAT, "it is empty")
        return await asyncio.to_thread(verifier.finish), verifier.reused

    def _begin(self, first_line: bytes, now_s: int) -> SnapshotVerifier:
        return SnapshotVerifier(
            first_line,
            pinned=self._credentials.root_fingerprint,
            credentials=self._credentials,
            now_s=now_s,
            previous=self.current,
            source=self._source.name,
        )


def _next(portions: Iterator[list[bytes]]) -> list[bytes] | None:
    return next(portions, None)
