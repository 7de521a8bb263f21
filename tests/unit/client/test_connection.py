"""Asking the proxy: what is sent, when it is asked again, and what an answer means."""

import json

import msgspec
import pytest

from tenant_security.client import (
    AsyncTenantSecurityClient,
    ClientError,
    Code,
    Fixer,
    KmsError,
    Metadata,
    RetryPolicy,
    SecurityEventError,
    ServiceError,
    TenantSecretError,
    TenantSecurityClient,
    UnreachableProxyError,
    UserEvent,
    tls_context,
)
from tenant_security.client.connection import Connection, proxy_url
from tenant_security.client.errors import DocumentError, error_of
from tenant_security.client.keys import Keys, WrappedKey
from tenant_security.outbound.flow import Pause, Reason, Request, Response, UnreachableError

MINE = Metadata("t", requesting_id="r")
WRAPPED = msgspec.json.encode({"dek": "QkJC" * 10 + "QkI=", "edek": "ZWRlaw=="})


def refusal(code: int, status: int, headers: dict[str, str] | None = None, message: str = "because") -> Response:
    return Response(status, headers or {}, json.dumps({"code": code, "message": message}).encode())


class Told:
    """What a flow did with a row of answers."""

    def __init__(self, flow, *answers) -> None:
        self.requests: list[Request] = []
        self.pauses: list[float] = []
        self.value = None
        self.error: ClientError | None = None
        waiting = list(answers)
        try:
            effect = flow.send(None)
            while True:
                if isinstance(effect, Pause):
                    self.pauses.append(effect.wait_s)
                    effect = flow.send(None)
                    continue
                assert isinstance(effect, Request)
                self.requests.append(effect)
                answer = waiting.pop(0)
                effect = flow.throw(UnreachableError(answer)) if isinstance(answer, Reason) else flow.send(answer)
        except StopIteration as end:
            self.value = end.value
        except ClientError as error:
            self.error = error
        assert not waiting


def keys(retry: RetryPolicy | None = None) -> Keys:
    return Keys(Connection("https://p", "key", retry=retry or RetryPolicy(), chance=lambda: 1.0))


def test_a_request_says_what_every_proxy_expects():
    metadata = Metadata(
        "t",
        requesting_id="r",
        data_label="PII",
        source_ip="f",
        object_id="o",
        request_id="q",
        custom_fields={"a": "b"},
    )
    told = Told(keys().wrap(metadata), Response(200, {}, WRAPPED))
    (request,) = told.requests
    assert (request.method, request.url) == ("POST", "https://p/api/1/document/wrap")
    assert dict(request.headers) == {
        "Authorization": "cmk key",
        "Content-Type": "application/json",
        "x-icl-tsc-language": "python",
        "x-icl-tsc-version": "0.1.0",
    }
    assert json.loads(request.body) == {
        "tenantId": "t",
        "iclFields": {"requestingId": "r", "dataLabel": "PII", "sourceIp": "f", "objectId": "o", "requestId": "q"},
        "customFields": {"a": "b"},
    }
    assert isinstance(told.value, WrappedKey)


def test_what_is_not_set_is_not_sent():
    (request,) = Told(keys().wrap(MINE), Response(200, {}, WRAPPED)).requests
    assert json.loads(request.body) == {"tenantId": "t", "iclFields": {"requestingId": "r"}, "customFields": {}}


def test_an_event_is_sent_as_all_proxies_read_it():
    flow = UserEvent.LOGIN.at(MINE).report(keys())
    (request,) = Told(flow, Response(200, {}, b"null")).requests
    body = json.loads(request.body)
    assert body.pop("timestampMillis") > 0
    assert body == {"tenantId": "t", "iclFields": {"requestingId": "r", "event": "USER_LOGIN"}, "customFields": {}}


@pytest.mark.parametrize("reason", [Reason.NAME, Reason.CONNECT, Reason.TIMEOUT, Reason.RESET])
def test_no_answer_is_asked_again(reason):
    told = Told(keys().wrap(MINE), reason, reason, Response(200, {}, WRAPPED))
    assert told.value
    assert told.pauses == [0.1, 0.2]
    gave_up = Told(keys().wrap(MINE), reason, reason, reason)
    assert isinstance(gave_up.error, UnreachableProxyError)
    assert (gave_up.error.code, gave_up.error.retryable, gave_up.error.fixer) == (0, True, Fixer.OPERATOR)


@pytest.mark.parametrize("reason", [Reason.TLS, Reason.TOO_LARGE, Reason.REFUSED])
def test_what_would_fail_again_is_not_asked_again(reason):
    assert isinstance(Told(keys().wrap(MINE), reason).error, UnreachableProxyError)


@pytest.mark.parametrize("fault", [refusal(208, 422), refusal(209, 429), refusal(100, 500), refusal(100, 503)])
def test_a_fault_that_may_pass_is_asked_again(fault):
    assert Told(keys().wrap(MINE), fault, Response(200, {}, WRAPPED)).value


@pytest.mark.parametrize("fault", [refusal(205, 422), refusal(102, 400), refusal(101, 401), refusal(100, 404)])
def test_a_fault_that_stays_is_not_asked_again(fault):
    assert Told(keys().wrap(MINE), fault).error


@pytest.mark.parametrize(("header", "wait_s"), [("1", 1.0), ("0", 0.0), ("3600", 2.0), ("soon", 0.1), ("nan", 0.1)])
def test_the_proxys_word_on_when_to_ask_again_counts_up_to_a_bound(header, wait_s):
    told = Told(keys().wrap(MINE), refusal(209, 429, {"retry-after": header}), Response(200, {}, WRAPPED))
    assert told.pauses == [wait_s]


