"""AWS KMS with everything that can go wrong between us and it."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import boto3
import pytest
import trustme
from tests.faults.conftest import Moto

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.caller import KmsCaller, KmsCallRecord
from tenant_security.kms.catalog import open_key
from tenant_security.kms.provider import KmsContext, KmsKey
from tenant_security.kms.resilience import CallLimits
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.wire.kms_configs import decode_kms_config

DEK = bytes(range(32))
KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/0123abcd"
BOTH = ("kms:Encrypt", "kms:Decrypt")


def aws_key(url: str, key_arn: str = KEY_ARN, access_key: tuple[str, ...] = ("u", "AKID", "s"), **more: str) -> KmsKey:
    credentials = {"accessKeyId": access_key[1], "secretAccessKey": access_key[2], **more}
    config = {
        "type": "AWS",
        "version": 1,
        "credentials": credentials,
        "keyPath": {"keyID": key_arn, "region": "eu-central-1"},
        "endpoint": url,
        "stsEndpoint": url,
    }
    return open_key(decode_kms_config(json.dumps(config).encode()), KmsContext(now=lambda: datetime.now(UTC)))


class World:
    """A caller with a short patience."""

    def __init__(self, outbound: Outbound, *, deadline_s: float) -> None:
        self.outbound = outbound
        self.records: list[KmsCallRecord] = []
        limits = CallLimits(deadline_s=deadline_s, retry_pause_min_s=0, retry_pause_max_s=0)
        self.caller = KmsCaller(outbound, limits, observe=self.records.append)

    async def wrap(self, key: KmsKey) -> bytes:
        return await self.caller.wrap("tenant", key, DEK)

    async def unwrap(self, key: KmsKey, blob: bytes) -> bytes:
        return await self.caller.unwrap("tenant", key, blob)

    async def wrap_refused(self, key: KmsKey) -> Code:
        with pytest.raises(TenantSecurityError) as caught:
            await self.wrap(key)
        assert "AKID" not in caught.value.message
        assert len(self.caller.bulkhead) == 0
        return caught.value.code

    async def unwrap_refused(self, key: KmsKey, blob: bytes) -> Code:
        with pytest.raises(TenantSecurityError) as caught:
            await self.unwrap(key, blob)
        return caught.value.code


@pytest.fixture
async def patient() -> AsyncIterator[World]:
    """For peers that answer."""
    async with Outbound(OutboundLimits(attempt_s=10)) as outbound:
        yield World(outbound, deadline_s=20)


@pytest.fixture
async def hasty() -> AsyncIterator[World]:
    """For peers that do not: two attempts fit into the deadline."""
    async with Outbound(OutboundLimits(attempt_s=0.15)) as outbound:
        yield World(outbound, deadline_s=0.6)


# A real peer: moto checks the signature, the access key, the session and the permission of every call.


async def test_a_key_is_wrapped_and_unwrapped(moto, patient):
    key = aws_key(moto.url, moto.key(), moto.user(*BOTH))

    blob = await patient.wrap(key)

    assert DEK not in blob
    assert await patient.unwrap(key, blob) == DEK
    assert [record.outcome for record in patient.records] == ["ok", "ok"]


async def test_blobs_are_those_of_aws_itself(moto, patient):
    """What we wrap the vendor's SDK unwraps, and the other way round."""
    arn = moto.key()
    key = aws_key(moto.url, arn, moto.user(*BOTH))
    blob = await patient.wrap(key)

    with moto.client("kms") as kms:
        assert kms.decrypt(KeyId=arn, CiphertextBlob=blob)["Plaintext"] == DEK
        theirs = kms.encrypt(KeyId=arn, Plaintext=DEK[::-1])["CiphertextBlob"]
    assert await patient.unwrap(key, theirs) == DEK[::-1]


async def test_an_alias_names_a_key(moto, patient):
    arn = moto.key()
    with moto.client("kms") as kms:
        kms.create_alias(AliasName="alias/for-the-test", TargetKeyId=arn)
    key = aws_key(moto.url, "alias/for-the-test", moto.user(*BOTH))

    assert await patient.unwrap(key, await patient.wrap(key)) == DEK


async def test_a_role_is_assumed_once_for_many_calls(moto, patient):
    user, role = moto.user("sts:AssumeRole"), moto.role(*BOTH)
    key = aws_key(moto.url, moto.key(), user, roleArn=role, externalId="tenant-42")

    blobs = await asyncio.gather(*(patient.wrap(key) for _ in range(10)))

    assert await patient.unwrap(key, blobs[9]) == DEK
    assert patient.outbound.traffic.requests == 1 + 10 + 1


