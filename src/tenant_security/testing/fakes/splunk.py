"""A fake of Splunk's HTTP Event Collector, with its own error codes and with indexers that take their time."""

import uuid
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec

from tenant_security.testing.fakes.server import Answered, Asked, answered
from tenant_security.testing.fakes.siems import FakeSiem, RefusedError, Stored, body_of, json_of

_MB: Final = 1_000_000
_CODES: Final = {
    0: (200, "Success"),
    1: (403, "Token disabled"),
    2: (401, "Token is required"),
    3: (401, "Invalid authorization"),
    4: (403, "Invalid token"),
    5: (400, "No data"),
    6: (400, "Invalid data format"),
    7: (400, "Incorrect index"),
    8: (500, "Internal server error"),
    9: (503, "Server is busy"),
    10: (400, "Data channel is missing"),
    11: (400, "Invalid data channel"),
    12: (400, "Event field is required"),
    13: (400, "Event field cannot be blank"),
    14: (400, "ACK is disabled"),
}


def said(code: int, **members: object) -> Answered:
    """What the collector says by a code of its own."""
    status, text = _CODES[code]
    return answered(status, {"text": text, "code": code} | members)


class FakeSplunk(FakeSiem):
    """One collector with one token. ``seen`` counts ``events`` and ``ack``."""

    hosts = ("splunk.acme.example",)

    def __init__(self) -> None:
        super().__init__(_MB, 100_000)
        self.token = str(uuid.uuid4())
        self.enabled = True
        self.acknowledges = False
        self.indexes = {"main", "security"}
        self.asked_before_indexed = 1
        """How many questions for an acknowledgement are answered with no before one is answered with yes."""
        self.never_indexes = False
        self._unindexed: dict[int, tuple[int, list[Stored]]] = {}
        self._ack_ids = 0

    def name(self, asked: Asked) -> str:
        """Return what is asked for in one word."""
        return {"/services/collector/event": "events", "/services/collector/ack": "ack"}.get(asked.path, "unknown")

    def take(self, asked: Asked) -> Answered:
        """Take events, or say which are indexed."""
        self._check(asked)
        if asked.path == "/services/collector/ack":
            return self._acks(asked)
        if asked.path != "/services/collector/event":
            raise RefusedError(answered(404, {"text": "The requested URL was not found on this server.", "code": 404}))
        events = self._events(body_of(asked, self.shelf.most_bytes))
        taken = []
        for index, event in enumerate(events):
            if not event.get("event"):
                raise RefusedError(said(12, **{"invalid-event-number": index}))
            if event.get("index", "main") not in self.indexes:
                raise RefusedError(said(7, **{"invalid-event-number": index}))
            if event["fields"]["eventId"] in self.shelf.poisoned:
                raise RefusedError(said(6, **{"invalid-event-number": index}))
            taken.append(Stored(event["fields"]["eventId"], event["event"]))
        self.shelf.batches.append(len(taken))
        if not self.acknowledges:
            self.shelf.stored += taken
            return said(0)
        self._ack_ids += 1
        self._unindexed[self._ack_ids] = (self.asked_before_indexed, taken)
        return said(0, ackId=self._ack_ids)

    def _check(self, asked: Asked) -> None:
        authorization = asked.headers.get("Authorization", "")
        kind, _, token = authorization.partition(" ")
        if not authorization:
            raise RefusedError(said(2))
        if kind != "Splunk":
            raise RefusedError(said(3))
        if token != self.token:
            raise RefusedError(said(4))
        if not self.enabled:
            raise RefusedError(said(1))
        channel = asked.headers.get("X-Splunk-Request-Channel") or parse_qs(asked.query).get("channel", [""])[0]
        if self.acknowledges and not channel:
            raise RefusedError(said(10))
        if asked.path.endswith("/ack") and not self.acknowledges:
            raise RefusedError(said(14))

    def _events(self, body: bytes) -> list[dict[str, Any]]:
        """Read JSON objects that stand one after the other."""
        if not body:
            raise RefusedError(said(5))
        events = []
        for line in body.split(b"\n"):
            try:
                events.append(msgspec.json.decode(line))
            except msgspec.DecodeError:
                raise RefusedError(said(6, **{"invalid-event-number": len(events)})) from None
        return events

    def _acks(self, asked: Asked) -> Answered:
        acks: dict[str, bool] = {}
        for ack_id in json_of(asked.body)["acks"]:
            questions, events = self._unindexed.get(ack_id, (-1, []))
            if questions == 0 and not self.never_indexes:
                self.shelf.stored += events
                del self._unindexed[ack_id]
            elif questions > 0:
                self._unindexed[ack_id] = (questions - 1, events)
            acks[str(ack_id)] = questions == 0 and not self.never_indexes
        return answered(200, {"acks": acks})
