"""What a KMS says, all the way through a real proxy: to the application, to the log, to the metrics."""

import json
from functools import partial

import pytest

from tenant_security.testing.fakes.dialling import DiallingOutbound
from tenant_security.testing.fakes.server import Mishap, answered
from tenant_security.testing.fakes.thales import HOST, FakeCipherTrust
from tenant_security.testing.proxies import Use, running_proxy

BRAND_NEW = answered(
    409, {"code": 999, "codeDesc": "NCERRBrandNew: nobody knows", "message": "their words", "requestID": "req-77"}
)


@pytest.fixture
async def ciphertrust():
    async with FakeCipherTrust() as fake:
        yield fake


@pytest.fixture
async def proxy(ciphertrust, tmp_path):
    ciphertrust.user()
    config = {
        "type": "THALES",
        "version": 1,
        "credentials": {"username": "proxy", "password": "Pass-word-1!"},
        "keyPath": {"keyId": ciphertrust.key().id, "serviceUrl": f"https://{HOST}"},
        "caCertificate": ciphertrust.authority_pem.decode(),
    }
    tenants = {"acme": (Use(7, kms=json.dumps(config).encode()),)}
    dial = partial(DiallingOutbound, [ciphertrust])
    async with running_proxy(tmp_path, tenants, to_kms=dial) as running:
        yield running


def lines(proxy) -> list[dict]:
    return [json.loads(line) for line in proxy.log.getvalue().splitlines()]


async def test_a_tenants_own_kms_serves_it(proxy, ciphertrust):
    status, wrapped = await proxy.call("document/wrap", "acme")
    assert status == 200

    status, unwrapped = await proxy.call("document/unwrap", "acme", encryptedDocumentKey=wrapped["edek"])

    assert (status, unwrapped["dek"]) == (200, wrapped["dek"])
    assert ciphertrust.seen == {"login": 1, "encrypt": 1, "decrypt": 1}


async def test_a_code_that_no_table_lists_is_counted_logged_and_never_told(proxy, ciphertrust):
    ciphertrust.always("encrypt", Mishap(instead=BRAND_NEW))

    answers = [await proxy.call("document/wrap", "acme") for _ in range(2)]

    for status, body in answers:
        assert (status, body["code"]) == (422, 204)
        for word in ("NCERR", "their words", "req-77", HOST):
            assert word not in json.dumps(body)
    _, metrics = await proxy.ops("/metrics")
    assert b'tsp_kms_unlisted_refusals_total{provider="thales"} 2.0' in metrics
    refused = [line for line in lines(proxy) if line["message"] == "request refused"]
    named = [(line["provider_code"], line["provider_request_id"]) for line in refused]
    assert named == [("NCERRBrandNew", "req-77")] * 2
    told = [line for line in lines(proxy) if "not in our tables" in line["message"]]
    assert [(line["provider"], line["provider_code"], line["level"]) for line in told] == [
        ("thales", "NCERRBrandNew", "WARNING")
    ]
    assert b"their words" not in proxy.log.getvalue()


async def test_a_listed_refusal_is_not_counted_among_them(proxy, ciphertrust):
    ciphertrust.keys.clear()

    status, body = await proxy.call("document/wrap", "acme")

    assert (status, body["code"]) == (422, 207)
    _, metrics = await proxy.ops("/metrics")
    assert b"tsp_kms_unlisted_refusals_total{" not in metrics
    (event,) = [each for each in await proxy.fetch_events() if each.get("tenantId") == "acme"]
    assert "no such key" in json.dumps(event) or "207" in json.dumps(event)
