"""Keeps the directory fresh: reads the snapshot again from time to time and swaps one reference.

A refresh that fails changes nothing but the state that health and metrics show; the last good directory stays in use
for as long as it takes. One thing alone ends it: the vendor's own word, in a document that verifies, that this service
is revoked. The first refresh is spread over the whole period and every further one by a tenth, so that a fleet that
started together does not ask together.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec

from tenant_security.directory.source import Offered, Pace, SnapshotSource
from tenant_security.directory.tenants import EMPTY_DIRECTORY, Standing, TenantDirectory
from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.trust.chain import NOTHING_SEEN, read_header, verify_chain
from tenant_security.trust.refusal import Part, RevokedError, SnapshotRefusedError, WholeNeededError
from tenant_security.wire.service_env import ServiceCredentials

_FIRST_PAUSES_S: Final = (0.2, 5.0)
"""Between two attempts to load for the first time: the first pause, and the longest."""
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
    revoked: bool = False
    """Whether the vendor has revoked this service. Nothing is served then."""
    remembered: bool = False
    """Whether what is in use comes from the copy that was kept, because the source did not answer."""

    def age_s(self, now_s: float) -> float | None:
        """Return how long ago the snapshot was last read and found good; None for never."""
        return None if self.succeeded_at_s == 0 else max(0.0, now_s - self.succeeded_at_s)


def _ignore(_: TenantDirectory) -> None:
    return


class DirectoryRefresher:
    """Holds the directory in use.

    ``current`` may be read from anywhere at any time. ``oldest`` is the lowest version of a snapshot that is accepted
    at all. ``on_change`` is called on the event loop after each swap and must not raise. ``sleep``, ``clock`` (Unix
    seconds) and ``chance`` (0 <= x < 1) are arguments for tests.

    Owner: the task that runs :meth:`run`; only a refresh writes ``current`` and ``state``, one at a time.
    """

    def __init__(
        self,
        source: SnapshotSource,
        *,
        credentials: ServiceCredentials,
        oldest: int = 0,
        on_change: Callable[[TenantDirectory], None] = _ignore,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.current: TenantDirectory = EMPTY_DIRECTORY
        self.state = RefreshState()
        self._source: Final = source
        self._credentials: Final = credentials
        self._oldest: Final = oldest
        self._on_change: Final = on_change
        self._clock: Final = clock
        self._sleep: Final = sleep
        self._chance: Final = chance
        self._one_at_a_time: Final = asyncio.Lock()
        self._revoked_by = NOTHING_SEEN

    @property
    def source_name(self) -> str:
        """What to call the source on a health page."""
        return self._source.name

    async def load(self) -> None:
        """Read the snapshot for the first time, on top of what was kept of the source: nothing older is taken then.

        Where the source gives nothing good, what was kept is in use.
        Raises: SnapshotRefusedError when there is nothing good to start with.
        """
        async with self._one_at_a_time:
            recalled = self.current.version > 0 or await self._recall()
            try:
                await self._refresh()
            except RevokedError:
                raise
            except SnapshotRefusedError:
                if not recalled:
                    raise

    async def load_until_good(self, stop: asyncio.Event, failed: Callable[[str | None], None]) -> bool:
        """Load, and try again until there is something good to start with. Returns False when told to stop before.

        ``failed`` hears each time what was wrong, unless what was asked may have been told to stop as well.
        """
        pause_s, most_s = _FIRST_PAUSES_S
        while True:
            try:
                await self.load()
            except SnapshotRefusedError:
                if not stop.is_set():
                    failed(self.state.last_error)
            else:
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            if stop.is_set():
                return False
            pause_s = min(pause_s * 2, most_s)

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
        if self.current.version == 0:
            await self.refresh_now()
        await self._sleep(self._source.pace.period_s * self._chance())
        while True:
            await self.refresh_now()
            await self._sleep(pause_s(self._source.pace, self.state.consecutive_failures, self._chance()))

    async def _refresh(self) -> None:
        started = self._clock()
        try:
            directory, reused = await self._read_safely(int(started))
        except SnapshotRefusedError as refused:
            if isinstance(refused, RevokedError):
                self._stop_serving(refused)
            self.state = msgspec.structs.replace(
                self.state,
                failed_at_s=started,
                consecutive_failures=self.state.consecutive_failures + 1,
                failures=self.state.failures + 1,
                last_error=str(refused),
                last_error_part=refused.part,
            )
            raise
        changed = directory is not self.current
        self.current = directory
        self.state = msgspec.structs.replace(
            self.state,
            revoked=False,
            remembered=False,
            succeeded_at_s=started,
            consecutive_failures=0,
            successes=self.state.successes + 1,
            last_error=None,
            last_error_part=None,
            took_s=self._clock() - started,
            reused_tenants=reused,
        )
        if changed:
            self._on_change(directory)

    def _stop_serving(self, revoked: RevokedError) -> None:
        """Forget every tenant, and remember what was seen, so that nothing older brings them back."""
        self.current = TenantDirectory(standing=Standing(seen=self._revoked_by), withdrawn=revoked.reason)
        self.state = msgspec.structs.replace(self.state, revoked=True)
        self._on_change(self.current)

    async def _recall(self) -> bool:
        """Start with what was kept of the source, and return whether there was anything good."""
        before = self.current
        for offered in self._source.remembered():
            try:
                self.current, _ = await self._judge(offered, int(self._clock()))
            except RevokedError as revoked:
                self._stop_serving(revoked)
                return False
            except SnapshotRefusedError:
                # What was kept before this piece is good, and the source will bring what is missing.
                break
        if self.current is before:
            return False
        self.state = msgspec.structs.replace(self.state, remembered=True, succeeded_at_s=float(self.current.made_at_s))
        self._on_change(self.current)
        return True

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
        try:
            return await self._read_once(now_s, whole=False)
        except WholeNeededError:
            return await self._read_once(now_s, whole=True)

    async def _read_once(self, now_s: int, *, whole: bool) -> tuple[TenantDirectory, int]:
        offered = await self._source.fetch(self.current, whole=whole)
        if offered is None:
            if now_s >= self.current.expires_at_s:
                reason = "what is in use has expired, and the source has nothing newer; the vendor must publish anew"
                raise SnapshotRefusedError(Part.HEAD, reason)
            return self.current, len(self.current)
        with offered:
            try:
                judged = await self._judge(offered, now_s)
            except RevokedError:
                # The word of it is kept, so that a restart without the source serves nobody either.
                await asyncio.to_thread(offered.accepted)
                raise
            await asyncio.to_thread(offered.accepted)
        return judged

    async def _judge(self, offered: Offered, now_s: int) -> tuple[TenantDirectory, int]:
        """Judge a snapshot portion by portion in a thread, letting the event loop breathe between two."""
        portions = offered.portions()
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
        directory = await asyncio.to_thread(verifier.finish)
        if directory.version < self._oldest:
            raise SnapshotRefusedError(
                Part.FORMAT, f"its version {directory.version} is older than {self._oldest}, which is set as the oldest"
            )
        return directory, verifier.reused

    def _begin(self, first_line: bytes, now_s: int) -> SnapshotVerifier:
        pinned = self._credentials.root_fingerprint
        try:
            return SnapshotVerifier(
                first_line,
                pinned=pinned,
                credentials=self._credentials,
                now_s=now_s,
                previous=self.current,
                source=self._source.name,
            )
        except RevokedError:
            seen = self.current.standing.seen
            self._revoked_by = verify_chain(read_header(first_line), pinned=pinned, previous=seen, now_s=now_s).seen
            raise


def pause_s(pace: Pace, failures: int, chance: float) -> float:
    """Return how long to wait before the next refresh, give or take a tenth; longer after every failure in a row."""
    wait_s = pace.period_s if failures == 0 else min(pace.longest_s, pace.retry_s * 2 ** min(failures - 1, 16))
    return wait_s * (1 + _JITTER * (2 * chance - 1))


def _next(portions: Iterator[list[bytes]]) -> list[bytes] | None:
    return next(portions, None)
