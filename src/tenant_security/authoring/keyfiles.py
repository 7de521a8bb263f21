"""Files that hold keys, and files that must be whole or not there.

Shape of a key file: one line, standard base64 of a 32-byte seed. Mode 0600, in a directory of mode 0700.
"""

import binascii
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tenant_security.crypto.seal import SEED_BYTES
from tenant_security.secret import Secret

PRIVATE: int = 0o600


class KeyFileError(Exception):
    """A file of the vendor's directory is missing, damaged or readable by others."""


def write_whole(path: Path, portions: Iterable[bytes], mode: int = PRIVATE) -> None:
    """Write a file so that readers see the old one or the new one and nothing between, even after a power cut."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.writelines(portions)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_seed(path: Path, seed: Secret[bytes]) -> None:
    """Write a private key that is not there yet.

    Raises: KeyFileError when there is one, because a key that is overwritten is lost.
    """
    if path.exists():
        raise KeyFileError(f"{path} exists; move it away first if you mean to replace that key")
    write_whole(path, [binascii.b2a_base64(seed.reveal())])


def read_seed(path: Path) -> Secret[bytes]:
    """Read a private key.

    Raises: KeyFileError when it is missing, damaged, or readable by others.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others; run: chmod 600 {path}")
        seed = binascii.a2b_base64(path.read_bytes().strip(), strict_mode=True)
    except OSError as failure:
        raise KeyFileError(f"{path} cannot be read: {failure.strerror}") from failure
    except binascii.Error:
        seed = b""
    if len(seed) != SEED_BYTES:
        raise KeyFileError(f"{path} does not hold a key: expected base64 of {SEED_BYTES} bytes")
    return Secret(seed)
