"""A fake of Elasticsearch and OpenSearch, as far as the bulk API goes: documents by id, an outcome for each."""

import base64
import secrets
from typing import Any, Final

from tenant_security.testing.fakes.server import Answered, Asked, answered
from tenant_security.testing.fakes.siems import FakeSiem, RefusedError, Stored, body_of, json_of

_MB: Final = 1_000_000


class FakeElastic(FakeSiem):
    """One cluster with one index. What is ``poisoned`` does not fit the mapping."""

    hosts = ("elastic.acme.example",)

    def __init__(self) -> None:
        super().__init__(100 * _MB, 100_000)
        self.index = "logs-tenant_security-default"
        self.api_key = base64.b64encode(secrets.token_bytes(24)).decode()
        self.user = ("logdriver", secrets.token_urlsafe(16))
        self.documents: dict[str, Any] = {}
        self.busy: dict[str, int] = {}
        """How often a document is answered with 429 before it is taken."""
        self.read_only = False
        """Whether the index takes nothing, as when the disk is nearly full."""

    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word."""
        return "events" if asked.path.endswith("/_bulk") else "unknown"

    def take(self, asked: Asked) -> Answered:
        """Take a bulk request."""
        pair = base64.b64encode(":".join(self.user).encode()).decode()
        if asked.headers.get("Authorization") not in {f"ApiKey {self.api_key}", f"Basic {pair}"}:
            raise RefusedError(answered(401, {"error": {"type": "security_exception"}, "status": 401}))
        if asked.path != f"/{self.index}/_bulk":
            raise RefusedError(answered(404, {"error": {"type": "index_not_found_exception"}, "status": 404}))
        body = body_of(asked, self.shelf.most_bytes)
        if not body.endswith(b"\n"):
            raise RefusedError(answered(400, {"error": {"type": "illegal_argument_exception"}, "status": 400}))
        lines = body[:-1].split(b"\n")
        items = []
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            document_id = json_of(action)["create"]["_id"]
            items.append({"create": self._create(document_id, json_of(source))})
        self.shelf.batches.append(len(items))
        return answered(200, {"items": items})

    def _create(self, document_id: str, document: Any) -> dict[str, object]:
        if self.read_only:
            return {"status": 403, "error": {"type": "cluster_block_exception"}}
        if self.busy.get(document_id, 0) > 0:
            self.busy[document_id] -= 1
            return {"status": 429, "error": {"type": "es_rejected_execution_exception"}}
        if document_id in self.shelf.poisoned or "@timestamp" not in document:
            return {"status": 400, "error": {"type": "document_parsing_exception"}}
        if document_id in self.documents:
            return {"status": 409, "error": {"type": "version_conflict_engine_exception"}}
        self.documents[document_id] = document
        self.shelf.stored.append(Stored(document_id, document))
        return {"status": 201}
