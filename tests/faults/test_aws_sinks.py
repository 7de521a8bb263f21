"""CloudWatch Logs and S3 against moto, which checks every signature and permission, and against rigged answers."""

import asyncio
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest
from tests.faults.sink_worlds import happened, ids_of

from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Refused, Sink, SinkContext
from tenant_security.wire.sink_configs import decode_sink_config

REGION = "eu-central-1"
CLOUDWATCH = ("logs:PutLogEvents", "logs:CreateLogStream")
S3 = ("s3:PutObject",)
DAY_MS = 86_400_000


def sink(url: str, kind: str, access_key: tuple[str, ...], tenant: str = "acme", **changes: object) -> Sink:
    credentials = {"accessKeyId": access_key[1], "secretAccessKey": access_key[2], **changes.pop("credentials", {})}
    config = {
        "type": kind,
        "version": 1,
        "credentials": credentials,
        "region": REGION,
        "endpoint": url,
        "stsEndpoint": url,
    }
    context = SinkContext(now=lambda: datetime.now(UTC), tenant_id=tenant)
    return open_sink(decode_sink_config(msgspec.json.encode(config | changes)), context)


async def send(made: Sink, lines: list[bytes]) -> list[Outcome]:
    encoded = made.encode(lines)
    found: dict[int, Outcome] = dict(encoded.refused)
    async with Outbound(OutboundLimits(connect_s=5, attempt_s=20)) as outbound:
        for batch in encoded.batches:
            outcomes = await outbound.run(made.deliver(batch), deadline_s=30)
            found |= dict(zip(batch.indexes, outcomes, strict=True))
    return [found[index] for index in range(len(lines))]


def logged(moto: Any, group: str) -> list[dict[str, Any]]:
    with moto.client("logs") as logs:
        found = logs.get_log_events(logGroupName=group, logStreamName="tenant-security", startFromHead=True)
    return list(found["events"])


def group(moto: Any, name: str) -> str:
    with moto.client("logs") as logs:
        logs.create_log_group(logGroupName=name)
    return name


def bucket(moto: Any, name: str) -> str:
    with moto.client("s3") as s3:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def objects(moto: Any, name: str) -> dict[str, bytes]:
    with moto.client("s3") as s3:
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket=name).get("Contents", [])]
        return {key: s3.get_object(Bucket=name, Key=key)["Body"].read() for key in keys}


async def test_events_are_in_the_stream_which_is_made_when_it_is_missing(moto):
    made = sink(moto.url, "AWS_CLOUDWATCH", moto.user(*CLOUDWATCH), logGroup=group(moto, "/acme/usual"))
    lines = happened(50)
    assert await send(made, lines[::-1]) == [DELIVERED] * 50
    assert [each["message"].encode() for each in logged(moto, "/acme/usual")] == lines


async def test_events_of_several_days_go_in_several_batches(moto):
    made = sink(moto.url, "AWS_CLOUDWATCH", moto.user(*CLOUDWATCH), logGroup=group(moto, "/acme/days"))
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    lines = [line for days in range(5) for line in happened(2, first=days * 2, at_ms=now_ms - days * DAY_MS)]
    assert [batch.indexes for batch in made.encode(lines).batches] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert await send(made, lines) == [DELIVERED] * 10


async def test_events_that_are_too_old_are_delivered_with_a_time_that_is_taken(moto):
    made = sink(moto.url, "AWS_CLOUDWATCH", moto.user(*CLOUDWATCH), logGroup=group(moto, "/acme/old"))
    long_ago = round((datetime.now(UTC) - timedelta(days=40)).timestamp() * 1000)
    lines = happened(3, at_ms=long_ago)
    assert await send(made, lines) == [DELIVERED] * 3
    stored = logged(moto, "/acme/old")
    assert [each["message"].encode() for each in stored] == lines
    assert min(each["timestamp"] for each in stored) > long_ago + 20 * DAY_MS


