"""The keys of the fake Key Vault: real RSA-OAEP and AES key wrap, versions, states, permitted operations."""

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from tenant_security.testing.fakes.azure_entra import RefusedError
from tenant_security.testing.fakes.rsa_keys import rsa_key
from tenant_security.testing.fakes.server import Answered, answered

OPERATIONS: Final = {"wrapkey": "wrapKey", "unwrapkey": "unwrapKey", "encrypt": "encrypt", "decrypt": "decrypt"}
"""How the last part of an address is called among permissions and permitted operations."""

_FIRST_RSA: Final = 3_000
_PADDINGS: Final = {
    "RSA-OAEP": padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
    "RSA-OAEP-256": padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSA1_5": padding.PKCS1v15(),
}
_AES: Final = {"A128KW": 16, "A192KW": 24, "A256KW": 32}


def refusal(status: int, code: str, message: str, inner: str = "", *headers: tuple[str, str]) -> Answered:
    """Answer as Key Vault refuses."""
    error: dict[str, object] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return answered(status, {"error": error}, *headers)


class VaultKey:
    """A key with its first version. ``bits`` of RSA, or of AES where ``kind`` is ``oct-HSM``."""

    def __init__(self, url: str, name: str, kind: str, bits: int, number: int) -> None:
        self.url = f"{url}/keys/{name}"
        self.name = name
        self.kind = kind
        self.bits = bits
        self.permitted = set(OPERATIONS.values())
        """Its ``key_ops``."""
        self.enabled = True
        self.not_before: float | None = None
        self.expires: float | None = None
        self.disabled_versions: set[str] = set()
        self.versions: dict[str, RSAPrivateKey | bytes] = {}
        """Its versions; the last one is the current one."""
        self._number = _FIRST_RSA + 100 * number
        self.rotate()

    @property
    def current(self) -> str:
        """The version that is used when none is named."""
        return next(reversed(self.versions))

    def rotate(self) -> str:
        """Make a new version and return its name."""
        version = os.urandom(16).hex()
        number = self._number + len(self.versions)
        self.versions[version] = rsa_key(number, self.bits) if self.kind == "RSA" else os.urandom(self.bits // 8)
        return version

    def use(self, verb: str, version: str, asked: Mapping[str, object], now_s: float) -> dict[str, object]:
        """Answer one of the four operations. Raises RefusedError."""
        version = version or self.current
        material = self.versions.get(version)
        if material is None:
            raise RefusedError(not_found(f"{self.name}/{version}"))
        operation = OPERATIONS[verb]
        self._check(operation, version, now_s)
        algorithm, value = asked.get("alg"), asked.get("value")
        if asked.keys() - {"alg", "value"} or not isinstance(algorithm, str) or not isinstance(value, str):
            raise RefusedError(refusal(400, "BadParameter", "Property has invalid value"))
        done = self._done(operation, material, algorithm, _read(value))
        return {"kid": f"{self.url}/{version}", "value": _base64url(done)}

    def described(self, version: str) -> dict[str, object]:
        """Answer a request for the key itself. Raises RefusedError."""
        version = version or self.current
        material = self.versions.get(version)
        if material is None:
            raise RefusedError(not_found(f"{self.name}/{version}"))
        key: dict[str, object] = {"kid": f"{self.url}/{version}", "kty": self.kind, "key_ops": sorted(self.permitted)}
        if isinstance(material, RSAPrivateKey):
            numbers = material.public_key().public_numbers()
            key |= {
                "n": _base64url(numbers.n.to_bytes((self.bits + 7) // 8)),
                "e": _base64url(numbers.e.to_bytes(3)),
            }
        enabled = self.enabled and version not in self.disabled_versions
        times = {"nbf": self.not_before, "exp": self.expires}
        attributes = {"enabled": enabled, "recoveryLevel": "Recoverable+Purgeable", "exportable": False}
        attributes |= {name: int(at) for name, at in times.items() if at is not None}
        return {"key": key, "attributes": attributes}

    def _check(self, operation: str, version: str, now_s: float) -> None:
        if not self.enabled or version in self.disabled_versions:
            message = f"Operation {operation} is not allowed on a disabled key."
            raise RefusedError(refusal(403, "Forbidden", message, "KeyDisabled"))
        # Old ciphertexts of an expired key still open; new ones are not made.
        if self.not_before is not None and now_s < self.not_before:
            message = f"Operation {operation} is not allowed on a key that is not yet valid."
            raise RefusedError(refusal(403, "Forbidden", message, "KeyNotYetValid"))
        if self.expires is not None and now_s >= self.expires and operation in ("wrapKey", "encrypt"):
            message = f"Operation {operation} is not allowed on an expired key."
            raise RefusedError(refusal(403, "Forbidden", message, "KeyExpired"))
        if operation not in self.permitted:
            message = f"Operation {operation} is not permitted on this key."
            raise RefusedError(refusal(403, "Forbidden", message, "KeyOperationForbidden"))

    def _done(self, operation: str, material: RSAPrivateKey | bytes, algorithm: str, value: bytes) -> bytes:
        forward = operation in ("wrapKey", "encrypt")
        try:
            if isinstance(material, RSAPrivateKey):
                how = _PADDINGS[algorithm]
                return material.public_key().encrypt(value, how) if forward else material.decrypt(value, how)
            if _AES[algorithm] != len(material) or "Key" not in operation:
                raise KeyError(algorithm)
            return aes_key_wrap(material, value) if forward else aes_key_unwrap(material, value)
        except (KeyError, ValueError, InvalidUnwrap):
            raise RefusedError(refusal(400, "BadParameter", "The parameter is incorrect.")) from None


def not_found(what: str) -> Answered:
    """Refuse a key that is not there."""
    return refusal(
        404,
        "KeyNotFound",
        f"A key with (name/id) {what} was not found in this key vault. If you recently deleted this key you may be able"
        " to recover it using the correct recovery command.",
    )


def _read(text: str) -> bytes:
    try:
        if not text or "=" in text:
            raise ValueError(text)
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(refusal(400, "BadParameter", "Invalid base64url value")) from None


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
