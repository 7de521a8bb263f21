"""Amazon S3: compressed files of lines, each written once.

A file's name follows from what is in it, and it is written only where there is none: the same batch sent again is the
same file and never a second one.

Shape: ``<prefix>tenant=<tenant>/dt=2026-11-24/hour=09/<first>-<last>-<digest>.jsonl.gz``, times of the events in UTC.

Source: Amazon S3 API reference, "PutObject", "Conditional writes", "Checking object integrity".
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

from tenant_security.outbound.flow import Flow, Request, Response
from tenant_security.sinks.aws import AwsAccount, endpoint, error_code, refusal
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.http import compressed
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase, batch_id
from tenant_security.sinks.sink import DELIVERED, Later, Limits, Piece, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.sinks.aws import AwsSinkMembers, S3SinkConfig, SecurityLakeSinkConfig

_OK: Final = 200
_PRECONDITION_FAILED: Final = 412
_CAP_BYTES: Final = 65_536


class Bucket:
    """One bucket that objects are put into."""

    def __init__(self, config: S3SinkConfig | SecurityLakeSinkConfig, context: SinkContext) -> None:
        self._account = AwsAccount(config.credentials, config.region, config.sts_endpoint, context.now)
        self._base = _address(config, config.bucket)

    def put(self, key: str, content: bytes, kind: str) -> Flow[Response]:
        """Write an object where there is none. Raises: SignInError, UnreachableError."""
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        headers = (
            ("Content-Type", kind),
            ("If-None-Match", "*"),
            ("x-amz-checksum-sha256", digest),
        )
        url = self._base + quote(key, safe="/=-_.~")
        return self._account.call("s3", Request("PUT", url, headers, content, _CAP_BYTES))


class S3Sink(SinkBase):
    """One prefix of one bucket."""

    kind = "s3"
    title = "Amazon S3"

    def __init__(self, config: S3SinkConfig, context: SinkContext, limits: Limits = LIMITS["AWS_S3"]) -> None:
        super().__init__(limits, config.filter, context)
        self._bucket = Bucket(config, context)
        self._prefix = f"{config.prefix}tenant={path_part(context.tenant_id)}/"
        self._format = JSON_FORMATS[config.format]

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:  # noqa: ARG002 - the event says its own time
        """Return one line, without its end."""
        return self._format(event)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Write one file."""
        content = yield from compressed(b"".join(piece.body + b"\n" for piece in pieces))
        return (yield from put_once(self._bucket, self.title, self._key(pieces), content, "application/gzip"))

    def _key(self, pieces: Sequence[Piece]) -> str:
        first = datetime.fromtimestamp(pieces[0].time_ms / 1000, UTC)
        return f"{self._prefix}dt={first:%Y-%m-%d}/hour={first:%H}/{object_name(pieces)}.jsonl.gz"


def put_once(bucket: Bucket, title: str, key: str, content: bytes, kind: str) -> Flow[Answer]:
    """Write an object; one that is there already is the same. Raises: UnreachableError."""
    response = yield from bucket.put(key, content, kind)
    if response.status in {_OK, _PRECONDITION_FAILED}:
        return DELIVERED
    code = error_code(response)
    if code in {
        "NoSuchBucket",
        "PermanentRedirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    }:
        return Later(f"{title} has no such bucket in this region ({code}). Check bucket and region.", blocked=True)
    if code == "ConditionalRequestConflict":
        return Later(f"{title} is just writing the same object.")
    return refusal(title, response)


def object_name(pieces: Sequence[Piece]) -> str:
    """Return a name that says when its events were and that the same events always have."""
    times = [piece.time_ms for piece in pieces]
    return f"{min(times)}-{max(times)}-{batch_id(pieces)}"


def path_part(text: str) -> str:
    """Return a tenant's name as one part of a path; what is not plain is escaped with ``=``."""
    return quote(text, safe="-_.~").replace("%", "=") if text else "none"


def _address(config: AwsSinkMembers, bucket: str) -> str:
    base = endpoint("s3", config.region, config.endpoint, "endpoint")
    # A name with dots has no certificate of its own under Amazon's.
    if config.endpoint is not None or "." in bucket:
        return f"{base}{bucket}/"
    return base.replace("https://", f"https://{bucket}.", 1)
