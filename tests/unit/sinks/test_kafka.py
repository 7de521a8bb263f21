"""Kafka, against librdkafka's own cluster of brokers in this process."""

import logging
import time

import msgspec
import pytest
from confluent_kafka import Consumer, Producer
from tests.unit.sinks.conftest import NOW, Stage, event
from tests.unit.sinks.rsyslog import free_port

from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.reasons import Reason
from tenant_security.outbound.receivers import Unsent
from tenant_security.sinks.kafka import KafkaSink
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Refused, SinkContext
from tenant_security.wire.sink_configs import SinkConfigError, decode_sink_config
from tenant_security.wire.sinks.receivers import KafkaSinkConfig

CONTEXT = SinkContext(now=lambda: NOW, tenant_id="acme", vendor_owned=True)
QUIET = logging.getLogger("quiet")
QUIET.propagate = False
QUIET.addHandler(logging.NullHandler())


def config(*brokers: str, **changes: object) -> KafkaSinkConfig:
    text = {"type": "KAFKA", "version": 1, "brokers": list(brokers) or ["localhost:9092"], "topic": "events"} | changes
    decoded = decode_sink_config(msgspec.json.encode(text))
    assert isinstance(decoded, KafkaSinkConfig)
    return decoded


class Cluster:
    """Two brokers that live as long as the producer that made them."""

    def __init__(self) -> None:
        self._keeper = Producer({"test.mock.num.brokers": 2, "log_level": 0}, logger=QUIET)
        brokers = self._keeper.list_topics(timeout=10).brokers.values()
        self.brokers = [f"{broker.host}:{broker.port}" for broker in brokers]
        self._keeper.list_topics("events", timeout=10)

    def read(self, count: int) -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]] | None, int]]:
        consumer = Consumer(
            {
                "bootstrap.servers": ",".join(self.brokers),
                "group.id": "test",
                "auto.offset.reset": "earliest",
                "log_level": 0,
            },
            logger=QUIET,
        )
        consumer.subscribe(["events"])
        found = []
        until = time.monotonic() + 30
        while len(found) < count and time.monotonic() < until:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append((message.key(), message.value(), message.headers(), message.partition()))
        consumer.close()
        return found


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


async def deliver(sink: KafkaSink, lines: list[bytes], deadline_s: float = 20) -> list[Outcome]:
    outcomes: list[Outcome] = []
    async with Outbound() as outbound:
        for batch in sink.encode(lines).batches:
            outcomes += await outbound.run(sink.deliver(batch), deadline_s=deadline_s)
    return outcomes


async def test_what_was_sent_is_read_in_order_under_the_tenants_key(cluster: Cluster) -> None:
    lines = [event(each) for each in range(500)]
    assert await deliver(KafkaSink(config(*cluster.brokers), CONTEXT), lines) == [DELIVERED] * 500
    read = cluster.read(500)
    assert [value for _, value, _, _ in read] == lines
    assert {key for key, _, _, _ in read} == {b"acme"}
    assert len({partition for _, _, _, partition in read}) == 1
    assert [headers for _, _, headers, _ in read] == [
        [("eventId", msgspec.json.decode(line)["eventId"].encode())] for line in lines
    ]


async def test_nobody_there_keeps_the_events_within_the_deadline() -> None:
    [outcome] = await deliver(KafkaSink(config(f"127.0.0.1:{free_port()}"), CONTEXT), [event(1)], 3)
    assert isinstance(outcome, Later)
    assert "could not be reached" in outcome.why


async def test_a_message_that_the_client_finds_too_large_is_refused(cluster: Cluster) -> None:
    sink = KafkaSink(config(*cluster.brokers), CONTEXT, (("message.max.bytes", "1000"),))
    outcomes = await deliver(sink, [event(1), event(2, data_label="x" * 3000), event(3)])
    assert [type(outcome) for outcome in outcomes] == [type(DELIVERED), Refused, type(DELIVERED)]


@pytest.mark.parametrize(
    ("unsent", "kind", "blocked"),
    [
        (Unsent(None, "TOPIC_AUTHORIZATION_FAILED"), Later, True),
        (Unsent(None, "_AUTHENTICATION"), Later, True),
        (Unsent(None, "UNKNOWN_TOPIC_OR_PART"), Later, True),
        (Unsent(None, "NOT_ENOUGH_REPLICAS"), Later, False),
        (Unsent(Reason.TIMEOUT, "_MSG_TIMED_OUT"), Later, False),
        (Unsent(Reason.TLS, "_SSL"), Later, True),
        (Unsent(None, "MSG_SIZE_TOO_LARGE"), Refused, None),
    ],
)
def test_what_brokers_say_is_told_in_plain_words(
    stage: Stage, unsent: Unsent, kind: type, blocked: bool | None
) -> None:
    stage.unsent = [unsent]
    sink = stage.sink(type="KAFKA", vendor_owned=True, brokers=["kafka.acme.example:9093"], topic="events")
    [outcome] = stage.deliver(sink, [event(1)])
    assert type(outcome) is kind
    assert blocked is None or (isinstance(outcome, Later) and outcome.blocked is blocked)


def test_a_tenant_gets_kafka_only_where_the_operator_allows_it() -> None:
    for context, allowed in (
        (SinkContext(now=lambda: NOW), False),
        (SinkContext(now=lambda: NOW, kafka_allowed=True), True),
        (SinkContext(now=lambda: NOW, vendor_owned=True), True),
    ):
        if allowed:
            KafkaSink(config(), context)
        else:
            with pytest.raises(SinkConfigError, match="not open to tenants"):
                KafkaSink(config(), context)


def test_plain_connections_are_for_this_machine_only() -> None:
    assert config("localhost:9092", "127.0.0.1:9092", "[::1]:9092").on_this_machine
    assert not config("localhost:9092", "kafka.acme.example:9092").on_this_machine


@pytest.mark.parametrize(
    "changes",
    [
        {"brokers": []},
        {"brokers": ["kafka.acme.example"]},
        {"brokers": ["kafka.acme.example:0"]},
        {"brokers": ["kafka.acme.example:99999"]},
        {"brokers": ["a,b:9092"]},
        {"topic": "a b"},
        {"sasl": {"mechanism": "GSSAPI", "username": "u", "password": "p"}},
    ],
)
def test_a_config_that_cannot_work_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SinkConfigError):
        config(**changes)
