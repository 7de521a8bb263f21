"""What probes, Prometheus and operators may rely on, on the ops port of a real proxy."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
import uvloop
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tenant_security.testing.proxies import RunningProxy, running_proxy

FAMILIES = {
    "tsp_application_key_used_seconds": "gauge",
    "tsp_application_requests": "counter",
    "tsp_build_info": "gauge",
    "tsp_client_requests": "counter",
    "tsp_connections": "gauge",
    "tsp_directory_age_seconds": "gauge",
    "tsp_directory_from_copy": "gauge",
    "tsp_directory_quarantined_tenants": "gauge",
    "tsp_directory_refresh_failures": "gauge",
    "tsp_directory_refreshes": "counter",
    "tsp_directory_rollbacks": "gauge",
    "tsp_directory_tenants": "gauge",
    "tsp_directory_version": "gauge",
    "tsp_event_loop_lag_seconds": "histogram",
    "tsp_events": "counter",
    "tsp_fast_path_faults": "counter",
    "tsp_kms_call_seconds": "histogram",
    "tsp_kms_calls": "counter",
    "tsp_kms_calls_in_flight": "gauge",
    "tsp_kms_calls_not_sent": "counter",
    "tsp_kms_calls_waiting": "gauge",
    "tsp_kms_configs_not_asked": "gauge",
    "tsp_kms_idle_connections": "gauge",
    "tsp_kms_request_failures": "counter",
    "tsp_kms_requests": "counter",
    "tsp_kms_retries": "counter",
    "tsp_kms_spares": "counter",
    "tsp_kms_unlisted_refusals": "counter",
    "tsp_lease_changes": "counter",
    "tsp_leases": "gauge",
    "tsp_name_lookups_in_flight": "gauge",
    "tsp_open_configs": "gauge",
    "tsp_outbox_capacity_events": "gauge",
    "tsp_outbox_events": "gauge",
    "tsp_ready": "gauge",
    "tsp_refused_connections": "counter",
    "tsp_request_seconds": "histogram",
    "tsp_requests": "counter",
    "tsp_revoked": "gauge",
    "tsp_shared_values": "gauge",
    "tsp_start_time_seconds": "gauge",
    "tsp_tenant_secret_paths": "gauge",
    "tsp_tenant_secret_refusals": "counter",
    "tsp_tenant_secret_renewals": "counter",
}
"""Every family and its kind: dashboards and alerts name them, so a change here is a change for operators."""


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop of production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[RunningProxy]:
    async with running_proxy(tmp_path) as running:
        yield running


async def families(proxy: RunningProxy) -> dict[str, Metric]:
    status, text = await proxy.ops("/metrics")
    assert status == 200
    return {family.name: family for family in text_string_to_metric_families(text.decode())}


async def value(proxy: RunningProxy, family: str, sample: str = "", **labels: str) -> float:
    """The sum of a family's samples that have these labels."""
    found = (await families(proxy))[family]
    wanted = sample or found.samples[0].name if found.samples else sample
    return sum(each.value for each in found.samples if each.name == wanted and labels.items() <= each.labels.items())


async def test_every_family_is_there_from_the_start_with_its_kind_and_an_explanation(proxy: RunningProxy) -> None:
    found = await families(proxy)
    assert {name: family.type for name, family in found.items()} == FAMILIES
    for family in found.values():
        assert len(family.documentation) > 10
        assert family.documentation[0].isupper() or family.documentation[0].isdigit()


async def test_requests_are_counted_by_route_and_code(proxy: RunningProxy) -> None:
    async def counted(route: str, code: str) -> float:
        return await value(proxy, "tsp_requests", "tsp_requests_total", route=route, code=code)

    edek = (await proxy.call("document/wrap", "tenant-gcp-l"))[1]["edek"]
    for _ in range(3):
        await proxy.call("document/wrap", "tenant-gcp-l")
        await proxy.call("document/wrap", "tenant-gcp")
    await proxy.call("document/unwrap", "tenant-gcp-l", encryptedDocumentKey=edek)
    await proxy.call("document/unwrap", "tenant-gcp-l", encryptedDocumentKey="!")
    await proxy.call("document/unwrap", "nobody", encryptedDocumentKey=edek)
    await proxy.post("document/wrap", b"{")
    await proxy.post("document/wrap", b"{", api_key="wrong")
    await proxy.post("no/such", b"{}")
    assert await counted("document/wrap", "ok") == 7
    assert await counted("document/wrap", "102") == 1
    assert await counted("document/wrap", "101") == 1
    assert await counted("document/unwrap", "ok") == 1
    assert await counted("document/unwrap", "203") == 1
    assert await counted("document/unwrap", "201") == 1
    assert await counted("none", "100") == 1
    assert await value(proxy, "tsp_requests", "tsp_requests_total", path="fast") >= 3
    assert await value(proxy, "tsp_request_seconds", "tsp_request_seconds_count", route="document/wrap") == 9
    assert await value(proxy, "tsp_kms_calls", "tsp_kms_calls_total", provider="local", outcome="ok") >= 4
    assert await value(proxy, "tsp_lease_changes", "tsp_lease_changes_total") >= 1
    assert await value(proxy, "tsp_leases") >= 1
    assert await value(proxy, "tsp_events", "tsp_events_total") == 10
    assert await value(proxy, "tsp_outbox_events") == 10
    assert await value(proxy, "tsp_ready") == 1
    assert await value(proxy, "tsp_directory_tenants") == 2


