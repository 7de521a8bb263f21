"""Published clients write under several KMSs, and read on when the first of them is lost for good."""

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from ironcore_alloy import AlloyMetadata

from tenant_security.testing.proxies import API_KEY, RunningProxy, Use, running_proxy
from tenant_security.wire import edek

from .alloy_client import alloy_at
from .toolchains import Programs

TENANTS = ("tenant-gcp", "tenant-aws", "tenant-azure", "tenant-gcp-l", "tenant-aws-l", "tenant-azure-l")
DOCUMENT = {"name": b"Grace Hopper", "empty": b""}


def configs(*, first_lost: bool = False) -> Mapping[str, tuple[Use, ...]]:
    found: dict[str, tuple[Use, ...]] = {}
    for number, tenant in enumerate(TENANTS):
        leasing = tenant.endswith("-l")
        first = Use(510 + number, leasing=leasing, key=f"first-{number}")
        second = Use(610 + number, primary=first_lost, leasing=leasing, key=f"second-{number}", spare=not first_lost)
        found[tenant] = (second,) if first_lost else (first, second)
    return found


def written_by(wrapped: bytes) -> list[int]:
    """The configs that can unwrap an EDEK."""
    entries = edek.decode_all(wrapped)
    inner = edek.decode_all(entries[0].wrapped_lease) if entries[0].leased else entries
    return [entry.config_id for entry in inner]


async def lose_the_first(proxy: RunningProxy) -> None:
    await proxy.republish(**configs(first_lost=True))


@pytest.mark.parametrize("legacy", [False, True], ids=["v5", "legacy"])
@pytest.mark.parametrize("tenant", ["tenant-gcp", "tenant-gcp-l"])
async def test_alloy_reads_on_when_the_first_kms_is_lost(tmp_path: Path, tenant: str, legacy: bool) -> None:
    of = AlloyMetadata.new_simple(tenant)
    async with running_proxy(tmp_path, configs()) as proxy, alloy_at(proxy.api_url, API_KEY, legacy=legacy) as alloy:
        encrypted = await alloy.standard.encrypt(DOCUMENT, of)
        attached = await alloy.attached.encrypt(b"attached", of)
        assert await alloy.standard.decrypt(encrypted, of) == DOCUMENT
        if legacy:
            assert written_by(bytes(encrypted.edek)) == [510 + TENANTS.index(tenant), 610 + TENANTS.index(tenant)]
        await lose_the_first(proxy)

        assert await alloy.standard.decrypt(encrypted, of) == DOCUMENT
        assert await alloy.attached.decrypt(attached, of) == b"attached"
        rekeyed = (await alloy.standard.rekey_edeks({"x": encrypted.edek}, of, None)).successes["x"]
        encrypted.edek = rekeyed
        assert await alloy.standard.decrypt(encrypted, of) == DOCUMENT


@pytest.mark.toolchain
@pytest.mark.parametrize("client", ["node", "java"])
async def test_published_clients_read_on_when_the_first_kms_is_lost(
    tmp_path: Path, client: str, request: pytest.FixtureRequest
) -> None:
    programs: Programs = request.getfixturevalue(client)
    file = tmp_path / "written.json"
    async with running_proxy(tmp_path / "state", configs()) as proxy:
        environment = {**os.environ, "PROXY_URL": proxy.api_url, "API_KEY": API_KEY}

        async def exchange(what: str):
            return await asyncio.to_thread(programs.run, "exchange", what, str(file), environment=environment)

        told = await exchange("write")
        assert file.exists(), told.trouble
        names = [specimen["name"] for specimen in json.loads(file.read_text()) if specimen["kind"] == "document"]
        assert len(names) >= 4
        for lost in (False, True):
            if lost:
                await lose_the_first(proxy)
            report = await exchange("read")
            for name in names:
                report.demand(name)
