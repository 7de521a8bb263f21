"""What one client wrote through our proxy, every other one reads.

Documents in the format of the Tenant Security Clients are common ground: Node and Java write them always, Alloy writes
them in legacy mode and reads them in any. Deterministic fields are shared by Node and Java only: Alloy's bind one more
(empty) associated datum, so their bytes differ. ``python`` is our own client; what it and Alloy share besides is in
``test_python_and_alloy.py``.
"""

import asyncio
import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ironcore_alloy import AlloyMetadata, EncryptedDocument

from .alloy_client import Alloy, alloy_at
from .our_client import python_reads, python_writes
from .running_proxy import API_KEY, RunningProxy
from .toolchains import Programs, Report

pytestmark = pytest.mark.toolchain

Specimen = dict[str, Any]

DOCUMENTS = ["document", "leased document", "rekeyed document", "document rekeyed to leased"]
WRITTEN = {
    "node": [*DOCUMENTS, "streamed document", "field"],
    "java": [*DOCUMENTS, "streamed document", "field"],
    "alloy": DOCUMENTS,
    "python": [*DOCUMENTS, "streamed document", "batched document", "field"],
}
CASES = [
    (writer, reader, name)
    for writer, names in WRITTEN.items()
    for reader in WRITTEN
    for name in names
    if not (reader == "alloy" and name == "field")
]


def of(tenant: str) -> AlloyMetadata:
    return AlloyMetadata.new_simple(tenant)


async def alloy_document(alloy: Alloy, name: str, tenant: str, rekeyed_to: str | None = None) -> Specimen:
    plaintext = os.urandom(777)
    encrypted = await alloy.standard.encrypt({"body": plaintext}, of(tenant))
    edek = encrypted.edek
    if rekeyed_to is not None:
        edek = (await alloy.standard.rekey_edeks({"x": edek}, of(tenant), rekeyed_to)).successes["x"]
    return {
        "name": name,
        "kind": "document",
        "tenant": rekeyed_to or tenant,
        "plaintext": base64.b64encode(plaintext).decode(),
        "edek": base64.b64encode(edek).decode(),
        "ciphertext": base64.b64encode(encrypted.document["body"]).decode(),
    }


async def alloy_writes(proxy: RunningProxy) -> list[Specimen]:
    async with alloy_at(proxy.url, API_KEY, legacy=True) as alloy:
        return [
            await alloy_document(alloy, "document", "tenant-gcp"),
            await alloy_document(alloy, "leased document", "tenant-gcp-l"),
            await alloy_document(alloy, "rekeyed document", "tenant-aws", "tenant-azure"),
            await alloy_document(alloy, "document rekeyed to leased", "tenant-gcp", "tenant-gcp-l"),
        ]


async def alloy_reads(proxy: RunningProxy, specimens: list[Specimen]) -> Report:
    checks: dict[str, str | None] = {}
    async with alloy_at(proxy.url, API_KEY) as alloy:
        for specimen in specimens:
            if specimen["kind"] != "document":
                continue
            document = EncryptedDocument(
                edek=base64.b64decode(specimen["edek"]), document={"body": base64.b64decode(specimen["ciphertext"])}
            )
            try:
                opened = await alloy.standard.decrypt(document, of(specimen["tenant"]))
            except Exception as failure:  # noqa: BLE001 - any failure of one specimen is that specimen's report
                checks[specimen["name"]] = repr(failure)
            else:
                same = base64.b64encode(opened["body"]).decode() == specimen["plaintext"]
                checks[specimen["name"]] = None if same else "the plaintext differs"
    return Report(checks, "")


class Exchange:
    """Lets each client write once and read once what each one wrote."""

    def __init__(self, proxy: RunningProxy, directory: Path, request: pytest.FixtureRequest) -> None:
        self._proxy = proxy
        self._directory = directory
        self._request = request
        self._written: dict[str, Path] = {}
        self._reports: dict[tuple[str, str], Report] = {}

    def _programs(self, client: str) -> Programs:
        programs: Programs = self._request.getfixturevalue(client)
        return programs

    def written_by(self, writer: str) -> Path:
        """The file of the writer's specimens."""
        if writer not in self._written:
            file = self._directory / f"{writer}.json"
            if writer == "alloy":
                file.write_text(json.dumps(asyncio.run(alloy_writes(self._proxy))))
            elif writer == "python":
                file.write_text(json.dumps(python_writes(self._proxy)))
            else:
                told = self._programs(writer).run("exchange", "write", str(file), environment=self._proxy.environment())
                assert file.exists(), told.trouble
            self._written[writer] = file
        return self._written[writer]

    def report(self, writer: str, reader: str) -> Report:
        """What the reader says of the writer's specimens."""
        if (writer, reader) not in self._reports:
            file = self.written_by(writer)
            if reader == "alloy":
                report = asyncio.run(alloy_reads(self._proxy, json.loads(file.read_text())))
            elif reader == "python":
                report = python_reads(self._proxy, json.loads(file.read_text()))
            else:
                report = self._programs(reader).run(
                    "exchange", "read", str(file), environment=self._proxy.environment()
                )
            self._reports[writer, reader] = report
        return self._reports[writer, reader]


@pytest.fixture(scope="module")
def exchange(proxy: RunningProxy, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Exchange:
    return Exchange(proxy, tmp_path_factory.mktemp("exchange"), request)


@pytest.mark.parametrize(("writer", "reader", "name"), CASES)
def test_one_reads_what_the_other_wrote(exchange: Exchange, writer: str, reader: str, name: str) -> None:
    exchange.report(writer, reader).demand(name)


@pytest.mark.parametrize("writer", WRITTEN)
def test_every_specimen_is_listed_here(exchange: Exchange, writer: str) -> None:
    specimens: list[Specimen] = json.loads(exchange.written_by(writer).read_text())
    assert [specimen["name"] for specimen in specimens] == WRITTEN[writer]
