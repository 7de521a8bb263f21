"""What services say to the broker: proxies, logdrivers and bridges, each request signed.

Source: docs/broker/service-api.md.
"""

from typing import Annotated, Final, Literal

import msgspec

from tenant_security.wire.snapshot import Signed

SNAPSHOT_PATH: Final = "/service/1/snapshot"
SECRETS_PATH: Final = "/service/1/secrets"
NUMBERS_PATH: Final = "/service/1/secret-numbers"
RENEWALS_PATH: Final = "/service/1/secret-renewals"
MOST_RENEWALS: Final = 20
"""How many secrets a proxy is lent at a time, to be renewed."""
STATUS_PATH: Final = "/service/1/status"
WORK_PATH: Final = "/service/1/work"
WORK_HEADER: Final = "Tenant-Security-Work"
"""Stands on an answer to a request for a snapshot where the broker has something for the service to do."""
WorkKind = Literal["kms", "sink"]
"""What a service does for the broker: it tries configs of KMSs, or sinks of events."""
LONGEST_WAIT_S: Final = 30
"""How long a request for a snapshot may wait for something new. Units: seconds."""

KMS_BUCKETS_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets that calls of a KMS are counted in. Units: seconds."""
MOST_TENANTS_REPORTED: Final = 500
"""How many tenants a report names; all others are counted together."""
OTHERS: Final = ""
"""The name of all tenants together that a report does not name."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
FaultCode = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,4}\Z")]
SecretType = Literal["search", "deterministic", "vector"]
SecretNumber = Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
Fingerprint = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Edek = Annotated[bytes, msgspec.Meta(min_length=1, max_length=65_536)]


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What all of these have in common."""


class NewSecret(_Said, frozen=True):
    """A tenant secret as a proxy made it: wrapped by the tenant's KMS. ``encrypted`` is an EDEK.

    ``number`` was reserved before; ``binding`` is a signed :class:`tenant_security.wire.snapshot.SecretBinding`.
    """

    tenant: str
    number: SecretNumber
    type: SecretType
    path: Annotated[str, msgspec.Meta(max_length=1024)]
    fingerprint: Fingerprint
    config: Annotated[int, msgspec.Meta(ge=1)]
    encrypted: Edek
    binding: Signed


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
    binding: Signed | None = None
    """Absent for secrets from before they were bound."""


class StoredSecrets(_Said, frozen=True):
    """All secrets of one tenant."""

    secrets: tuple[StoredSecret, ...]


class ReservedNumber(_Said, frozen=True):
    """A number that no secret has and none will get again."""

    number: SecretNumber


class Renewal(_Said, frozen=True):
    """A secret that is to be wrapped by its tenant's primary, or bound to its place, and that is lent for it."""

    tenant: str
    secret: StoredSecret


class Renewals(_Said, frozen=True):
    """Some of them. ``lent_s`` is for how long, in seconds."""

    renewals: tuple[Renewal, ...]
    lent_s: int


class RenewedSecret(_Said, frozen=True):
    """The same secret, wrapped and bound anew. ``base`` is SHA-256 of the EDEK that it was made from."""

    tenant: str
    base: Fingerprint
    fingerprint: Fingerprint
    config: Annotated[int, msgspec.Meta(ge=1)]
    encrypted: Edek
    binding: Signed


class RenewalTrouble(_Said, frozen=True):
    """Why a secret could not be renewed; it stays as it is and is lent again later.

    Without a ``why`` it is lent again at once: the proxy does not see yet why it should be renewed.
    """

    tenant: str
    base: Fingerprint
    why: Annotated[str, msgspec.Meta(max_length=300)]


class TenantActivity(_Said, frozen=True):
    """What one tenant did since the last report; ``OTHERS`` stands for all tenants that are not named.

    Shape: ``errors`` maps fault codes to counts; ``kms`` counts calls of its KMS by how long they took, one number
    for each bound of ``KMS_BUCKETS_S`` and one for what took longer.
    """

    tenant: Annotated[str, msgspec.Meta(max_length=255)]
    operations: Count = 0
    errors: Annotated[dict[FaultCode, Count], msgspec.Meta(max_length=40)] = {}
    kms: Annotated[tuple[Count, ...], msgspec.Meta(max_length=len(KMS_BUCKETS_S) + 1)] = ()


class Delivery(_Said, frozen=True):
    """How a tenant's events reach its SIEMs, as a logdriver sees it. Tenants for whom nothing waits are left out.

    ``waiting`` is for how many of its sinks something waits; ``failed`` how many of them do not take events now.
    Units: ``lag_s`` seconds, how long the oldest event waits.
    """

    tenant: Annotated[str, msgspec.Meta(max_length=255)]
    waiting: Count
    lag_s: Annotated[float, msgspec.Meta(ge=0)]
    failed: Count = 0
    last_error: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Status(_Said, frozen=True):
    """How a service is, in its own words, and what happened since its last report.

    ``instance`` names one process and ``sequence`` counts its reports, so that one that is sent twice counts once.
    Units: ``snapshot_age_s`` and ``uptime_s`` seconds.
    """

    software: Annotated[str, msgspec.Meta(max_length=64)]
    instance: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    snapshot_version: int
    snapshot_age_s: float
    health: Literal["UP", "WARN", "DOWN"]
    quarantined_tenants: int = 0
    sequence: Annotated[int, msgspec.Meta(ge=0)] = 0
    uptime_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    reason: Annotated[str, msgspec.Meta(max_length=300)] = ""
    activity: Annotated[tuple[TenantActivity, ...], msgspec.Meta(max_length=MOST_TENANTS_REPORTED + 1)] = ()
    deliveries: Annotated[tuple[Delivery, ...], msgspec.Meta(max_length=MOST_TENANTS_REPORTED + 1)] = ()


class Check(_Said, frozen=True):
    """One step of a connection test: ``ok``, or what went wrong and what to do about it."""

    step: Annotated[str, msgspec.Meta(max_length=64)]
    ok: bool
    message: Annotated[str, msgspec.Meta(max_length=500)] = ""
    milliseconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class Work(_Said, frozen=True):
    """Something for a service to do: try a tenant's config. Units: ``expires`` Unix milliseconds."""

    id: str
    tenant: str
    config: int
    expires: int


class WorkDone(_Said, frozen=True):
    """What came of it."""

    ok: bool
    checks: Annotated[tuple[Check, ...], msgspec.Meta(max_length=32)]
    instance: Annotated[str, msgspec.Meta(max_length=64)]
    software: Annotated[str, msgspec.Meta(max_length=64)]
