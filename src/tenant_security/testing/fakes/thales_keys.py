"""The keys of the fake CipherTrust Manager: real AES-256-GCM with IV and tag apart, versions, states, usage, groups."""

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenant_security.testing.fakes.server import Answered, answered

IV_BYTES: Final = 12
TAG_BYTES: Final = 16

FORBIDDEN: Final = (403, 3, "NCERRForbidden: Forbidden")
NOT_FOUND: Final = (404, 16, "NCERRResourceNotFound: Resource not found")
BAD_PARAMETER: Final = (400, 9, "NCERRInvalidParamValue: Invalid parameter value")
BAD_REQUEST: Final = (400, 15, "NCERRBadRequest: Bad HTTP request")
CRYPTO: Final = (400, 106, "NCERRCryptoOperationFailed: Cryptographic operation failed in cipher operation")

_MEMBERS: Final = {
    "encrypt": {"id", "type", "mode", "plaintext", "aad", "iv", "tag_len", "version", "pad"},
    "decrypt": {"id", "type", "mode", "ciphertext", "iv", "tag", "aad", "version", "pad"},
}


class RefusedError(Exception):
    """What the fake answers instead of doing as it was asked."""

    def __init__(self, kind: tuple[int, int, str], message: str) -> None:
        super().__init__(message)
        status, code, described = kind
        body = {"code": code, "codeDesc": described, "message": message, "requestID": os.urandom(16).hex()}
        self.answer: Answered = answered(status, body)


class CipherTrustKey:
    """A key with its first version, which has number 0."""

    def __init__(self, name: str, domain: str) -> None:
        self.id = os.urandom(32).hex()
        self.name = name
        self.domain = domain
        self.state = "Active"
        """``Active``, or anything else that KMIP knows, such as ``Deactivated``."""
        self.usage = {"encrypt", "decrypt"}
        """Its usage mask."""
        self.users: set[str] = set()
        """Who may use it: names of users."""
        self._versions: list[AESGCM | None] = []
        self.rotate()

    def rotate(self) -> int:
        """Make a new version, which encrypts from now on."""
        self._versions.append(AESGCM(os.urandom(32)))
        return len(self._versions) - 1

    def destroy(self, version: int) -> None:
        """Delete a version."""
        self._versions[version] = None

    def use(self, verb: str, asked: Mapping[str, object], user: str) -> dict[str, object]:
        """Answer encrypt or decrypt. Raises RefusedError."""
        if not asked.keys() <= _MEMBERS[verb]:
            raise RefusedError(BAD_PARAMETER, "unknown parameter")
        if asked.get("mode") != "gcm":
            raise RefusedError(BAD_PARAMETER, "Unsupported mode for this key")
        if user not in self.users:
            raise RefusedError(FORBIDDEN, "You are not authorized to perform this operation")
        if self.state != "Active":
            raise RefusedError(BAD_REQUEST, f"Key is not active: {self.state}")
        if verb not in self.usage:
            raise RefusedError(BAD_REQUEST, f"Key usage mask does not allow {verb}")
        version = asked.get("version", len(self._versions) - 1)
        if not isinstance(version, int) or not 0 <= version < len(self._versions):
            raise RefusedError(NOT_FOUND, "Key version not found")
        material = self._versions[version]
        if material is None:
            raise RefusedError(NOT_FOUND, "Key version not found")
        if verb == "encrypt":
            return self._encrypted(material, version, asked)
        whole = _read(asked, "ciphertext") + _read(asked, "tag")
        try:
            plaintext = material.decrypt(_read(asked, "iv"), whole, _read(asked, "aad", ""))
        except (InvalidTag, ValueError):
            raise RefusedError(CRYPTO, "AEAD decrypt final failed") from None
        return {"plaintext": _base64(plaintext)}

    def _encrypted(self, material: AESGCM, version: int, asked: Mapping[str, object]) -> dict[str, object]:
        iv = os.urandom(IV_BYTES)
        sealed = material.encrypt(iv, _read(asked, "plaintext"), _read(asked, "aad", ""))
        return {
            "ciphertext": _base64(sealed[:-TAG_BYTES]),
            "tag": _base64(sealed[-TAG_BYTES:]),
            "iv": _base64(iv),
            "id": self.id,
            "version": version,
            "mode": "gcm",
        }


def _read(asked: Mapping[str, object], member: str, usual: str | None = None) -> bytes:
    value = asked.get(member, usual)
    if not isinstance(value, str):
        raise RefusedError(BAD_PARAMETER, f"{member} is missing")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error:
        raise RefusedError(BAD_PARAMETER, "illegal base64 data") from None


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
