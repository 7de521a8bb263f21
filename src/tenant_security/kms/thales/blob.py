"""The blob that stands for a CipherTrust-wrapped key in ``encryptedDekData``: ciphertext, IV, tag, key version.

CipherTrust Manager returns four things where other KMSs return one, and all four are needed to decrypt. The original
product stored them in a protobuf message; we write the same message with one field more, which says that it is ours::

    ThalesBlob { bytes  ciphertext = 1   as long as what was encrypted: 32 bytes
                 bytes  iv         = 2   12 bytes
                 bytes  tag        = 3   16 bytes
                 string mode       = 4   "gcm"
                 int32  keyVersion = 5   absent: 0, the key's first version
                 string keyIdType  = 6   how the original product named its key; read, and not used
                 int32  format     = 7 } 1; absent in the original product's blobs

Which key it was, the blob does not say: it is unwrapped by the key of its config and by no other.

Source: docs/formats.md, "Thales blob".
"""

from typing import Final, NamedTuple

from tenant_security.wire.protobuf import MalformedMessageError, delimited, fields, integer

FORMAT: Final = 1
MODE: Final = "gcm"
IV_BYTES: Final = 12
TAG_BYTES: Final = 16
CIPHERTEXT_BYTES: Final = 32

_CIPHERTEXT, _IV, _TAG, _MODE, _VERSION, _KEY_ID_TYPE, _FORMAT = range(1, 8)
_LENGTHS: Final = {_CIPHERTEXT: CIPHERTEXT_BYTES, _IV: IV_BYTES, _TAG: TAG_BYTES}
_MAX_BYTES: Final = 256
_MAX_VERSION: Final = 2**31 - 1


class NotOursError(ValueError):
    """The bytes are not a blob that we or the original product could have made."""


class Blob(NamedTuple):
    """A wrapped key. Shape: 32, 12 and 16 bytes; ``version`` is 0 or more."""

    ciphertext: bytes
    iv: bytes
    tag: bytes
    version: int

    @property
    def is_whole(self) -> bool:
        """Whether each part has the length that it must have."""
        return (
            len(self.ciphertext) == CIPHERTEXT_BYTES
            and len(self.iv) == IV_BYTES
            and len(self.tag) == TAG_BYTES
            and 0 <= self.version <= _MAX_VERSION
        )


def write_blob(blob: Blob) -> bytes:
    """Render a blob of the present format."""
    assert blob.is_whole
    return (
        delimited(_CIPHERTEXT, blob.ciphertext)
        + delimited(_IV, blob.iv)
        + delimited(_TAG, blob.tag)
        + delimited(_MODE, MODE.encode())
        + (integer(_VERSION, blob.version) if blob.version else b"")
        + integer(_FORMAT, FORMAT)
    )


def read_blob(text: bytes) -> Blob:
    """Read a blob of ours or of the original product's.

    Trust: it comes from whoever sends an EDEK. What is returned is fit for a request body.
    Raises: NotOursError that says what it is instead.
    """
    if len(text) > _MAX_BYTES:
        raise NotOursError("it is longer than any of CipherTrust Manager's")
    found: dict[int, int | bytes] = {}
    try:
        for number, value in fields(text):
            if number in found:
                raise NotOursError("a part of it stands there twice")
            found[number] = value
    except MalformedMessageError:
        raise NotOursError("it did not come from CipherTrust Manager") from None
    if found.pop(_FORMAT, FORMAT) != FORMAT or not found.keys() <= {*_LENGTHS, _MODE, _VERSION, _KEY_ID_TYPE}:
        raise NotOursError("a newer version of this software made it")
    mode, version = found.get(_MODE), found.get(_VERSION, 0)
    if not isinstance(mode, bytes) or mode.lower() != MODE.encode():
        raise NotOursError("it was not encrypted in GCM mode")
    parts = [found.get(number) for number in (_CIPHERTEXT, _IV, _TAG)]
    ciphertext, iv, tag = (part if isinstance(part, bytes) else b"" for part in parts)
    blob = Blob(ciphertext, iv, tag, version if isinstance(version, int) else -1)
    if not blob.is_whole:
        raise NotOursError("it did not come from CipherTrust Manager")
    return blob