async def test_a_log_group_that_is_missing_blocks_and_is_named(moto):
    made = sink(moto.url, "AWS_CLOUDWATCH", moto.user(*CLOUDWATCH), logGroup="/acme/missing")
    [outcome] = await send(made, happened(1))
    assert isinstance(outcome, Later)
    assert outcome.blocked
    assert "logGroup" in outcome.why


@pytest.mark.parametrize("kind", ["AWS_CLOUDWATCH", "AWS_S3"])
async def test_a_key_that_may_not_blocks(moto, kind):
    where = {"logGroup": group(moto, "/acme/denied")} if kind == "AWS_CLOUDWATCH" else {"bucket": "acme-denied"}
    if kind == "AWS_S3":
        bucket(moto, "acme-denied")
    user = moto.user("kms:Encrypt")
    [outcome] = await send(sink(moto.url, kind, user, **where), happened(1))
    assert isinstance(outcome, Later)
    assert outcome.blocked
    assert user.access_key_id not in outcome.why


@pytest.mark.parametrize("kind", ["AWS_CLOUDWATCH", "AWS_S3"])
async def test_a_role_is_assumed(moto, kind):
    name = {"AWS_CLOUDWATCH": "/acme/role", "AWS_S3": "acme-role"}[kind]
    where = {"logGroup": group(moto, name)} if kind == "AWS_CLOUDWATCH" else {"bucket": bucket(moto, name)}
    role = moto.role(*CLOUDWATCH, *S3)
    user = moto.user("sts:AssumeRole")
    made = sink(moto.url, kind, user, credentials={"roleArn": role, "externalId": "acme-7"}, **where)
    assert await send(made, happened(2)) == [DELIVERED] * 2


async def test_a_file_is_written_once_under_a_name_that_says_what_is_in_it(moto):
    made = sink(moto.url, "AWS_S3", moto.user(*S3), bucket=bucket(moto, "acme-logs"), prefix="a/b'c/")
    lines = happened(500, at_ms=1_795_512_600_000)
    for _ in range(2):
        assert await send(made, lines) == [DELIVERED] * 500
    [(key, content)] = objects(moto, "acme-logs").items()
    assert key.startswith("a/b'c/tenant=acme/dt=2026-11-24/hour=09/1795512600000-1795512600499-")
    assert key.endswith(".jsonl.gz")
    assert gzip.decompress(content).splitlines() == lines


async def test_a_tenants_name_cannot_leave_its_directory(moto):
    made = sink(moto.url, "AWS_S3", moto.user(*S3), "../../b c/\u00e9", bucket=bucket(moto, "acme-names"))
    assert await send(made, happened(1)) == [DELIVERED]
    [key] = objects(moto, "acme-names")
    assert key.startswith("tenant=..=2F..=2Fb=20c=2F=C3=A9/dt=")


async def test_a_bucket_that_is_missing_blocks_and_is_named(moto):
    [outcome] = await send(sink(moto.url, "AWS_S3", moto.user(*S3), bucket="acme-nowhere"), happened(1))
    assert isinstance(outcome, Later)
    assert outcome.blocked
    assert "bucket" in outcome.why


async def test_a_key_that_was_taken_back_blocks(moto):
    user = moto.user(*S3)
    made = sink(moto.url, "AWS_S3", user, bucket=bucket(moto, "acme-revoked"))
    assert await send(made, happened(1)) == [DELIVERED]
    moto.revoke(user)
    [outcome] = await send(made, happened(1, first=1))
    assert isinstance(outcome, Later)
    assert outcome.blocked


