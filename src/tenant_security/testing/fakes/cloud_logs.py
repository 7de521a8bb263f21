"""Fakes of Google Cloud Logging and of Azure Monitor's Logs Ingestion API, with the clouds' own sign-in before them."""

import re
from typing import Any, Final

from tenant_security.testing.fakes.azure import FakeAzure
from tenant_security.testing.fakes.azure_entra import Application, Directory
from tenant_security.testing.fakes.gcp import FakeGcp
from tenant_security.testing.fakes.gcp_replies import RefusedError as GcpRefusedError
from tenant_security.testing.fakes.gcp_replies import permission_denied, refusal
from tenant_security.testing.fakes.server import Answered, Asked, answered
from tenant_security.testing.fakes.siems import RefusedError, Shelf, Stored, body_of, json_of

_MIB: Final = 1_048_576
_CAP_BYTES: Final = 16 * _MIB
_ENTRY_BYTES: Final = 256 * 1024
_WRITE: Final = "https://www.googleapis.com/auth/logging.write"
_CREATE: Final = "logging.logEntries.create"
_PARTIAL: Final = "type.googleapis.com/google.logging.v2.WriteLogEntriesPartialErrors"
_RULE: Final = re.compile(r"/dataCollectionRules/(?P<rule>[^/]+)/streams/(?P<stream>[^/]+)")
_RESOURCE: Final = "https://monitor.azure.com"
_FIELD_BYTES: Final = 64 * 1024


class FakeGoogleLogging(FakeGcp):
    """Cloud Logging. ``seen`` counts ``events`` and what FakeGcp counts."""

    hosts: tuple[str, ...] = (*FakeGcp.hosts, "logging.googleapis.com")
    cap_bytes = _CAP_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf(10 * _MIB, 100_000)
        self.unwritten: dict[str, int] = {}
        """Codes of google.rpc with which single entries are refused."""

    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word."""
        return "events" if asked.path == "/v2/entries:write" else super().name(asked)

    def answer(self, asked: Asked) -> Answered:
        """Return what Google would."""
        if asked.path != "/v2/entries:write":
            return super().answer(asked)
        try:
            return self._write(asked)
        except (RefusedError, GcpRefusedError) as refused:
            return refused.answer

    def _write(self, asked: Asked) -> Answered:
        who = self.accounts.caller(asked.headers.get("Authorization", ""), (_WRITE,))
        body = json_of(body_of(asked, self.shelf.most_bytes))
        project = body["logName"].split("/")[1]
        if (who, f"projects/{project}", _CREATE) not in self._allowed:
            raise GcpRefusedError(permission_denied(_CREATE, f"projects/{project}"))
        errors: dict[str, object] = {}
        for index, entry in enumerate(body["entries"]):
            code = self._code(entry)
            if code:
                errors[str(index)] = {"code": code, "message": "refused"}
            else:
                self.shelf.stored.append(Stored(entry["insertId"], entry["jsonPayload"]))
        self.shelf.batches.append(len(body["entries"]))
        if not errors:
            return answered(200, {})
        if not body.get("partialSuccess"):
            raise GcpRefusedError(refusal("INVALID_ARGUMENT", "A log entry is not valid."))
        return refusal("INVALID_ARGUMENT", "Some entries failed.", {"@type": _PARTIAL, "logEntryErrors": errors})

    def _code(self, entry: dict[str, Any]) -> int:
        if len(str(entry)) > _ENTRY_BYTES or entry["insertId"] in self.shelf.poisoned:
            return 3
        return self.unwritten.get(entry["insertId"], 0)

    def let_write(self, who: str, project: str) -> None:
        """Grant the role of a log writer."""
        self.allow(who, f"projects/{project}", _CREATE)


class FakeAzureMonitor(FakeAzure):
    """The Logs Ingestion API of one rule. ``seen`` counts ``events`` and ``token``."""

    endpoint_host = "acme-dce-a1b2.westeurope-1.ingest.monitor.azure.com"
    hosts: tuple[str, ...] = (*FakeAzure.hosts, "*.westeurope-1.ingest.monitor.azure.com")
    cap_bytes = _CAP_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf(_MIB, 100_000)
        self.rule = "dcr-0123456789abcdef0123456789abcdef"
        self.stream = "Custom-TenantSecurity"
        self.publishers: set[str] = set()
        self.entra.resources |= {_RESOURCE}

    def scene(self) -> tuple[Directory, Application, str]:
        """Make a directory and an application with a secret that may publish."""
        directory = self.directory()
        application = self.application(directory)
        self.publishers.add(application.client_id)
        return directory, application, application.secret()

    def found(self, host: str) -> tuple[str, int] | None:
        """Where to find a host name."""
        return ("127.0.0.1", self.port) if host == self.endpoint_host else super().found(host)

    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word."""
        return "events" if asked.host == self.endpoint_host else super().name(asked)

    def answer(self, asked: Asked) -> Answered:
        """Return what Azure would."""
        if asked.host != self.endpoint_host:
            return super().answer(asked)
        try:
            return self._ingest(asked)
        except RefusedError as refused:
            return refused.answer

    def _ingest(self, asked: Asked) -> Answered:
        token = asked.headers.get("Authorization", "").removeprefix("Bearer ")
        claims = self.entra.verified(token)
        if claims is None or claims["aud"] != _RESOURCE or float(str(claims["exp"])) < self.now_s():
            raise RefusedError(answered(401, {"error": {"code": "InvalidToken"}}))
        path = _RULE.fullmatch(asked.path)
        if path is None or path["rule"] != self.rule or asked.query != "api-version=2023-01-01":
            raise RefusedError(answered(404, {"error": {"code": "NotFound"}}))
        if claims["appid"] not in self.publishers:
            raise RefusedError(answered(403, {"error": {"code": "OperationFailed"}}))
        if path["stream"] != self.stream:
            raise RefusedError(answered(400, {"error": {"code": "InvalidStream"}}))
        records = json_of(body_of(asked, self.shelf.most_bytes))
        if any(record["EventId"] in self.shelf.poisoned for record in records):
            raise RefusedError(answered(400, {"error": {"code": "InvalidPayload"}}))
        for record in records:
            assert len(str(record["Event"])) <= _FIELD_BYTES, "a field would be cut without a word"
            self.shelf.stored.append(Stored(record["EventId"], record["Event"]))
        self.shelf.batches.append(len(records))
        return Answered(204)
