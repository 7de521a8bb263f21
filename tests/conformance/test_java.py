"""The published Java client against our proxy: one test per check of ``java/src/main/java/conformance/Checks.java``."""

import pytest

from .toolchains import Report

pytestmark = pytest.mark.toolchain

CHECKS = [
    "roundtrip, GCP",
    "roundtrip, AWS",
    "roundtrip, Azure",
    "roundtrip, leased",
    "rekey, AWS to Azure",
    "rekey, GCP to AWS",
    "rekey, same tenant",
    "rekey, unleased to leased and back",
    "encrypt with an existing key",
    "stream roundtrip",
    "encrypting twice is refused",
    "security event is accepted",
    "security events of own kinds are accepted",
    "security event of an unknown tenant is accepted",
    "leasing switched off: leased data opens",
    "leasing switched off: unleased data opens",
    "thirty requests at once",
    "encrypt without a primary config: 200",
    "batch encrypt without a primary config fails whole: 200",
    "decrypt under a disabled config: 202",
    "decrypt for an unknown tenant: 201, whatever the EDEK",
    "decrypt under an active config that is not primary",
    "wrong API key: 101 over HTTP 401",
    "EDEK that is none: 203",
    "nobody listens: 0",
    "trailing slash in the configured address",
    "cached encryptor: one EDEK for many documents, opened without a cache",
    "cached decryptor: opens what was made without a cache",
    "cached key: batches and streams",
    "cached key of an EDEK under a disabled config: 202",
    "cached key: another document's EDEK is refused by the client",
    "cached key: closing reports the operations, and the proxy takes the report",
    "field roundtrip, GCP",
    "field roundtrip, AWS",
    "field roundtrip, leased",
    "batch of a hundred fields",
    "field batch: a field under paths never used before fails alone",
    "search terms in rotation: two, the current one first",
    "search terms without a primary config: one",
    "field encrypt without a primary config is refused by the client",
    "field of an unknown tenant: 201",
    "batch roundtrip",
    "batch roundtrip, leased",
    "batch encrypt again keeps the EDEKs",
    "batch of fifty large documents",
    "batch decrypt fails only where the document is damaged",
    "batch decrypt fails only where the config is disabled",
    "batch encrypting twice is refused document by document",
    "fifty batches of twenty-five, one after the other",
]


@pytest.mark.parametrize("name", CHECKS)
def test_java_client(java_report: Report, name: str) -> None:
    java_report.demand(name)


def test_every_check_of_the_java_program_is_listed_here(java_report: Report) -> None:
    assert java_report.checks, java_report.trouble
    assert sorted(java_report.checks) == sorted(CHECKS)
