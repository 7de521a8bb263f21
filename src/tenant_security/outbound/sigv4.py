"""AWS Signature Version 4, by botocore's signer.

Only the signer's public steps are used. Its ``add_auth`` is not: it reads the clock itself, and at debug level it logs
the canonical request, session token included. The credentials type is ours, because botocore's costs another megabyte
and a half of imports for what is three attributes here.

Source: AWS IAM User Guide, "Create a signed AWS API request"; docs/decisions/0004-outbound-http-and-aws-signing.md.
"""

from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest

from tenant_security.outbound.flow import Request
from tenant_security.secret import Secret

if TYPE_CHECKING:
    from http.client import HTTPMessage

    from botocore.credentials import ReadOnlyCredentials

_S3: Final = "s3"
_DIGEST_TOO: Final = frozenset({_S3, "es", "aoss"})
"""Services that want the digest of the body as a header too.

Source: Amazon S3 API reference, "Authenticating requests"; OpenSearch Service developer guide, "Ingesting data into
Serverless collections".
"""
_COLLECTED: Final = "headers to sign"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


class _Credentials(NamedTuple):
    """What the signer reads of botocore's own credentials type."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        """Say whose they are, and no secret."""
        return f"{type(self).__name__}({self.access_key!r})"


class _Signer(SigV4Auth):
    """botocore's signer without two detours, for a request whose body is bytes and whose headers stay as they are.

    It prepares a whole second request to find the body, and collects the headers each time it needs them: a third of
    what a signature costs. The tests compare every signature with botocore's own.
    """

    def payload(self, request: AWSRequest) -> str:
        """Digest the body."""
        return sha256(cast("bytes", request.data)).hexdigest()

    def headers_to_sign(self, request: AWSRequest) -> "HTTPMessage":
        """Collect the headers once."""
        found: HTTPMessage | None = request.context.get(_COLLECTED)
        if found is None:
            found = request.context[_COLLECTED] = super().headers_to_sign(request)
        return found


class _S3Signer(_Signer, S3SigV4Auth):
    """The same of Amazon S3, which takes paths as they stand."""


def sign(
    request: Request,
    *,
    access_key_id: str,
    secret_access_key: Secret[str],
    session_token: Secret[str] | None,
    service: str,
    region: str,
    now: datetime,
) -> Request:
    """Return the request with the headers that prove who sends it: date, session token, authorization.

    The signature covers method, address, body and every header of the request, so none may change on the way. It is
    good for five minutes around ``now``.
    """
    if now.tzinfo is None:
        raise ValueError("the time of a signature needs a time zone")
    token = None if session_token is None else session_token.reveal()
    credentials = _Credentials(access_key_id, secret_access_key.reveal(), token)
    timestamp = now.astimezone(UTC).strftime(SIGV4_TIMESTAMP)
    headers = [*request.headers, ("X-Amz-Date", timestamp)]
    if token is not None:
        headers.append(("X-Amz-Security-Token", token))
    if service in _DIGEST_TOO:
        headers.append(("X-Amz-Content-SHA256", sha256(request.body).hexdigest()))
    signer = (_S3Signer if service == _S3 else _Signer)(cast("ReadOnlyCredentials", credentials), service, region)
    theirs = AWSRequest(request.method, request.url, dict(headers), request.body)
    theirs.context["timestamp"] = timestamp
    to_sign = signer.string_to_sign(theirs, signer.canonical_request(theirs))
    authorization = (
        f"{_ALGORITHM} Credential={signer.scope(theirs)}, "
        f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(theirs))}, "
        f"Signature={signer.signature(to_sign, theirs)}"
    )
    return Request(
        request.method,
        request.url,
        (*headers, ("Authorization", authorization)),
        request.body,
        request.cap_bytes,
        request.authorities,
        request.of_operator,
    )
