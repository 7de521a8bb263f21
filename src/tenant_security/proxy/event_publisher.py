"""Publishes events to NATS JetStream, where that stands between proxies and logdrivers."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import nats
import nats.errors
import structlog
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from tenant_security.proxy.outbox import EventQueue
from tenant_security.wire.event_feed import LeasedEvents
from tenant_security.wire.event_stream import MESSAGE_BYTES, STREAM, STREAM_BYTES, SUBJECT

_AT_ONCE: Final = 1_000
_ANSWER_S: Final = 5.0
_AGAIN_S: Final = 1.0
_FAULTS: Final = (nats.errors.Error, OSError, TimeoutError)


class EventPublisher:
    """Takes batches from the outbox and acknowledges each when the stream has it."""

    def __init__(
        self,
        url: str,
        credentials: Path | None,
        outbox: EventQueue,
        instance: str,
        log: structlog.typing.FilteringBoundLogger,
    ) -> None:
        self._url = url
        self._credentials = str(credentials) if credentials is not None else None
        self._outbox = outbox
        self._instance = instance
        self._log = log

    async def run(self) -> None:
        """Publish until the outbox is closed or this is cancelled; what fails is tried again for ever."""
        failing = False
        while True:
            try:
                connection = await nats.connect(
                    self._url,
                    user_credentials=self._credentials,
                    name="tenant-security-proxy",
                    connect_timeout=round(_ANSWER_S),
                    allow_reconnect=False,
                    error_cb=_quiet,
                )
                try:
                    stream = connection.jetstream(timeout=_ANSWER_S)
                    await _have_stream(stream)
                    if failing:
                        self._log.info("events are published again")
                    failing = False
                    await self._publish(stream)
                    return
                finally:
                    await connection.close()
            except _FAULTS as failure:
                if not failing:
                    self._log.warning("events cannot be published; trying on", reason=type(failure).__name__)
                failing = True
                await asyncio.sleep(_AGAIN_S)

    async def _publish(self, stream: JetStreamContext) -> None:
        while (batch := await self._outbox.lend(_AT_ONCE)).events:
            try:
                for part, lines in enumerate(_parts(batch.lines())):
                    body = LeasedEvents(self._instance, batch.number, [msgspec.Raw(line) for line in lines])
                    name = {"Nats-Msg-Id": f"{self._instance}-{batch.number}-{part}"}
                    await stream.publish(SUBJECT, msgspec.json.encode(body), headers=name)
            except BaseException:
                self._outbox.take_back(batch.number)
                raise
            self._outbox.acknowledge(batch.number)


async def _quiet(_failure: Exception) -> None:
    """What goes wrong is raised where it matters."""


async def _have_stream(stream: JetStreamContext) -> None:
    """Make the stream unless somebody has: an operator may have set it up with replicas and bounds of its own."""
    try:
        await stream.stream_info(STREAM)
    except NotFoundError:
        await stream.add_stream(
            StreamConfig(
                name=STREAM,
                subjects=[SUBJECT],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,
                max_bytes=STREAM_BYTES,
            )
        )


def _parts(lines: Sequence[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for line in lines:
        if part and size + len(line) > MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line)
    if part:
        yield part