def temporary_keys(moto: Moto, *actions: str) -> dict[str, str]:
    """Temporary keys of a role that may do these things."""
    user = moto.user("sts:AssumeRole")
    sts = boto3.client(
        "sts",
        region_name="eu-central-1",
        endpoint_url=moto.url,
        aws_access_key_id=user.access_key_id,
        aws_secret_access_key=user.secret_access_key,
    )
    keys = sts.assume_role(RoleArn=moto.role(*actions), RoleSessionName="test")["Credentials"]
    sts.close()
    return keys


async def test_temporary_keys_of_the_configuration_are_used(moto, patient):
    temporary = temporary_keys(moto, *BOTH)
    access_key = ("", temporary["AccessKeyId"], temporary["SecretAccessKey"])

    key = aws_key(moto.url, moto.key(), access_key, sessionToken=temporary["SessionToken"])
    assert await patient.unwrap(key, await patient.wrap(key)) == DEK

    forged = aws_key(moto.url, moto.key(), access_key, sessionToken="forged")
    assert await patient.wrap_refused(forged) is Code.KMS_AUTHORIZATION_FAILED


async def test_a_wrong_secret_is_refused(moto, patient):
    user = moto.user(*BOTH)._replace(secret_access_key="wrong")

    assert await patient.wrap_refused(aws_key(moto.url, moto.key(), user)) is Code.KMS_AUTHORIZATION_FAILED
    assert patient.records[0].provider_code == "SignatureDoesNotMatch"


async def test_a_revoked_access_key_is_refused(moto, patient):
    user = moto.user(*BOTH)
    key = aws_key(moto.url, moto.key(), user)
    blob = await patient.wrap(key)
    moto.revoke(user)

    assert await patient.unwrap_refused(key, blob) is Code.KMS_AUTHORIZATION_FAILED


async def test_a_role_that_may_not_be_assumed_is_refused(moto, patient):
    key = aws_key(moto.url, moto.key(), moto.user(*BOTH), roleArn=moto.role(*BOTH))

    assert await patient.wrap_refused(key) is Code.KMS_AUTHORIZATION_FAILED


async def test_a_missing_permission_is_a_matter_of_the_configuration(moto, patient):
    key = aws_key(moto.url, moto.key(), moto.user("kms:Encrypt"))
    blob = await patient.wrap(key)

    assert await patient.unwrap_refused(key, blob) is Code.KMS_CONFIGURATION_INVALID


async def test_a_missing_key_is_a_matter_of_the_configuration(moto, patient):
    key = aws_key(moto.url, KEY_ARN, moto.user(*BOTH))

    assert await patient.wrap_refused(key) is Code.KMS_CONFIGURATION_INVALID
    assert patient.records[0].provider_code == "NotFoundException"


async def test_an_altered_blob_cannot_be_unwrapped(moto, patient):
    key = aws_key(moto.url, moto.key(), moto.user(*BOTH))
    blob = await patient.wrap(key)

    assert await patient.unwrap_refused(key, blob[:-1] + bytes([blob[-1] ^ 1])) is Code.KMS_UNWRAP_FAILED


# A rigged peer: for what no honest server does on demand.


def answer(status: int, body: bytes, *headers: str):
    async def step(writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "x-amzn-RequestId: r-1", *headers, "", ""]
        writer.write("\r\n".join(head).encode() + body)

    return step


def error(status: int, code: str, *headers: str):
    return answer(
        status, json.dumps({"__type": f"com.amazonaws.kms#{code}", "message": "their words"}).encode(), *headers
    )


def success(key_arn: str = KEY_ARN, plaintext: bytes = DEK):
    body = {"CiphertextBlob": base64.b64encode(b"blob").decode(), "KeyId": key_arn}
    return answer(200, json.dumps(body | {"Plaintext": base64.b64encode(plaintext).decode()}).encode())


def session(name: str = "ONE"):
    end = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return answer(
        200,
        f"<r><Credentials><AccessKeyId>ASIA{name}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
        f"<SessionToken>t</SessionToken><Expiration>{end}</Expiration></Credentials></r>".encode(),
    )


def raw(reply: bytes):
    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        writer.close()

    return step


def reset(after: bytes):
    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(after)
        await writer.drain()
        writer.transport.abort()

    return step


async def hang(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b" ")
        await asyncio.sleep(0.01)


