"""Each sink that speaks HTTP with a fake of what it sends to, and how both are set up."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from tenant_security.outbound.driver import OutboundLimits
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sink import Outcome, Sink, SinkContext
from tenant_security.testing.fakes.cloud_logs import FakeAzureMonitor, FakeGoogleLogging
from tenant_security.testing.fakes.collector import FakeCollector
from tenant_security.testing.fakes.dialling import DiallingOutbound
from tenant_security.testing.fakes.elastic import FakeElastic
from tenant_security.testing.fakes.intakes import FakeDatadog, FakeSumo, FakeWebhook
from tenant_security.testing.fakes.server import FakeServer
from tenant_security.testing.fakes.splunk import FakeSplunk
from tenant_security.wire.events import EventRecord, native_json
from tenant_security.wire.proxy_api import IclFields
from tenant_security.wire.sink_configs import decode_sink_config

LIMITS = OutboundLimits(connect_s=5, attempt_s=10)


class World(NamedTuple):
    """A fake and the config of a sink that sends to it."""

    fake: Any
    config: dict[str, object]


def _splunk() -> World:
    fake = FakeSplunk()
    return World(fake, {"type": "SPLUNK", "url": "https://splunk.acme.example", "token": fake.token})


def _datadog() -> World:
    fake = FakeDatadog()
    return World(fake, {"type": "DATADOG", "apiKey": fake.api_key})


def _sumo() -> World:
    fake = FakeSumo()
    return World(fake, {"type": "SUMO_LOGIC", "url": fake.url, "category": "tenant/security"})


def _webhook() -> World:
    fake = FakeWebhook()
    return World(fake, {"type": "WEBHOOK", "url": "https://hooks.acme.example/in", "signingSecret": fake.secret})


def _elastic() -> World:
    fake = FakeElastic()
    auth = {"type": "apiKey", "apiKey": fake.api_key}
    return World(
        fake, {"type": "ELASTICSEARCH", "url": "https://elastic.acme.example", "index": fake.index, "auth": auth}
    )


def _otlp() -> World:
    fake = FakeCollector()
    url = "https://collector.acme.example/v1/logs"
    return World(fake, {"type": "OTLP", "url": url, "headers": {"X-Api-Key": fake.api_key}})


def _google() -> World:
    fake = FakeGoogleLogging()
    account = fake.service_account("logdriver", "acme-logs")
    fake.let_write(account.email, "acme-logs")
    credentials = {"client_email": account.email, "private_key": account.private_key}
    return World(fake, {"type": "GOOGLE_CLOUD_LOGGING", "credentials": credentials, "projectId": "acme-logs"})


def _azure() -> World:
    fake = FakeAzureMonitor()
    directory, application, secret = fake.scene()
    credentials = {"tenantGuid": directory.guid, "clientId": application.client_id, "clientSecret": secret}
    config = {"type": "AZURE_MONITOR", "credentials": credentials, "endpoint": f"https://{fake.endpoint_host}"}
    return World(fake, config | {"ruleId": fake.rule})


WORLDS: dict[str, Callable[[], World]] = {
    "splunk": _splunk,
    "datadog": _datadog,
    "sumo": _sumo,
    "webhook": _webhook,
    "elastic": _elastic,
    "otlp": _otlp,
    "google": _google,
    "azure": _azure,
}


class Sending:
    """A sink and the driver that its flows need."""

    def __init__(self, world: World, *, deadline_s: float = 30, limits: OutboundLimits = LIMITS) -> None:
        self.fake = world.fake
        decoded = decode_sink_config(msgspec.json.encode({"version": 1} | world.config))
        self.sink: Sink = open_sink(decoded, SinkContext(now=lambda: datetime.now(UTC), tenant_id="acme"))
        self._deadline_s = deadline_s
        self._limits = limits

    async def send(self, lines: list[bytes]) -> list[Outcome]:
        """Encode, deliver; what came of each event."""
        fakes: list[FakeServer] = [self.fake]
        encoded = self.sink.encode(lines)
        found: dict[int, Outcome] = dict(encoded.refused)
        async with DiallingOutbound(fakes, self._limits) as outbound:
            for batch in encoded.batches:
                outcomes = await outbound.run(self.sink.deliver(batch), deadline_s=self._deadline_s)
                found |= dict(zip(batch.indexes, outcomes, strict=True))
        return [found[index] for index in range(len(lines))]


def happened(count: int, *, first: int = 0, label: str = "PII", at_ms: int | None = None) -> list[bytes]:
    """So many events of the tenant's, of just now."""
    now_ms = round(datetime.now(UTC).timestamp() * 1000) if at_ms is None else at_ms
    return [
        native_json(
            EventRecord(
                serial,
                serial + 1,
                now_ms + serial,
                "USER_LOGIN",
                "acme",
                "00000000000000ab",
                "ray",
                IclFields(requesting_id=f"user-{serial}", data_label=label),
                None,
            )
        )
        for serial in range(first, first + count)
    ]


def ids_of(lines: list[bytes]) -> list[str]:
    return [msgspec.json.decode(line)["eventId"] for line in lines]
