"""Who signs a call to AWS KMS: an access key, the proxy itself, or a role that either of them assumes.

Source: AWS STS API reference, "AssumeRole"; IAM User Guide, "Access to AWS accounts owned by third parties".
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from tenant_security.kms.aws.errors import REFUSED_SESSION, fault, unusable
from tenant_security.kms.aws.own import SESSION_NAME, OwnIdentity
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.aws import Identity, Role, assume_request, read_session
from tenant_security.outbound.flow import Flow, Lasting, forget, send, shared

_OK: Final = 200


class RoleToPlay(NamedTuple):
    """A role, what its trust policy demands, and the address of the STS that gives its keys."""

    arn: str
    external_id: str | None
    endpoint: str


class Way:
    """How one configuration comes by the keys that sign its calls. SESSION_NAME is how they appear in CloudTrail."""

    __slots__ = ("_key", "_now", "_region", "_role", "_signer")

    def __init__(
        self, signer: Identity | OwnIdentity, role: RoleToPlay | None, region: str, now: Callable[[], datetime]
    ) -> None:
        self._signer = signer
        self._role = role
        self._region = region
        self._now = now
        self._key = self._shared_key()

    @property
    def is_renewable(self) -> bool:
        """Whether new keys can be had where the present ones are refused."""
        return self._role is not None or isinstance(self._signer, OwnIdentity)

    def identity(self) -> Flow[Identity]:
        """Return the keys to sign with.

        Raises: KmsFaultError 206-210, 100 when our clock is wrong; UnreachableError.
        """
        if self._role is None:
            return (yield from self._signs())
        role = self._role
        return (yield from shared(self._key, lambda: self._assumed(role)))

    def forget(self) -> Flow[None]:
        """Drop refused keys."""
        if self._role is not None:
            yield from forget(self._key)
        elif isinstance(self._signer, OwnIdentity):
            yield from forget(self._signer.key)

    def _signs(self) -> Flow[Identity]:
        if isinstance(self._signer, OwnIdentity):
            return (yield from shared(self._signer.key, self._signer.obtain))
        return self._signer

    def _assumed(self, role: RoleToPlay) -> Flow[Lasting[Identity]]:
        """Assume the role; where AWS refuses the proxy's own temporary keys, once more with new ones."""
        try:
            return (yield from self._asked(role))
        except KmsFaultError as refused:
            if refused.provider_code not in REFUSED_SESSION or not isinstance(self._signer, OwnIdentity):
                raise
        yield from forget(self._signer.key)
        return (yield from self._asked(role))

    def _asked(self, role: RoleToPlay) -> Flow[Lasting[Identity]]:
        caller = yield from self._signs()
        asked = Role(role.arn, role.external_id, caller, role.endpoint, self._region)
        response = yield from send(assume_request(asked, SESSION_NAME, self._now()))
        if response.status != _OK:
            raise fault(Phase.TOKEN, response)
        try:
            return read_session(response, self._now())
        except ValueError as wrong:
            raise unusable(Phase.TOKEN, str(wrong), response) from None

    def _shared_key(self) -> bytes:
        """The name under which the role's keys are shared: a digest over everything that proves the right to them."""
        if self._role is None:
            return b""
        role, signer = self._role, self._signer
        if isinstance(signer, Identity):
            return Role(role.arn, role.external_id, signer, role.endpoint, self._region).key()
        proof = [role.arn, role.external_id, role.endpoint, self._region]
        return b"aws-role-of-proxy:" + signer.key + hashlib.sha256(msgspec.json.encode(proof)).digest()
