"""What the proxy knows of its tenants: an immutable directory, replaced whole, never changed.

Take the directory once per request and use only that one: two look-ups in two directories may disagree. Configs
stay sealed in here; :meth:`ConfigHandle.open` opens one when it is first needed.

Source: docs/formats-trust.md, "What a verified snapshot becomes".
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final, Protocol

import msgspec

from tenant_security.directory.keyring import EMPTY_KEYRING, Keyring
from tenant_security.trust.chain import NOTHING_SEEN, Seen
from tenant_security.trust.tenant_secrets import NO_MAKERS, Makers
from tenant_security.wire.kms_configs import KmsConfig


class ConfigHandle(Protocol):
    """One KMS config of one tenant, or of the vendor when many tenants share it, still sealed."""

    @property
    def id(self) -> int:
        """The config id that EDEKs carry, never 0."""

    @property
    def version(self) -> int:
        """Raised by the author with every change."""

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that change whenever the sealed content changes, and not when it is only wrapped anew."""

    @property
    def shared(self) -> bool:
        """Whether it belongs to the vendor and other tenants may use it too."""

    def open(self) -> KmsConfig:
        """Open and decode the config. Costs about 0.2 ms and is not cached here.

        Raises: TenantSecurityError 207 when it cannot be opened or read.
        """


class Assignment(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A config as one tenant may use it. ``leasing``: a leased key of this config may wrap DEKs."""

    config: ConfigHandle
    active: bool
    primary: bool
    leasing: bool


class Provenance(msgspec.Struct, frozen=True, gc=False):
    """What a tenant's entry was made from, so that the next refresh knows an unchanged entry at sight.

    Shape: ``entry`` is the digest by which heads vouch for the entry as it was offered; ``line``, ``record`` and
    ``authors`` are SHA-256 of the snapshot line, of the signed record and of the tenant's signed authors, empty where
    there are none; an empty ``line`` means "look again". ``through`` names the authors of the manifest on whose word
    all of it stands.
    """

    entry: bytes
    line: bytes = b""
    record: bytes = b""
    authors: bytes = b""
    authors_version: int = 0
    through: tuple[str, ...] = ()


class Tenant(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One tenant. When ``quarantined`` says why its entry cannot be trusted, every operation answers 207."""

    id: str
    version: int
    leasing_required: bool
    assignments: tuple[Assignment, ...]
    quarantined: str | None = None
    provenance: Provenance | None = None
    sinks: tuple[ConfigHandle, ...] = ()
    """Where its events go, as its own people configured; for the logdriver."""
    spares: tuple[int, ...] = ()
    """The configs that wrap new keys beside the primary; usually none."""

    def assignment(self, config_id: int) -> Assignment | None:
        """Return what this tenant may do with a config, or None when the config is not its own to use."""
        for assignment in self.assignments:
            if assignment.config.id == config_id:
                return assignment
        return None

    @property
    def primary(self) -> Assignment | None:
        """The config that wraps new keys; None when there is none or it is disabled."""
        for assignment in self.assignments:
            if assignment.primary:
                return assignment if assignment.active else None
        return None

    @property
    def wrapping(self) -> tuple[Assignment, ...]:
        """The configs that wrap a new key: the primary, then the spares that are active. Empty without a primary."""
        primary = self.primary
        if primary is None:
            return ()
        if not self.spares:
            return (primary,)
        spares = (self.assignment(each) for each in self.spares)
        return (primary, *(spare for spare in spares if spare is not None and spare.active))

    @property
    def has_active(self) -> bool:
        """Whether any config may be used at all."""
        return any(assignment.active for assignment in self.assignments)


class Freshness(Enum):
    """What bounds the age of a directory."""

    EMPTY = "empty"
    """Nothing was loaded yet."""
    HEAD = "head"
    """A short-lived head names exactly this snapshot: freezing and rollback are noticed within its life."""
    MANIFEST_ONLY = "manifest only"
    """No head: an old snapshot is noticed when its manifest expires, or when this process saw a newer one."""


class Standing(msgspec.Struct, frozen=True):
    """What a directory was accepted on; the next snapshot may not fall behind it.

    Shape: ``authors`` maps the key id of an author of the manifest to a hash of what it may sign. ``floors`` remembers
    the highest version seen of records ``(tenant, 0)``, authors ``(tenant, -1)`` and configs ``(owner, config id)``
    that are not in the directory now, so that something withdrawn cannot come back older.
    """

    seen: Seen = NOTHING_SEEN
    keyring: Keyring = EMPTY_KEYRING
    authors: Mapping[str, bytes] = MappingProxyType({})
    makers: Makers = NO_MAKERS
    """Who may say where a tenant secret belongs."""
    floors: Mapping[tuple[str, int], int] = MappingProxyType({})


class TenantDirectory(msgspec.Struct, frozen=True, eq=False):
    """Every tenant of one verified snapshot.

    Units: ``made_at_s`` and ``expires_at_s`` are Unix seconds: when the snapshot was made, by its own account,
    and when the first of root, manifest and head stops being valid. A loaded directory is used beyond that; only
    the next one is refused.
    """

    tenants: Mapping[str, Tenant] = MappingProxyType({})
    version: int = 0
    """The snapshot's version; raised with every snapshot the vendor makes."""
    vendor: str = ""
    quarantined: Mapping[str, str] = MappingProxyType({})
    """Tenant id, or ``line N`` or ``config N`` where no tenant can be told, to the reason."""
    rollbacks: Mapping[str, str] = MappingProxyType({})
    """Tenant id or ``config N`` to what was offered older than before; the newer entry stays in use."""
    loaded_from: str = ""
    made_at_s: int = 0
    expires_at_s: int = 0
    freshness: Freshness = Freshness.EMPTY
    shared_configs: Mapping[int, ConfigHandle] = MappingProxyType({})
    shared_entries: Mapping[int, bytes] = MappingProxyType({})
    """The digests by which heads vouch for the vendor's configs, as they were offered."""
    standing: Standing = Standing()
    withdrawn: str = ""
    """Why nobody is served at all: the vendor has revoked this service."""

    def tenant(self, tenant_id: str) -> Tenant | None:
        """Look one tenant up; a quarantined tenant is found and says so."""
        return self.tenants.get(tenant_id)

    def __len__(self) -> int:
        return len(self.tenants)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<TenantDirectory {self.vendor!r} version {self.version}, {len(self)} tenants>"

    def __iter__(self) -> Iterator[Tenant]:
        return iter(self.tenants.values())


EMPTY_DIRECTORY: Final = TenantDirectory()
"""What a proxy has before its first snapshot: no tenants at all."""
