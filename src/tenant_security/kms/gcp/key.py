"""Google Cloud KMS: a symmetric key in a tenant's project.

We make the DEK and ask Cloud KMS to encrypt it, as with every provider; one call per wrap and one per unwrap. No
additional authenticated data is used: EDEKs that the original product made must unwrap, and were made without. The blob
in an EDEK is Cloud KMS's ciphertext as it stands; it names its key version itself.

Checksums go both ways, so that no damaged byte becomes a key: a DEK damaged before it was wrapped would encrypt data
that nobody can ever read.

Source: Cloud KMS API v1, ``cryptoKeys.encrypt`` and ``cryptoKeys.decrypt``; docs/kms/gcp.md.
"""

from typing import Final, TypeVar

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.gcp.crc32c import crc32c
from tenant_security.kms.gcp.endpoints import KMS, PROVIDER, invalid, is_googles, is_version_of, key_name, own_endpoint
from tenant_security.kms.gcp.errors import damaged, fault, unusable
from tenant_security.kms.gcp.federation import ProxyIdentity
from tenant_security.kms.gcp.private_key import read_private_key
from tenant_security.kms.gcp.token import OK, Identity, ServiceAccount, Token
from tenant_security.kms.own_identity import may_be_itself
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.flow import Flow, Request, forget, send, shared
from tenant_security.outbound.google_token import CAP_BYTES
from tenant_security.wire.kms.gcp import GcpKmsConfig

MAX_BLOB_BYTES: Final = 4096
"""Far longer than any ciphertext of 32 bytes, short enough to be checked in no time."""

_TENANT_FAULT_STATUS: Final = 422


class _Encrypted(msgspec.Struct):
    """The reply to encrypt. Shape: msgspec decodes the base64; 64-bit numbers are texts in Google's JSON."""

    name: str
    ciphertext: bytes
    checksum: int = msgspec.field(name="ciphertextCrc32c")
    plaintext_arrived: bool = msgspec.field(name="verifiedPlaintextCrc32c", default=False)


class _Decrypted(msgspec.Struct):
    """The reply to decrypt."""

    plaintext: bytes
    checksum: int = msgspec.field(name="plaintextCrc32c")


Reply = TypeVar("Reply", _Encrypted, _Decrypted)
_Members = dict[str, str | bytes]


class GcpKmsKey:
    """One Cloud KMS key, used with a service account's key or with the proxy's own identity.

    Raises: KmsFaultError 207 when the configuration cannot work whatever Google says.
    """

    __slots__ = ("_endpoint", "_identity", "_name", "_now")

    provider = PROVIDER.id

    def __init__(self, config: GcpKmsConfig, context: KmsContext) -> None:
        self._endpoint = KMS if config.endpoint is None else own_endpoint(config.endpoint)
        self._name = key_name(config.key_path)
        self._now = context.now
        self._identity = _identity(config, context, self._endpoint)

    def wrap(self, key: bytes) -> Flow[bytes]:
        """Encrypt 32 bytes with the key's primary version; return the ciphertext."""
        asked: _Members = {"plaintext": key, "plaintextCrc32c": str(crc32c(key))}
        reply = yield from self._call(Phase.WRAP, "encrypt", asked, _Encrypted)
        if not is_version_of(reply.name, self._name):
            raise unusable(Phase.WRAP, "the answer is for another key")
        if not reply.plaintext_arrived:
            raise damaged(Phase.WRAP, "it did not see the key undamaged")
        if crc32c(reply.ciphertext) != reply.checksum:
            raise damaged(Phase.WRAP, "its answer was damaged on its way")
        return reply.ciphertext

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        """Decrypt a ciphertext that a version of this very key made."""
        if not 0 < len(blob) <= MAX_BLOB_BYTES:
            raise KmsFaultError(
                Code.KMS_UNWRAP_FAILED,
                f"{PROVIDER.name} cannot unwrap the key: the wrapped key did not come from Cloud KMS.",
                provider=PROVIDER.id,
            )
        asked: _Members = {"ciphertext": blob, "ciphertextCrc32c": str(crc32c(blob))}
        reply = yield from self._call(Phase.UNWRAP, "decrypt", asked, _Decrypted)
        if crc32c(reply.plaintext) != reply.checksum:
            raise damaged(Phase.UNWRAP, "its answer was damaged on its way")
        return reply.plaintext

    def _call(self, phase: Phase, verb: str, asked: _Members, kind: type[Reply]) -> Flow[Reply]:
        try:
            return (yield from self._ask_signed_in(phase, verb, asked, kind))
        except KmsFaultError as refused:
            if refused.code is Code.UNKNOWN_ERROR and not is_googles(self._endpoint):
                # Behind an endpoint of the tenant's own, what is said of our clock is the tenant's word alone. It must
                # not make us answer 5xx, by which load balancers tell a broken proxy.
                refused.http_status = _TENANT_FAULT_STATUS
            raise

    def _ask_signed_in(self, phase: Phase, verb: str, asked: _Members, kind: type[Reply]) -> Flow[Reply]:
        """Ask with the shared token; where Google refuses it, once more with one that was got in the other way."""
        identity = self._identity
        token = yield from shared(identity.key, identity.token)
        try:
            return (yield from self._ask(phase, verb, asked, kind, token))
        except KmsFaultError as refused:
            if refused.code is not Code.KMS_AUTHORIZATION_FAILED:
                raise
        yield from forget(identity.key)
        token = yield from shared(identity.key, identity.token_after_refusal)
        return (yield from self._ask(phase, verb, asked, kind, token))

    def _ask(self, phase: Phase, verb: str, asked: _Members, kind: type[Reply], token: Token) -> Flow[Reply]:
        headers = (("Authorization", f"Bearer {token.reveal()}"), ("Content-Type", "application/json"))
        url = f"{self._endpoint}v1/{self._name}:{verb}"
        response = yield from send(Request("POST", url, headers, msgspec.json.encode(asked), CAP_BYTES))
        if response.status != OK:
            raise fault(phase, response, self._now())
        try:
            return msgspec.json.decode(response.body, type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise unusable(phase, "the answer is not what Cloud KMS documents") from None


def _identity(config: GcpKmsConfig, context: KmsContext, endpoint: str) -> Identity:
    credentials = config.credentials
    if credentials.workload_identity:
        may_be_itself(PROVIDER, context, "credentials.workload_identity", "give client_email and private_key")
        if not is_googles(endpoint):
            raise invalid("with credentials.workload_identity, endpoint must be one of googleapis.com")
        return ProxyIdentity(credentials.client_email, context)
    if credentials.client_email is None or credentials.private_key is None:
        raise invalid("credentials.client_email and credentials.private_key are needed, both")
    return ServiceAccount(credentials.client_email, read_private_key(credentials.private_key), context.now)
