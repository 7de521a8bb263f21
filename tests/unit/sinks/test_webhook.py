"""Webhooks are signed as Standard Webhooks says, and sent the same way when they are sent again."""

import base64
import hashlib
import hmac

import msgspec
import pytest
from tests.unit.sinks.conftest import Stage, event, reply

from tenant_security.secret import Secret
from tenant_security.sinks.sink import DELIVERED, Later
from tenant_security.sinks.webhook import signed
from tenant_security.wire.sink_configs import SinkConfigError

KEY = bytes(range(32))
OLD = bytes(range(1, 33))
CONFIG = {
    "type": "WEBHOOK",
    "url": "https://hooks.acme.example/in?team=7",
    "signingSecret": "whsec_" + base64.b64encode(KEY).decode(),
}


def test_the_signature_is_that_of_the_specification() -> None:
    """The vector of the specification's reference implementation."""
    key = Secret(base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    headers = signed([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert dict(headers)["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_batch_is_signed_with_both_secrets_while_they_change(stage: Stage) -> None:
    stage.answers = [reply(200)]
    config = CONFIG | {"oldSigningSecret": base64.b64encode(OLD).decode(), "authorization": "Bearer gate"}
    assert stage.deliver(stage.sink(**config), [event(1), event(2)]) == [DELIVERED] * 2
    [request] = stage.requests
    headers = dict(request.headers)
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + request.body
    expected = [base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode() for key in (KEY, OLD)]
    assert headers["webhook-signature"] == " ".join(f"v1,{each}" for each in expected)
    assert headers["webhook-timestamp"] == str(int(stage.now.timestamp()))
    assert headers["Authorization"] == "Bearer gate"
    assert request.url == CONFIG["url"]
    body = msgspec.json.decode(request.body)
    assert body["type"] == "security.events"
    assert [each["sequence"] for each in body["data"]] == [2, 3]


def test_the_same_batch_has_the_same_id_when_it_is_sent_again(stage: Stage) -> None:
    stage.answers = [reply(503), reply(200)]
    sink = stage.sink(**CONFIG)
    assert isinstance(stage.deliver(sink, [event(1)])[0], Later)
    stage.deliver(sink, [event(1)])
    first, second = (dict(request.headers)["webhook-id"] for request in stage.requests)
    assert first == second


def test_a_batch_stays_within_the_limits(stage: Stage) -> None:
    stage.answers = [reply(200)]
    stage.deliver(stage.sink(**CONFIG), [event(each, data_label="x" * 4000) for each in range(1200)])
    assert all(len(request.body) <= 1_048_576 for request in stage.requests)
    assert all(len(msgspec.json.decode(request.body)["data"]) <= 500 for request in stage.requests)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "http://hooks.acme.example/"}, "url must begin with https://"),
        ({"url": "https://user:pw@hooks.acme.example/"}, "url must have the form"),
        ({"url": "https://hooks.acme.example/\u00e9"}, "url must have the form"),
        ({"url": "ftp://hooks.acme.example/"}, "url must begin with https://"),
        ({"signingSecret": "aGk="}, "signingSecret must hold 24 to 64 bytes"),
        ({"signingSecret": "!"}, "signingSecret must be base64"),
        ({"authorization": "a\r\nX-Evil: 1"}, "authorization holds a character"),
        ({"retries": 3}, "unknown field `retries`"),
        ({"filter": {"only": ["*LOGIN"]}}, "filter"),
        ({"filter": {"only": []}}, "filter"),
        ({"format": "xml"}, "format"),
    ],
)
def test_a_config_that_cannot_work_says_which_member(stage: Stage, changes: dict[str, object], words: str) -> None:
    with pytest.raises(SinkConfigError) as raised:
        stage.sink(**(CONFIG | changes))
    assert words in str(raised.value)
    assert "X-Evil" not in str(raised.value)


def test_standard_output_is_lines_and_for_the_vendor_only(stage: Stage) -> None:
    sink = stage.sink(type="STDOUT", vendor_owned=True)
    assert stage.deliver(sink, [event(1), event(2)]) == [DELIVERED] * 2
    assert stage.stdout.getvalue() == event(1) + b"\n" + event(2) + b"\n"
    with pytest.raises(SinkConfigError, match="vendor"):
        stage.sink(type="STDOUT")


def test_a_closed_standard_output_keeps_the_events(stage: Stage) -> None:
    sink = stage.sink(type="STDOUT", vendor_owned=True)
    stage.stdout.close()
    [outcome] = stage.deliver(sink, [event(1)])
    assert isinstance(outcome, Later)
    assert outcome.blocked
