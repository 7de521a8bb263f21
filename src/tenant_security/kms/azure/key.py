"""Azure Key Vault and Managed HSM: one key in a tenant's vault.

We make the DEK and ask the vault to wrap it, one call, though the public half of an RSA key would let us wrap without
asking: then the tenant's log would not show it, and it would go on after the tenant took its permission back.

A wrap names no key version and so uses the current one; the answer names it, and the blob keeps it. An unwrap names
the version of its blob. A blob of the original product's first kind names neither version nor algorithm: it is tried
with the config's ``legacyKeyVersion``, else the current version, with the config's algorithm and, where Azure cannot
make sense of it, the other OAEP.

Source: Azure Key Vault REST API 7.4, "Wrap Key", "Unwrap Key", "Encrypt", "Decrypt"; docs/kms/azure.md.
"""

import base64
import binascii
import re
from typing import Final, NamedTuple

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.azure.blob import NotOursError, is_ciphertext, is_version, read_blob, write_blob
from tenant_security.kms.azure.clouds import PROVIDER, invalid, read_vault
from tenant_security.kms.azure.errors import fault, is_stale_token, no_vault, unusable
from tenant_security.kms.azure.token import access_token, sign_in
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.outbound.flow import Flow, Reason, Request, Response, UnreachableError, forget, send, shared
from tenant_security.secret import Secret
from tenant_security.wire.kms.azure import AzureAlgorithm, AzureKmsConfig, AzurePermissions

API_VERSION: Final = "7.4"

_OAEP: Final = (AzureAlgorithm.RSA_OAEP_256, AzureAlgorithm.RSA_OAEP)
_KEY_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,127}")
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]*")
_CAP_BYTES: Final = 65_536
_OK: Final = 200


class _Verbs(NamedTuple):
    """The last part of the addresses that wrap and unwrap."""

    wrap: str
    unwrap: str


_VERBS: Final = {
    AzurePermissions.WRAP: _Verbs("wrapkey", "unwrapkey"),
    AzurePermissions.ENCRYPT: _Verbs("encrypt", "decrypt"),
}


class _Reply(msgspec.Struct):
    """What all four operations answer."""

    kid: str
    value: str


class _Answer(NamedTuple):
    """A reply that belongs to our key, decoded."""

    version: str
    value: bytes
    response: Response


class AzureKmsKey:
    """One key in a vault or Managed HSM.

    Raises: KmsFaultError 207 when the configuration cannot work whatever Azure says.
    """

    __slots__ = ("_algorithm", "_host", "_legacy_version", "_name", "_token_key", "_verbs", "_way")

    provider = PROVIDER.id

    def __init__(self, config: AzureKmsConfig, context: KmsContext) -> None:
        vault = read_vault(config.key_path.vault_base_url)
        if not _KEY_NAME.fullmatch(config.key_path.key_name):
            raise invalid("keyPath.keyName is not a key's name: letters, digits and hyphens, and no version")
        if config.algorithm not in _OAEP and not vault.cloud.is_managed_hsm:
            raise invalid("`algorithm` is for AES keys, and only a Managed HSM has those")
        if config.algorithm not in _OAEP and config.permissions is not AzurePermissions.WRAP:
            raise invalid("AES keys wrap with the wrapKey and unwrapKey permissions only")
        if config.legacy_key_version is not None and not is_version(config.legacy_key_version):
            raise invalid("legacyKeyVersion is not a key version, such as the last part of a key identifier")
        self._host = vault.host
        self._name = config.key_path.key_name
        self._algorithm = config.algorithm
        self._verbs = _VERBS[config.permissions]
        self._legacy_version = config.legacy_key_version or ""
        self._way = sign_in(config.credentials, vault.cloud, context)
        self._token_key = self._way.key()

    def wrap(self, key: bytes) -> Flow[bytes]:
        """Wrap 32 bytes with the current version of the key."""
        answer = yield from self._ask(Phase.WRAP, "", self._algorithm, key)
        if not is_ciphertext(self._algorithm, answer.value):
            raise unusable(Phase.WRAP, "the wrapped key has a length that none has", answer.response)
        return write_blob(answer.value, answer.version, self._algorithm)

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        """Unwrap a blob of ours or of the original product's."""
        try:
            ciphertext, version, algorithm = read_blob(blob)
        except NotOursError as why:
            raise KmsFaultError(
                Code.KMS_UNWRAP_FAILED, f"Azure cannot unwrap the key: {why}.", provider=PROVIDER.id
            ) from None
        version = version or self._legacy_version
        if algorithm is not None:
            return (yield from self._ask(Phase.UNWRAP, version, algorithm, ciphertext)).value
        first, second = reversed(_OAEP) if self._algorithm is AzureAlgorithm.RSA_OAEP else _OAEP
        try:
            return (yield from self._ask(Phase.UNWRAP, version, first, ciphertext)).value
        except KmsFaultError as refused:
            if refused.code is not Code.KMS_UNWRAP_FAILED or not refused.provider_code.startswith("BadParameter"):
                raise
        return (yield from self._ask(Phase.UNWRAP, version, second, ciphertext)).value

    def _ask(self, phase: Phase, version: str, algorithm: AzureAlgorithm, value: bytes) -> Flow[_Answer]:
        request = self._request(phase, version, algorithm, value)
        response = yield from self._sent(phase, request)
        if is_stale_token(response, self._way.tenant_guid):
            # It may have been revoked, or the vault's view of the directory has changed: one new token, never two.
            yield from forget(self._token_key)
            response = yield from self._sent(phase, request)
        if response.status != _OK:
            raise fault(phase, response, self._way.tenant_guid)
        return self._read(phase, version, response)

    def _request(self, phase: Phase, version: str, algorithm: AzureAlgorithm, value: bytes) -> Request:
        verb = self._verbs.wrap if phase is Phase.WRAP else self._verbs.unwrap
        if algorithm not in _OAEP:
            verb = "wrapkey" if phase is Phase.WRAP else "unwrapkey"
        key = f"{self._name}/{version}" if version else self._name
        body = {"alg": algorithm.value, "value": base64.urlsafe_b64encode(value).rstrip(b"=").decode()}
        headers = (("Content-Type", "application/json"), ("Accept", "application/json"))
        url = f"https://{self._host}/keys/{key}/{verb}?api-version={API_VERSION}"
        return Request("POST", url, headers, msgspec.json.encode(body), _CAP_BYTES)

    def _sent(self, phase: Phase, request: Request) -> Flow[Response]:
        token: Secret[str] = yield from shared(self._token_key, lambda: access_token(self._way))
        signed = msgspec.structs.replace(
            request, headers=(*request.headers, ("Authorization", f"Bearer {token.reveal()}"))
        )
        try:
            return (yield from send(signed))
        except UnreachableError as cause:
            if cause.reason is not Reason.NAME:
                raise
            raise no_vault(phase) from None

    def _read(self, phase: Phase, version: str, response: Response) -> _Answer:
        try:
            reply = msgspec.json.decode(response.body, type=_Reply)
            text = reply.value.rstrip("=")
            value = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)) if _VALUE.fullmatch(text) else b""
        except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error):
            raise unusable(phase, "the answer is not what Key Vault documents", response) from None
        if not value:
            raise unusable(phase, "the answer is not what Key Vault documents", response)
        start, _, answered = reply.kid.rpartition("/")
        mine = f"https://{self._host}/keys/{self._name}".lower()
        if start.lower().replace(":443/", "/", 1) != mine or not is_version(answered) or version not in ("", answered):
            raise unusable(phase, "the answer is for another key", response)
        return _Answer(answered, value, response)
