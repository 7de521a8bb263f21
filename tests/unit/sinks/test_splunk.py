"""Splunk's collector: its own codes, and acknowledgement by the indexers."""

import gzip
import hashlib
from urllib.parse import urlsplit

import msgspec
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from tests.unit.sinks.conftest import Stage, event

from tenant_security.outbound.flow import Request, Response
from tenant_security.sinks.sink import DELIVERED, Delivered, Later, Outcome, Refused, Sink
from tenant_security.testing.fakes.server import Asked
from tenant_security.testing.fakes.splunk import FakeSplunk, said


def answering(fake: FakeSplunk) -> object:
    """Answer as the fake does, without a socket."""

    def answer(request: Request) -> Response:
        url = urlsplit(request.url)
        headers = CIMultiDictProxy(CIMultiDict(request.headers))
        body = gzip.decompress(request.body) if "Content-Encoding" in headers else request.body
        made = fake.answer(Asked(request.method, url.netloc, url.path, url.query, headers, body))
        return Response(made.status, {name.lower(): value for name, value in made.headers}, made.body)

    return answer


@pytest.fixture
def fake(stage: Stage) -> FakeSplunk:
    made = FakeSplunk()
    stage.answers = [answering(made)]
    return made


def sink(stage: Stage, fake: FakeSplunk, **changes: object) -> Sink:
    return stage.sink(**({"type": "SPLUNK", "url": "https://splunk.acme.example", "token": fake.token} | changes))


@pytest.mark.parametrize("questions", [0, 1, 4])
def test_an_event_is_delivered_when_the_indexers_have_it(stage: Stage, fake: FakeSplunk, questions: int) -> None:
    fake.acknowledges, fake.asked_before_indexed = True, questions
    assert stage.deliver(sink(stage, fake, acknowledge=True), [event(1), event(2)]) == [DELIVERED] * 2
    assert len(fake.shelf.stored) == 2
    assert len(stage.paused) == questions + 1


def test_what_is_never_indexed_is_sent_again(stage: Stage, fake: FakeSplunk) -> None:
    fake.acknowledges = fake.never_indexes = True
    [outcome] = stage.deliver(sink(stage, fake, acknowledge=True), [event(1)])
    assert isinstance(outcome, Later)
    assert not outcome.blocked
    assert sum(stage.paused) < 60


def test_a_token_that_does_not_acknowledge_is_named(stage: Stage, fake: FakeSplunk) -> None:
    [outcome] = stage.deliver(sink(stage, fake, acknowledge=True), [event(1)])
    assert isinstance(outcome, Later)
    assert outcome.blocked
    assert "acknowledge" in outcome.why


def test_a_token_that_wants_a_channel_is_named(stage: Stage, fake: FakeSplunk) -> None:
    fake.acknowledges = True
    [outcome] = stage.deliver(sink(stage, fake), [event(1)])
    assert isinstance(outcome, Later)
    assert outcome.blocked
    assert "set acknowledge to true" in outcome.why


@pytest.mark.parametrize(
    ("code", "kind", "blocked"),
    [
        (1, Later, True),
        (2, Later, True),
        (3, Later, True),
        (4, Later, True),
        (5, Refused, None),
        (6, Refused, None),
        (7, Later, True),
        (8, Later, False),
        (9, Later, False),
        (12, Refused, None),
        (13, Refused, None),
    ],
)
def test_every_code_is_told_in_plain_words(
    stage: Stage, fake: FakeSplunk, code: int, kind: type[Outcome], blocked: bool | None
) -> None:
    made = said(code)
    stage.answers = [Response(made.status, {}, made.body)]
    [outcome] = stage.deliver(sink(stage, fake), [event(1)])
    assert type(outcome) is kind
    assert blocked is None or (isinstance(outcome, Later) and outcome.blocked is blocked)


def test_events_stand_where_splunk_looks_for_them(stage: Stage, fake: FakeSplunk) -> None:
    made = sink(stage, fake, index="security", source="s", sourcetype="t", host="h", format="ocsf")
    [outcome] = stage.deliver(made, [event(1)])
    assert isinstance(outcome, Delivered)
    [request] = stage.requests
    found = msgspec.json.decode(gzip.decompress(request.body))
    assert found.pop("event")["metadata"]["tenant_uid"] == "acme"
    assert found == {
        "time": stage.now.timestamp(),
        "host": "h",
        "source": "s",
        "sourcetype": "t",
        "index": "security",
        "fields": {"eventId": fake.shelf.ids[0], "tenantId": "acme"},
    }


def test_amazons_opensearch_is_asked_with_a_signature(stage: Stage) -> None:
    stage.answers = [Response(200, {}, b'{"items":[{"create":{"status":201}}]}')]
    auth = {
        "type": "aws",
        "region": "eu-central-1",
        "service": "aoss",
        "credentials": {"accessKeyId": "AKID", "secretAccessKey": "s"},
    }
    made = stage.sink(type="ELASTICSEARCH", url="https://x.eu-central-1.aoss.amazonaws.com", index="logs", auth=auth)
    assert stage.deliver(made, [event(1)]) == [DELIVERED]
    headers = dict(stage.requests[0].headers)
    assert "/eu-central-1/aoss/aws4_request" in headers["Authorization"]
    assert headers["Content-Encoding"] == "gzip"
    assert headers["X-Amz-Content-SHA256"] == hashlib.sha256(stage.requests[0].body).hexdigest()
