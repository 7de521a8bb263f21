"""AWS accounts: who signs, which host serves a region, and temporary keys of a role that a tenant lets us play.

A region is written by the tenant and ends up in an address that we call, so it is held to a shape.

Source: AWS General Reference, "Regions and endpoints"; AWS STS API reference, "AssumeRole"; IAM User Guide, "Access to
AWS accounts owned by third parties".
"""

import hashlib
import re
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlencode

import msgspec

from tenant_security.outbound.aws_xml import leaves
from tenant_security.outbound.flow import ON_ITS_WAY_S, Lasting, Request, Response
from tenant_security.outbound.sigv4 import sign
from tenant_security.secret import Secret

SESSION_S: Final = 3600
"""How long temporary keys live. Every role allows an hour; less means more calls to STS."""

EARLY_S: Final = 300.0
"""How long before their end temporary keys are no longer used, so that none ends on its way."""

_CAP_BYTES: Final = 65_536
_REGION: Final = re.compile(r"[a-z]{2,5}(-[a-z]{1,20}){1,3}-\d{1,2}")
_PUBLIC_SUFFIX: Final = "amazonaws.com"
_SUFFIXES: Final = (
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
)
_DUAL_STACK: Final = {
    "amazonaws.com": "api.aws",
    "amazonaws.com.cn": "api.amazonwebservices.com.cn",
    "amazonaws.eu": "api.amazonwebservices.eu",
    "c2s.ic.gov": "api.aws.ic.gov",
    "sc2s.sgov.gov": "api.aws.scloud",
    "cloud.adc-e.uk": "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov": "api.aws.hci.ic.gov",
}


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


def public_endpoint(service: str, region: str, *, fips: bool = False, dual_stack: bool = False) -> str:
    """The address of a service in a region, such as ``https://kms.eu-central-1.amazonaws.com/``.

    ``fips``: the one whose cryptography is validated; ``dual_stack``: the one that IPv6 reaches too.

    Raises: ValueError when the region does not look like one.
    """
    if not _REGION.fullmatch(region):
        raise ValueError("region is not the name of an AWS region")
    suffix = next((suffix for start, suffix in _SUFFIXES if region.startswith(start)), _PUBLIC_SUFFIX)
    if dual_stack:
        suffix = _DUAL_STACK[suffix]
    # In GovCloud the usual STS is the validated one.
    validated_already = service == "sts" and region.startswith("us-gov-") and not dual_stack
    host = f"{service}-fips" if fips and not validated_already else service
    return f"https://{host}.{region}.{suffix}/"


def assume_request(role: Role, session_name: str, now: datetime) -> Request:
    """Return the signed request for temporary keys of the role.

    ``session_name`` is how calls appear in the tenant's CloudTrail: ``assumed-role/<role>/<session name>``.
    """
    form = {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": role.arn,
        "RoleSessionName": session_name,
        "DurationSeconds": str(SESSION_S),
    }
    if role.external_id is not None:
        form["ExternalId"] = role.external_id
    headers = (("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),)
    request = Request("POST", role.endpoint, headers, urlencode(form).encode(), _CAP_BYTES)
    return sign(request, **role.caller._asdict(), service="sts", region=role.region, now=now)


def read_session(response: Response, now: datetime) -> Lasting[Identity]:
    """Read temporary keys. Raises: ValueError that says what is wrong with the answer."""
    found = leaves(response.body)
    try:
        identity = Identity(found["AccessKeyId"], Secret(found["SecretAccessKey"]), Secret(found["SessionToken"]))
        left_s = (datetime.fromisoformat(found["Expiration"]) - now).total_seconds()
    except (KeyError, ValueError, TypeError):  # TypeError: an expiration without a time zone
        raise ValueError("the answer holds no temporary keys") from None
    if not identity.is_plain:
        raise ValueError("the answer holds no usable temporary keys")
    return Lasting(identity, left_s - EARLY_S, left_s - ON_ITS_WAY_S)


def as_given(identity: Identity, left_s: float) -> Lasting[Identity]:
    """Say for how long keys that the platform gave are used: new ones are asked for five minutes before their end.

    A platform hands out the same keys until shortly before that, so near it they are not asked for at every call.
    """
    return Lasting(identity, max(left_s - EARLY_S, min(left_s / 2, 60.0)), left_s - ON_ITS_WAY_S)
