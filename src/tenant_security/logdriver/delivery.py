"""Delivers what waits: for each lane that has something, one task that collects, sends, settles and tries again.

The rules are in ``delivery_rules``; here is what waits and calls. Sends that take long and lanes that fail take their
turns from numbers of their own (``send_slots``), so that sinks which hang cannot hold up those that answer.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from tenant_security.logdriver.breathing import Breathing
from tenant_security.logdriver.dead_letters import DeadLetters
from tenant_security.logdriver.delivery_rules import due_in_s, wait_s, worst
from tenant_security.logdriver.lane import HEAD_BYTES, STDOUT, Held, Lane, Shed
from tenant_security.logdriver.observed import LogdriverMetrics
from tenant_security.logdriver.send_slots import SendSlots
from tenant_security.logdriver.spool import Spool
from tenant_security.logdriver.summaries import Summed, as_they_are, dropped_event, summed
from tenant_security.outbound.driver import Outbound
from tenant_security.service.run import Background
from tenant_security.sinks.sink import DELIVERED, Batch, Delivered, Encoded, Later, Outcome, Refused, Sink

_FEW_EVENTS: Final = 100
_FEW_BYTES: Final = 65_536
"""What is encoded at once, in some five milliseconds at most; more goes to a thread. One at a time: Python lets one
thread run at a time anyhow, and the event loop waits for its turn the longer the more there are."""
_COLLECT_S: Final = 2.0
"""What sinks say when they have no wish of their own."""
_MINUTE_S: Final = 60.0


_Events = list[Summed]


class OpenSink(msgspec.Struct, frozen=True):
    """A sink that may be sent to now, and whether its tenant wants leased keys' uses counted by the minute."""

    sink: Sink
    counts: bool = False


class Trouble(msgspec.Struct, frozen=True):
    """Why a lane waits. Units: ``since_s`` is Unix seconds."""

    why: str
    since_s: float
    failures: int
    blocked: bool


class Deliverer(NamedTuple):
    """What deliveries work with. ``open_sink`` returns the sink of a lane, or why it cannot be used now."""

    spool: Spool
    dead: DeadLetters
    outbound: Outbound
    background: Background
    metrics: LogdriverMetrics
    open_sink: Callable[[Lane], OpenSink | str]
    log: structlog.typing.FilteringBoundLogger


class Pace(msgspec.Struct, frozen=True):
    """How much at once. Units: events, seconds, deliveries under way."""

    most_events: int = 1_000
    collect_s: float = _COLLECT_S
    at_once: int = 256
    failing_at_once: int = 64
    slow_at_once: int = 512


