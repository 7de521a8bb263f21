"""Kafka: a producer of librdkafka's for each cluster. It talks in threads of its own, and we wait in another.

A message is delivered when all replicas in sync have it; librdkafka itself sends again what it must, without making two
of one, within the deadline.

Source: librdkafka, "CONFIGURATION.md", "INTRODUCTION.md", message reliability; confluent-kafka, ``Producer``.
"""

import asyncio
import functools
import logging
from collections.abc import Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from tenant_security.outbound.reasons import Reason
from tenant_security.outbound.receivers import KafkaCluster, Message, Unsent

_SILENT: Final = logging.getLogger("tenant_security.outbound.kafka.librdkafka")
_MOST_QUEUED: Final = 20_000
_LONGEST_S: Final = 300.0

_REASONS: Final = {
    KafkaError._MSG_TIMED_OUT: Reason.TIMEOUT,  # noqa: SLF001 - the library's public names
    KafkaError._TIMED_OUT: Reason.TIMEOUT,  # noqa: SLF001
    KafkaError._ALL_BROKERS_DOWN: Reason.CONNECT,  # noqa: SLF001
    KafkaError._TRANSPORT: Reason.CONNECT,  # noqa: SLF001
    KafkaError._RESOLVE: Reason.NAME,  # noqa: SLF001
    KafkaError._SSL: Reason.TLS,  # noqa: SLF001
}


class KafkaConnection:
    """One producer. Raises: OSError when the config is one that librdkafka refuses."""

    def __init__(self, cluster: KafkaCluster) -> None:
        self._last: KafkaError | None = None
        _SILENT.addHandler(logging.NullHandler())
        _SILENT.propagate = False
        try:
            self._producer = Producer(_configuration(cluster) | {"error_cb": self._noticed}, logger=_SILENT)
        except (KafkaException, ValueError, TypeError):
            raise OSError("the Kafka client cannot be set up with this configuration") from None

    @property
    def usable(self) -> bool:
        """Whether no error has ended the producer."""
        return self._last is None or not self._last.fatal()

    async def send(self, messages: Sequence[Message], within_s: float) -> list[Unsent | None]:
        """Produce messages and wait for their delivery reports."""
        return await asyncio.to_thread(self._send, messages, min(within_s * 0.9, _LONGEST_S))

    async def close(self) -> None:
        """Give up what is under way."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._producer.purge()
        self._producer.flush(0.1)

    def _send(self, messages: Sequence[Message], within_s: float) -> list[Unsent | None]:
        outcomes: list[Unsent | None] = [Unsent(Reason.TIMEOUT)] * len(messages)
        self._last = None

        def report(index: int, error: KafkaError | None, _message: object) -> None:
            outcomes[index] = None if error is None else self._unsent(error)

        for index, message in enumerate(messages):
            try:
                self._producer.produce(
                    message.topic,
                    value=message.body,
                    key=message.key,
                    headers=list(message.headers),
                    on_delivery=functools.partial(report, index),
                )
            except (KafkaException, BufferError) as refused:
                error = refused.args[0] if isinstance(refused, KafkaException) else None
                outcomes[index] = self._unsent(error) if isinstance(error, KafkaError) else Unsent(None, "QUEUE_FULL")
        if self._producer.flush(within_s):
            # The deadline came. What is under way is given up, so that it does not arrive after we said it did not.
            self._producer.purge()
            self._producer.flush(1.0)
        return outcomes

    def _noticed(self, error: KafkaError) -> None:
        self._last = error

    def _unsent(self, error: KafkaError) -> Unsent:
        """A message that only ran out of time failed for what the connection's own error says."""
        ours = (KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)  # noqa: SLF001
        if error.code() in ours:
            error = self._last or error
        reason = _REASONS.get(error.code())
        return Unsent(reason or (Reason.TIMEOUT if error.code() in ours else None), error.name())


def _configuration(cluster: KafkaCluster) -> dict[str, Any]:
    found: dict[str, Any] = {
        "bootstrap.servers": ",".join(cluster.brokers),
        "client.id": "tenant-security",
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.timeout.ms": round(_LONGEST_S * 1000),
        "queue.buffering.max.messages": _MOST_QUEUED,
        "socket.connection.setup.timeout.ms": 10_000,
        "reconnect.backoff.max.ms": 2_000,
        "allow.auto.create.topics": False,
        "security.protocol": f"{'SASL_' if cluster.mechanism else ''}{'SSL' if cluster.tls else 'PLAINTEXT'}",
        "log_level": 0,
    }
    if cluster.tls:
        found["ssl.endpoint.identification.algorithm"] = "https"
        if cluster.authorities:
            found["ssl.ca.pem"] = cluster.authorities.decode("ascii")
        if cluster.identity is not None:
            found["ssl.certificate.pem"] = cluster.identity.certificate.decode("ascii")
            found["ssl.key.pem"] = cluster.identity.key.reveal().decode("ascii")
    if cluster.mechanism is not None:
        found["sasl.mechanism"] = cluster.mechanism
        found["sasl.username"] = cluster.username
        found["sasl.password"] = "" if cluster.password is None else cluster.password.reveal()
    return found | dict(cluster.options)
