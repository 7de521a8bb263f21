"""Temporary AWS keys: assumes the role that a tenant lets us play, through the regional STS.

Source: AWS STS API reference, "AssumeRole"; IAM User Guide, "Access to AWS accounts owned by third parties".
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from tenant_security.kms.aws.errors import fault, unusable
from tenant_security.kms.aws.xml import leaves
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.flow import Flow, Lasting, Request, Response, send
from tenant_security.outbound.sigv4 import sign
from tenant_security.secret import Secret

SESSION_NAME: Final = "tenant-security-proxy"
"""How the proxy's calls appear in the tenant's CloudTrail: ``assumed-role/<role>/tenant-security-proxy``."""

SESSION_S: Final = 3600
"""How long temporary keys live. Every role allows an hour; less means more calls to STS."""

EARLY_S: Final = 300.0
"""How long before their end temporary keys are no longer used, so that none ends on its way."""

_CAP_BYTES: Final = 65_536
_OK: Final = 200


class Identity(NamedTuple):
    """An access key: who signs."""

    access_key_id: str
    secret_access_key: Secret[str]
    session_token: Secret[str] | None

    @property
    def is_plain(self) -> bool:
        """Whether every part is printable ASCII without spaces, as AWS's are; nothing else may go into a header."""
        token = "" if self.session_token is None else self.session_token.reveal()
        text = self.access_key_id + self.secret_access_key.reveal() + token
        return bool(self.access_key_id) and text.isascii() and text.isprintable() and " " not in text


class Role(NamedTuple):
    """A role to assume, by whom and where."""

    arn: str
    external_id: str | None
    caller: Identity
    endpoint: str
    region: str

    def key(self) -> bytes:
        """The name under which the role's temporary keys are shared.

        It is a digest over everything that proves the right to them, the secret included: whoever merely knows a
        tenant's role and access key id does not share its keys.
        """
        token = self.caller.session_token
        parts = [
            self.arn,
            self.external_id,
            self.caller.access_key_id,
            self.caller.secret_access_key.reveal(),
            None if token is None else token.reveal(),
            self.endpoint,
            self.region,
        ]
        return b"aws-role:" + hashlib.sha256(msgspec.json.encode(parts)).digest()


def assume(role: Role, now: Callable[[], datetime]) -> Flow[Lasting[Identity]]:
    """Get temporary keys for the role.

    Raises: KmsFaultError 206-210, 100 when our clock is wrong; UnreachableError.
    """
    form = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": role.arn,
        "RoleSessionName": SESSION_NAME,
        "DurationSeconds": str(SESSION_S),
    }
    if role.external_id is not None:
        form["ExternalId"] = role.external_id
    headers = (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),)
    request = Request("POST", role.endpoint, headers, urlencode(form).encode(), _CAP_BYTES)
    response = yield from send(sign(request, **role.caller._asdict(), service="sts", region=role.region, now=now()))
    if response.status != _OK:
        raise fault(Phase.TOKEN, response)
    return _read(response, now())


def _read(response: Response, now: datetime) -> Lasting[Identity]:
    found = leaves(response.body)
    try:
        identity = Identity(found["AccessKeyId"], Secret(found["SecretAccessKey"]), Secret(found["SessionToken"]))
        left_s = (datetime.fromisoformat(found["Expiration"]) - now).total_seconds()
    except (KeyError, ValueError, TypeError):  # TypeError: an expiration without a time zone
        raise unusable(Phase.TOKEN, "the answer holds no temporary keys", response) from None
    if not identity.is_plain:
        raise unusable(Phase.TOKEN, "the answer holds no usable temporary keys", response)
    return Lasting(identity, left_s - EARLY_S)
