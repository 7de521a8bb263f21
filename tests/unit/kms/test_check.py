import asyncio
import threading
from datetime import UTC, datetime

import msgspec
import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.check import check, report_unreadable
from tenant_security.kms.needs import needs_of
from tenant_security.kms.own_identity import NO_IDENTITY
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.remedies import WAY_THERE, remedy_of
from tenant_security.outbound.flow import Flow, Reason, Request, Response, UnreachableError
from tenant_security.wire.kms_check import CheckReport
from tenant_security.wire.kms_configs import decode_kms_config

CONTEXT = KmsContext(now=lambda: datetime(2026, 11, 25, tzinfo=UTC))

CONFIGS = {
    "local": {
        "credentials": {"keys": {"1": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}},
        "keyPath": {"keyId": "k"},
    },
    "aws": {
        "credentials": {
            "accessKeyId": "AKIDEXAMPLE",
            "secretAccessKey": "s3cr3t-canary",
            "roleArn": "arn:aws:iam::1:role/r",
        },
        "keyPath": {"keyID": "alias/k", "region": "eu-central-1"},
    },
    "azure": {
        "credentials": {
            "clientId": "11111111-2222-3333-4444-555555555555",
            "clientSecret": "s3cr3t-canary",
            "tenantGuid": "11111111-2222-3333-4444-555555555556",
        },
        "keyPath": {"keyName": "k", "vaultBaseUrl": "https://acme.vault.azure.net"},
    },
    "gcp": {
        "credentials": {"client_email": "a@b-c.iam.gserviceaccount.com", "workload_identity": True},
        "keyPath": {"projectId": "acme-keys", "locationId": "eur4", "keyRingId": "r", "cryptoKeyId": "k"},
    },
    "thales": {
        "credentials": {"username": "u", "password": "s3cr3t-canary"},
        "keyPath": {"keyId": "k", "serviceUrl": "https://ciphertrust.acme.example"},
    },
    "vault": {
        "credentials": {"token": "s3cr3t-canary"},
        "keyPath": {"address": "https://vault.acme.example:8200", "keyName": "k"},
    },
}


def config(provider: str):
    return decode_kms_config(msgspec.json.encode({"type": provider.upper(), "version": 1, **CONFIGS[provider]}))


class Runner:
    """Runs a flow against one scripted answer."""

    def __init__(self, answer: Response | Exception | None = None) -> None:
        self.answer = answer

    async def run(self, flow: Flow[bytes], *, deadline_s: float) -> bytes:
        assert deadline_s > 0
        try:
            flow.send(None)
            if isinstance(self.answer, Exception):
                flow.throw(self.answer)
            raise AssertionError("nothing was scripted")
        except StopIteration as end:
            return end.value


async def checked(provider: str, answer: Response | Exception | None = None) -> CheckReport:
    return await check(config(provider), Runner(answer), CONTEXT, clock=lambda: 0.0)


async def test_a_config_that_works():
    report = await checked("local")

    assert report.ok
    assert report.finding is None
    assert [(step.name, step.outcome) for step in report.steps] == [
        ("configuration", "ok"),
        ("wrap", "ok"),
        ("unwrap", "ok"),
    ]
    assert "development" in report.notes[0]


@pytest.mark.parametrize("reason", Reason)
async def test_no_way_to_the_kms_is_explained(reason):
    report = await checked("vault", UnreachableError(reason))

    assert not report.ok
    assert report.finding is not None
    assert (report.finding.step, report.finding.code) == ("wrap", 208)
    assert reason.value in report.finding.problem
    assert report.finding.remedy == WAY_THERE[reason].words
    assert report.finding.fixer == ("operator" if reason is Reason.REFUSED else "owner")
    assert [step.outcome for step in report.steps] == ["ok", "failed", "skipped"]


async def test_a_config_that_cannot_work_is_named_before_anybody_is_asked():
    wrong = decode_kms_config(
        msgspec.json.encode(
            {"type": "VAULT", "version": 1, **CONFIGS["vault"] | {"keyPath": {"address": "x", "keyName": "k"}}}
        )
    )

    report = await check(wrong, Runner(), CONTEXT)

    assert report.finding is not None
    assert (report.finding.step, report.finding.code, report.finding.fixer) == ("configuration", 207, "owner")
    assert [step.outcome for step in report.steps] == ["failed", "skipped", "skipped"]


