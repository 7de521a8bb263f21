"""AWS KMS: a symmetric key in a tenant's AWS account.

We make the DEK and ask KMS to encrypt it, as with every provider; one call per wrap and one per unwrap. The key id is
always sent, so a blob that another key of the account wrapped is refused instead of opened. No encryption context is
used: EDEKs that the original product made must unwrap, and were made without one. The blob in an EDEK is KMS's
CiphertextBlob as it stands.

Source: AWS KMS API reference, "Encrypt", "Decrypt"; docs/kms/aws.md.
"""

from typing import Final, TypeVar

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.aws.endpoints import PROVIDER, invalid, own_endpoint, public_endpoint
from tenant_security.kms.aws.errors import REFUSED_SESSION, fault, unusable
from tenant_security.kms.aws.role import assume
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.aws import Identity, Role
from tenant_security.outbound.flow import Flow, Request, forget, send, shared
from tenant_security.outbound.sigv4 import sign
from tenant_security.wire.kms.aws import AwsKmsConfig

MAX_BLOB_BYTES: Final = 6144
"""The longest ciphertext that Decrypt takes. Source: AWS KMS API reference, "Decrypt"."""

_CAP_BYTES: Final = 65_536
_OK: Final = 200
_TENANT_FAULT_STATUS: Final = 422


class _Encrypted(msgspec.Struct, rename="pascal"):
    """The reply to Encrypt. msgspec decodes the base64."""

    ciphertext_blob: bytes
    key_id: str


class _Decrypted(msgspec.Struct, rename="pascal"):
    """The reply to Decrypt."""

    plaintext: bytes
    key_id: str


Reply = TypeVar("Reply", _Encrypted, _Decrypted)
_Members = dict[str, str | bytes]


class AwsKmsKey:
    """One AWS KMS key, used with an access key or with a role that the access key assumes.

    Raises: KmsFaultError 207 when the configuration cannot work whatever AWS says.
    """

    __slots__ = ("_endpoint", "_identity", "_is_public", "_key_id", "_now", "_region", "_role", "_role_key")

    provider = PROVIDER.id

    def __init__(self, config: AwsKmsConfig, context: KmsContext) -> None:
        credentials, region = config.credentials, config.key_path.region
        identity = Identity(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
        if not identity.is_plain:
            raise invalid("the credentials hold a space or a character that no AWS key has")
        if credentials.external_id is not None and credentials.role_arn is None:
            raise invalid("credentials.externalId needs credentials.roleArn")
        self._endpoint = public_endpoint("kms", region)
        sts_endpoint = public_endpoint("sts", region)
        if config.endpoint is not None:
            self._endpoint = own_endpoint(config.endpoint, "endpoint")
        if config.sts_endpoint is not None:
            sts_endpoint = own_endpoint(config.sts_endpoint, "stsEndpoint")
        self._is_public = config.endpoint is None and config.sts_endpoint is None
        self._identity = identity
        self._key_id = config.key_path.key_id
        self._now = context.now
        self._region = region
        self._role: Role | None = None
        self._role_key = b""
        if credentials.role_arn is not None:
            self._role = Role(credentials.role_arn, credentials.external_id, identity, sts_endpoint, region)
            self._role_key = self._role.key()

    def wrap(self, key: bytes) -> Flow[bytes]:
        """Encrypt 32 bytes; return the CiphertextBlob."""
        asked: _Members = {"KeyId": self._key_id, "Plaintext": key}
        reply = yield from self._call(Phase.WRAP, "Encrypt", asked, _Encrypted)
        return reply.ciphertext_blob

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        """Decrypt a CiphertextBlob that this very key made."""
        if not 0 < len(blob) <= MAX_BLOB_BYTES:
            raise KmsFaultError(
                Code.KMS_UNWRAP_FAILED,
                "AWS cannot unwrap the key: the wrapped key did not come from AWS KMS.",
                provider=PROVIDER.id,
            )
        asked: _Members = {"KeyId": self._key_id, "CiphertextBlob": blob}
        reply = yield from self._call(Phase.UNWRAP, "Decrypt", asked, _Decrypted)
        return reply.plaintext

    def _call(self, phase: Phase, operation: str, asked: _Members, kind: type[Reply]) -> Flow[Reply]:
        try:
            if self._role is None:
                return (yield from self._ask(phase, operation, asked, kind, self._identity))
            return (yield from self._ask_as(self._role, phase, operation, asked, kind))
        except KmsFaultError as refused:
            if refused.code is Code.UNKNOWN_ERROR and not self._is_public:
                # Behind an endpoint of the tenant's own, what is said of our clock is the tenant's word alone. It must
                # not make us answer 5xx, by which load balancers tell a broken proxy.
                refused.http_status = _TENANT_FAULT_STATUS
            raise

    def _ask_as(self, role: Role, phase: Phase, operation: str, asked: _Members, kind: type[Reply]) -> Flow[Reply]:
        """Ask with the role's temporary keys; where AWS refuses them, once more with new ones."""
        identity = yield from shared(self._role_key, lambda: assume(role, self._now))
        try:
            return (yield from self._ask(phase, operation, asked, kind, identity))
        except KmsFaultError as refused:
            if refused.provider_code not in REFUSED_SESSION:
                raise
        yield from forget(self._role_key)
        identity = yield from shared(self._role_key, lambda: assume(role, self._now))
        return (yield from self._ask(phase, operation, asked, kind, identity))

    def _ask(self, phase: Phase, operation: str, asked: _Members, kind: type[Reply], identity: Identity) -> Flow[Reply]:
        headers = (
            ("Content-Type", "application/x-amz-json-1.1"),
            ("X-Amz-Target", f"TrentService.{operation}"),
        )
        request = Request("POST", self._endpoint, headers, msgspec.json.encode(asked), _CAP_BYTES)
        response = yield from send(
            sign(request, **identity._asdict(), service="kms", region=self._region, now=self._now())
        )
        if response.status != _OK:
            raise fault(phase, response)
        try:
            reply = msgspec.json.decode(response.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise unusable(phase, "the answer is not what AWS KMS documents", response) from None
        if not _same_key(self._key_id, reply.key_id):
            raise unusable(phase, "the answer is for another key", response)
        return reply


def _same_key(asked: str, answered: str) -> bool:
    """Whether the key that answered is the one that was asked. What an alias stands for, only AWS knows."""
    if "alias/" in asked:
        return bool(answered)
    return asked.rsplit("/", 1)[-1] == answered.rsplit("/", 1)[-1]
