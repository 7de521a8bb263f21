"""What is said to the broker about signed documents, by whoever signs them and by whoever reads them.

Source: docs/broker/api.md.
"""

from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from tenant_security.wire.service_api import Check, Delivery, SecretType
from tenant_security.wire.snapshot import ConfigEnvelope, ConfigId, Name, SegmentWrap, Signed, Wrap

ConfigType = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z][A-Z0-9_-]{0,31}\Z")]
Title = Annotated[str, msgspec.Meta(max_length=120, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]


NewTenantId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[^/\x00-\x1f\x7f]{1,255}\Z",
        description="The vendor's own id of its customer. It stands in paths, so it has no slash.",
    ),
]


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What all of these have in common."""


class VendorDocuments(_Said, frozen=True):
    """A vendor's keys: who may sign, and the segments' seeds as sealed to each recipient."""

    root: Signed
    manifest: Signed
    segment_wraps: tuple[SegmentWrap, ...]


class NewVendor(_Said, frozen=True):
    """A vendor to be kept. ``defaultTag`` is made with it; tenants get it when nobody says otherwise."""

    name: Name
    documents: VendorDocuments
    default_tag: Annotated[str, msgspec.Meta(max_length=120)] = "default"


class SealedConfig(_Said, frozen=True):
    """A config as it was sealed and signed, wrapped to one segment or several.

    ``type`` is the kind of KMS or SIEM in capitals and ``name`` what people call the config: both are said beside the
    seal, for lists, and nobody signs them.
    """

    header: bytes
    payload: bytes
    commit: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    author: str
    sig: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
    wraps: Annotated[tuple[Wrap, ...], msgspec.Meta(min_length=1, max_length=64)]
    type: ConfigType
    name: Title = ""
    leasing_allowed: bool = False

    def envelope(self, wrap: Wrap) -> ConfigEnvelope:
        """Return the config as it travels to those who can open this wrap."""
        return ConfigEnvelope(self.header, self.payload, self.commit, self.author, self.sig, wrap)


class OutdatedWrap(_Said, frozen=True):
    """A config's DEK as it is wrapped to an older epoch of a segment, and what is needed to open it."""

    config: ConfigId
    header: bytes
    wrap: Wrap


class OutdatedWraps(_Said, frozen=True):
    """A portion of them; ``left`` counts these and all that follow."""

    wraps: tuple[OutdatedWrap, ...]
    left: int


class NewWrap(_Said, frozen=True):
    """A config's DEK, wrapped to the newest epoch."""

    config: ConfigId
    wrap: Wrap


class NewWraps(_Said, frozen=True):
    """Some of them."""

    wraps: Annotated[tuple[NewWrap, ...], msgspec.Meta(min_length=1, max_length=500)]


class TenantChange(_Said, frozen=True):
    """A new version of what one tenant is.

    ``base_version`` is the version of the record that this change was made from, 0 for none: where another was stored
    in the meantime, the change is refused and nothing of it happens. ``configs`` are new ones and new versions;
    ``removed`` are numbers of configs that the record no longer assigns.
    """

    record: Signed
    base_version: int
    authors: Signed | None = None
    configs: tuple[SealedConfig, ...] = ()
    removed: tuple[ConfigId, ...] = ()


class TenantDocuments(_Said, frozen=True):
    """What is stored of a tenant, for whoever makes the next version."""

    tenant: str
    record_version: int
    record: Signed | None
    authors: Signed | None
    configs: tuple[SealedConfig, ...]
    tags: tuple[Name, ...]


class CreatedBy(_Said, frozen=True):
    """Who made something. ``type``: person, service, author, api-key, operator or system."""

    id: str
    name: str
    type: str


class Tenant(_Said, frozen=True):
    """A tenant as the vendor sees it. Units: times are Unix milliseconds.

    ``ownConfigs`` counts the KMS configs that its own people signed; ``accepted`` says that somebody of the tenant has
    signed up.
    """

    id: str
    name: str
    invited: bool
    accepted: bool
    own_configs: int
    leasing_required: bool
    primary_config: int | None
    record_version: int
    tags: tuple[int, ...]
    created_by: CreatedBy
    created: int
    updated: int


class NewTenant(_Said, frozen=True):
    """A tenant to be made. ``tags`` are ids; without them it gets the vendor's default tag, if there is one."""

    id: NewTenantId
    name: Name
    tags: tuple[int, ...] | None = None
    leasing_required: bool | None = None


class TenantUpdate(_Said, frozen=True):
    """What may change of a tenant without a signature."""

    name: Name | None = None
    leasing_required: bool | None = None
    tag_additions: tuple[int, ...] = ()
    tag_removals: tuple[int, ...] = ()