class Delivery:
    """All deliveries. ``troubles`` says of each lane that waits why it does."""

    def __init__(
        self,
        means: Deliverer,
        pace: Pace | None = None,
        *,
        now_s: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.troubles: dict[Lane, Trouble] = {}
        self._pace = pace or Pace()
        self._spool = means.spool
        self._dead = means.dead
        self._outbound = means.outbound
        self._background = means.background
        self._metrics = means.metrics
        self._open_sink = means.open_sink
        self._log = means.log
        self._now_s = now_s
        self._chance = chance
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._news: dict[Lane, asyncio.Event] = {}
        self.slots = SendSlots(
            at_once=self._pace.at_once, slow=self._pace.slow_at_once, failing=self._pace.failing_at_once
        )
        self._encoding = asyncio.Lock()
        self.stopping = asyncio.Event()

    @property
    def busy(self) -> int:
        """How many lanes have something waiting."""
        return len(self._tasks)

    def wake(self, lane: Lane) -> None:
        """Something waits in a lane."""
        if lane not in self._tasks and not self.stopping.is_set():
            self._tasks[lane] = self._background.start(self._serve(lane))
        elif lane in self._news:
            full, _ = lane.ready_bytes()
            if full >= self._pace.most_events:
                self._news[lane].set()

    def reconsider(self, lane: Lane) -> None:
        """A lane's config may be another one now: try at once."""
        if lane in self._news and lane in self.troubles:
            self._news[lane].set()

    async def forget(self, lane: Lane) -> None:
        """End a lane's deliveries."""
        task = self._tasks.pop(lane, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.troubles.pop(lane, None)
        self._news.pop(lane, None)

    async def drain(self, wait_s: float) -> None:
        """Send what waits without collecting any longer, for at most so long; sinks in trouble are not waited for."""
        self.stopping.set()
        for event in self._news.values():
            event.set()
        tasks = [task for lane, task in self._tasks.items() if lane not in self.troubles]
        if tasks:
            await asyncio.wait(tasks, timeout=wait_s)

    async def _serve(self, lane: Lane) -> None:
        news = self._news[lane] = asyncio.Event()
        failures = 0
        try:
            while lane.waiting or lane.shed.count:
                opened = self._open_sink(lane)
                if isinstance(opened, str):
                    failures += 1
                    later: Later | None = Later(opened, blocked=True)
                else:
                    await self._collect(lane, opened, news, failed=failures > 0)
                    later = await self._attempt(lane, opened, failing=failures > 0)
                    failures = failures + 1 if later is not None else 0
                if later is None:
                    self.troubles.pop(lane, None)
                    continue
                self._note_trouble(lane, later, failures)
                if self.stopping.is_set():
                    return
                await _until(news, wait_s(later, failures, self._chance()))
        finally:
            if self._tasks.get(lane) is asyncio.current_task():
                del self._tasks[lane]
                self._news.pop(lane, None)

    async def _collect(self, lane: Lane, opened: OpenSink, news: asyncio.Event, *, failed: bool) -> None:
        """Wait until there is enough for a batch, or until the oldest has waited long enough."""
        limits = opened.sink.limits
        collect_s = self._pace.collect_s if limits.collect_s == _COLLECT_S else limits.collect_s
        if opened.counts:
            collect_s = max(collect_s, _MINUTE_S)
        events, size = lane.ready_bytes()
        full = events >= self._most(opened) or size >= _most_bytes(opened) or self.stopping.is_set()
        waited_s = self._now_s() - lane.since_ms / 1000
        pause_s = due_in_s(waited_s=waited_s, collect_s=collect_s, full=full, failed=failed)
        if pause_s > 0:
            news.clear()
            await _until(news, pause_s)

    def _most(self, opened: OpenSink) -> int:
        return self._pace.most_events * (10 if opened.counts else 1)

    async def _attempt(self, lane: Lane, opened: OpenSink, *, failing: bool) -> Later | None:
        """Deliver, and keep a fault of ours to the lane that it is in."""
        try:
            return await self._deliver(lane, opened, failing=failing)
        except Exception as fault:  # noqa: BLE001 - one sink's fault must not end the others
            self._log.error(
                "a delivery failed unexpectedly",
                sink=opened.sink.kind,
                tenant_id=lane.key.tenant,
                error=type(fault).__name__,
            )
            return Later("The delivery failed unexpectedly; the operator finds it in the log.")

    async def _deliver(self, lane: Lane, opened: OpenSink, *, failing: bool) -> Later | None:
        """Send the oldest events of a lane. Returns what holds the rest up, or None."""
        try:
            held = lane.peek(self._most(opened), _most_bytes(opened))
        except OSError as failure:
            return Later(f"The spool cannot be read: {failure.strerror or failure}.")
        if not held and not lane.shed.count:
            lane.settle(())
            return None
        lane.in_flight = held[-1].position if held else 0
        try:
            return await self._send(lane, opened, held, failing=failing)
        finally:
            lane.in_flight = 0
            with suppress(OSError):
                lane.date(round(self._now_s() * 1000))

    async def _encode(self, lane: Lane, opened: OpenSink, held: Sequence[Held], shed: Shed) -> tuple[_Events, Encoded]:
        """Make batches of events; of many in a thread, one lane after the other, so that nothing else waits for it."""

        def encode(kind: type[list[Any]]) -> tuple[_Events, Encoded]:
            events = summed(kind(held)) if opened.counts else as_they_are(held)
            if shed.count:
                events = [Summed(dropped_event(lane.key.tenant, lane.key.sink, shed), ()), *events]
            return events, opened.sink.encode(kind(each.line for each in events))

        if len(held) <= _FEW_EVENTS and sum(len(each.line) for each in held) <= _FEW_BYTES:
            return encode(list)
        async with self._encoding:
            return await asyncio.to_thread(encode, Breathing)

    async def _send(self, lane: Lane, opened: OpenSink, held: Sequence[Held], *, failing: bool) -> Later | None:
        sink, shed = opened.sink, lane.shed
        events, encoded = await self._encode(lane, opened, held, shed)
        outcomes: dict[int, Outcome] = dict(encoded.refused)
        sent = {index for batch in encoded.batches for index in batch.indexes}
        outcomes |= {index: DELIVERED for index in range(len(events)) if index not in sent and index not in outcomes}
        later = await self._settle(lane, sink, events, outcomes, shed)
        at_once = max(1, sink.limits.at_once)
        batches = encoded.batches
        for start in range(0, len(batches), at_once):
            if later is not None:
                break
            some = batches[start : start + at_once]
            async with self.slots.taken(failing=failing):
                answers = await asyncio.gather(*(self._run(lane, sink, batch) for batch in some))
            outcomes = {}
            for batch, answer in zip(some, answers, strict=True):
                outcomes |= dict(zip(batch.indexes, answer, strict=True))
            later = await self._settle(lane, sink, events, outcomes, shed)
        return later

    async def _run(self, lane: Lane, sink: Sink, batch: Batch) -> Sequence[Outcome]:
        began = time.perf_counter()
        try:
            return await self._outbound.run(sink.deliver(batch), deadline_s=sink.limits.deadline_s)
        except Exception as fault:  # noqa: BLE001 - a fault of ours in one sink must not end the others
            self._log.error(
                "a delivery failed unexpectedly", sink=sink.kind, tenant_id=lane.key.tenant, error=type(fault).__name__
            )
            return [Later("The delivery failed unexpectedly; the operator finds it in the log.")] * len(batch.indexes)
        finally:
            self._metrics.send_seconds.observe(time.perf_counter() - began, sink.kind)

    async def _settle(
        self, lane: Lane, sink: Sink, events: Sequence[Summed], outcomes: dict[int, Outcome], shed: Shed
    ) -> Later | None:
        """Note what became of some events; the refused ones are kept as dead letters first."""
        refused = [(index, each) for index, each in outcomes.items() if isinstance(each, Refused)]
        if refused:
            letters = [(events[index].line, each.why) for index, each in refused]
            try:
                async with self._dead.one_at_a_time:
                    now_ms = round(self._now_s() * 1000)
                    await asyncio.to_thread(self._dead.add, lane.key, sink.kind, letters, now_ms)
            except OSError as failure:
                why = Later(f"Events that the sink refused cannot be kept: {failure.strerror or failure}.")
                outcomes = outcomes | {index: why for index, _ in refused}
        settled = [index for index, each in outcomes.items() if not isinstance(each, Later)]
        told = shed.count > 0 and 0 in settled
        if told and lane.shed.count >= shed.count:
            lane.shed = Shed(lane.shed.count - shed.count, shed.until_ms, lane.shed.until_ms)
        moved = lane.settle(position for index in settled for position in events[index].positions)
        if moved or told:
            self._spool.note(lane)
        later = worst(list(outcomes.values()))
        kind = sink.kind
        self._metrics.delivered.add(kind, count=sum(isinstance(each, Delivered) for each in outcomes.values()))
        self._metrics.refused.add(kind, count=len(refused))
        if later is not None:
            self._metrics.retried.add(kind, count=sum(isinstance(each, Later) for each in outcomes.values()))
        return later

    def _note_trouble(self, lane: Lane, later: Later, failures: int) -> None:
        known = self.troubles.get(lane)
        since = known.since_s if known is not None else self._now_s()
        self.troubles[lane] = Trouble(later.why, since, failures, later.blocked)
        if known is None or known.why != later.why:
            name = "standard output" if lane.key == STDOUT else lane.key.sink
            self._log.warning("a sink does not take events", tenant_id=lane.key.tenant, sink=name, reason=later.why)


def _most_bytes(opened: OpenSink) -> int:
    """How much to collect; sums take as much as a lane has in memory."""
    return HEAD_BYTES if opened.counts else opened.sink.limits.collect_bytes


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
    finally:
        event.clear()
