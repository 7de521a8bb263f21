"""Edges of the HTTP API that clients of other languages and versions reach: transport, key, bodies."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .prepared import GCP, Mint
from .raw_http import AUTHORIZED, ENDPOINTS, body, full_request, post, refusal, success
from .running_proxy import API_KEY, SECOND_API_KEY, RunningProxy

# Methods, paths, transport.


@pytest.mark.parametrize("route", ENDPOINTS)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_only_post_is_served(http: httpx.Client, route: str, method: str) -> None:
    answer = http.request(method, f"/api/1/{route}", headers=AUTHORIZED)
    assert answer.status_code == 405
    refusal(answer, 100)


@pytest.mark.parametrize(
    "path", ["/", "/api/1/", "/api/1/document", "/api/1/document/wrapp", "/api/2/document/wrap", "/api/1/key/derive"]
)
def test_an_unknown_path_is_told_so_in_words_that_clients_parse(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json=body(GCP), headers=AUTHORIZED)
    assert answer.status_code == 404
    refusal(answer, 100)


@pytest.mark.parametrize("route", ENDPOINTS)
def test_a_doubled_slash_is_tolerated(http: httpx.Client, mint: Mint, route: str) -> None:
    success(http.post(f"{http.base_url}//api/1/{route}", json=full_request(route, mint), headers=AUTHORIZED))


@pytest.mark.parametrize("kind", [None, "text/plain", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_the_content_type_of_a_request_does_not_matter(http: httpx.Client, kind: str | None) -> None:
    headers = AUTHORIZED | ({"Content-Type": kind} if kind else {})
    success(http.post("/api/1/document/wrap", content=json.dumps(body(GCP)).encode(), headers=headers))


def test_a_chunked_request_is_read(http: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        for byte in json.dumps(body(GCP)).encode():
            yield bytes([byte])

    answer = http.post("/api/1/document/wrap", content=parts(), headers=AUTHORIZED)
    assert answer.request.headers["transfer-encoding"] == "chunked"
    success(answer)


def test_eight_mebibytes_of_request_are_read(http: httpx.Client) -> None:
    padded = body(GCP, padding="x" * (8 * 1024 * 1024 - 1024))
    assert success(post(http, "document/wrap", padded)).keys() == {"dek", "edek"}


def exchange(proxy: RunningProxy, *pieces: bytes, answers: int) -> list[bytes]:
    """Send raw bytes over one connection and read as many answers; interim (1xx) answers are skipped."""
    host, port = proxy.url.removeprefix("http://").split(":")
    bodies = []
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        stream = connection.makefile("rb")
        with stream:
            for piece in pieces:
                connection.sendall(piece)
            while len(bodies) < answers:
                status = stream.readline().split()
                lines = iter(stream.readline, b"\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
                if status[1].startswith(b"1"):
                    continue
                assert status[:2] == [b"HTTP/1.1", b"200"], (status, headers)
                bodies.append(stream.read(int(headers[b"content-length"])))
    return bodies


def raw_request(content: bytes, *headers: str) -> bytes:
    lines = ["POST /api/1/document/wrap HTTP/1.1", "host: proxy", f"authorization: cmk {API_KEY}", *headers]
    return "\r\n".join([*lines, f"content-length: {len(content)}", "", ""]).encode() + content


def test_requests_may_follow_each_other_on_one_connection_without_waiting(proxy: RunningProxy) -> None:
    one = raw_request(json.dumps(body("tenant-gcp-l")).encode())
    two = raw_request(json.dumps(body("tenant-gcp")).encode())
    deks = {json.loads(answer)["dek"] for answer in exchange(proxy, one + two + one, answers=3)}
    assert len(deks) == 3


def test_a_client_that_expects_100_continue_is_answered(proxy: RunningProxy) -> None:
    content = json.dumps(body(GCP)).encode()
    head = raw_request(content, "Expect: 100-continue").removesuffix(content)
    (answer,) = exchange(proxy, head, content, answers=1)
    assert json.loads(answer).keys() == {"dek", "edek"}


# The API key.


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "cmk",
        API_KEY,
        f"cmk{API_KEY}",
        f"Bearer {API_KEY}",
        f"Basic {API_KEY}",
        f"cmk {API_KEY}x",
        f"cmk {API_KEY[:-1]}",
        f"cmk {API_KEY.lower()}",
        f"cmk {API_KEY} {API_KEY}",
        "cmk AAAAAAAAAAAAAAAA",
    ],
)
@pytest.mark.parametrize("route", ["document/wrap", "event/security-event", "no/such/route"])
def test_without_the_key_every_request_is_101_and_401(
    http: httpx.Client, mint: Mint, route: str, value: str | None
) -> None:
    known = route if route in ENDPOINTS else "document/wrap"
    headers = {} if value is None else {"Authorization": value}
    answer = http.post(f"/api/1/{route}", json=full_request(known, mint), headers=headers)
    refusal(answer, 101)


@pytest.mark.parametrize("route", ENDPOINTS)
def test_the_key_is_asked_for_by_every_endpoint_before_anything_else(http: httpx.Client, route: str) -> None:
    refusal(http.post(f"/api/1/{route}", content=b"not json"), 101)
    refusal(http.get(f"/api/1/{route}"), 101)


@pytest.mark.parametrize("key", [API_KEY, SECOND_API_KEY])
def test_either_of_two_keys_is_accepted(http: httpx.Client, key: str) -> None:
    success(http.post("/api/1/document/wrap", json=body(GCP), headers={"Authorization": f"cmk {key}"}))


# Bodies.

NOT_AN_OBJECT = [
    b"",
    b" ",
    b"null",
    b"[]",
    b'"text"',
    b"1",
    b"{",
    b'{"tenantId":',
    b"tenantId=x",
    b"\xff\xfe{}",
    b"{}{}",
]


@pytest.mark.parametrize("content", [*NOT_AN_OBJECT, b"{}"])
@pytest.mark.parametrize("route", ENDPOINTS)
def test_what_is_no_json_object_is_102(http: httpx.Client, route: str, content: bytes) -> None:
    refusal(post(http, route, content), 102)


def test_deep_nesting_is_102_and_no_internal_error(http: httpx.Client) -> None:
    for content in (
        b"[" * 200_000,
        b'{"a":' * 200_000,
        json.dumps(body(GCP))[:-1].encode() + b',"x":' + b"[" * 200_000,
    ):
        refusal(post(http, "document/wrap", content), 102)


WRONG_METADATA: list[dict[str, Any]] = [
    {"tenantId": None},
    {"tenantId": 7},
    {"tenantId": ["tenant-gcp"]},
    {"iclFields": None},
    {"iclFields": "x"},
    {"iclFields": []},
    {"iclFields": {}},
    {"iclFields": {"requestingId": None}},
    {"iclFields": {"requestingId": ""}},
    {"iclFields": {"requestingId": 7}},
    {"iclFields": {"requestingId": "x", "dataLabel": 7}},
    {"customFields": "x"},
]


@pytest.mark.parametrize("wrong", WRONG_METADATA, ids=json.dumps)
@pytest.mark.parametrize("route", ENDPOINTS)
def test_wrong_metadata_is_102(http: httpx.Client, mint: Mint, route: str, wrong: dict[str, Any]) -> None:
    refusal(post(http, route, {**full_request(route, mint), **wrong}), 102)


@pytest.mark.parametrize("member", ["tenantId", "iclFields"])
@pytest.mark.parametrize("route", ENDPOINTS)
def test_missing_metadata_is_102(http: httpx.Client, mint: Mint, route: str, member: str) -> None:
    request = full_request(route, mint)
    del request[member]
    refusal(post(http, route, request), 102)


NULLS = {"dataLabel": None, "sourceIp": None, "objectId": None, "requestId": None}
TOLERATED: list[dict[str, Any]] = [
    {"customFields": None},
    {"customFields": {"key": "value", "ünï": "ĉ"}},
    {"iclFields": {"requestingId": "x", **NULLS}},
    {"iclFields": {"requestingId": "x", "sourceIp": "f"}},
    {"iclFields": {"requestingId": "x", "sourceIp": "integration-test-ray-id"}},
    {"iclFields": {"requestingId": "x", "tomorrow": {"nested": [1, None]}}},
    {"tomorrow": {"nested": [1, 2.5, True, None]}},
    {"timestampMillis": 1_700_000_000_000},
    {"timestampMillis": None},
]


@pytest.mark.parametrize("tolerated", TOLERATED, ids=json.dumps)
@pytest.mark.parametrize("route", ENDPOINTS)
def test_what_clients_add_or_leave_empty_is_tolerated(
    http: httpx.Client, mint: Mint, route: str, tolerated: dict[str, Any]
) -> None:
    success(post(http, route, {**full_request(route, mint), **tolerated}))


@pytest.mark.parametrize("route", ENDPOINTS)
def test_absent_custom_fields_are_tolerated(http: httpx.Client, mint: Mint, route: str) -> None:
    request = full_request(route, mint)
    del request["customFields"]
    success(post(http, route, request))


def test_the_order_of_members_and_white_space_do_not_matter(http: httpx.Client) -> None:
    turned = dict(reversed(body(GCP).items()))
    success(post(http, "document/wrap", b"\r\n\t " + json.dumps(turned, indent=4).encode() + b"\n"))


WRONG_MEMBERS = [
    ("document/unwrap", "encryptedDocumentKey", [None, 7, [], {}]),
    ("document/rekey", "encryptedDocumentKey", [None, 7, {}]),
    ("document/rekey", "newTenantId", [None, 7, {}]),
    ("document/batch-wrap", "documentIds", [None, "a", {}, {"a": "b"}, [7], [None], ["a", {}]]),
    ("document/batch-unwrap", "edeks", [None, "a", {"a": 7}, {"a": None}, [7], [None]]),
    ("key/derive-with-secret-path", "paths", [None, "a", {"a": "b"}, {"a": [7]}, {"a": None}]),
    ("key/derive-with-secret-path", "derivationType", [None, 512, "argon2", "sha1", "SHA512", ""]),
    ("key/derive-with-secret-path", "secretType", [None, 2, "other", "DETERMINISTIC", ""]),
    ("event/security-event", "event", [None, 7, "", {}]),
    ("event/security-event", "timestampMillis", ["now", {}, 1.5]),
    ("document/report-operations", "operations", [None, "a", [7], {"e": None}, {"e": 1}, {"e": []}]),
    (
        "document/report-operations",
        "operations",
        [{"e": {"wraps": -1, "unwraps": 0}}, {"e": {"wraps": 0, "unwraps": "1"}}, {"e": {"wraps": 1.5, "unwraps": 0}}],
    ),
]
WRONG_MEMBER_CASES = [(route, name, value) for route, name, values in WRONG_MEMBERS for value in values]


@pytest.mark.parametrize(("route", "name", "value"), WRONG_MEMBER_CASES, ids=str)
def test_a_member_of_the_wrong_type_is_102(
    http: httpx.Client, mint: Mint, route: str, name: str, value: object
) -> None:
    refusal(post(http, route, {**full_request(route, mint), name: value}), 102)


@pytest.mark.parametrize(
    ("route", "name"), sorted({(route, name) for route, name, _ in WRONG_MEMBERS if name != "timestampMillis"})
)
def test_an_absent_member_is_102(http: httpx.Client, mint: Mint, route: str, name: str) -> None:
    request = full_request(route, mint)
    del request[name]
    refusal(post(http, route, request), 102)


# Whatever comes, the proxy stays an answering proxy.


def test_odd_text_never_becomes_an_internal_error(http: httpx.Client) -> None:
    odd = [rb'"\ud800"', rb'"\u0000"', b'"' + b"x" * 100_000 + b'"', '"\N{ZERO WIDTH JOINER}"'.encode()]
    for text in odd:
        content = b'{"tenantId":' + text + b',"iclFields":{"requestingId":"x"}}'
        answer = post(http, "document/wrap", content)
        assert answer.json()["code"] in {102, 201}, answer.text
        assert answer.status_code in {400, 422}
    success(post(http, "document/wrap", body("tenant-gcp")))
