"""EDEKs and documents that no client can ask our proxy for, made with the keys of its local KMS.

They stand for data of the past: encrypted under a config that has since stopped being primary, or before leasing was
switched off. Where a test only needs the proxy to read the config id, the wrapped key is noise.
"""

import base64
import hashlib
import os
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenant_security.crypto.aead import LeasedKeyCipher
from tenant_security.kms.local import LocalKmsKey
from tenant_security.outbound.flow import finished
from tenant_security.secret import Secret
from tenant_security.wire import edek
from tenant_security.wire.kms.local import LocalCredentials, LocalKeyPath, LocalKmsConfig

COMBO = "INTEGRATION-TEST-COMBO"
COMBO_ACTIVE, COMBO_DISABLED = 538, 544
AZURE, AZURE_CONFIG = "INTEGRATION-TEST-AZURE", 543
GCP, GCP_CONFIG = "INTEGRATION-TEST-GCP", 534


def noise(label: str, size: int) -> bytes:
    """Bytes that no KMS made, the same in every run."""
    return hashlib.shake_256(label.encode()).digest(size)


def document_v3(dek: bytes, tenant: str, plaintext: bytes) -> bytes:
    """Encrypt one field in the format of the Tenant Security Clients, its header signed with the DEK.

    Source: docs/client/formats.md, "V3 header".
    """
    gcm = AESGCM(dek)
    name = tenant.encode()
    payload = b"\x0a" + bytes([len(name)]) + name
    header_iv, iv = os.urandom(12), os.urandom(12)
    signature = header_iv + gcm.encrypt(header_iv, payload, None)[-16:]
    header = b"\x0a\x1c" + signature + b"\x1a" + bytes([len(payload)]) + payload
    return b"\x03IRON" + len(header).to_bytes(2, "big") + header + iv + gcm.encrypt(iv, plaintext, None)


@dataclass(frozen=True)
class Prepared:
    """An EDEK, its DEK, and a document under that DEK."""

    tenant: str
    edek: str
    dek: bytes
    document: bytes
    plaintext: str

    def as_json(self) -> dict[str, str]:
        """The shape that the client programs read."""
        document = base64.b64encode(self.document).decode()
        return {"tenant": self.tenant, "edek": self.edek, "document": document, "plaintext": self.plaintext}


class Mint:
    """Makes EDEKs of every form under the configs of the running proxy."""

    def __init__(self, local_kms_keys: dict[int, bytes]) -> None:
        self._keys = {config_id: _local_key(config_id, key) for config_id, key in local_kms_keys.items()}

    def unleased_edek(self, config_id: int, dek: bytes) -> str:
        """Wrap the DEK as the config's KMS does."""
        return edek.encode_base64(edek.EncryptedDek(finished(self._keys[config_id].wrap(dek)), config_id))

    def leased_edek(self, config_id: int, dek: bytes, lease_id: int) -> str:
        """Wrap the DEK under a new leased key that nobody has seen before."""
        leased_key, iv = os.urandom(32), os.urandom(12)
        inner = edek.encode(edek.EncryptedDek(finished(self._keys[config_id].wrap(leased_key)), config_id))
        sealed = LeasedKeyCipher(leased_key).seal(dek, iv)
        return edek.encode_base64(edek.EncryptedDek(sealed, config_id, lease_id, iv, inner))

    def alien_edek(self, config_id: int, blob: bytes) -> str:
        """Name the config but hold a blob that its KMS never made."""
        return edek.encode_base64(edek.EncryptedDek(blob, config_id))

    def open(self, text: str) -> bytes:
        """Recover a DEK from its EDEK and the tenant's KMS alone, as after the loss of every proxy."""
        entry = edek.decode_base64(text)
        if not entry.leased:
            return finished(self._keys[entry.config_id].unwrap(entry.data))
        inner = edek.decode(entry.wrapped_lease)
        leased_key = finished(self._keys[inner.config_id].unwrap(inner.data))
        return AESGCM(leased_key).decrypt(entry.lease_iv, entry.data, None)

    def _with_document(self, tenant: str, wrapped: str, dek: bytes) -> Prepared:
        plaintext = f"prepared for {tenant}"
        return Prepared(tenant, wrapped, dek, document_v3(dek, tenant, plaintext.encode()), plaintext)

    def all(self) -> dict[str, Prepared]:
        """Every prepared specimen by the name under which the client programs know it."""
        dek = os.urandom(32)
        return {
            "active": self._with_document(COMBO, self.unleased_edek(COMBO_ACTIVE, dek), dek),
            "disabled": self._with_document(COMBO, self.alien_edek(COMBO_DISABLED, noise("disabled", 293)), dek),
            "unversioned": self._with_document(AZURE, self.unleased_edek(AZURE_CONFIG, dek), dek),
            "foreign": self._with_document(AZURE, self.alien_edek(AZURE_CONFIG, noise("foreign", 256)), dek),
            "unleased": self._with_document(GCP, self.unleased_edek(GCP_CONFIG, dek), dek),
            "leased": self._with_document(GCP, self.leased_edek(GCP_CONFIG, dek, 625), dek),
        }


def _local_key(config_id: int, key: bytes) -> LocalKmsKey:
    return LocalKmsKey(
        LocalKmsConfig(
            version=1,
            credentials=LocalCredentials(keys={1: Secret(key)}),
            key_path=LocalKeyPath(key_id=f"demo-{config_id}"),
        )
    )
