"""The blob that stands for an Azure-wrapped key in ``encryptedDekData``: ciphertext, key version, algorithm.

Azure's ciphertext does not say which version of a key made it, nor how. The original product at first stored the bare
ciphertext, and later a protobuf message with the version beside it. We write that message with two fields more::

    AzureBlob { bytes  ciphertext = 1   what Azure returned
                string keyVersion = 2   the version that made it
                int32  format     = 3   1; absent in the original product's blobs
                string algorithm  = 4 } as Azure spells it; absent in the original product's blobs

The three kinds cannot be mistaken for each other. A bare ciphertext has exactly the length of an RSA modulus that
Azure has, and no message whose version is at most 64 characters has one of these lengths; so the length decides and
not what the first bytes happen to be. Among messages ``format`` decides.

Source: docs/formats.md, "Azure blob".
"""

import re
from typing import Final, NamedTuple

from tenant_security.wire.kms.azure import AzureAlgorithm
from tenant_security.wire.protobuf import MalformedMessageError, delimited, fields, integer

RSA_BYTES: Final = frozenset({256, 384, 512})
"""How long the ciphertexts of Azure's RSA keys are: 2,048, 3,072 and 4,096 bits."""

AES_KW_BYTES: Final = 40
"""How long 32 bytes are after AES key wrap: eight bytes of integrity check come with them. Source: RFC 3394."""

FORMAT: Final = 1

_CIPHERTEXT, _VERSION, _FORMAT, _ALGORITHM = 1, 2, 3, 4
_VERSION_TEXT: Final = re.compile(r"[0-9A-Za-z]{1,64}")
_MAX_BYTES: Final = 640
_RSA: Final = frozenset({AzureAlgorithm.RSA_OAEP_256, AzureAlgorithm.RSA_OAEP})


class NotOursError(ValueError):
    """The bytes are not a blob that Azure or we could have made."""


class Blob(NamedTuple):
    """A wrapped key. ``version`` and ``algorithm`` are None where an old blob does not tell."""

    ciphertext: bytes
    version: str | None
    algorithm: AzureAlgorithm | None


def is_version(text: str) -> bool:
    """Whether this can be a key version. It ends up in an address."""
    return _VERSION_TEXT.fullmatch(text) is not None


def is_ciphertext(algorithm: AzureAlgorithm, ciphertext: bytes) -> bool:
    """Whether 32 bytes can become this under the algorithm, by its length."""
    return len(ciphertext) in RSA_BYTES if algorithm in _RSA else len(ciphertext) == AES_KW_BYTES


def write_blob(ciphertext: bytes, version: str, algorithm: AzureAlgorithm) -> bytes:
    """Render a blob of the present format."""
    assert is_version(version)
    assert is_ciphertext(algorithm, ciphertext)
    return (
        delimited(_CIPHERTEXT, ciphertext)
        + delimited(_VERSION, version.encode())
        + integer(_FORMAT, FORMAT)
        + delimited(_ALGORITHM, algorithm.value.encode())
    )


def read_blob(blob: bytes) -> Blob:
    """Read a blob of any of the three kinds.

    Trust: it comes from whoever sends an EDEK. What is returned is fit for an address and a request body.
    Raises: NotOursError that says what it is instead.
    """
    if len(blob) in RSA_BYTES:
        return Blob(blob, None, None)
    if len(blob) > _MAX_BYTES:
        raise NotOursError("it is longer than any of Azure's")
    found: dict[int, int | bytes] = {}
    try:
        for number, value in fields(blob):
            if number in found:
                raise NotOursError("a part of it stands there twice")
            found[number] = value
    except MalformedMessageError:
        raise NotOursError("it did not come from Azure") from None
    return _read(found)


def _read(found: dict[int, int | bytes]) -> Blob:
    ciphertext, version = found.pop(_CIPHERTEXT, None), found.pop(_VERSION, None)
    made, algorithm = found.pop(_FORMAT, None), found.pop(_ALGORITHM, None)
    if not isinstance(ciphertext, bytes) or not isinstance(version, bytes):
        raise NotOursError("it did not come from Azure")
    if found or made not in (None, FORMAT):
        raise NotOursError("a newer version of this software made it")
    text = version.decode("ascii", "replace")
    if not is_version(text):
        raise NotOursError("the key version in it is none")
    if made is None:
        if algorithm is not None or len(ciphertext) not in RSA_BYTES:
            raise NotOursError("it did not come from Azure")
        return Blob(ciphertext, text, None)
    try:
        named = AzureAlgorithm(algorithm.decode("ascii", "replace") if isinstance(algorithm, bytes) else "")
    except ValueError:
        raise NotOursError("the algorithm in it is not known") from None
    if not is_ciphertext(named, ciphertext):
        raise NotOursError("it did not come from Azure")
    return Blob(ciphertext, text, named)
