"""Vendors' own libraries judge our fakes of SIEMs and what our sinks send to them."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.monitor.ingestion import LogsIngestionClient
from google.api_core import exceptions as google_exceptions
from google.cloud import logging as google_logging
from google.cloud.logging_v2.types import WriteLogEntriesRequest
from google.oauth2 import service_account
from google.protobuf import json_format
from opensearchpy import OpenSearch, helpers
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from tests.faults.sink_worlds import happened, ids_of

from tenant_security.outbound.flow import Compute, Flow, Request, Response, Shared
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sink import DELIVERED, Outcome, Sink, SinkContext
from tenant_security.testing.fakes.cloud_logs import FakeAzureMonitor, FakeGoogleLogging
from tenant_security.testing.fakes.collector import FakeCollector
from tenant_security.testing.fakes.elastic import FakeElastic
from tenant_security.testing.fakes.hosted import hosted
from tenant_security.testing.fakes.server import Asked, FakeServer
from tenant_security.wire.sink_configs import decode_sink_config

from . import ours

SCOPES = ["https://www.googleapis.com/auth/logging.write"]


def sink(**config: object) -> Sink:
    decoded = decode_sink_config(msgspec.json.encode({"version": 1} | config))
    return open_sink(decoded, SinkContext(now=lambda: datetime.now(UTC), tenant_id="acme"))


def delivered(fake: FakeServer, made: Sink, lines: list[bytes]) -> tuple[list[Outcome], list[Request]]:
    """What came of the events, and what was asked for them."""
    asked: list[Request] = []
    outcomes: list[Outcome] = []
    for batch in made.encode(lines).batches:
        outcomes += run(fake, made.deliver(batch), asked)
    return outcomes, [each for each in asked if "token" not in urlsplit(each.url).path]


def run(fake: FakeServer, flow: Flow[Any], asked: list[Request]) -> Any:
    try:
        effect = flow.send(None)
        while True:
            match effect:
                case Compute(work):
                    effect = flow.send(work())
                case Shared(_, make):
                    effect = flow.send(run(fake, make(), asked).value)
                case Request():
                    asked.append(effect)
                    headers = dict(effect.headers)
                    zipped = headers.get("Content-Encoding") == "gzip"
                    body = gzip.decompress(effect.body) if zipped else effect.body
                    effect = flow.send(answered(fake, msgspec.structs.replace(effect, body=body)))
                case _:
                    raise AssertionError(effect)
    except StopIteration as end:
        return end.value


def answered(fake: FakeServer, request: Request) -> Response:
    return ours._of_fake(fake, request)


class Listening:
    """Keeps what came in."""

    def __init__(self, fake: FakeServer) -> None:
        self.asked: list[Asked] = []
        usual = fake.answer

        def answer(asked: Asked) -> Any:
            if fake.name(asked) == "events":
                self.asked.append(asked)
            return usual(asked)

        fake.answer = answer  # type: ignore[method-assign]


# -- Azure Monitor -----------------------------------------------------------------------------------------------------


@pytest.fixture
def azure(dialled) -> Iterator[FakeAzureMonitor]:
    with hosted(FakeAzureMonitor) as fake:
        dialled(fake)
        yield fake


def test_azures_client_and_we_ask_for_the_same(azure):
    heard = Listening(azure)
    directory, application, secret = azure.scene()
    endpoint = f"https://{azure.endpoint_host}"
    credentials = {"tenantGuid": directory.guid, "clientId": application.client_id, "clientSecret": secret}
    made = sink(type="AZURE_MONITOR", credentials=credentials, endpoint=endpoint, ruleId=azure.rule)
    lines = happened(3)
    records = [json.loads(piece.body) for batch in made.encode(lines).batches for piece in batch.pieces]
    credential = ClientSecretCredential(directory.guid, application.client_id, secret, retry_total=0)
    with credential, LogsIngestionClient(endpoint, credential, retry_total=0) as client:
        client.upload(azure.rule, azure.stream, records)
    outcomes, [asked] = delivered(azure, made, lines)
    assert outcomes == [DELIVERED] * 3
    theirs = heard.asked[0]
    assert f"{urlsplit(asked.url).path}?{urlsplit(asked.url).query}" == f"{theirs.path}?{theirs.query}"
    headers = dict(asked.headers)
    for name in ("Content-Type", "Content-Encoding"):
        assert headers[name] == theirs.headers[name]
    assert json.loads(gzip.decompress(asked.body)) == json.loads(theirs.body)
    assert azure.shelf.ids == ids_of(lines) * 2


def test_azures_client_reads_the_fakes_refusals(azure):
    directory = azure.directory()
    stranger = azure.application(directory)
    credential = ClientSecretCredential(directory.guid, stranger.client_id, stranger.secret(), retry_total=0)
    endpoint = f"https://{azure.endpoint_host}"
    with credential, LogsIngestionClient(endpoint, credential, retry_total=0) as client:
        with pytest.raises(HttpResponseError) as refused:
            client.upload(azure.rule, azure.stream, [{"EventId": "1", "Event": {}}])
        assert refused.value.status_code == 403


# -- Google Cloud Logging ----------------------------------------------------------------------------------------------


@pytest.fixture
def google(dialled) -> Iterator[FakeGoogleLogging]:
    with hosted(FakeGoogleLogging) as fake:
        dialled(fake)
        yield fake


def test_googles_types_read_what_we_write(google):
    account = google.service_account("logdriver", "acme-logs")
    google.let_write(account.email, "acme-logs")
    credentials = {"client_email": account.email, "private_key": account.private_key}
    for form in ("native", "ocsf", "ecs"):
        made = sink(type="GOOGLE_CLOUD_LOGGING", credentials=credentials, projectId="acme-logs", format=form)
        lines = happened(3)
        outcomes, [asked] = delivered(google, made, lines)
        assert outcomes == [DELIVERED] * 3
        read = WriteLogEntriesRequest()
        json_format.Parse(gzip.decompress(asked.body), WriteLogEntriesRequest.pb(read))
        assert read.log_name == "projects/acme-logs/logs/tenant-security"
        assert read.partial_success
        assert [entry.insert_id for entry in read.entries] == ids_of(lines)
        assert {entry.labels["tenantId"] for entry in read.entries} == {"acme"}


def test_googles_client_writes_to_the_fake_and_reads_its_refusals(google):
    account = google.service_account("logdriver", "acme-logs")
    credentials = service_account.Credentials.from_service_account_info(account.key_file, scopes=SCOPES)
    client = google_logging.Client(project="acme-logs", credentials=credentials, _use_grpc=False)
    entry = {
        "logName": "projects/acme-logs/logs/x",
        "insertId": "1",
        "resource": {"type": "global"},
        "jsonPayload": {"a": 1},
    }
    with pytest.raises(google_exceptions.Forbidden):
        client.logging_api.write_entries([entry], logger_name=entry["logName"], partial_success=True)
    google.let_write(account.email, "acme-logs")
    client.logging_api.write_entries([entry], logger_name=entry["logName"], partial_success=True)
    client.close()
    assert google.shelf.ids == ["1"]


# -- OpenSearch --------------------------------------------------------------------------------------------------------


@pytest.fixture
def elastic(dialled) -> Iterator[FakeElastic]:
    with hosted(FakeElastic) as fake:
        dialled(fake)
        yield fake


def test_opensearchs_client_and_we_store_the_same(elastic, tmp_path):
    authority = tmp_path / "elastic.pem"
    authority.write_bytes(elastic.authority_pem)
    lines = happened(5)
    auth = {"type": "password", "username": elastic.user[0], "password": elastic.user[1]}
    made = sink(type="ELASTICSEARCH", url="https://elastic.acme.example", index=elastic.index, auth=auth)
    outcomes, [asked] = delivered(elastic, made, lines)
    assert outcomes == [DELIVERED] * 5
    ours_stored = dict(elastic.documents)
    documents = gzip.decompress(asked.body).splitlines()[1::2]
    elastic.documents.clear()
    client = OpenSearch(
        "https://elastic.acme.example", http_auth=elastic.user, ca_certs=str(authority), max_retries=0, pool_maxsize=1
    )
    actions = [
        {"_op_type": "create", "_id": event_id, "_source": json.loads(document)}
        for event_id, document in zip(ids_of(lines), documents, strict=True)
    ]
    assert helpers.bulk(client, actions, index=elastic.index) == (5, [])
    assert elastic.documents == ours_stored
    stored, errors = helpers.bulk(client, actions, index=elastic.index, raise_on_error=False)
    assert stored == 0
    assert {error["create"]["status"] for error in errors} == {409}
    client.close()


# -- OpenTelemetry -----------------------------------------------------------------------------------------------------


def test_opentelemetrys_exporter_is_taken_by_the_fake(dialled):
    with hosted(FakeCollector) as fake:
        dialled(fake)
        exporter = OTLPLogExporter("https://collector.acme.example/v1/logs", headers={"X-Api-Key": fake.api_key})
        provider = LoggerProvider(shutdown_on_exit=False)
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        provider.get_logger("x").emit(body='{"a":1}', attributes={"event.id": "1"})
        provider.shutdown()
        assert fake.shelf.ids == ["1"]


def test_opentelemetrys_types_read_what_we_write():
    fake = FakeCollector()
    made = sink(
        type="OTLP", url="https://collector.acme.example/v1/logs", headers={"X-Api-Key": fake.api_key}, format="ocsf"
    )
    lines = happened(3)
    outcomes, [asked] = delivered(fake, made, lines)
    assert outcomes == [DELIVERED] * 3
    body = gzip.decompress(asked.body)
    read = ExportLogsServiceRequest.FromString(body)
    assert read.SerializeToString(deterministic=True) == body
    [of_resource] = read.resource_logs
    [of_scope] = of_resource.scope_logs
    assert of_scope.scope.name == "tenant_security.events"
    for record, line in zip(of_scope.log_records, lines, strict=True):
        assert json.loads(record.body.string_value)["metadata"]["uid"] == json.loads(line)["eventId"]
        assert record.event_name == "tenant_security.USER_LOGIN"
        assert record.severity_text == "INFO"
        assert record.time_unix_nano % 1_000_000 == 0
