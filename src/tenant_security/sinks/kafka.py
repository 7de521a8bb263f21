"""Kafka: one topic. The key is the tenant, so that a tenant's events stay in order in one partition.

Source: Apache Kafka, "Design, Message Delivery Semantics"; librdkafka, "INTRODUCTION.md".
"""

from collections.abc import Sequence
from typing import Final

from tenant_security.outbound.flow import Flow, UnreachableError, transmit
from tenant_security.outbound.receivers import KafkaCluster, Message, Unsent
from tenant_security.sinks.formats import LINE_FORMATS
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase, unreachable
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.sinks.syslog import identity
from tenant_security.wire.kms.authorities import authorities_pem
from tenant_security.wire.sink_configs import SinkConfigError
from tenant_security.wire.sinks.receivers import KafkaSinkConfig

_BAD_EVENT: Final = frozenset({"MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_MSG_SIZE", "INVALID_RECORD"})
_US: Final = {
    "_AUTHENTICATION": "it does not know our user or certificate",
    "SASL_AUTHENTICATION_FAILED": "it does not know our user or password",
    "TOPIC_AUTHORIZATION_FAILED": "our user may not write to the topic",
    "CLUSTER_AUTHORIZATION_FAILED": "our user may not write idempotently",
    "UNKNOWN_TOPIC_OR_PART": "the topic does not exist",
    "_UNKNOWN_TOPIC": "the topic does not exist",
    "_UNKNOWN_PARTITION": "the topic does not exist",
    "UNSUPPORTED_SASL_MECHANISM": "it does not take this way to sign in",
}


class KafkaSink(SinkBase):
    """One topic of one cluster.

    Raises: SinkConfigError where neither the vendor owns the config nor the operator allows it to tenants.
    """

    kind = "kafka"
    title = "Kafka"

    def __init__(
        self, config: KafkaSinkConfig, context: SinkContext, options: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(LIMITS["KAFKA"], config.filter, context)
        if not (context.vendor_owned or context.kafka_allowed):
            raise SinkConfigError(
                "Kafka is not open to tenants here: brokers may send us to any address. Ask the vendor to allow it, or "
                "choose another type of sink"
            )
        sasl = config.sasl
        self._to = KafkaCluster(
            config.brokers,
            tls=not config.on_this_machine,
            mechanism=None if sasl is None else sasl.mechanism,
            username="" if sasl is None else sasl.username,
            password=None if sasl is None else sasl.password,
            authorities=authorities_pem(config.ca_certificate) if config.ca_certificate else b"",
            identity=identity(config),
            options=options,
        )
        self._topic = config.topic
        self._format = LINE_FORMATS[config.format]

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:  # noqa: ARG002 - the event says its own time
        """Return one message."""
        return self._format(event)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Produce messages."""
        key = self.context.tenant_id.encode()
        messages = [Message(piece.body, self._topic, key, (("eventId", piece.event_id.encode()),)) for piece in pieces]
        sent = yield from transmit(self._to, messages)
        return [self._outcome(each) for each in sent]

    def _outcome(self, each: Unsent | None) -> Outcome:
        if each is None:
            return DELIVERED
        if each.code in _US:
            return Later(f"Kafka refuses us: {_US[each.code]}.", blocked=True)
        if each.code in _BAD_EVENT:
            return Refused(f"Kafka does not take the event ({each.code}).")
        if each.reason is not None:
            return unreachable(self.title, UnreachableError(each.reason))
        return Later(f"Kafka did not take the event ({each.code}).")
