"""A fake of an OpenTelemetry collector: it reads what comes with OpenTelemetry's own types."""

import secrets
from typing import Final

import msgspec
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from tenant_security.testing.fakes.server import Answered, Asked, answered
from tenant_security.testing.fakes.siems import FakeSiem, RefusedError, Stored, body_of, expect

_MIB: Final = 1_048_576
PROTOBUF: Final = "application/x-protobuf"


class FakeCollector(FakeSiem):
    """One collector behind one API key. What is ``poisoned`` is rejected, and it does not say which that was."""

    hosts = ("collector.acme.example",)

    def __init__(self) -> None:
        super().__init__(4 * _MIB, 100_000)
        self.api_key = secrets.token_hex(16)
        self.resources: list[dict[str, str]] = []

    def take(self, asked: Asked) -> Answered:
        """Take an export."""
        if asked.path != "/v1/logs":
            raise RefusedError(answered(404, {}))
        expect(asked, "X-Api-Key", self.api_key, 401)
        expect(asked, "Content-Type", PROTOBUF, 415)
        try:
            exported = ExportLogsServiceRequest.FromString(body_of(asked, self.shelf.most_bytes))
        except DecodeError:
            raise RefusedError(answered(400, {})) from None
        records: list[LogRecord] = []
        for of_resource in exported.resource_logs:
            self.resources.append({each.key: each.value.string_value for each in of_resource.resource.attributes})
            for of_scope in of_resource.scope_logs:
                records += of_scope.log_records
        taken = [record for record in records if _id(record) not in self.shelf.poisoned]
        self.shelf.stored += [Stored(_id(each), msgspec.json.decode(each.body.string_value)) for each in taken]
        self.shelf.batches.append(len(records))
        reply = ExportLogsServiceResponse()
        if len(taken) < len(records):
            reply.partial_success.CopyFrom(
                ExportLogsPartialSuccess(rejected_log_records=len(records) - len(taken), error_message="some")
            )
        return Answered(200, reply.SerializeToString(), (("Content-Type", PROTOBUF),))


def _id(record: LogRecord) -> str:
    return next(each.value.string_value for each in record.attributes if each.key == "event.id")
