"""The keys of the fake Cloud KMS: real AES-256-GCM, versions with states, a primary, IAM on each key."""

import base64
import binascii
import os
from collections.abc import Mapping
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tenant_security.kms.gcp.crc32c import crc32c
from tenant_security.testing.fakes.gcp_replies import Detail, RefusedError, refusal, violation
from tenant_security.testing.fakes.server import Answered

MAX_PLAINTEXT: Final = 65_536
_MAGIC: Final = b"\x0a\x24\x00"
_HEADER: Final = len(_MAGIC) + 4
_NONCE: Final = 12


class State(Enum):
    """What may become of a key version."""

    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    DESTROYED = "DESTROYED"
    DESTROY_SCHEDULED = "DESTROY_SCHEDULED"
    PENDING_GENERATION = "PENDING_GENERATION"


class CryptoKey:
    """A key in Cloud KMS, with its first version."""

    def __init__(self, name: str, purpose: str) -> None:
        self.name = name
        self.purpose = purpose
        self.primary = 0
        self.states: dict[int, State] = {}
        """The states of its versions, to be changed at will."""
        self._material: dict[int, AESGCM] = {}
        self.rotate()

    def rotate(self) -> int:
        """Make a new version the primary one."""
        self.primary += 1
        self.states[self.primary] = State.ENABLED
        self._material[self.primary] = AESGCM(os.urandom(32))
        return self.primary

    def version_name(self, version: int) -> str:
        """A version's resource name."""
        return f"{self.name}/cryptoKeyVersions/{version}"

    def encrypt(self, asked: Mapping[str, object], version: int | None) -> dict[str, object]:
        """Answer encrypt. Raises RefusedError."""
        plaintext = checked(asked, "plaintext")
        associated = checked(asked, "additionalAuthenticatedData")
        if not 0 < len(plaintext) <= MAX_PLAINTEXT:
            raise RefusedError(refusal("INVALID_ARGUMENT", "Plaintext must be between 1 and 65536 bytes."))
        used = self.primary if version is None else version
        material = self._usable(used)
        nonce = os.urandom(_NONCE)
        head = _MAGIC + used.to_bytes(4) + nonce
        ciphertext = head + material.encrypt(nonce, plaintext, head + associated)
        answer: dict[str, object] = {
            "name": self.version_name(used),
            "ciphertext": _base64(ciphertext),
            "ciphertextCrc32c": str(crc32c(ciphertext)),
            "protectionLevel": "SOFTWARE",
        }
        # Google's JSON leaves out what is false.
        if "plaintextCrc32c" in asked:
            answer["verifiedPlaintextCrc32c"] = True
        if "additionalAuthenticatedDataCrc32c" in asked:
            answer["verifiedAdditionalAuthenticatedDataCrc32c"] = True
        return answer

    def decrypt(self, asked: Mapping[str, object]) -> dict[str, object]:
        """Answer decrypt. Raises RefusedError."""
        ciphertext = checked(asked, "ciphertext")
        associated = checked(asked, "additionalAuthenticatedData")
        head, sealed = ciphertext[: _HEADER + _NONCE], ciphertext[_HEADER + _NONCE :]
        if len(head) < _HEADER + _NONCE or not head.startswith(_MAGIC):
            raise RefusedError(refusal("INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid."))
        version = int.from_bytes(head[len(_MAGIC) : _HEADER])
        if version not in self.states:
            raise RefusedError(_not_this_key())
        try:
            plaintext = self._usable(version).decrypt(head[_HEADER:], sealed, head + associated)
        except InvalidTag:
            raise RefusedError(_not_this_key()) from None
        answer: dict[str, object] = {
            "plaintext": _base64(plaintext),
            "plaintextCrc32c": str(crc32c(plaintext)),
            "protectionLevel": "SOFTWARE",
        }
        return answer | ({"usedPrimary": True} if version == self.primary else {})

    def _usable(self, version: int) -> AESGCM:
        state = self.states.get(version)
        name = self.version_name(version)
        if state is None:
            raise RefusedError(refusal("NOT_FOUND", f"CryptoKeyVersion {name} not found."))
        if self.purpose != "ENCRYPT_DECRYPT":
            message = f"Cannot use key {self.name} for encryption, its purpose is: {self.purpose}."
            raise RefusedError(refusal("FAILED_PRECONDITION", message))
        if state is not State.ENABLED:
            details: tuple[Detail, ...] = (violation("KEY_DISABLED", name),) if state is State.DISABLED else ()
            message = f"{name} is not enabled, current state is: {state.value}."
            raise RefusedError(refusal("FAILED_PRECONDITION", message, *details))
        return self._material[version]


def checked(asked: Mapping[str, object], member: str) -> bytes:
    """Read bytes from a request and hold them to the checksum beside them. Raises RefusedError."""
    text = asked.get(member, "")
    try:
        found = base64.b64decode(text if isinstance(text, str) else "?", validate=True)
    except (binascii.Error, ValueError):
        message = f"Invalid value at '{member}' (TYPE_BYTES), Base64 decoding failed"
        raise RefusedError(refusal("INVALID_ARGUMENT", message)) from None
    checksum = asked.get(member + "Crc32c")
    if checksum is not None and checksum != str(crc32c(found)):
        message = f"The checksum in field {member}_crc32c did not match the data in field {member}."
        raise RefusedError(refusal("INVALID_ARGUMENT", message))
    return found


def _base64(found: bytes) -> str:
    return base64.b64encode(found).decode()


def _not_this_key() -> Answered:
    return refusal("INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct CryptoKey.")
