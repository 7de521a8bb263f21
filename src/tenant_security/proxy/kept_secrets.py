"""The broker's answers about tenant secrets, kept on disk for a start without the broker, and to notice older ones.

Each is an EDEK, which only its tenant's KMS opens, and the file is encrypted under this service's identity besides.
Shape of the directory: one file for each tenant, replaced whole. Processes of one machine may share it.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tenant_security.crypto.at_rest import AtRest
from tenant_security.secret import Secret
from tenant_security.wire.service_api import StoredSecret, StoredSecrets

MOST_TENANTS: Final = 10_000
"""How many tenants' answers are kept; the one that was written longest ago goes first."""
_MOST_BYTES: Final = 16 * 1_048_576
_INCOMING: Final = "incoming-"


class KeptSecrets:
    """One process's view of the directory. Its methods block, so run them in a thread; one at a time."""

    def __init__(self, directory: Path, seed: Secret[bytes], *, most: int = MOST_TENANTS) -> None:
        """Open or make the directory. Raises: OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory: Final = directory
        self._sealing: Final = AtRest(seed, "kept-secrets")
        self._most: Final = most
        found: list[Path] = []
        for each in directory.iterdir():
            writer = each.name.removeprefix(_INCOMING)
            if writer == each.name:
                found.append(each)
            elif not Path("/proc", writer).exists():
                each.unlink(missing_ok=True)
        self._names: Final[OrderedDict[str, None]] = OrderedDict.fromkeys(
            each.name for each in sorted(found, key=_written_ns)
        )

    def recall(self, tenant: str) -> tuple[StoredSecret, ...]:
        """Return what was kept of a tenant; nothing where there is none, or it is damaged or another identity's."""
        path = self._directory / self._sealing.name(tenant)
        try:
            if path.stat().st_size > _MOST_BYTES:
                return ()
            plain = self._sealing.open(path.read_bytes(), tenant)
            return () if plain is None else msgspec.json.decode(plain, type=StoredSecrets).secrets
        except (OSError, msgspec.DecodeError):
            return ()

    def keep(self, tenant: str, secrets: tuple[StoredSecret, ...]) -> None:
        """Replace what is kept of a tenant, durably. Raises: OSError."""
        name = self._sealing.name(tenant)
        sealed = self._sealing.seal(msgspec.json.encode(StoredSecrets(secrets)), tenant)
        incoming = self._directory / f"{_INCOMING}{os.getpid()}"
        with os.fdopen(os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        incoming.replace(self._directory / name)
        self._sync()
        self._names[name] = None
        self._names.move_to_end(name)
        while len(self._names) > self._most:
            self._remove(next(iter(self._names)))

    def forget(self, tenant: str) -> None:
        """Remove what is kept of a tenant."""
        self._remove(self._sealing.name(tenant))

    def keep_only(self, tenants: Iterable[str]) -> None:
        """Remove what is kept of everybody but these."""
        if not self._names:
            return
        wanted = {self._sealing.name(each) for each in tenants}
        for name in [each for each in self._names if each not in wanted]:
            self._remove(name)

    def clear(self) -> None:
        """Remove everything: this service may serve nobody any more."""
        for each in list(self._directory.iterdir()):
            self._remove(each.name)

    def _remove(self, name: str) -> None:
        self._names.pop(name, None)
        with suppress(OSError):
            (self._directory / name).unlink(missing_ok=True)

    def _sync(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _written_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
