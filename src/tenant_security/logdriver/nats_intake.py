"""Takes events from NATS JetStream: a message is acknowledged when its events are on the disk."""

import asyncio
from pathlib import Path
from typing import Final

import msgspec
import nats
import nats.errors
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig

from tenant_security.logdriver.intake import Means, take
from tenant_security.service.run import until
from tenant_security.wire.event_feed import LeasedEvents
from tenant_security.wire.event_stream import ACKNOWLEDGE_WITHIN_S, CONSUMER, STREAM, SUBJECT

_ANSWER_S: Final = 5.0
_WAIT_S: Final = 2.0
_AGAIN_S: Final = 1.0
_AT_ONCE: Final = 8
_FAULTS: Final = (nats.errors.Error, OSError, TimeoutError)


class NatsIntake:
    """One stream that all proxies publish to. ``reached`` says whether the last try worked."""

    def __init__(self, url: str, credentials: Path | None, means: Means) -> None:
        self.reached: dict[str, bool] = {}
        self.stopping = asyncio.Event()
        self._url = url
        self._credentials = str(credentials) if credentials is not None else None
        self._means = means

    async def run(self) -> None:
        """Take events until ``stopping`` is set; what fails is tried again for ever."""
        while not self.stopping.is_set():
            try:
                connection = await nats.connect(
                    self._url,
                    user_credentials=self._credentials,
                    name="tenant-security-logdriver",
                    connect_timeout=round(_ANSWER_S),
                    allow_reconnect=False,
                    error_cb=_quiet,
                )
                try:
                    await self._consume(connection.jetstream(timeout=_ANSWER_S))
                finally:
                    await connection.close()
            except _FAULTS as failure:
                self._note(failure)
                await until(self.stopping, _AGAIN_S)

    async def _consume(self, stream: JetStreamContext) -> None:
        subscription = await stream.pull_subscribe(
            SUBJECT, durable=CONSUMER, stream=STREAM, config=ConsumerConfig(ack_wait=ACKNOWLEDGE_WITHIN_S)
        )
        self._note(None)
        while not self.stopping.is_set():
            try:
                messages = await subscription.fetch(_AT_ONCE, timeout=_WAIT_S)
            except TimeoutError:
                continue
            for message in messages:
                try:
                    batch = msgspec.json.decode(message.data, type=LeasedEvents)
                except msgspec.DecodeError:
                    self._means.metrics.unreadable.add()
                    await message.term()
                    continue
                events = await take(batch.events, self._means)
                try:
                    await message.ack_sync(timeout=round(_ANSWER_S))
                except _FAULTS:
                    # It comes again: these events are known then.
                    self._means.repeats.remember(each.event_id for each in events)
                    self._means.metrics.leases.add("unacknowledged")
                    raise

    def _note(self, failure: Exception | None) -> None:
        before = self.reached.get("nats")
        self.reached["nats"] = failure is None
        if failure is not None:
            self._means.metrics.leases.add("failed")
            if before is not False:
                self._means.log.warning("events cannot be taken from NATS", reason=type(failure).__name__)
        elif not before:
            self._means.log.info("taking events from NATS")


async def _quiet(_failure: Exception) -> None:
    """What goes wrong is raised where it matters."""
