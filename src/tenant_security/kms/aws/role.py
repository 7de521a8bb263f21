"""Temporary AWS keys: assumes the role that a tenant lets us play, through the regional STS.

Source: AWS STS API reference, "AssumeRole"; IAM User Guide, "Access to AWS accounts owned by third parties".
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from tenant_security.kms.aws.errors import fault, unusable
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.aws import Identity, Role, assume_request, read_session
from tenant_security.outbound.flow import Flow, Lasting, send

SESSION_NAME: Final = "tenant-security-proxy"
"""How the proxy's calls appear in the tenant's CloudTrail: ``assumed-role/<role>/tenant-security-proxy``."""

_OK: Final = 200


def assume(role: Role, now: Callable[[], datetime]) -> Flow[Lasting[Identity]]:
    """Get temporary keys for the role.

    Raises: KmsFaultError 206-210, 100 when our clock is wrong; UnreachableError.
    """
    response = yield from send(assume_request(role, SESSION_NAME, now()))
    if response.status != _OK:
        raise fault(Phase.TOKEN, response)
    try:
        return read_session(response, now())
    except ValueError as wrong:
        raise unusable(Phase.TOKEN, str(wrong), response) from None