async def test_a_key_that_comes_back_another_is_no_success(monkeypatch):
    from tenant_security.kms.local import LocalKmsKey

    def other(_self: LocalKmsKey, _blob: bytes) -> Flow[bytes]:
        yield from ()
        return bytes(32)

    monkeypatch.setattr(LocalKmsKey, "unwrap", other)
    report = await checked("local")

    assert report.finding is not None
    assert (report.finding.step, report.finding.code) == ("unwrap", 205)


@pytest.mark.parametrize("code", [code for code in Code if 204 <= code <= 210] + [Code.UNKNOWN_ERROR])
async def test_every_fault_has_a_remedy_and_keeps_what_the_provider_said(code):
    fault = KmsFaultError(code, "words", provider="vault", provider_code="TheirCode", request_id="r-1")
    report = await checked("vault", fault)

    assert report.finding is not None
    assert report.finding.code == code
    assert report.finding.remedy
    assert (report.finding.provider_code, report.finding.request_id) == ("TheirCode", "r-1")


@pytest.mark.parametrize("code", sorted(NO_IDENTITY))
async def test_an_identity_that_the_platform_does_not_give_is_the_operators_to_mend(code):
    fault = KmsFaultError(Code.KMS_AUTHORIZATION_FAILED, "words", provider="aws", provider_code=code)
    report = await checked("aws", fault)

    assert report.finding is not None
    assert report.finding.fixer == "operator"


async def test_a_missing_permission_is_named_exactly():
    needs = needs_of(config("aws"))

    assert "kms:Encrypt on alias/k" in remedy_of(Code.KMS_CONFIGURATION_INVALID, "wrap", needs).words
    assert "kms:Decrypt on alias/k" in remedy_of(Code.KMS_CONFIGURATION_INVALID, "unwrap", needs).words
    assert "sts:AssumeRole on arn:aws:iam::1:role/r" in remedy_of(Code.KMS_AUTHORIZATION_FAILED, "wrap", needs).words


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("aws", ["sts:AssumeRole", "kms:Encrypt", "kms:Decrypt"]),
        ("azure", ["keys/wrap/action", "keys/unwrap/action", "Key Vault Crypto User"]),
        ("gcp", ["getAccessToken", "useToEncrypt", "useToDecrypt"]),
        ("thales", ["EncryptWithKey", "DecryptWithKey"]),
        ("vault", ["transit/encrypt/k", "transit/decrypt/k"]),
    ],
)
async def test_every_provider_says_what_it_needs(provider, words):
    report = await checked(provider, UnreachableError(Reason.CONNECT))

    assert all(word in " ".join(report.needs) for word in words)


@pytest.mark.parametrize("provider", CONFIGS)
async def test_a_report_holds_no_secret(provider):
    report = await checked(provider, UnreachableError(Reason.CONNECT))

    assert b"canary" not in msgspec.json.encode(report)


def test_a_config_that_cannot_be_opened_is_reported_too():
    report = report_unreadable(TenantSecurityError(Code.KMS_CONFIGURATION_INVALID, "it cannot be opened"))

    assert report.finding is not None
    assert (report.ok, report.finding.problem) == (False, "it cannot be opened")


async def test_who_stops_waiting_stops_the_test():
    class Hanging:
        async def run(self, flow: Flow[bytes], *, deadline_s: float) -> bytes:
            assert isinstance(flow.send(None), Request)
            assert deadline_s
            await asyncio.Event().wait()
            raise AssertionError

    testing = asyncio.ensure_future(check(config("vault"), Hanging(), CONTEXT))
    await asyncio.sleep(0)
    testing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await testing


async def test_a_service_accounts_key_is_checked_wholly_and_not_on_the_loop(monkeypatch):
    from tenant_security.kms.gcp import private_key
    from tenant_security.kms.gcp.endpoints import invalid

    def look(_pem: object) -> None:
        assert threading.current_thread() is not threading.main_thread()
        raise invalid("credentials.private_key is no key that could sign")

    monkeypatch.setattr(private_key, "check", look)
    own = {"client_email": "a@b-c.iam.gserviceaccount.com", "private_key": "-----BEGIN PRIVATE KEY-----"}
    described = {"type": "GCP", "version": 1, **CONFIGS["gcp"] | {"credentials": own}}

    report = await check(decode_kms_config(msgspec.json.encode(described)), Runner(), CONTEXT)

    assert report.finding is not None
    assert (report.finding.step, report.finding.code) == ("configuration", 207)
    assert "could sign" in report.finding.problem
