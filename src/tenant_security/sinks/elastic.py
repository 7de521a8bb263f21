"""Elasticsearch and OpenSearch: one index or data stream, through the bulk API.

A document is created under the event's id, so the same event twice is one document: that it is there already (409) is
success.

Source: Elasticsearch API reference, "Bulk index or delete documents"; OpenSearch, "Bulk API".
"""

import base64
from collections.abc import Sequence
from typing import Final

import msgspec

from tenant_security.outbound.flow import Flow, Request, Response
from tenant_security.sinks.answers import judge
from tenant_security.sinks.aws import AwsAccount
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.http import compressed, post
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.addresses import origin
from tenant_security.wire.events import rfc3339
from tenant_security.wire.kms.authorities import authorities_pem
from tenant_security.wire.sinks.elastic import ElasticApiKey, ElasticAws, ElasticPassword, ElasticSinkConfig

NDJSON: Final = "application/x-ndjson"
_WANTED: Final = "items.*.status,items.*.error.type"
_OK: Final = 200
_CONFLICT: Final = 409
_TOO_MANY: Final = 429
_SERVER: Final = 500
_ABOUT_US: Final = frozenset({401, 403, 404})
_CAP_BYTES: Final = 8 * 1_048_576


class _Why(msgspec.Struct):
    type: str = ""


class _Done(msgspec.Struct):
    status: int
    error: _Why | None = None


class _Item(msgspec.Struct):
    create: _Done


class _Reply(msgspec.Struct):
    items: list[_Item]


class ElasticSink(SinkBase):
    """One index or data stream of one cluster."""

    kind = "elastic"
    title = "Elasticsearch"

    def __init__(self, config: ElasticSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["ELASTICSEARCH"], config.filter, context)
        self._url = f"{origin(config.url, 'url')}/{config.index}/_bulk?filter_path={_WANTED}"
        self._format = JSON_FORMATS[config.format]
        self._authorities = authorities_pem(config.ca_certificate) if config.ca_certificate else b""
        self._auth = config.auth
        self._account: AwsAccount | None = None
        if isinstance(config.auth, ElasticAws):
            auth = config.auth
            self._account = AwsAccount(auth.credentials, auth.region, auth.sts_endpoint, context.now)

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:
        """Return two lines: what to do, and the document, which has ``@timestamp`` as data streams ask for."""
        action = b'{"create":{"_id":"%b"}}\n' % event.said.event_id.encode()
        document = self._format(event)
        if not document.startswith(b'{"@timestamp"'):
            document = b'{"@timestamp":"%b",%b' % (rfc3339(shown_ms).encode(), document[1:])
        return action + document

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Post a bulk request and read what became of each document."""
        body = b"".join(piece.body + b"\n" for piece in pieces)
        response = yield from self._post(body)
        if response.status != _OK:
            return judge(self.title, response, self.context.now())
        return _each(response, len(pieces))

    def _post(self, body: bytes) -> Flow[Response]:
        match self._auth:
            case ElasticApiKey(api_key):
                headers = [("Authorization", f"ApiKey {api_key.reveal()}")]
            case ElasticPassword(username, password):
                pair = base64.b64encode(f"{username}:{password.reveal()}".encode()).decode()
                headers = [("Authorization", f"Basic {pair}")]
            case ElasticAws(_, _, service):
                assert self._account is not None
                zipped = yield from compressed(body)
                sent = (("Content-Type", NDJSON), ("Content-Encoding", "gzip"))
                request = Request("POST", self._url, sent, zipped, _CAP_BYTES, self._authorities)
                return (yield from self._account.call(service, request))
        return (yield from post(self._url, headers, body, kind=NDJSON, authorities=self._authorities))


def _each(response: Response, count: int) -> Answer:
    try:
        items = msgspec.json.decode(response.body, type=_Reply).items
    except (msgspec.DecodeError, UnicodeDecodeError):
        items = []
    if len(items) != count:
        return Later("Elasticsearch answered something that is not what its bulk API documents.", blocked=True)
    return [_outcome(item.create) for item in items]


def _outcome(done: _Done) -> Outcome:
    status = done.status
    if 200 <= status < 300 or status == _CONFLICT:  # noqa: PLR2004 - success
        return DELIVERED
    if status == _TOO_MANY or status >= _SERVER:
        return Later(f"Elasticsearch is busy (status {status}).")
    kind = done.error.type if done.error else ""
    shown = kind if kind.isascii() and kind.replace("_", "").isalnum() and len(kind) <= 64 else f"status {status}"  # noqa: PLR2004
    if status in _ABOUT_US:
        return Later(
            f"Elasticsearch refuses us ({shown}). Check the index, and what the credentials allow.", blocked=True
        )
    return Refused(f"Elasticsearch does not take the event ({shown}).")