async def test_security_lake_gets_a_file_of_parquet_for_each_class_and_day(moto):
    lake = bucket(moto, "aws-security-data-lake-eu")
    made = sink(moto.url, "AWS_SECURITY_LAKE", moto.user(*S3), bucket=lake, accountId="123456789012")
    at_ms = 1_795_512_600_000
    lines = happened(3, at_ms=at_ms) + happened(2, first=3, at_ms=at_ms + DAY_MS)
    lines += [line.replace(b"USER_LOGIN", b"DEK_UNWRAP") for line in happened(2, first=5, at_ms=at_ms)]
    for _ in range(2):
        assert await send(made, lines) == [DELIVERED] * 7
    found = objects(moto, lake)
    within = "region=eu-central-1/accountId=123456789012/eventDay="
    assert sorted(key.rsplit("/", 1)[0] for key in found) == [
        f"ext/tenant-security-3002/{within}20261124",
        f"ext/tenant-security-3002/{within}20261125",
        f"ext/tenant-security-6003/{within}20261124",
    ]
    rows = [row for content in found.values() for row in pq.read_table(io.BytesIO(content)).to_pylist()]
    assert {row["metadata"]["uid"] for row in rows} == set(ids_of(lines))


# Answers that moto does not give.


def says(status: int, body: object) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def step(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)

    return step


USER = ("u", "AKID", "s")


async def test_events_that_cloudwatch_rejects_are_refused_and_the_others_are_not(rigged):
    rigged.script = [says(200, {"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 4}})]
    lines = happened(5)
    outcomes = await send(sink(rigged.url, "AWS_CLOUDWATCH", USER, logGroup="g"), lines[::-1])
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [True, False, False, True, True]


@pytest.mark.parametrize("code", ["ThrottlingException", "ServiceUnavailableException", "OperationAbortedException"])
async def test_a_throttled_cloudwatch_gets_its_events_later(rigged, code):
    rigged.script = [says(400, {"__type": f"com.amazonaws.logs#{code}"})]
    [outcome] = await send(sink(rigged.url, "AWS_CLOUDWATCH", USER, logGroup="g"), happened(1))
    assert isinstance(outcome, Later)
    assert not outcome.blocked
    assert code in outcome.why


async def test_one_event_that_cloudwatch_does_not_take_stands_alone_in_the_end(rigged):
    bad = {"__type": "InvalidParameterException"}
    rigged.script = [says(400, bad), says(400, bad), says(200, {}), says(400, bad), says(200, {})]
    outcomes = await send(sink(rigged.url, "AWS_CLOUDWATCH", USER, logGroup="g"), happened(4))
    assert [type(outcome).__name__ for outcome in outcomes] == ["Delivered", "Refused", "Delivered", "Delivered"]


@pytest.mark.parametrize(
    ("status", "code", "blocked"),
    [
        (503, "SlowDown", False),
        (500, "InternalError", False),
        (409, "ConditionalRequestConflict", False),
        (301, "PermanentRedirect", True),
        (403, "SignatureDoesNotMatch", True),
        (400, "EntityTooLarge", True),
    ],
)
async def test_what_s3_says_is_told_in_plain_words(rigged, status, code, blocked):
    rigged.script = [says(status, f"<Error><Code>{code}</Code><Message>about acme</Message></Error>".encode())]
    [outcome] = await send(sink(rigged.url, "AWS_S3", USER, bucket="acme-logs"), happened(1))
    assert isinstance(outcome, Later)
    assert outcome.blocked is blocked
    assert "about acme" not in outcome.why


async def test_temporary_keys_that_ended_are_replaced_once(rigged):
    def session(name: str) -> bytes:
        end = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"""<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIA{name}</AccessKeyId>
          <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{end}</Expiration>
          </Credentials></AssumeRoleResult></AssumeRoleResponse>""".encode()

    expired = b"<Error><Code>ExpiredToken</Code></Error>"
    rigged.script = [says(200, session("ONE")), says(400, expired), says(200, session("TWO")), says(200, b"")]
    credentials = {"roleArn": "arn:aws:iam::210987654321:role/logs"}
    made = sink(rigged.url, "AWS_S3", USER, bucket="acme-logs", credentials=credentials)
    assert await send(made, happened(1)) == [DELIVERED]
    assert len(rigged.requests) == 4
