"""What services say to the broker: proxies, logdrivers and bridges, each request signed.

Source: docs/broker/service-api.md.
"""

from typing import Annotated, Final, Literal

import msgspec

SNAPSHOT_PATH: Final = "/service/1/snapshot"
SECRETS_PATH: Final = "/service/1/secrets"
STATUS_PATH: Final = "/service/1/status"
LONGEST_WAIT_S: Final = 30
"""How long a request for a snapshot may wait for something new. Units: seconds."""

SecretType = Literal["search", "deterministic", "vector"]


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What all of these have in common."""


class NewSecret(_Said, frozen=True):
    """A tenant secret as a proxy made it: wrapped by the tenant's KMS. ``encrypted`` is an EDEK."""

    tenant: str
    type: SecretType
    path: Annotated[str, msgspec.Meta(max_length=1024)]
    fingerprint: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    config: Annotated[int, msgspec.Meta(ge=1)]
    encrypted: Annotated[bytes, msgspec.Meta(min_length=1, max_length=65_536)]


class StoredSecret(_Said, frozen=True):
    """A tenant secret as the broker keeps it. Units: ``created`` Unix milliseconds."""

    id: str
    number: int
    type: SecretType
    path: str
    fingerprint: bytes
    config: int
    migration: Literal["current", "needs-migration"]
    rotation: Literal["current", "in-rotation", "archived"]
    encrypted: bytes
    created: int


class StoredSecrets(_Said, frozen=True):
    """All secrets of one tenant."""

    secrets: tuple[StoredSecret, ...]


class Status(_Said, frozen=True):
    """How a service is, in its own words, for the fleet page.

    Units: ``snapshot_age_s`` seconds since the snapshot was last found good.
    """

    software: Annotated[str, msgspec.Meta(max_length=64)]
    instance: Annotated[str, msgspec.Meta(max_length=64)]
    snapshot_version: int
    snapshot_age_s: float
    health: Literal["UP", "WARN", "DOWN"]
    quarantined_tenants: int = 0
