"""A whole proxy whose tenants' KMSs misbehave: who notices, and what reaches the KMS."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tenant_security.errors import Code
from tenant_security.testing.fakes.server import Mishap, answered
from tenant_security.testing.fakes.vault import FakeVault
from tenant_security.testing.proxies import RunningProxy, Use, running_proxy

HTTP_THROTTLED = 429


class Tenants:
    """Configs of tenants whose KMS is this Vault."""

    def __init__(self, vault: FakeVault) -> None:
        self.vault = vault
        vault.root.key()
        self.role = vault.root.app_role()

    def config(self, host: str = "localhost", secret_id: str | None = None) -> bytes:
        config = {
            "type": "VAULT",
            "version": 1,
            "credentials": {"roleId": self.role.role_id, "secretId": secret_id or self.role.secret_id()},
            "keyPath": {"address": f"https://{host}:{self.vault.port}", "keyName": "wrapping"},
            "caCertificate": self.vault.authority_pem.decode(),
        }
        return json.dumps(config).encode()


@pytest.fixture
async def vault() -> AsyncIterator[FakeVault]:
    async with FakeVault() as vault:
        yield vault


async def wrap(proxy: RunningProxy, tenant: str) -> tuple[int, dict[str, object]]:
    return await proxy.call("document/wrap", tenant)


async def metric(proxy: RunningProxy, line: str) -> float:
    """The value of one line of the metrics, without which it is 0."""
    text = (await proxy.ops("/metrics"))[1].decode()
    found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


async def test_a_tenants_address_leads_inside_only_when_the_operator_says_so(tmp_path: Path, vault: FakeVault):
    of = Tenants(vault)
    tenants = {
        "name": (Use(1, kms=of.config()),),
        "address": (Use(2, kms=of.config("127.0.0.1")),),
        "metadata": (Use(3, kms=of.config("169.254.169.254")),),
        "local": (Use(4),),
    }
    async with running_proxy(tmp_path, tenants, {"TSP_EGRESS_ALLOW": ""}) as proxy:
        for tenant in ("name", "address", "metadata"):
            status, body = await wrap(proxy, tenant)
            assert (status, body["code"]) == (422, Code.KMS_UNREACHABLE)
            assert "not allowed" in str(body["message"])
        assert (await wrap(proxy, "local"))[0] == 200
        assert await metric(proxy, 'tsp_kms_request_failures_total{reason="refused"}') == 3
    assert not vault.seen
    async with running_proxy(tmp_path, tenants, {"TSP_EGRESS_ALLOW": "127.0.0.1, ::1, 169.254.0.0/16"}) as proxy:
        assert (await wrap(proxy, "name"))[0] == (await wrap(proxy, "address"))[0] == 200
        assert "not allowed" in str((await wrap(proxy, "metadata"))[1]["message"])


async def test_a_kms_that_fails_is_soon_left_alone_and_found_again_when_it_is_back(tmp_path: Path, vault: FakeVault):
    tenants = {"t": (Use(1, kms=Tenants(vault).config()),)}
    async with running_proxy(tmp_path, tenants) as proxy:
        assert (await wrap(proxy, "t"))[0] == 200
        vault.always("encrypt", Mishap(instead=answered(503, {"errors": ["Vault is sealed"]})))
        before = vault.seen["encrypt"]
        for _ in range(40):
            status, body = await wrap(proxy, "t")
            assert (status, body["code"]) == (422, Code.KMS_UNREACHABLE)
        sent = vault.seen["encrypt"] - before
        assert sent <= 12  # five calls and two retries, and a trial for each second that this took
        assert await metric(proxy, 'tsp_kms_configs_not_asked{reason="breaker"}') == 1
        assert await metric(proxy, 'tsp_kms_calls_not_sent_total{provider="vault",reason="breaker"}') >= 28
        vault.always("encrypt", None)
        while (await wrap(proxy, "t"))[0] != 200:
            await asyncio.sleep(0.02)
        assert await metric(proxy, 'tsp_kms_configs_not_asked{reason="breaker"}') == 0


async def test_a_pause_that_the_kms_asks_for_reaches_the_application(tmp_path: Path, vault: FakeVault):
    tenants = {"t": (Use(1, kms=Tenants(vault).config()),)}
    vault.happens("encrypt", Mishap(instead=answered(429, {"errors": []}, ("Retry-After", "40"))))
    async with running_proxy(tmp_path, tenants) as proxy:
        first, second = await wrap(proxy, "t"), await wrap(proxy, "t")

        assert [status for status, _ in (first, second)] == [HTTP_THROTTLED] * 2
        assert [body["code"] for _, body in (first, second)] == [Code.KMS_THROTTLED] * 2
        assert vault.seen["encrypt"] == 1


async def test_refused_credentials_are_shown_once(tmp_path: Path, vault: FakeVault):
    tenants = {"t": (Use(1, kms=Tenants(vault).config(secret_id="wrong")),)}
    async with running_proxy(tmp_path, tenants) as proxy:
        for _ in range(20):
            assert (await wrap(proxy, "t"))[1]["code"] == Code.KMS_AUTHORIZATION_FAILED
        assert vault.seen["login"] == 1
        await proxy.republish(t=(Use(1, kms=Tenants(vault).config()),))
        assert (await wrap(proxy, "t"))[0] == 200  # other credentials count at once


async def test_a_flood_for_a_kms_that_hangs_starves_nobody(tmp_path: Path, vault: FakeVault):
    tenants = {"hangs": (Use(1, kms=Tenants(vault).config()),), "local": (Use(2),)}
    async with FakeVault() as well:
        tenants["well"] = (Use(3, kms=Tenants(well).config()),)
        settings = {
            "TSP_KMS_CONCURRENCY": "12",
            "TSP_KMS_CONCURRENCY_PER_TENANT": "8",
            "TSP_KMS_WAITING_PER_TENANT": "10",
            "TSP_KMS_ATTEMPT_SECONDS": "60",
            "TSP_KMS_DEADLINE_SECONDS": "60",
        }
        async with running_proxy(tmp_path, tenants, settings) as proxy:
            vault.always("encrypt", Mishap(wait_s=300))
            flood = [asyncio.ensure_future(wrap(proxy, "hangs")) for _ in range(60)]
            while await metric(proxy, "tsp_kms_calls_waiting") < 10:
                await asyncio.sleep(0.01)
            assert await metric(proxy, "tsp_kms_calls_in_flight") == 8

            for _ in range(20):
                assert (await wrap(proxy, "well"))[0] == (await wrap(proxy, "local"))[0] == 200
            turned_away = [call.result() for call in flood if call.done()]
            assert len(turned_away) == 60 - 18
            assert {(status, body["code"]) for status, body in turned_away} == {(HTTP_THROTTLED, Code.KMS_THROTTLED)}
            for call in flood:
                call.cancel()
            await asyncio.gather(*flood, return_exceptions=True)


async def test_data_survives_the_loss_of_a_kms(tmp_path: Path, vault: FakeVault):
    async with FakeVault() as second:
        uses = (
            Use(1, kms=Tenants(vault).config()),
            Use(2, kms=Tenants(second).config(), primary=False, spare=True),
        )
        async with running_proxy(tmp_path, {"t": uses}) as proxy:
            _, made = await wrap(proxy, "t")
            assert (vault.seen["encrypt"], second.seen["encrypt"]) == (1, 1)
            vault.sealed = True
            asked = {"encryptedDocumentKey": made["edek"]}
            for _ in range(12):
                status, opened = await proxy.call("document/unwrap", "t", **asked)
                assert (status, opened.get("dek")) == (200, made["dek"])
            assert (await wrap(proxy, "t"))[0] == 200
            assert await metric(proxy, 'tsp_kms_spares_total{what="unwrapped_instead"}') == 12
            assert await metric(proxy, 'tsp_kms_spares_total{what="wrapped_without"}') == 1