def test_an_event_that_may_have_been_taken_is_not_sent_again():
    event = UserEvent.LOGIN.at(MINE)
    assert Told(event.report(keys()), Reason.RESET).error
    assert Told(event.report(keys()), Reason.TIMEOUT).error
    assert Told(event.report(keys()), refusal(100, 500)).error
    ok = Response(200, {}, b"null")
    for fault in (Reason.CONNECT, refusal(301, 422), refusal(209, 429), refusal(100, 503)):
        assert Told(event.report(keys()), fault, ok).error is None


def test_never_to_ask_again_is_a_policy():
    assert Told(keys(RetryPolicy(repetitions=0)).wrap(MINE), Reason.CONNECT).pauses == []
    with pytest.raises(ValueError, match="negative"):
        RetryPolicy(repetitions=-1)


@pytest.mark.parametrize(
    ("code", "kind", "fixer"),
    [
        (100, ServiceError, Fixer.OPERATOR),
        (102, ServiceError, Fixer.APP),
        (201, KmsError, Fixer.TENANT),
        (210, KmsError, Fixer.TENANT),
        (299, KmsError, Fixer.OPERATOR),
        (301, SecurityEventError, Fixer.OPERATOR),
        (401, TenantSecretError, Fixer.OPERATOR),
        (902, DocumentError, Fixer.OPERATOR),
        (777, ServiceError, Fixer.OPERATOR),
    ],
)
def test_errors_have_the_class_of_their_codes_range(code, kind, fixer):
    error = error_of(code, "x")
    assert (type(error), error.code, error.fixer) == (kind, code, fixer)


def test_a_wrong_key_is_told_whatever_the_body_says():
    error = Told(keys().wrap(MINE), Response(401, {}, b"<html>")).error
    assert isinstance(error, ServiceError)
    assert (error.code, error.http_status, error.fixer) == (Code.UNAUTHORIZED_REQUEST, 401, Fixer.APP)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"code":"x"}', b"\xff", b"[" * 5000])
def test_whatever_answers_in_place_of_the_proxy_is_told(body):
    error = Told(keys(RetryPolicy(repetitions=0)).wrap(MINE), Response(502, {}, body)).error
    assert error is not None
    assert (error.code, error.http_status, error.retryable) == (100, 502, True)
    assert "HTTP 502" in error.message
    error = Told(keys().wrap(MINE), Response(200, {}, body)).error
    assert error is not None
    assert "Tenant Security Proxy?" in error.message


@pytest.mark.parametrize("dek", ["", "QUJD", "not base64!", "QkJC" * 11])
def test_a_dek_of_a_wrong_length_is_no_answer(dek):
    body = msgspec.json.encode({"dek": dek, "edek": "e"})
    error = Told(keys().wrap(MINE), Response(200, {}, body)).error
    assert error is not None
    assert error.code == 100
    assert error.__cause__ is None


def test_a_batch_whose_answer_forgets_a_document_says_so():
    told = Told(keys().batch_wrap(["a", "b"], MINE), Response(200, {}, b'{"keys":{},"failures":{}}'))
    assert [each.code for each in told.value.values()] == [100, 100]


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://localhost:7777", "allow_insecure_http"),
        ("localhost:7777", "https://proxy.example"),
        ("", "https://proxy.example"),
        ("ftp://x", "https://proxy.example"),
        ("https://", "https://proxy.example"),
        ("https://x:port", "https://proxy.example"),
        ("https://user@x", "no user name"),
        ("https://x/?a=b", "query"),
    ],
)
def test_an_address_that_is_not_meant_is_refused(url, word):
    for kind in (TenantSecurityClient, AsyncTenantSecurityClient):
        with pytest.raises(ValueError, match=word):
            kind(url, "key")


def test_addresses_are_taken_as_people_write_them():
    assert proxy_url("https://x/", allow_insecure_http=False) == "https://x"
    assert proxy_url("https://x/prefix", allow_insecure_http=False) == "https://x/prefix"
    assert proxy_url("http://localhost:7777", allow_insecure_http=True) == "http://localhost:7777"


@pytest.mark.parametrize("key", ["", "a b", "a\n", "ü"])
def test_a_key_that_no_proxy_has_is_refused(key):
    with pytest.raises(ValueError, match="API key") as caught:
        TenantSecurityClient("https://x", key)
    assert key.strip() == "" or key not in str(caught.value)


def test_a_client_says_which_key_was_wrong_and_what_to_do(real_proxy):
    client = TenantSecurityClient(real_proxy.api_url, "d3JvbmcgYXBpIGtleQ==", allow_insecure_http=True)
    with client, pytest.raises(ServiceError, match="API_KEY"):
        client.encrypt({}, MINE)


async def test_a_client_belongs_to_one_event_loop(memory):
    import asyncio
    import threading

    client = memory.async_client()
    await client.encrypt({}, MINE)
    found: list[BaseException] = []

    def elsewhere() -> None:
        try:
            asyncio.run(client.encrypt({}, MINE))
        except RuntimeError as fault:
            found.append(fault)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert "another event loop" in str(found[0])
    await client.close()
    await client.close()


def test_a_tls_context_checks_certificates():
    import ssl

    context = tls_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    with pytest.raises(ValueError, match="certificate"):
        tls_context(key="x")
    with pytest.raises(OSError, match="No such file"):
        tls_context(authorities="/nowhere.pem")