async def pour(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
        await writer.drain()


@pytest.mark.parametrize(
    ("step", "code", "attempts"),
    [
        (error(400, "DisabledException"), Code.KMS_CONFIGURATION_INVALID, 1),
        (error(400, "KMSInvalidStateException"), Code.KMS_CONFIGURATION_INVALID, 1),
        (error(400, "UnrecognizedClientException"), Code.KMS_AUTHORIZATION_FAILED, 1),
        (error(400, "ThrottlingException"), Code.KMS_THROTTLED, 1),
        (error(403, "OptInRequired"), Code.KMS_ACCOUNT_ISSUE, 1),
        (error(400, "BrandNewException"), Code.KMS_WRAP_FAILED, 1),
        (error(400, "RequestTimeTooSkewed"), Code.UNKNOWN_ERROR, 1),
        (error(500, "KMSInternalException"), Code.KMS_UNREACHABLE, 2),
        (error(500, "DependencyTimeoutException"), Code.KMS_UNREACHABLE, 2),
        (answer(503, b"<html>busy</html>"), Code.KMS_UNREACHABLE, 2),
        (answer(302, b"", "Location: http://127.0.0.1:1/"), Code.KMS_WRAP_FAILED, 1),
        (answer(200, b"<html>welcome to our portal</html>"), Code.KMS_WRAP_FAILED, 1),
        (answer(200, b"\x00\xff" * 100), Code.KMS_WRAP_FAILED, 1),
        (success(key_arn=KEY_ARN + "9"), Code.KMS_WRAP_FAILED, 1),
        (raw(b"\x16\x03\x01 this is not HTTP\r\n\r\n"), Code.KMS_UNREACHABLE, 2),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"), Code.KMS_UNREACHABLE, 2),
        (reset(b""), Code.KMS_UNREACHABLE, 2),
        (reset(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"), Code.KMS_UNREACHABLE, 2),
        (pour, Code.KMS_UNREACHABLE, 2),
        (answer(200, b" " * 100_000), Code.KMS_UNREACHABLE, 2),
        (hang, Code.KMS_UNREACHABLE, 2),
        (drip, Code.KMS_UNREACHABLE, 2),
    ],
    ids=[
        "disabled", "pending deletion", "unknown access key", "throttled", "no subscription", "unknown code", "clock",
        "internal error", "key store timeout", "503", "redirect", "portal", "noise", "another key", "not http",
        "half an answer", "reset", "reset amid", "endless body", "huge body", "no answer", "dripping answer",
    ],
)  # fmt: skip
async def test_every_misfortune_has_its_code_and_its_number_of_attempts(rigged, hasty, step, code, attempts):
    rigged.script = [step]

    assert await hasty.wrap_refused(aws_key(rigged.url)) is code

    assert len(rigged.requests) == attempts
    assert hasty.records[0].outcome == str(code.value)
    assert hasty.records[0].retried is (attempts == 2)


@pytest.mark.parametrize("plaintext", [b"", DEK[:31], DEK + b"x"])
async def test_a_key_of_another_length_is_not_handed_on(rigged, hasty, plaintext):
    rigged.script = [success(plaintext=plaintext)]

    assert await hasty.unwrap_refused(aws_key(rigged.url), b"blob") is Code.KMS_UNWRAP_FAILED
    assert len(rigged.requests) == 1


async def test_a_throttled_caller_is_told_when_to_come_back(rigged, hasty):
    rigged.script = [error(400, "ThrottlingException", "Retry-After: 7")]

    with pytest.raises(TenantSecurityError) as caught:
        await hasty.wrap(aws_key(rigged.url))
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("first", [error(500, "KMSInternalException"), reset(b""), answer(503, b""), hang])
async def test_one_misfortune_is_survived(rigged, hasty, first):
    rigged.script = [first, success()]

    assert await hasty.wrap(aws_key(rigged.url)) == b"blob"
    assert hasty.records[0].outcome == "ok"
    assert hasty.records[0].retried


async def test_a_connection_that_died_while_unused_is_survived(rigged, patient):
    rigged.script = [success(), reset(b""), success()]
    key = aws_key(rigged.url)
    await patient.wrap(key)

    assert await patient.wrap(key) == b"blob"
    assert rigged.connections == 2


async def test_nobody_at_the_address(patient):
    assert await patient.wrap_refused(aws_key("http://127.0.0.1:1")) is Code.KMS_UNREACHABLE
    assert patient.records[0].provider_code == "CONNECT"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_that_proves_nothing_is_never_talked_to(rigged, trusted):
    authority = trustme.CA()
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (authority if trusted else trustme.CA()).issue_cert("localhost").configure_cert(theirs)
    imposter = type(rigged)()
    imposter.script = [success()]
    await imposter.start(theirs)
    try:
        async with Outbound(ssl_context=ours) as outbound:
            world = World(outbound, deadline_s=10)
            key = aws_key(f"https://localhost:{imposter.port}")
            if trusted:
                assert await world.wrap(key) == b"blob"
            else:
                assert await world.wrap_refused(key) is Code.KMS_UNREACHABLE
                assert world.records[0].provider_code == "TLS"
                assert imposter.requests == []
    finally:
        await imposter.stop()


async def test_two_hundred_first_calls_assume_the_role_once(rigged, patient):
    rigged.script = [session(), success()]
    key = aws_key(rigged.url, roleArn="arn:aws:iam::1:role/r")

    blobs = await asyncio.gather(*(patient.wrap(key) for _ in range(200)))

    assert set(blobs) == {b"blob"}
    assert len(rigged.requests) == 201
    assert sum(b"Action=AssumeRole" in request for request in rigged.requests) == 1


async def test_expired_temporary_keys_are_renewed_within_the_call(rigged, patient):
    rigged.script = [session(), error(400, "ExpiredTokenException"), session("TWO"), success()]

    assert await patient.wrap(aws_key(rigged.url, roleArn="arn:aws:iam::1:role/r")) == b"blob"
    assert not patient.records[0].retried


async def test_a_silent_sts_is_an_unreachable_kms(rigged, hasty):
    rigged.script = [hang]

    code = await hasty.wrap_refused(aws_key(rigged.url, roleArn="arn:aws:iam::1:role/r"))

    assert code is Code.KMS_UNREACHABLE
    assert len(rigged.requests) == 2


async def test_a_stumbling_sts_is_survived(rigged, hasty):
    rigged.script = [answer(503, b""), session(), success()]

    assert await hasty.wrap(aws_key(rigged.url, roleArn="arn:aws:iam::1:role/r")) == b"blob"


# -- the proxy's own identity, with a platform on this machine and moto for AWS ----------------------------------------


def given(keys: dict[str, str]) -> bytes:
    """What a container's endpoint and an instance's metadata say."""
    ends = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    kept = {"AccessKeyId": keys["AccessKeyId"], "SecretAccessKey": keys["SecretAccessKey"]}
    return json.dumps({"Code": "Success", "Token": keys["SessionToken"], "Expiration": ends} | kept).encode()


def own_key(url: str, key_arn: str, environ: dict[str, str], **role: str) -> KmsKey:
    config = {
        "type": "AWS",
        "version": 1,
        "credentials": {"workloadIdentity": True, **role},
        "keyPath": {"keyID": key_arn, "region": "eu-central-1"},
        "endpoint": url,
        "stsEndpoint": url,
    }
    context = KmsContext(
        now=lambda: datetime.now(UTC), vendor_owned=True, identities=frozenset({"aws"}), environ=environ
    )
    return open_key(decode_kms_config(json.dumps(config).encode()), context)


async def test_a_containers_role_opens_the_vendors_key(moto, rigged, patient):
    rigged.script = [answer(200, given(temporary_keys(moto, *BOTH)))]
    key = own_key(moto.url, moto.key(), {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{rigged.url}/creds"})

    blobs = await asyncio.gather(*(patient.caller.wrap(f"tenant-{n}", key, DEK) for n in range(20)))

    assert await patient.unwrap(key, blobs[0]) == DEK
    assert len(rigged.requests) == 1


async def test_an_instances_role_assumes_a_role_to_open_a_key(moto, rigged, patient):
    keys = given(temporary_keys(moto, "sts:AssumeRole"))
    rigged.script = [answer(200, b"session"), answer(200, b"proxy"), answer(200, keys)]
    environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": rigged.url}
    key = own_key(moto.url, moto.key(), environ, roleArn=moto.role(*BOTH), externalId="acme")

    assert await patient.unwrap(key, await patient.wrap(key)) == DEK

    assert len(rigged.requests) == 3


@pytest.mark.parametrize("step", [answer(404, b""), answer(200, b"<html>"), answer(500, b"")])
async def test_a_platform_that_gives_nothing_is_told_and_not_tried_again(rigged, hasty, step):
    rigged.script = [step]
    key = own_key(rigged.url, KEY_ARN, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{rigged.url}/creds"})

    assert await hasty.wrap_refused(key) is Code.KMS_AUTHORIZATION_FAILED

    assert len(rigged.requests) == 1
