"""Fakes of Datadog's log intake, of an HTTP source of Sumo Logic's, and of a receiver of signed webhooks.

They hold to the documented limits: Datadog 5 MB and 1,000 logs, 18 hours back; Sumo Logic 1 MB; the webhook's are its
own.
"""

import base64
import hashlib
import hmac
import secrets
import time
from datetime import datetime
from typing import Final

from tenant_security.testing.fakes.server import Answered, Asked, answered
from tenant_security.testing.fakes.siems import FakeSiem, RefusedError, Stored, body_of, expect, json_of

_MB: Final = 1_000_000
_OLDEST_S: Final = 18 * 3600
_TOLERANCE_S: Final = 300


class FakeDatadog(FakeSiem):
    """Datadog. Logs that are too old are dropped without a word, as the real one does."""

    hosts = ("http-intake.logs.datadoghq.com",)

    def __init__(self) -> None:
        super().__init__(5 * _MB, 1_000)
        self.api_key = secrets.token_hex(16)
        self.too_old = 0

    def take(self, asked: Asked) -> Answered:
        """Take an array of logs."""
        if asked.path != "/api/v2/logs":
            raise RefusedError(answered(404, {}))
        expect(asked, "DD-API-KEY", self.api_key)
        logs = json_of(body_of(asked, self.shelf.most_bytes))
        if len(logs) > self.shelf.most_events:
            raise RefusedError(answered(413, {}))
        if any(log["eventId"] in self.shelf.poisoned for log in logs):
            raise RefusedError(answered(400, {"errors": [{"status": "400", "title": "Bad Request"}]}))
        for log in logs:
            if datetime.fromisoformat(log["timestamp"]).timestamp() < time.time() - _OLDEST_S:
                self.too_old += 1
            else:
                self.shelf.stored.append(Stored(log["eventId"], log["event"]))
        self.shelf.batches.append(len(logs))
        return answered(202, {})


class FakeSumo(FakeSiem):
    """Sumo Logic. The address is the secret; a wrong one is 401."""

    hosts = ("endpoint4.collection.sumologic.com",)

    def __init__(self) -> None:
        super().__init__(_MB, 10_000)
        self.code = secrets.token_urlsafe(32)

    @property
    def url(self) -> str:
        """The source's address."""
        return f"https://{self.hosts[0]}/receiver/v1/http/{self.code}"

    def take(self, asked: Asked) -> Answered:
        """Take lines."""
        if asked.path != f"/receiver/v1/http/{self.code}":
            raise RefusedError(answered(401, {}))
        events = [json_of(line) for line in body_of(asked, self.shelf.most_bytes).split(b"\n")]
        if any(each["eventId"] in self.shelf.poisoned for each in events):
            raise RefusedError(answered(400, {}))
        self.shelf.stored += [Stored(each["eventId"], each) for each in events]
        self.shelf.batches.append(len(events))
        return answered(200, {})


class FakeWebhook(FakeSiem):
    """A receiver that checks signatures as Standard Webhooks says."""

    hosts = ("hooks.acme.example",)

    def __init__(self) -> None:
        super().__init__(1_048_576, 500)
        self._key = secrets.token_bytes(32)
        self.batch_ids: list[str] = []

    @property
    def secret(self) -> str:
        """What both sides know."""
        return "whsec_" + base64.b64encode(self._key).decode()

    def take(self, asked: Asked) -> Answered:
        """Take a signed batch."""
        body = body_of(asked, self.shelf.most_bytes)
        batch_id, at = asked.headers.get("webhook-id", ""), asked.headers.get("webhook-timestamp", "0")
        content = f"{batch_id}.{at}.".encode() + asked.body
        wanted = "v1," + base64.b64encode(hmac.digest(self._key, content, hashlib.sha256)).decode()
        if (
            wanted not in asked.headers.get("webhook-signature", "").split()
            or abs(time.time() - int(at)) > _TOLERANCE_S
        ):
            raise RefusedError(answered(401, {}))
        events = json_of(body)["data"]
        if len(events) > self.shelf.most_events:
            raise RefusedError(answered(413, {}))
        if any(each["eventId"] in self.shelf.poisoned for each in events):
            raise RefusedError(answered(422, {}))
        self.batch_ids.append(batch_id)
        self.shelf.stored += [Stored(each["eventId"], each) for each in events]
        self.shelf.batches.append(len(events))
        return answered(204, {})
