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
from tenant_security.kms.aws.own import OwnIdentity
from tenant_security.kms.aws.role import RoleToPlay, Way
from tenant_security.kms.own_identity import may_be_itself
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.aws import Identity
from tenant_security.outbound.flow import Flow, Request, send
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
    """One AWS KMS key, used with an access key or the proxy's own identity, or with a role that either assumes.

    Raises: KmsFaultError 207 when the configuration cannot work whatever AWS says.
    """

    __slots__ = ("_endpoint", "_is_public", "_key_id", "_now", "_region", "_way")

    provider = PROVIDER.id

    def __init__(self, config: AwsKmsConfig, context: KmsContext) -> None:
        credentials, region = config.credentials, config.key_path.region
        self._endpoint = public_endpoint("kms", region, fips=config.fips, dual_stack=config.dual_stack)
        sts = sts_public = public_endpoint("sts", region, fips=config.fips, dual_stack=config.dual_stack)
        if config.endpoint is not None:
            self._endpoint = own_endpoint(config.endpoint, "endpoint")
        if config.sts_endpoint is not None:
            sts = own_endpoint(config.sts_endpoint, "stsEndpoint")
        self._is_public = config.endpoint is None and config.sts_endpoint is None
        signer: Identity | OwnIdentity
        if credentials.workload_identity:
            may_be_itself(PROVIDER, context, "credentials.workloadIdentity", "use a role and an access key")
            # The proxy's own token goes to AWS itself and to no address that a configuration names.
            signer = OwnIdentity(context, sts_public)
        else:
            assert credentials.access_key_id is not None
            assert credentials.secret_access_key is not None
            signer = Identity(credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
            if not signer.is_plain:
                raise invalid("the credentials hold a space or a character that no AWS key has")
        role = None if credentials.role_arn is None else RoleToPlay(credentials.role_arn, credentials.external_id, sts)
        self._way = Way(signer, role, region, context.now)
        self._key_id = config.key_path.key_id
        self._now = context.now
        self._region = region

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
            identity = yield from self._way.identity()
            try:
                return (yield from self._ask(phase, operation, asked, kind, identity))
            except KmsFaultError as refused:
                if refused.provider_code not in REFUSED_SESSION or not self._way.is_renewable:
                    raise
            # They may have been revoked, or ended early: new ones once, never twice.
            yield from self._way.forget()
            identity = yield from self._way.identity()
            return (yield from self._ask(phase, operation, asked, kind, identity))
        except KmsFaultError as refused:
            if refused.code is Code.UNKNOWN_ERROR and not self._is_public:
                # Behind an endpoint of the tenant's own, what is said of our clock is the tenant's word alone. It must
                # not make us answer 5xx, by which load balancers tell a broken proxy.
                refused.http_status = _TENANT_FAULT_STATUS
            raise

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
