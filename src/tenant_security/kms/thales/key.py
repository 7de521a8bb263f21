"""Thales CipherTrust Manager: an AES key of a tenant's, in GCM mode.

We make the DEK and ask CipherTrust Manager to encrypt it, as with every provider; one call per wrap and one per unwrap.
No additional authenticated data is used: EDEKs that the original product made must unwrap, and were made without. The
key is always the configured one; a blob says which version of it, and nothing else.

Source: CipherTrust Manager's embedded API guide, ``POST /v1/crypto/encrypt`` and ``/decrypt``; docs/kms/thales.md.
"""

import base64
import re
from typing import Final, TypeVar

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.addresses import origin
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.kms.thales.blob import MODE, Blob, NotOursError, read_blob, write_blob
from tenant_security.kms.thales.errors import HTTP_UNAUTHENTICATED, PROVIDER, fault, invalid, unusable
from tenant_security.kms.thales.token import CAP_BYTES, HEADERS, OK, User, sign_in
from tenant_security.outbound.flow import Flow, Request, Response, forget, send, shared
from tenant_security.secret import Secret
from tenant_security.wire.kms.authorities import authorities_pem
from tenant_security.wire.kms.thales import ThalesKmsConfig

_PATHS: Final = ("", "/", "/api", "/api/", "/api/v1", "/api/v1/")
_ID: Final = re.compile(r"[0-9a-f]{64}")


class _Encrypted(msgspec.Struct):
    """The reply to encrypt. msgspec decodes the base64."""

    ciphertext: bytes
    iv: bytes
    tag: bytes
    version: int
    id: str = ""
    mode: str = MODE


class _Decrypted(msgspec.Struct):
    """The reply to decrypt."""

    plaintext: bytes
    id: str = ""


Reply = TypeVar("Reply", _Encrypted, _Decrypted)


class ThalesKmsKey:
    """One key of a CipherTrust Manager.

    Raises: KmsFaultError 207 when the configuration cannot work whatever CipherTrust Manager says.
    """

    __slots__ = ("_key_id", "_token_key", "_user")

    provider = PROVIDER.id

    def __init__(self, config: ThalesKmsConfig, _: KmsContext) -> None:
        credentials = config.credentials
        if not credentials.password.reveal().isprintable():
            raise invalid("credentials.password holds a character that no password has, such as a line break")
        self._key_id = config.key_path.key_id
        self._user = User(
            base=origin(PROVIDER, config.key_path.service_url, "keyPath.serviceUrl", paths=_PATHS) + "/api",
            authorities=b"" if config.ca_certificate is None else authorities_pem(config.ca_certificate),
            username=credentials.username,
            password=credentials.password,
            auth_domain=credentials.auth_domain,
            connection=credentials.connection,
            domain=credentials.domain,
        )
        self._token_key = self._user.key()

    def wrap(self, key: bytes) -> Flow[bytes]:
        """Encrypt 32 bytes with the key's newest version."""
        reply = yield from self._ask(Phase.WRAP, "encrypt", {"plaintext": _base64(key)}, _Encrypted)
        blob = Blob(reply.ciphertext, reply.iv, reply.tag, reply.version)
        if reply.mode.lower() != MODE or not blob.is_whole:
            raise unusable(Phase.WRAP, "the answer is not what GCM mode gives")
        return write_blob(blob)

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        """Unwrap a blob of ours or of the original product's, with the version that made it."""
        try:
            ciphertext, iv, tag, version = read_blob(blob)
        except NotOursError as why:
            raise KmsFaultError(
                Code.KMS_UNWRAP_FAILED, f"{PROVIDER.name} cannot unwrap the key: {why}.", provider=PROVIDER.id
            ) from None
        asked: dict[str, str | int] = {
            "ciphertext": _base64(ciphertext),
            "iv": _base64(iv),
            "tag": _base64(tag),
            "version": version,
        }
        return (yield from self._ask(Phase.UNWRAP, "decrypt", asked, _Decrypted)).plaintext

    def _ask(self, phase: Phase, verb: str, asked: dict[str, str | int], kind: type[Reply]) -> Flow[Reply]:
        body = msgspec.json.encode({"id": self._key_id, "mode": MODE, **asked})
        response = yield from self._sent(verb, body)
        if response.status == HTTP_UNAUTHENTICATED:
            # It may have been revoked, or its five minutes are over by their clock: one new token, never two.
            yield from forget(self._token_key)
            response = yield from self._sent(verb, body)
        if response.status != OK:
            raise fault(phase, response)
        try:
            reply = msgspec.json.decode(response.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unusable(phase, "the answer is not what CipherTrust Manager documents") from None
        # A key may be configured by its name; the answer has its id.
        if _ID.fullmatch(reply.id) and _ID.fullmatch(self._key_id) and reply.id != self._key_id:
            raise unusable(phase, "the answer is for another key")
        return reply

    def _sent(self, verb: str, body: bytes) -> Flow[Response]:
        token: Secret[str] = yield from shared(self._token_key, lambda: sign_in(self._user))
        headers = (*HEADERS, ("Authorization", f"Bearer {token.reveal()}"))
        url = f"{self._user.base}/v1/crypto/{verb}"
        return (yield from send(Request("POST", url, headers, body, CAP_BYTES, authorities=self._user.authorities)))


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
