"""Azure Monitor and Microsoft Sentinel, through the Logs Ingestion API.

A record has few columns and the whole event in one of them, so that a table's schema never has to follow ours.

Source: Azure Monitor, "Logs Ingestion API", "Azure Monitor service limits", "Standard columns in Azure Monitor Logs".
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tenant_security.outbound import entra
from tenant_security.outbound.flow import Flow, Lasting, Response, forget, send, shared
from tenant_security.secret import Secret
from tenant_security.sinks.answers import judge
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.http import post
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SignInError, SinkBase
from tenant_security.sinks.sink import Piece, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.addresses import origin
from tenant_security.wire.events import rfc3339
from tenant_security.wire.sinks.azure import AzureSinkConfig

API_VERSION: Final = "2023-01-01"
_OK: Final = 200
_UNAUTHENTICATED: Final = 401

_CLOUDS: Final = {
    "com": (entra.PUBLIC, "https://monitor.azure.com/.default"),
    "us": (entra.US_GOVERNMENT, "https://monitor.azure.us/.default"),
    "cn": (entra.CHINA, "https://monitor.azure.cn/.default"),
}
"""By the end of the endpoint: where one signs in, and for what. Source: azure-monitor-ingestion, "Cloud support"."""


class AzureSink(SinkBase):
    """One stream of one data collection rule."""

    kind = "azure"
    title = "Azure Monitor"
    around = 2

    def __init__(self, config: AzureSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["AZURE_MONITOR"], config.filter, context)
        endpoint = origin(config.endpoint, "endpoint")
        self._login, self._scope = _CLOUDS[endpoint.rsplit(".", 1)[-1]]
        path = f"/dataCollectionRules/{config.rule_id}/streams/{config.stream}?api-version={API_VERSION}"
        self._url = endpoint + path
        self._format = JSON_FORMATS[config.format]
        self._who = config.credentials
        who = self._who
        proof = msgspec.json.encode([self._login, who.tenant_guid, who.client_id, who.client_secret.reveal()])
        self._shared = b"azure-monitor:" + hashlib.sha256(proof).digest()

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:
        """Return one record."""
        said, fields = event.said, event.said.icl_fields
        record: dict[str, Any] = {
            "TimeGenerated": rfc3339(shown_ms),
            "EventId": said.event_id,
            "EventName": fields.event,
            "SecurityTenant": said.tenant_id,
            "RequestingId": fields.requesting_id,
            "SourceIp": fields.source_ip or "",
            "Outcome": event.outcome or "",
            "Event": msgspec.Raw(self._format(event)),
        }
        return msgspec.json.encode(record)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Post an array of records; where the token is refused, once more with a new one."""
        body = b"[" + b",".join(piece.body for piece in pieces) + b"]"
        response = yield from self._post(body, (yield from shared(self._shared, self._token)))
        if response.status == _UNAUTHENTICATED:
            yield from forget(self._shared)
            response = yield from self._post(body, (yield from shared(self._shared, self._token)))
        return judge(self.title, response, self.context.now())

    def _post(self, body: bytes, token: Secret[str]) -> Flow[Response]:
        return post(self._url, [("Authorization", f"Bearer {token.reveal()}")], body)

    def _token(self) -> Flow[Lasting[Secret[str]]]:
        who = self._who
        proof = {"client_secret": who.client_secret.reveal()}
        login = f"https://{self._login}"
        response = yield from send(
            entra.client_credentials(login, who.tenant_guid.lower(), who.client_id.lower(), self._scope, proof)
        )
        if response.status != _OK:
            raise SignInError(
                f"Entra ID did not sign us in (HTTP {response.status}). Check credentials: the application, its "
                "directory, and that its secret has not expired."
            )
        try:
            return entra.read_token(response)
        except ValueError as wrong:
            raise SignInError(f"Entra ID did not sign us in: {wrong}.") from None