class Config(_Said, frozen=True):
    """What is known of a config without opening it. ``owner`` is a tenant's id, or null for a config of the vendor."""

    id: int
    owner: str | None
    kind: str
    type: str
    name: str
    version: int
    leasing_allowed: bool
    segments: tuple[int, ...]
    assignment_count: int
    secret_count: int
    created_by: CreatedBy
    created: int
    updated: int


class Assignment(_Said, frozen=True):
    """A config as a tenant may use it."""

    config: int
    tenant: str
    active: bool
    primary: bool
    leasing: bool
    created_by: CreatedBy
    created: int
    updated: int


class SecretRenewals(_Said, frozen=True):
    """How many secrets wait to be wrapped by their tenants' primaries, or bound; of how many that failed lately."""

    migrations: int
    unbound: int
    troubled: int


class Tag(_Said, frozen=True):
    """A tag."""

    id: int
    text: str
    default: bool
    tenants: int
    created_by: CreatedBy
    created: int


class NewTag(_Said, frozen=True):
    """A tag to be made."""

    text: Name


class TenantSecret(_Said, frozen=True):
    """A tenant secret, wrapped. ``encrypted`` is an EDEK."""

    id: str
    number: int
    tenant: str
    tags: tuple[int, ...]
    type: str
    path: str
    fingerprint: bytes
    config: int
    migration: str
    rotation: str
    encrypted: bytes
    created_by: CreatedBy
    created: int
    updated: int
    bound: bool = False
    """Whether a proxy signed where it belongs."""
    trouble: str = ""
    """Why it could not be wrapped or bound anew when that was last tried."""


class ImportedSecret(_Said, frozen=True):
    """A tenant secret as it was kept elsewhere. Units: ``created`` Unix milliseconds."""

    number: Annotated[int, msgspec.Meta(ge=1, le=2**32 - 1)]
    tenant: str
    type: SecretType
    path: Annotated[str, msgspec.Meta(max_length=1024)]
    config: ConfigId
    encrypted: Annotated[bytes, msgspec.Meta(min_length=1, max_length=65_536)]
    rotation: Literal["current", "in-rotation", "archived"]
    created: int
    binding: Signed | None = None
    """By who brings it: a :class:`tenant_security.wire.snapshot.SecretBinding` over its EDEK."""


class ImportedSecrets(_Said, frozen=True):
    """Some of them."""

    secrets: Annotated[tuple[ImportedSecret, ...], msgspec.Meta(min_length=1, max_length=500)]


class Imported(_Said, frozen=True):
    """How many were new."""

    added: int


class AuditEntry(_Said, frozen=True):
    """One thing that was done. ``hash`` chains it to the one before."""

    seq: int
    at: int
    actor: CreatedBy
    action: str
    tenant: str
    target: str
    detail: msgspec.Raw
    hash: bytes


class ServiceAccount(_Said, frozen=True):
    """A service's identity and what was last heard of it. Units: times are Unix milliseconds."""

    id: str
    kind: str
    config: int
    fingerprint: str
    status: str
    created: int
    seen: int | None
    seen_version: str | None
    seen_revision: int | None


class FleetInstance(_Said, frozen=True):
    """One process of a service and what it last said. Units: ``seen`` Unix milliseconds, ``*S`` seconds."""

    service: str
    instance: str
    software: str
    health: str
    reason: str
    snapshot_version: int
    snapshot_age_s: float
    quarantined_tenants: int
    uptime_s: float
    seen: int
    deliveries: tuple[Delivery, ...] = ()


class Fleet(_Said, frozen=True):
    """All instances that were heard of within a day. Units: ``now`` Unix milliseconds, by the broker's clock."""

    now: int
    instances: tuple[FleetInstance, ...]


class ActivityBucket(_Said, frozen=True):
    """Counts of one stretch of time. ``kms`` counts calls of the KMS by how long they took: see the bounds.

    Units: ``start`` Unix milliseconds.
    """

    start: int
    operations: int
    errors: dict[str, int]
    kms: tuple[int, ...]


class Activity(_Said, frozen=True):
    """Counts of a tenant, or of all together; a stretch in which nothing happened is left out.

    Units: ``bucket_millis`` milliseconds; ``kms_bounds_s`` seconds, the last of ``kms`` counts what took longer.
    """

    tenant: str | None
    bucket_millis: int
    kms_bounds_s: tuple[float, ...]
    buckets: tuple[ActivityBucket, ...]


TestState = Literal["waiting", "running", "done", "expired"]


class ConfigTest(_Said, frozen=True):
    """A connection test and how it stands. ``ok`` is null until it is done. Units: times are Unix milliseconds."""

    id: str
    config: int
    state: TestState
    ok: bool | None
    checks: tuple[Check, ...]
    service: str | None
    instance: str | None
    software: str | None
    created: int
    expires: int


T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, rename="camel"):
    """One page of a list. ``page`` counts from 1."""

    result: list[T]
    page: int
    total_pages: int
    total: int
