"""Where tenant secrets are kept, wrapped by each tenant's own KMS: the protocol, and a file for one proxy or a few.

Loss: a secret that is lost makes everything encrypted deterministically under it unreadable for ever. Back the file
up. Leak: worth nothing without the tenants' KMSs.
"""

import asyncio
import sqlite3
import threading
import time
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from tenant_security.directory.tenants import TenantDirectory
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.secret import Secret
from tenant_security.trust.tenant_secrets import Place, Standing, fits
from tenant_security.wire.service_api import StoredSecret


class Rotation(Enum):
    """Where a secret is in its life. Archived secrets are kept but never served."""

    CURRENT = "current"
    IN_ROTATION = "in-rotation"
    ARCHIVED = "archived"


class Vouched(NamedTuple):
    """A secret as a broker keeps it, where it is said to belong, and on whose word."""

    stored: StoredSecret
    place: Place
    standing: Standing

    def fits(self, plain: bytes) -> bool:
        """Whether what was unwrapped is the secret of this place."""
        return fits(plain, self.stored, self.place, self.standing)


class SecretRecord(msgspec.Struct, frozen=True):
    """One tenant secret as stored.

    Shape: ``id`` is an unsigned 32-bit number from 1, unique over all tenants and never reused, because it stands in
    every ciphertext; ``edek`` is ``EncryptedDeks`` bytes, unleased, that wrap the 32 bytes of the secret. ``vouched``
    is None where nobody but this proxy's own machine keeps it.
    """

    id: int
    tenant_id: str
    secret_type: str
    secret_path: str
    edek: bytes
    rotation: Rotation
    vouched: Vouched | None = None


class SecretStore(Protocol):
    """Keeps tenant secrets. At most one Current and one InRotation exist per tenant, type and path."""

    async def live(self, tenant_id: str, secret_type: str, secret_path: str) -> list[SecretRecord]:
        """Return Current, then InRotation, where they exist. Raises: OSError when the store cannot be read."""

    async def create(
        self, tenant_id: str, secret_type: str, secret_path: str, edek: bytes, *, secret: Secret[bytes]
    ) -> SecretRecord:
        """Store a first Current, durably, and return it; where somebody was faster, return theirs instead.

        ``secret`` is what the EDEK wraps: it is not stored, and what is signed about it is made from it.
        Raises: OSError when the store cannot be written.
        """

    def retain(self, directory: TenantDirectory) -> None:
        """Hear of a new directory: whoever is not in it is no tenant any more."""

    def close(self) -> None:
        """Let go of what is open."""


class NoSecretStore:
    """Stands where no durable place was given: refuses, rather than make a secret that a restart would lose."""

    def retain(self, directory: TenantDirectory) -> None:
        """See :class:`SecretStore`."""

    def close(self) -> None:
        """Nothing to close."""

    async def live(self, _tenant_id: str, _secret_type: str, _secret_path: str) -> list[SecretRecord]:
        """See :class:`SecretStore`."""
        raise TenantSecurityError(
            Code.SECRET_CREATION_FAILED,
            "Tenant secrets have no durable place here; the operator sets TSP_TENANT_SECRETS_FILE to a file that is "
            "kept and backed up, or has the proxy fed by a broker",
        )

    async def create(
        self,
        tenant_id: str,
        secret_type: str,
        secret_path: str,
        _edek: bytes,
        *,
        secret: Secret[bytes],  # noqa: ARG002 - the protocol's
    ) -> SecretRecord:
        """See :class:`SecretStore`."""
        await self.live(tenant_id, secret_type, secret_path)
        raise AssertionError("unreachable")


_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tenant_secret (
    id          INTEGER PRIMARY KEY AUTOINCREMENT CHECK (id BETWEEN 1 AND 4294967295),
    tenant_id   TEXT NOT NULL,
    secret_type TEXT NOT NULL CHECK (secret_type IN ('search', 'deterministic', 'vector')),
    secret_path TEXT NOT NULL,
    edek        BLOB NOT NULL,
    rotation    TEXT NOT NULL CHECK (rotation IN ('current', 'in-rotation', 'archived')),
    created_ms  INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_live_secret
    ON tenant_secret (tenant_id, secret_type, secret_path, rotation) WHERE rotation <> 'archived';
"""
_COLUMNS: Final = "id, tenant_id, secret_type, secret_path, edek, rotation"
_WAIT_S: Final = 5.0


def _record(row: tuple[int, str, str, str, bytes, str]) -> SecretRecord:
    return SecretRecord(*row[:5], Rotation(row[5]))


class SecretFile:
    """A SQLite file; several processes of one machine may share it. Calls run in a thread, one at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, readable by its owner only. Raises: OSError."""
        path.touch(mode=0o600, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as refused:
            raise OSError(f"the tenant secret file cannot be used: {refused}") from refused

    def retain(self, directory: TenantDirectory) -> None:
        """See :class:`SecretStore`: the file keeps secrets for ever, for a tenant that comes back."""

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    async def live(self, tenant_id: str, secret_type: str, secret_path: str) -> list[SecretRecord]:
        """See :class:`SecretStore`."""
        return await asyncio.to_thread(self._live, tenant_id, secret_type, secret_path)

    def _live(self, *key: str) -> list[SecretRecord]:
        query = (
            f"SELECT {_COLUMNS} FROM tenant_secret WHERE tenant_id = ? AND secret_type = ? AND secret_path = ? "  # noqa: S608 - constants
            "AND rotation <> 'archived' ORDER BY rotation"
        )
        try:
            with self._lock:
                return [_record(row) for row in self._database.execute(query, key)]
        except sqlite3.Error as refused:
            raise OSError(f"tenant secrets cannot be read: {refused}") from refused

    async def create(
        self,
        tenant_id: str,
        secret_type: str,
        secret_path: str,
        edek: bytes,
        *,
        secret: Secret[bytes] | None = None,  # noqa: ARG002 - nobody else writes the file
    ) -> SecretRecord:
        """See :class:`SecretStore`."""
        return await asyncio.to_thread(self.put, tenant_id, secret_type, secret_path, edek)

    def put(
        self, tenant_id: str, secret_type: str, secret_path: str, edek: bytes, rotation: Rotation = Rotation.CURRENT
    ) -> SecretRecord:
        """Store a secret in this state and return it, or the one that is there in this state already."""
        values = (tenant_id, secret_type, secret_path, edek, rotation.value, time.time_ns() // 1_000_000)
        insert = (
            "INSERT INTO tenant_secret (tenant_id, secret_type, secret_path, edek, rotation, created_ms) "
            "SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE NOT EXISTS (SELECT 1 FROM tenant_secret "
            "WHERE tenant_id = ?1 AND secret_type = ?2 AND secret_path = ?3 AND rotation = ?5) "
            "ON CONFLICT DO NOTHING"
        )
        select = (
            f"SELECT {_COLUMNS} FROM tenant_secret WHERE tenant_id = ? AND secret_type = ? AND secret_path = ? "  # noqa: S608 - constants
            "AND rotation = ? ORDER BY id DESC LIMIT 1"
        )
        try:
            with self._lock:
                self._database.execute(insert, values)
                row = self._database.execute(select, (*values[:3], rotation.value)).fetchone()
        except sqlite3.Error as refused:
            raise OSError(f"a tenant secret cannot be stored: {refused}") from refused
        return _record(row)
