"""A stage on which an AWS key plays against scripted answers, without a socket or a clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tenant_security.kms.aws.key import AwsKmsKey
from tenant_security.kms.provider import KmsContext
from tenant_security.outbound.flow import (
    Flow,
    Forget,
    Lasting,
    ReadFile,
    Request,
    Response,
    Shared,
    UnreachableError,
)
from tenant_security.wire.kms.aws import AwsKmsConfig
from tenant_security.wire.kms_configs import decode_kms_config

T = TypeVar("T")

KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/0123abcd-0000-1111-2222-333344445555"
ROLE_ARN = "arn:aws:iam::210987654321:role/unwrap"


class Stage:
    """Runs a flow, answering its requests from ``answers`` in order."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
        self.answers: list[Response | UnreachableError] = []
        self.requests: list[Request] = []
        self.kept: dict[object, Lasting[object]] = {}
        self.files: dict[Path, bytes] = {}
        self.environ: dict[str, str] = {}
        self.vendor_owned = False
        self.identities: frozenset[str] = frozenset()

    def key(self, *, key_id: str = KEY_ARN, region: str = "eu-central-1", **changes: object) -> AwsKmsKey:
        """A key whose configuration differs from the usual one in these members."""
        credentials = {"accessKeyId": "AKIDEXAMPLE", "secretAccessKey": "very/secret+key"}
        if changes.get("workloadIdentity"):
            credentials = {}
        credentials |= {
            name: changes.pop(name)
            for name in ("accessKeyId", "secretAccessKey", "sessionToken", "roleArn", "externalId", "workloadIdentity")
            if name in changes
        }
        config = {"type": "AWS", "version": 1, "credentials": credentials}
        config |= {"keyPath": {"keyID": key_id, "region": region}, **changes}
        decoded = decode_kms_config(msgspec.json.encode(config))
        assert isinstance(decoded, AwsKmsConfig)
        context = KmsContext(
            now=lambda: self.now,
            vendor_owned=self.vendor_owned,
            identities=self.identities,
            environ=self.environ,
        )
        return AwsKmsKey(decoded, context)

    def run(self, flow: Flow[T]) -> T:
        try:
            effect = flow.send(None)
            while True:
                match effect:
                    case Request():
                        self.requests.append(effect)
                        answer = self.answers.pop(0)
                        effect = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
                    case Shared(key, make):
                        if key not in self.kept:
                            self.kept[key] = self.run(make())
                        effect = flow.send(self.kept[key].value)
                    case Forget(key):
                        self.kept.pop(key, None)
                        effect = flow.send(None)
                    case ReadFile(path, _):
                        content = self.files.get(path)
                        effect = flow.throw(FileNotFoundError(path)) if content is None else flow.send(content)
        except StopIteration as end:
            return end.value

    def session(self, name: str = "ONE", lives: timedelta = timedelta(hours=1)) -> Response:
        """What STS answers to AssumeRole."""
        end = (self.now + lives).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Response(
            200,
            {},
            f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
              <AssumedRoleUser><Arn>arn:aws:sts::210987654321:assumed-role/unwrap/x</Arn></AssumedRoleUser>
              <Credentials><AccessKeyId>ASIA{name}</AccessKeyId><SecretAccessKey>secret-{name}</SecretAccessKey>
              <SessionToken>token-{name}</SessionToken><Expiration>{end}</Expiration></Credentials>
            </AssumeRoleResult></AssumeRoleResponse>""".encode(),
        )


@pytest.fixture
def stage() -> Stage:
    return Stage()