async def test_ten_thousand_client_versions_do_not_grow_the_metrics(proxy: RunningProxy) -> None:
    body = json.dumps({"tenantId": "tenant-gcp-l", "iclFields": {"requestingId": "t"}, "customFields": {}})
    headers = {"Authorization": f"cmk {proxy.api_key}", "Content-Type": "application/json"}
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.ports.api)

    async def wrap(language: str, version: str) -> None:
        lines = {**headers, "x-icl-tsc-language": language, "x-icl-tsc-version": version, "content-length": len(body)}
        head = "".join(f"{name}: {each}\r\n" for name, each in lines.items())
        writer.write(f"POST /api/1/document/wrap HTTP/1.1\r\n{head}\r\n{body}".encode("latin-1"))
        answered = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert answered.startswith(b"http/1.1 200")
        await reader.readexactly(int(answered.partition(b"content-length: ")[2].partition(b"\r\n")[0]))

    odd = ['quo"te', "back\\slash", "\xe4\xf6", "a" * 2_000, "", "1.2.3\t4"]
    for number in range(10_000 - len(odd)):
        await wrap("java" if number % 2 else f"language-{number}", f"{number % 50}.{number}.0")
    for each in odd:
        await wrap(each or "node", each)
    writer.close()
    found = (await families(proxy))["tsp_client_requests"]
    totals = [each for each in found.samples if each.name == "tsp_client_requests_total"]
    assert len(totals) <= 201
    assert sum(each.value for each in totals) == 10_000
    assert {each.labels["language"] for each in totals} <= {"java", "node", "other"}


async def test_probes_answer_get_and_head_alike_and_refuse_the_rest(proxy: RunningProxy) -> None:
    async with httpx.AsyncClient(base_url=proxy.ops_url) as http:
        for path in ("/live", "/ready", "/health", "/metrics"):
            got, head, post = await http.get(path), await http.head(path), await http.post(path, content=b"x")
            assert got.status_code == head.status_code == 200
            assert got.headers["content-type"] == head.headers["content-type"]
            assert int(head.headers["content-length"]) > 0
            assert head.content == b""
            assert (post.status_code, post.headers["allow"]) == (405, "GET")
        assert (await http.get("/elsewhere")).status_code == 404
        assert (await http.get(f"{proxy.ops_url}//ready")).status_code == 200
        health = (await http.get("/health")).json()
        assert (await http.get("/metrics")).headers["content-type"].startswith("text/plain; version=0.0.4")
    assert health["status"] == "UP"
    assert {each["name"]: each["status"] for each in health["checks"]} == {"tenants": "UP", "events": "UP"}


async def test_every_log_line_is_one_object_and_every_request_has_a_ray_id_of_its_own(tmp_path: Path) -> None:
    forged = 'x"}\n{"service":"proxy","level":"ERROR","timestamp":"","message":"forged\r\n\u2028'
    async with running_proxy(tmp_path, settings={"RUST_LOG": "debug"}) as proxy:
        for _ in range(20):
            await proxy.call("document/wrap", forged)
            await proxy.call("document/wrap", "tenant-gcp")
            await proxy.call("document/unwrap", forged, encryptedDocumentKey=forged)
            await proxy.call("document/wrap", "\N{PILE OF POO}" * 100)
            await proxy.post("document/wrap", b'{"tenantId": "\\ud800", "iclFields": {"requestingId": "t"}}')
        raw = proxy.log.getvalue()
    lines = [json.loads(line) for line in raw.splitlines()]
    assert raw.endswith(b"\n")
    for line in lines:
        assert {"service", "level", "timestamp", "message"} <= set(line)
        assert line["service"] == "proxy"
        assert line["level"] in {"DEBUG", "INFO", "WARNING", "ERROR"}
        assert line["message"] != "forged"
    rays = [line["ray_id"] for line in lines if line["message"] in {"request refused", "request served"}]
    assert len(rays) == len(set(rays)) == 100
    assert {line.get("tenant_id") for line in lines} >= {forged, "tenant-gcp"}
