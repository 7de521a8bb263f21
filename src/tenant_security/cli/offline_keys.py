"""Keys without a proxy: EDEKs and exported tenant secrets are unwrapped here, by the tenant's KMS alone.

It stands where a client's connection to its proxy does, and answers the two questions that decrypting asks.
"""

from collections.abc import Sequence
from typing import Final, TypeVar, cast

from tenant_security.client.keys import FieldKey, FieldKeys, UnwrappedKey
from tenant_security.crypto.aead import LeasedKeyCipher
from tenant_security.crypto.derive import derive_key
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsKey, unreachable
from tenant_security.outbound.flow import Flow, UnreachableError
from tenant_security.wire import edek
from tenant_security.wire.edek import EncryptedDek
from tenant_security.wire.proxy_api import DeriveRequest, UnwrapRequest
from tenant_security.wire.secret_export import ExportedSecret

T = TypeVar("T")

_CURRENT: Final = 1


class OfflineKeys:
    """The tenant's KMS keys, by config number where that is known, and its exported secrets.

    Raises, from :meth:`ask`: TenantSecurityError with what the KMS says; 202 when no key here is the EDEK's.
    """

    def __init__(self, keys: Sequence[tuple[int | None, KmsKey]], secrets: Sequence[ExportedSecret]) -> None:
        self._keys: Final = keys
        self._secrets: Final = secrets

    def ask(self, path: str, body: object, kind: type[T]) -> Flow[T]:  # noqa: ARG002 - the connection's signature
        """Answer what a client asks its proxy. See ``client.connection``."""
        if path == "document/unwrap" and isinstance(body, UnwrapRequest):
            dek = yield from self.unwrap(edek.decode_all_base64(body.encrypted_document_key))
            return cast("T", UnwrappedKey(bytearray(dek)))
        if path == "key/derive-with-secret-path" and isinstance(body, DeriveRequest):
            return cast("T", (yield from self._derive(body)))
        raise ValueError(f"{path} needs a proxy")

    def unwrap(self, entries: Sequence[EncryptedDek]) -> Flow[bytes]:
        """Unwrap what one of our KMS keys wrapped: the key whose number the EDEK names first, then any."""
        refused: TenantSecurityError | None = None
        for entry in entries:
            if entry.leased:
                return (yield from self._unwrap_leased(entry))
            ordered = sorted(self._keys, key=lambda each: each[0] != entry.config_id)
            for _, key in ordered:
                try:
                    return (yield from key.unwrap(entry.data))
                except TenantSecurityError as why:
                    refused = refused or why
                except UnreachableError as why:
                    refused = refused or unreachable(key.provider, why)
        if refused is not None:
            raise refused
        raise TenantSecurityError(Code.KMS_CONFIGURATION_DISABLED, "there is no KMS config to unwrap this with")

    def _unwrap_leased(self, entry: EncryptedDek) -> Flow[bytes]:
        leased = yield from self.unwrap(edek.decode_all(entry.wrapped_lease))
        dek = LeasedKeyCipher(leased).open(entry.data, entry.lease_iv)
        if dek is None:
            raise TenantSecurityError(Code.INVALID_PROVIDED_EDEK, "the EDEK was changed, or is of another leased key")
        return dek

    def _derive(self, body: DeriveRequest) -> Flow[FieldKeys]:
        derived: dict[str, dict[str, list[FieldKey]]] = {}
        for path, derivations in body.paths.items():
            mine = [
                each
                for each in self._secrets
                if (each.tenant_provided_id, each.kind, each.secret_path) == (body.tenant_id, body.secret_type, path)
            ]
            plain: list[tuple[ExportedSecret, bytes]] = []
            for each in sorted(mine, key=lambda each: each.rotation_status):
                secret = yield from self.unwrap(edek.decode_all(each.encrypted_secret))
                plain.append((each, secret))
            derived[path] = {
                derivation: [
                    FieldKey(
                        bytearray(derive_key(secret, body.tenant_id, derivation, body.derivation_type)),
                        each.tenant_secret_id,
                        each.rotation_status == _CURRENT,
                    )
                    for each, secret in plain
                ]
                for derivation in derivations
            }
        return FieldKeys(has_primary_config=False, derived_keys=derived)
